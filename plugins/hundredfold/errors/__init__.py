"""Errors: what a call to Hundredfold can answer instead of a result.

One class per error; its docstring is the message and the cure, its fields are the figures in them. The class also
carries the gRPC code and the `google.rpc.ErrorInfo` reason under which it travels, so that `ERRORS` is the one table
of all of them. What ends an *attempt* is a failure, not an error: see `proto/hundredfold/v1/attempt.proto`.

See also: `hundredfold.status`, which puts them on the wire and takes them off.
"""

from typing import Final

from hundredfold.errors.base import DOMAIN, HundredfoldError
from hundredfold.errors.calls import (
    InternalError,
    InvalidArgument,
    PayloadTooLarge,
    PermissionDenied,
    TimedOut,
    Unauthenticated,
    Unreachable,
)
from hundredfold.errors.memory import (
    CollectionExists,
    SessionBusy,
    SessionConflict,
    SessionRequestReused,
    UnknownCollection,
    UnknownSession,
)
from hundredfold.errors.plugins import (
    BrokenEnvironment,
    BrokenPlugin,
    UnknownBehaviour,
    UnknownEmbedder,
    UnknownEnvironment,
)
from hundredfold.errors.settings import (
    DataDirectoryBusy,
    InvalidSetting,
)
from hundredfold.errors.stores import (
    BackupFailed,
    CopyFailed,
    Fenced,
    IndexUnavailable,
    StoreCannot,
    StoreDamaged,
    StoreEmpty,
    StoreFull,
    StoreInUse,
    StoreNotEmpty,
    StoreUnavailable,
    StoreUnfinished,
    StoreUnreachable,
)
from hundredfold.errors.tasks import (
    Draining,
    EventQuotaExceeded,
    InvalidInput,
    QueueFull,
    RequestIdReused,
    StaleAttempt,
    TaskFailed,
    TaskHasResult,
    TaskNotEnded,
    UnknownTask,
)

__all__ = [
    "DOMAIN",
    "ERRORS",
    "BackupFailed",
    "BrokenEnvironment",
    "BrokenPlugin",
    "CollectionExists",
    "CopyFailed",
    "DataDirectoryBusy",
    "Draining",
    "EventQuotaExceeded",
    "Fenced",
    "HundredfoldError",
    "IndexUnavailable",
    "InternalError",
    "InvalidArgument",
    "InvalidInput",
    "InvalidSetting",
    "PayloadTooLarge",
    "PermissionDenied",
    "QueueFull",
    "RequestIdReused",
    "SessionBusy",
    "SessionConflict",
    "SessionRequestReused",
    "StaleAttempt",
    "StoreCannot",
    "StoreDamaged",
    "StoreEmpty",
    "StoreFull",
    "StoreInUse",
    "StoreNotEmpty",
    "StoreUnavailable",
    "StoreUnfinished",
    "StoreUnreachable",
    "TaskFailed",
    "TaskHasResult",
    "TaskNotEnded",
    "TimedOut",
    "Unauthenticated",
    "UnknownBehaviour",
    "UnknownCollection",
    "UnknownEmbedder",
    "UnknownEnvironment",
    "UnknownSession",
    "UnknownTask",
    "Unreachable",
]


def _all_errors(base: type[HundredfoldError]) -> list[type[HundredfoldError]]:
    return [cls for child in base.__subclasses__() for cls in (child, *_all_errors(child))]


ERRORS: Final = {cls.reason: cls for cls in _all_errors(HundredfoldError)}
"""Every error by the reason under which it travels."""
