"""The lease: every start of a coordinator takes the store over with the next epoch, and keeps earlier ones out.

Where several coordinators may open a store, the one that has the lease shows that it lives by a heartbeat, and another
one takes over only after that has stood still for a whole term, on the other one's own clock. What decides is never a
clock, though: whoever has lost the lease is refused by the store.

See also: `heartbeat`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from hundredfold.errors import Fenced, StoreInUse
from hundredfold.identity import is_known_dead
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import ABSENT, Batch, Committed, Guard, Record, Write

from hundredfold_coordinator import keys
from hundredfold_coordinator.storage import Storage

_log: Final = logging.getLogger(__name__)
_LOOKS_PER_TERM: Final = 10
_LONGEST_PAUSE_SECONDS: Final = 1.0


async def take_lease(storage: Storage, holder: records_pb2.ProcessIdentity, term_seconds: float) -> int:
    """Commit the next epoch and guard all later commits with it. Returns the epoch, from 1.

    Args:
        storage: the store.
        holder: this process.
        term_seconds: how long it may not be heard of; recorded, because others may have been told another figure.

    Raises:
        Fenced: another coordinator took it in the same moment.

    """
    (found,) = await storage.get([keys.LEASE])
    lease = records_pb2.LeaseRecord.FromString(found.value) if found else records_pb2.LeaseRecord()
    lease.epoch += 1
    lease.holder.CopyFrom(holder)
    lease.term.FromNanoseconds(int(term_seconds * 1e9))
    writes = [Write(keys.LEASE, lease.SerializeToString(), found.version if found else ABSENT)]
    if storage.capabilities.shared:
        writes.append(Write(keys.HEARTBEAT, b""))
    (result,) = await storage.commit([Batch(writes)])
    if not isinstance(result, Committed):
        raise Fenced
    storage.guard = Guard(keys.LEASE, result.version)
    return lease.epoch


async def await_vacancy(
    storage: Storage,
    term_seconds: float,
    *,
    standby: bool,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Return when nobody has the lease any more.

    Args:
        storage: the store.
        term_seconds: how long its holder may not be heard of, unless the lease says that it may be for longer.
        standby: whether to wait for as long as somebody has it.
        clock: seconds.
        sleep: lets a number of them pass.

    Raises:
        StoreInUse: somebody has it, and it is not to be waited for.

    """
    pause = min(_LONGEST_PAUSE_SECONDS, term_seconds / _LOOKS_PER_TERM)
    seen, since, told = None, clock(), False
    while True:
        asked = clock()
        lease, beat = await storage.get([keys.LEASE, keys.HEARTBEAT])
        now = clock()
        if lease is None or beat is None or _is_dead(lease):
            return
        since += now - asked  # while the store does not answer, nobody can be heard of
        if seen is not None and seen != (lease.version, beat.version):
            if not standby:
                raise StoreInUse(storage.url, holder_of(lease))
            if not told:
                _log.info("standing by: %s is in use by %s", storage.url, holder_of(lease))
                told = True
        if seen != (lease.version, beat.version):
            seen, since = (lease.version, beat.version), now
        elif now - since > max(term_seconds, term_of(lease)):
            _log.warning("%s has not been heard of for %g s: taking over", holder_of(lease), now - since)
            return
        await sleep(pause)


def term_of(lease: Record) -> float:
    """Return how many seconds the holder of a lease may not be heard of; 0 if the lease does not say."""
    return records_pb2.LeaseRecord.FromString(lease.value).term.ToNanoseconds() / 1e9


def _is_dead(lease: Record) -> bool:
    return is_known_dead(records_pb2.LeaseRecord.FromString(lease.value).holder)


def holder_of(lease: Record) -> str:
    """Return what to call the holder of a lease."""
    record = records_pb2.LeaseRecord.FromString(lease.value)
    return f"the coordinator of epoch {record.epoch} (pid {record.holder.pid} on its machine)"
