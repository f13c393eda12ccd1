"""Sessions: what is written to one, by attempts with their results and by clients; and its end."""

from typing import Final

from hundredfold.errors import PayloadTooLarge, SessionBusy, SessionConflict, SessionRequestReused, UnknownSession
from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import session_pb2

from hundredfold_coordinator import keys
from hundredfold_coordinator.core.door import shut
from hundredfold_coordinator.core.events import SessionDeleted, SessionWritten
from hundredfold_coordinator.core.state import AttemptId, State
from hundredfold_coordinator.core.transaction import Transaction

REQUESTS_KEPT: Final = 100
"""How many requests of clients are recognised when they come again."""
STATE_BYTES: Final = 16 << 20
"""Most that the key-value state of a session may hold."""
_CLIENT: Final[AttemptId] = ("", 0)


def has_writes(writes: session_pb2.SessionWrites) -> bool:
    """Whether there is anything to write."""
    return bool(writes.append or writes.set or writes.delete)


def comes_too_late(session: records_pb2.SessionRecord, writes: session_pb2.SessionWrites) -> bool:
    """Whether somebody else has written since the session was read, and that matters."""
    return session.version != writes.expected_version and not writes.merge


def overflow(session: records_pb2.SessionRecord, writes: session_pb2.SessionWrites) -> PayloadTooLarge | None:
    """Return why writes are too much for the state of a session, which every attempt is given whole; None if not."""
    size = session.ByteSize() + sum(len(key) + len(value) for key, value in writes.set.items())
    return PayloadTooLarge("session.state", size, STATE_BYTES) if writes.set and size > STATE_BYTES else None


def next_version(state: State, session: records_pb2.SessionRecord) -> int:
    """Return the version that a write makes: one that no session of this name ever had.

    Those of new sessions begin behind those of all that were deleted, so that nothing has to be remembered of each.
    """
    return (session.version or state.deleted_version) + 1


def write_session(
    state: State,
    tx: Transaction,
    session_id: str,
    session: records_pb2.SessionRecord,
    writes: session_pb2.SessionWrites,
    author: AttemptId = _CLIENT,
) -> None:
    """Write to a session; `session` is what the store has of it, and is what it will have."""
    session.version = next_version(state, session)
    session.update_time.CopyFrom(tx.now)
    for item in writes.append:
        session.item_count += 1
        item.number = session.item_count
        session.item_bytes += item.ByteSize()
        item.task_id, item.attempt = author
        item.create_time.CopyFrom(tx.now)
        tx.put(keys.item(session_id, session.generation, session.item_count), item, new=True)
    for key in writes.delete:
        session.state.pop(key, None)
    for key, value in writes.set.items():
        session.state[key] = value
    tx.put(keys.session(session_id), session)


def write(state: State, tx: Transaction, event: SessionWritten) -> None:
    """Write to a session for a client, once for each request id."""
    session, request = event.session, event.request
    known = next((one for one in session.requests if one.request_id == request.request_id), None)
    if request.request_id and known:
        if known.digest == request.digest:
            tx.reply(event.reply, known.version)
        else:
            tx.refuse(event.reply, SessionRequestReused(request.request_id, event.session_id))
    elif refused := shut(state):
        tx.refuse(event.reply, refused)
    elif comes_too_late(session, event.writes):
        error = SessionConflict(event.session_id, session.version, event.writes.expected_version)
        tx.refuse(event.reply, error)
    elif too_large := overflow(session, event.writes):
        tx.refuse(event.reply, too_large)
    else:
        if request.request_id:
            del session.requests[: max(0, len(session.requests) - REQUESTS_KEPT + 1)]
            version = next_version(state, session)
            session.requests.add(request_id=request.request_id, digest=request.digest, version=version)
        write_session(state, tx, event.session_id, session, event.writes)
        tx.reply(event.reply, session.version)


def delete(state: State, tx: Transaction, event: SessionDeleted) -> None:
    """Delete a session that no task has or waits for; its items, which may be many, go page by page after that."""
    busy = next((task_id for task_id, one in state.tasks.items() if one.task.spec.session == event.session_id), None)
    if busy:
        tx.refuse(event.reply, SessionBusy(event.session_id, busy))
        return
    if not event.session.version:
        tx.refuse(event.reply, UnknownSession(event.session_id))
        return
    state.deleted_version = max(state.deleted_version, event.session.version)
    tx.put(keys.VERSION, records_pb2.VersionRecord(version=state.deleted_version))
    tx.delete(keys.session(event.session_id))
    note = records_pb2.DeletionRecord(generation=event.session.generation)
    tx.put(keys.deletion_of_items(event.session_id), note)
    tx.reply(event.reply)
