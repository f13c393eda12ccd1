"""Explores every way that one task can go: crashes, wrong expiry, late and repeated replies, a coordinator too many.

The program under test is the pure core, `decide`, and the store's guard; the world around it is a few lines. Each node
of the search is what the store has, what the coordinator has in memory, and what the world is at; each edge is one
thing that happens. What must never be is checked at every edge.
"""

import copy
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Final

from hundredfold.errors import Fenced
from hundredfold.internal.v1 import host_service_pb2, records_pb2
from hundredfold.stores.contract import ABSENT, Batch, Committed, Guard, Write
from hundredfold.stores.memory import MemoryStore
from hundredfold.v1 import attempt_pb2, payload_pb2, policy_pb2, session_pb2, task_pb2
from hundredfold_coordinator import keys
from hundredfold_coordinator.core import effects, events
from hundredfold_coordinator.core.decide import decide
from hundredfold_coordinator.core.recovery import recover
from hundredfold_coordinator.core.state import Limits, State

TASK: Final = "t"
HOST: Final = "h"
_NOW: Final = 1


class Broken(AssertionError):
    """Something was seen that must never be."""


@dataclass(frozen=True)
class Bounds:
    """How far to look."""

    attempts: int = 3
    crashes: int = 2
    expiries: int = 2


@dataclass(frozen=True)
class World:
    """What is outside of the coordinator.

    Attributes:
        agents: numbers of the attempts whose processes live.
        took: those that have been given their attempt.
        sent: those whose result is on its way, and may arrive any number of times.
        crashes, expiries: how many there still may be.
        epoch: of the coordinator that has the store.
        zombie: whether an older coordinator is still there, with what it knew.

    """

    agents: frozenset[int] = frozenset()
    took: frozenset[int] = frozenset()
    sent: frozenset[int] = frozenset()
    crashes: int = 0
    expiries: int = 0
    epoch: int = 1
    zombie: bool = False


@dataclass
class Node:
    """One moment."""

    store: MemoryStore
    state: State
    world: World
    path: tuple[str, ...] = ()
    zombie: State | None = None
    ready: bool = field(default=True)

    def key(self) -> bytes:
        """Return what tells this moment from all others."""
        digest = sha256(repr(self.world).encode())
        for entry in self.store.scan(b"", limit=1000):
            digest.update(entry.key + b"=" + entry.record.value + b";")
        for state in (self.state, self.zombie):
            if state:
                digest.update(
                    repr(
                        (sorted(state.alive), sorted(state.tokens.values()), sorted(state.credentials.values()))
                    ).encode()
                )
                digest.update(repr((len(state.queue), sorted(state.hosts))).encode())
        return digest.digest()


Step = tuple[str, Callable[[Node], None]]


class Explorer:
    """Walks through all of it; `guarded` and `commit_first` are what the journal does, which is not part of this."""

    def __init__(self, bounds: Bounds, *, guarded: bool = True, commit_first: bool = True) -> None:
        self._bounds = bounds
        self._guarded = guarded
        self._commit_first = commit_first
        self.nodes = 0
        self.ends: set[str] = set()

    def run(self) -> None:
        """Look at every node once.

        Raises:
            Broken: with the way there.

        """
        first = self._first()
        seen, pending = {first.key()}, deque([first])
        while pending:
            node = pending.popleft()
            self.nodes += 1
            for name, step in self._steps(node):
                after = _copy(node, name)
                try:
                    step(after)
                    _check(node, after)
                except Broken as broken:
                    raise Broken(f"{broken}\n  after {' > '.join(after.path)}") from None
                key = after.key()
                if key not in seen:
                    seen.add(key)
                    pending.append(after)

    def _first(self) -> Node:
        bounds = self._bounds
        node = Node(MemoryStore(), _state(), World(crashes=bounds.crashes, expiries=bounds.expiries))
        node.store.commit([Batch([Write(keys.LEASE, b"1", ABSENT)])])
        spec = task_pb2.TaskSpec(
            environment="e", session="s", retry=policy_pb2.RetryPolicy(max_attempts=bounds.attempts)
        )
        self._attach(node)
        fields = {"task_id": TASK, "spec": spec, "request_id": "r", "digest": b"d", "stored": None, "reply": "client"}
        self._tell(node, events.Submitted(now_ns=_NOW, **fields))
        return node

    # What can happen --------------------------------------------------------------------------------------------------

    def _steps(self, node: Node) -> Iterator[Step]:
        world = node.world
        for kind, step in self._ordinary(node):
            yield kind, step
            if world.crashes:
                yield f"{kind}, crash before the commit", lambda n, s=step: self._crash(n, s, committed=False)
                yield f"{kind}, crash after the commit", lambda n, s=step: self._crash(n, s, committed=True)
        if world.crashes and not world.zombie:
            yield "take over while the old one lives", self._take_over
        for number in sorted(world.sent) if node.zombie else ():
            yield f"{number} delivers to the old one", lambda n, k=number: self._deliver_to_zombie(n, k)

    def _ordinary(self, node: Node) -> Iterator[Step]:
        world = node.world
        for number in sorted(world.agents):
            if number not in world.took:
                yield f"{number} takes", lambda n, k=number: self._take(n, k)
            elif number not in world.sent:
                yield f"{number} sends", lambda n, k=number: self._send(n, k)
            yield f"{number} exits", lambda n, k=number: self._exit(n, k)
        for number in sorted(world.sent):
            yield f"{number} delivers", lambda n, k=number: self._deliver(n, k)
        if world.expiries:
            for key in sorted(node.state.alive):
                yield f"{key[1]} expires", lambda n, k=key: self._expire(n, k)
        if HOST not in node.state.hosts:
            yield "the host attaches", self._attach
        record = node.state.tasks.get(TASK)
        if record and record.task.HasField("next_attempt_time"):
            yield "the time comes", lambda n: self._tell(n, events.Matured(now_ns=_NOW, task_id=TASK))

    def _take(self, node: Node, number: int) -> None:
        secret = f"{number}"
        taken = events.Taken(
            now_ns=_NOW, credential_hash=_hash(secret), process=None, token_hash=_hash(secret + "t"), reply="w"
        )
        answer = self._tell(node, taken)
        if isinstance(answer, effects.Reply):
            node.world = replace(node.world, took=node.world.took | {number})

    def _send(self, node: Node, number: int) -> None:
        node.world = replace(node.world, sent=node.world.sent | {number})

    def _deliver(self, node: Node, number: int) -> None:
        self._answered(node, number, self._tell(node, _completed(node, number)))

    def _answered(self, node: Node, number: int, answer: effects.Effect | None) -> None:
        if isinstance(answer, effects.Reply) and node.store.get([keys.result_of(TASK)]) != [None]:
            (result,) = node.store.get([keys.result_of(TASK)])
            if result and payload_pb2.Payload.FromString(result.value).data != b"%d" % number:
                raise Broken(f"attempt {number} was told that its result counts, and another one does")
        elif isinstance(answer, effects.Reply):
            raise Broken(f"attempt {number} was told that its result is recorded, and none is")

    def _exit(self, node: Node, number: int) -> None:
        world = node.world
        node.world = replace(world, agents=world.agents - {number})
        if HOST in node.state.hosts:
            exited = events.Exited(
                now_ns=_NOW, host=HOST, number=1, attempt=(TASK, number), receipt=attempt_pb2.Receipt()
            )
            self._tell(node, exited)

    def _expire(self, node: Node, key: tuple[str, int]) -> None:
        node.world = replace(node.world, expiries=node.world.expiries - 1)
        self._tell(node, events.Unresponsive(now_ns=_NOW, attempt=key))

    def _attach(self, node: Node) -> None:
        inventory = [_launched(number) for number in sorted(node.world.agents)]
        self._tell(node, events.HostAttached(now_ns=_NOW, host=HOST, inventory=inventory))
        ready = events.EnvironmentChanged(now_ns=_NOW, host=HOST, environment="e", ready=True)
        self._tell(node, ready)

    def _crash(self, node: Node, step: Callable[[Node], None], *, committed: bool) -> None:
        """Let something happen whose effects nobody sees any more, and perhaps nobody ever will."""
        before = _copy(node, "")
        node.ready = False
        step(node)
        if not committed:
            node.store = before.store
        taken = node.world if committed else before.world
        gone = before.world.agents - node.world.agents  # a process that has ended is gone whatever is committed
        node.world = replace(before.world, agents=before.world.agents - gone, sent=taken.sent)
        self._restart(node)

    def _restart(self, node: Node) -> None:
        world = node.world
        node.world = replace(world, crashes=world.crashes - 1, epoch=world.epoch + 1)
        node.ready = True
        node.store.commit([Batch([Write(keys.LEASE, b"%d" % node.world.epoch)])])
        node.state = _state()
        live = node.store.get([keys.task(TASK)]) if node.store.get([keys.live(TASK)]) != [None] else []
        recover(node.state, [records_pb2.TaskRecord.FromString(one.value) for one in live if one], _NOW)

    def _take_over(self, node: Node) -> None:
        node.zombie = node.state
        node.world = replace(node.world, zombie=True)
        self._restart(node)

    def _deliver_to_zombie(self, node: Node, number: int) -> None:
        """An older coordinator decides, and must not be able to write; it ends when it notices."""
        assert node.zombie
        decision = decide(node.zombie, _completed(node, number))
        node.zombie = None
        if not decision.batch.writes:
            return
        guard = Guard(keys.LEASE, _lease_version(node) - 1) if self._guarded else None
        try:
            node.store.commit([decision.batch], guard)
        except Fenced:
            return
        for effect in decision.effects:
            self._answered(node, number, effect)

    # The journal ------------------------------------------------------------------------------------------------------

    def _tell(self, node: Node, event: events.Event) -> effects.Effect | None:
        decision = decide(node.state, event)
        if not self._commit_first:
            self._perform(node, decision.effects)
        (result,) = node.store.commit([decision.batch])
        if not isinstance(result, Committed):
            raise Broken(f"the coordinator and the store disagree: {result}")
        if self._commit_first:
            self._perform(node, decision.effects)
        return next((one for one in decision.effects if isinstance(one, effects.Reply | effects.Refuse)), None)

    def _perform(self, node: Node, wanted: list[effects.Effect]) -> None:
        for effect in wanted if node.ready or not self._commit_first else ():
            if isinstance(effect, effects.Launch):
                number = effect.attempt[1]
                (found,) = node.store.get([keys.task(TASK)])
                known = len(records_pb2.TaskRecord.FromString(found.value).task.attempts) if found else 0
                if known < number:
                    raise Broken(f"attempt {number} is launched before it is known")
                node.world = replace(node.world, agents=node.world.agents | {number})


def _check(before: Node, after: Node) -> None:
    """Compare two moments that follow each other."""
    (was,), (now,) = before.store.get([keys.task(TASK)]), after.store.get([keys.task(TASK)])
    if was and now is None:
        raise Broken("an accepted task is lost")
    (had,), (has,) = before.store.get([keys.result_of(TASK)]), after.store.get([keys.result_of(TASK)])
    if had and (has is None or has.value != had.value):
        raise Broken("a result was recorded twice")
    items = len(after.store.scan(keys.items_of("s", 0)))
    if items != (has is not None):
        raise Broken(f"the session was written {items} times for {'a' if has else 'no'} result")
    if has and not had and now:
        task = records_pb2.TaskRecord.FromString(now.value).task
        if payload_pb2.Payload.FromString(has.value).data != b"%d" % len(task.attempts):
            raise Broken("an attempt that was given up has delivered")
    if len(after.state.credentials) > 1:
        raise Broken("two attempts can be taken at once")


def _completed(node: Node, number: int) -> events.Completed:
    (found,) = node.store.get([keys.session("s")])
    session = records_pb2.SessionRecord.FromString(found.value) if found else records_pb2.SessionRecord()
    writes = session_pb2.SessionWrites(expected_version=session.version)
    writes.append.add(role="agent")
    return events.Completed(
        now_ns=_NOW,
        attempt=(TASK, number),
        result=payload_pb2.Payload(data=b"%d" % number),
        session=session,
        session_writes=writes,
        emitted=[],
        digest=b"%d" % number,
        reply="w",
    )


def _state() -> State:
    return _with_mint(State(Limits(), str, lambda: 1.0))


def _with_mint(state: State) -> State:
    """Have every attempt's credential be its number, whichever coordinator launches it."""
    state.mint = lambda: str(len(state.tasks[TASK].task.attempts) + 1)
    return state


def _copy(node: Node, name: str) -> Node:
    store = MemoryStore()
    store.__dict__.update(
        _records=dict(node.store._records), _keys=list(node.store._keys), _version=node.store._version
    )
    path = (*node.path, name) if name else node.path
    state, zombie = _with_mint(copy.deepcopy(node.state)), copy.deepcopy(node.zombie)
    return Node(store, state, node.world, path, zombie and _with_mint(zombie), node.ready)


def _lease_version(node: Node) -> int:
    (found,) = node.store.get([keys.LEASE])
    assert found
    return found.version


def _launched(number: int) -> host_service_pb2.Launched:
    return host_service_pb2.Launched(
        attempt=host_service_pb2.AttemptKey(task_id=TASK, number=number), process=records_pb2.ProcessIdentity(pid=9)
    )


def _hash(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
