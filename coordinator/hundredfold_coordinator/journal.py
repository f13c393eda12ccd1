"""The one writer: every change of state goes through here, in order, and is durable before anything follows from it.

Events are decided at once; their writes go to the store in groups, one commit under way at a time, so that whatever
comes in while a disk syncs shares the next sync. Effects follow their commit in the order of their events. A caller
that goes away cannot cancel any of this.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from hundredfold.errors import InternalError, StoreFull, StoreUnreachable
from hundredfold.stores.contract import Batch, Conflict

from hundredfold_coordinator.core.decide import decide
from hundredfold_coordinator.core.effects import Effect, Refuse, Reply
from hundredfold_coordinator.core.events import Event
from hundredfold_coordinator.core.state import State
from hundredfold_coordinator.core.transaction import Decision
from hundredfold_coordinator.storage import Storage

_CROWD: Final = 4
_GATHERING_SECONDS_EACH: Final = 0.001
_GATHERING_SECONDS: Final = 0.01


class Journal:
    """Decides events about `state`, commits to `storage`, then has `perform` do each effect."""

    def __init__(self, state: State, storage: Storage, perform: Callable[[Effect], None]) -> None:
        self._state = state
        self._storage = storage
        self._perform = perform
        self._pending: list[Decision] = []
        self._shared = 0
        self._wake = asyncio.Event()
        self._stopping = False
        self._failed = False

    def post(self, event: Event) -> None:
        """Decide an event; its writes and effects follow."""
        decision = decide(self._state, event)
        if self._state.store_full or self._state.store_outage:
            decision = self._refuse_at_once(decision)
        self._pending.append(decision)
        self._wake.set()

    def ask(self, event: Callable[..., Event], **fields: Any) -> asyncio.Future[Any]:
        """Post an event that wants an answer; return what the answer will be in when the writes are durable.

        The future raises a HundredfoldError if the event was refused.
        """
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.post(event(now_ns=time.time_ns(), reply=reply, **fields))
        return reply

    async def settled(self) -> None:
        """Wait until everything that has been decided so far is durable."""
        reply: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append(Decision(Batch([]), [Reply(reply, None)]))
        self._wake.set()
        await reply

    def stop(self) -> None:
        """Have `run` return when everything is committed."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Commit until stopped.

        Raises:
            StoreUnavailable: the store failed. What it holds now is unknown, so this process must end.
            StoreFull: it was full, and is not to be waited for.
            Fenced: another coordinator has the store.

        """
        while not self._stopping:
            await self._wake.wait()
            if pause := gathering_seconds(self._shared):
                await asyncio.sleep(pause)
            self._wake.clear()
            await self._flush_group()
        await self.flush()

    async def flush(self) -> None:
        """Commit what is pending and do what follows."""
        while self._pending and not self._failed:
            await self._flush_group()

    async def _flush_group(self) -> None:
        group, self._pending = self._pending, []
        batches = [decision.batch for decision in group if decision.batch.writes]
        if batches:
            self._shared = len(batches)
            await self._commit(batches)
        for decision in group:
            for effect in decision.effects:
                self._perform(effect)

    def _refuse_at_once(self, decision: Decision) -> Decision:
        """Refuse what is refused for the store's sake: that follows from nothing written, and must not wait for it."""
        later = []
        for effect in decision.effects:
            if isinstance(effect, Refuse) and isinstance(effect.error, StoreFull | StoreUnreachable):
                self._perform(effect)
            else:
                later.append(effect)
        return Decision(decision.batch, later)

    async def _commit(self, batches: list[Batch]) -> None:
        try:
            _check(await self._storage.commit(batches))
        except Exception:
            # What was decided since then was decided on a state that the store does not have: none of it may follow.
            self._failed = True
            raise


def gathering_seconds(shared: int) -> float:
    """Return how long a commit waits for what others are about to say, if `shared` decisions shared the last one.

    The more have just come together, the more will: a crowd is served in fewer, larger commits, as with PostgreSQL's
    `commit_delay`, and who is alone never waits.
    """
    return min(_GATHERING_SECONDS, shared * _GATHERING_SECONDS_EACH) if shared >= _CROWD else 0


def _check(results: list[Any]) -> None:
    for result in results:
        if isinstance(result, Conflict):
            raise InternalError(f"the store and the coordinator disagree about key {result.key!r}")
