"""The heart: an event in, a decision out.

`decide` changes the state it is given and nothing else. The decision's effects happen only after its writes are
durable; that is the journal's business.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from hundredfold_coordinator.core import (
    draining,
    dropping,
    events,
    handover,
    hosting,
    reviving,
    running,
    session,
    submission,
    timing,
)
from hundredfold_coordinator.core.scheduler import dispatch
from hundredfold_coordinator.core.state import State
from hundredfold_coordinator.core.transaction import Decision, Transaction

_HANDLERS: Final[Mapping[type[events.Event], Callable[[State, Transaction, Any], None]]] = MappingProxyType(
    {
        events.Submitted: submission.submit,
        events.StoreRoomChanged: submission.change_room,
        events.StoreOutageChanged: submission.change_outage,
        events.CancelRequested: submission.cancel,
        events.RetryRequested: reviving.retry,
        events.DeleteRequested: reviving.delete,
        events.Matured: timing.matured,
        events.StartOverdue: timing.start_overdue,
        events.CloseOverdue: timing.close_overdue,
        events.Taken: running.take,
        events.Awaited: handover.wait,
        events.Withdrawn: handover.withdraw,
        events.Emitted: running.emit,
        events.CheckpointSaved: running.save_checkpoint,
        events.Completed: running.complete,
        events.Failed: running.fail,
        events.Overrun: timing.overrun,
        events.Overstayed: running.overstay,
        events.DropContinued: dropping.go_on,
        events.Unresponsive: timing.unresponsive,
        events.HostAttached: hosting.attach,
        events.HostDetached: hosting.detach,
        events.HostLost: hosting.lose,
        events.HostHeard: hosting.heard,
        events.Buried: hosting.buried,
        events.SessionWritten: session.write,
        events.SessionDeleted: session.delete,
        events.EnvironmentChanged: hosting.change_environment,
        events.MachineMeasured: hosting.measure,
        events.Launched: hosting.launched,
        events.LaunchFailed: hosting.launch_failed,
        events.HostRested: hosting.rested,
        events.Exited: hosting.exited,
        events.DrainBegan: draining.begin,
        events.DrainExpired: draining.expire,
    }
)


def decide(state: State, event: events.Event) -> Decision:
    """Apply an event, start what may start now, and return what is to be written and done."""
    tx = Transaction(event.now_ns)
    _HANDLERS[type(event)](state, tx, event)
    dispatch(state, tx)
    handover.answer_freed(state, tx)
    return tx.decision()
