"""Workers that stay, for a core: how they come to be, deliver and ask for more."""

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from hundredfold.v1 import task_pb2
from hundredfold_coordinator.core import effects, events
from hundredfold_coordinator.core.resident import Next

if TYPE_CHECKING:
    from tests.unit.core.conftest import Core, Told

POOL, STATEFUL, SEQUENTIAL = task_pb2.STRATEGY_POOL, task_pb2.STRATEGY_STATEFUL, task_pb2.STRATEGY_SEQUENTIAL
KILLED = {"signal": 9}


def begin(core: "Core", task_id: str = "t1", strategy: task_pb2.Strategy.ValueType = POOL, **spec: Any) -> str:
    """Submit the task that a resident is made for, and let it run; return the resident's credential."""
    credential = core.submit(task_id, strategy=strategy, **spec).one(effects.Launch).credential
    core.launched(task_id)
    core.take(credential)
    return credential


def deliver(core: "Core", task_id: str, **fields: Any) -> "Told":
    """Deliver the result of a task's newest attempt, and ask for the next one."""
    return core.complete(core.newest(task_id)[0], **{"wants_next": True, **fields})


def ask(core: "Core", credential: str, reply: str = "asking") -> "Told":
    return core.tell(events.Awaited, credential_hash=hashed(credential), reply=reply)


def hashed(credential: str) -> bytes:
    return sha256(credential.encode()).digest()


def given(told: "Told") -> str:
    """Return the task that a resident was given."""
    answer: Next = told.reply
    assert answer.record
    assert answer.token
    return answer.record.task.id
