"""Sessions and collections."""

from dataclasses import dataclass

from hundredfold.errors.base import HundredfoldError


@dataclass(eq=False)
class UnknownSession(HundredfoldError):
    """There is no session '{session}' here. `hundredfold session list` shows those there are."""

    session: str
    code = "NOT_FOUND"
    reason = "SESSION_NOT_FOUND"


@dataclass(eq=False)
class SessionBusy(HundredfoldError):
    """Session '{session}' has a task that is not over, {task_id}. Wait for it, or choose another session policy."""

    session: str
    task_id: str
    code = "FAILED_PRECONDITION"
    reason = "SESSION_BUSY"


@dataclass(eq=False)
class SessionConflict(HundredfoldError):
    """Session '{session}' is at version {version}, not at {expected}: somebody else wrote it. Read it again."""

    session: str
    version: int
    expected: int
    code = "ABORTED"
    reason = "SESSION_CONFLICT"


@dataclass(eq=False)
class SessionRequestReused(HundredfoldError):
    """Request id '{request_id}' has written something else to session '{session}'. Choose another id."""

    request_id: str
    session: str
    code = "ALREADY_EXISTS"
    reason = "SESSION_REQUEST_REUSED"


@dataclass(eq=False)
class UnknownCollection(HundredfoldError):
    """There is no collection '{collection}' here. `hundredfold memory list` shows those there are."""

    collection: str
    code = "NOT_FOUND"
    reason = "COLLECTION_NOT_FOUND"


@dataclass(eq=False)
class CollectionExists(HundredfoldError):
    """Collection '{collection}' is there already, and is another one: {dimension} figures, {distance} distance.

    Delete it first, or choose another name.
    """

    collection: str
    dimension: int
    distance: str
    code = "ALREADY_EXISTS"
    reason = "COLLECTION_EXISTS"
