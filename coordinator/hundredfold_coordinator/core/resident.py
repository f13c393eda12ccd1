"""Residents: workers that stay when their attempt is over, who of them is free, and whose attempt is whose."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from hundredfold.internal.v1 import records_pb2

from hundredfold_coordinator.core.crew import Crew

WorkerKey = tuple[str, int]
"""What a host knows a worker by: the attempt it was made for, by task id and number."""


@dataclass(frozen=True, slots=True)
class Next:
    """What a resident is told that asks for its next attempt.

    Attributes:
        record: the task of the attempt, which is its newest; None if there is none now.
        token: secret for the calls of that attempt.
        stay: whether to ask again, at once or after that attempt; else it is to end.

    """

    record: records_pb2.TaskRecord | None = None
    token: str = ""
    stay: bool = True


@dataclass(slots=True, eq=False)
class Resident:
    """A worker that stays.

    Attributes:
        key: what its host knows it by.
        crew: what it can run.
        host: where it is.
        credential_hash: SHA-256 of the secret it asks with; empty if nobody knows it any more.
        made_ns: when it was launched.
        process: its process, once that is known.
        current: the attempt it runs; None if it is free.
        token: the secret of that attempt, if it was handed over.
        done: attempts it has had.
        reservation_bytes: memory that was set aside for it when it was launched.
        used_bytes: memory it was last seen to use.
        idle_ns: since when it is free.
        doomed: whether it is to have no more attempts.
        waiter: who is to be told of its next attempt; None if it does not ask just now.
        delivered: its last attempt, with the digest and the hash of the token of what it delivered: it may say so
            again.

    """

    key: WorkerKey
    crew: Crew
    host: str
    credential_hash: bytes
    made_ns: int
    process: records_pb2.ProcessIdentity = field(default_factory=records_pb2.ProcessIdentity)
    current: WorkerKey | None = None
    token: str = ""
    done: int = 0
    reservation_bytes: int = 0
    used_bytes: int = 0
    idle_ns: int = 0
    doomed: bool = False
    waiter: object = None
    delivered: tuple[WorkerKey, bytes, bytes] | None = None


class Residents:
    """All of them.

    Attributes:
        freed: those that have delivered in this decision and ask for more.

    """

    def __init__(self) -> None:
        self.freed: list[Resident] = []
        self._all: dict[WorkerKey, Resident] = {}
        self._attempts: dict[WorkerKey, Resident] = {}
        self._delivered: dict[WorkerKey, Resident] = {}
        self._credentials: dict[bytes, Resident] = {}
        self._sizes: Counter[Crew] = Counter()
        self._free: dict[Crew, dict[WorkerKey, Resident]] = defaultdict(dict)

    def __iter__(self) -> Iterator[Resident]:
        return iter(list(self._all.values()))

    def add(self, resident: Resident) -> None:
        """Note a new one, with the attempt it begins with."""
        self._all[resident.key] = resident
        if resident.credential_hash:
            self._credentials[resident.credential_hash] = resident
        self._sizes[resident.crew] += _counts(resident)
        if resident.current:
            self._attempts[resident.current] = resident

    def get(self, key: WorkerKey) -> Resident | None:
        """Return the one that a host knows by this key; None if that is no resident."""
        return self._all.get(key)

    def by_credential(self, credential_hash: bytes) -> Resident | None:
        """Return the one that has a credential."""
        return self._credentials.get(credential_hash)

    def of(self, attempt: WorkerKey) -> Resident | None:
        """Return the one that runs an attempt; None if its worker is no resident."""
        return self._attempts.get(attempt)

    def key_of(self, attempt: WorkerKey) -> WorkerKey:
        """Return what a host knows the worker of an attempt by."""
        resident = self._attempts.get(attempt)
        return resident.key if resident else attempt

    def rests(self, key: WorkerKey) -> bool:
        """Whether the worker of this key is a resident that runs nothing just now."""
        resident = self._all.get(key)
        return resident is not None and resident.current is None

    def attempt_of(self, key: WorkerKey) -> WorkerKey:
        """Return the attempt that a worker runs now, or has run last."""
        resident = self._all.get(key)
        if resident is None:
            return key
        return resident.current or (resident.delivered[0] if resident.delivered else key)

    def size(self, crew: Crew) -> int:
        """Return how many a crew has; of a pool, those that are not on their way out.

        What a long-lived agent has in memory, nobody else has: while its process may be there, it has no successor.
        """
        return self._sizes[crew]

    def free(self, crew: Crew) -> Iterator[Resident]:
        """Yield those of a crew that ask for an attempt, who did so first before the others."""
        return iter(list(self._free.get(crew, {}).values()))

    def idle(self) -> Iterator[Resident]:
        """Yield all that ask for an attempt."""
        return (resident for free in list(self._free.values()) for resident in list(free.values()))

    def ask(self, resident: Resident, waiter: object) -> None:
        """Note that a resident asks for its next attempt."""
        resident.waiter = waiter
        self._free[resident.crew][resident.key] = resident

    def answer(self, resident: Resident) -> object:
        """Return who is to be told, and note that the resident does not ask any more."""
        self._leave(resident)
        waiter, resident.waiter = resident.waiter, None
        return waiter

    def give(self, resident: Resident, attempt: WorkerKey, token: str) -> None:
        """Note that a resident runs an attempt."""
        resident.current, resident.token = attempt, token
        self._attempts[attempt] = resident

    def take_back(self, resident: Resident) -> None:
        """Note that a resident runs nothing any more."""
        if resident.current:
            self._attempts.pop(resident.current, None)
        resident.current = None

    def note_delivery(self, resident: Resident, attempt: WorkerKey, digest: bytes, token_hash: bytes) -> None:
        """Note what a resident has delivered, instead of what it had before."""
        if resident.delivered:
            self._delivered.pop(resident.delivered[0], None)
        resident.delivered = attempt, digest, token_hash
        self._delivered[attempt] = resident

    def deliverer(self, attempt: WorkerKey) -> Resident | None:
        """Return the resident whose last delivery an attempt was; None if there is none."""
        return self._delivered.get(attempt)

    def doom(self, resident: Resident) -> None:
        """Note that a resident is to have no more attempts."""
        counted, resident.doomed = _counts(resident), True
        self._shrink(resident.crew, counted - _counts(resident))

    def remove(self, resident: Resident) -> None:
        """Forget one that is gone."""
        self._leave(resident)
        self.take_back(resident)
        if resident.delivered:
            self._delivered.pop(resident.delivered[0], None)
        if self._all.pop(resident.key, None):
            self._shrink(resident.crew, _counts(resident))
        if resident.credential_hash:
            self._credentials.pop(resident.credential_hash, None)
        resident.doomed = True

    def _shrink(self, crew: Crew, by: int) -> None:
        self._sizes[crew] -= by
        if not self._sizes[crew]:
            del self._sizes[crew]

    def _leave(self, resident: Resident) -> None:
        free = self._free.get(resident.crew, {})
        free.pop(resident.key, None)
        if not free:
            self._free.pop(resident.crew, None)


def _counts(resident: Resident) -> bool:
    """Whether a resident is one of those that its crew may have so many of."""
    return resident.crew.is_long_lived or not resident.doomed
