"""Stores: full, away, in use, damaged."""

from dataclasses import dataclass

from hundredfold.errors.base import HundredfoldError


@dataclass(eq=False)
class StoreUnavailable(HundredfoldError):
    """The store at {url} cannot be used: {problem}."""

    url: str
    problem: str
    code = "UNAVAILABLE"
    reason = "STORE_UNAVAILABLE"


@dataclass(eq=False)
class IndexUnavailable(HundredfoldError):
    """The vectors of the store at {url} cannot be searched: {problem}. Its records are there; search again later."""

    url: str
    problem: str
    # Not UNAVAILABLE, which agents wait for without a word: nobody knows whether this passes by itself.
    code = "FAILED_PRECONDITION"
    reason = "INDEX_UNAVAILABLE"


@dataclass(eq=False)
class StoreUnreachable(HundredfoldError):
    """The store at {url} does not answer: {problem}. Tasks that run go on. Try again in {retry_seconds} s."""

    url: str
    problem: str
    retry_seconds: int
    code = "UNAVAILABLE"
    reason = "STORE_UNREACHABLE"


@dataclass(eq=False)
class StoreFull(HundredfoldError):
    """The store has no room left, and nothing was written. Free disk space; try again in {retry_seconds} s.

    Tasks that run are finished meanwhile.
    """

    retry_seconds: int
    code = "RESOURCE_EXHAUSTED"
    reason = "STORE_FULL"


@dataclass(eq=False)
class StoreDamaged(HundredfoldError):
    """{file} has lost changes that were durable once, {missing} at its end. Nothing was changed in it.

    Keep a copy of it and of {file}-wal, then restore a newer backup if there is one. `hundredfold store accept-loss`
    takes what is there for the whole truth.
    """

    file: str
    missing: int
    code = "DATA_LOSS"
    reason = "STORE_DAMAGED"


@dataclass(eq=False)
class StoreInUse(HundredfoldError):
    """The store at {url} is in use by {holder}. Stop that one first, or ask it; `serve --standby` waits for it."""

    url: str
    holder: str
    code = "FAILED_PRECONDITION"
    reason = "STORE_IN_USE"


@dataclass(eq=False)
class StoreNotEmpty(HundredfoldError):
    """The store at {url} has something in it. Name an empty one, or empty it first."""

    url: str
    code = "FAILED_PRECONDITION"
    reason = "STORE_NOT_EMPTY"


@dataclass(eq=False)
class StoreEmpty(HundredfoldError):
    """The store at {url} has nothing in it that could be copied. Look whether its URL is the one you mean."""

    url: str
    code = "FAILED_PRECONDITION"
    reason = "STORE_EMPTY"


@dataclass(eq=False)
class StoreUnfinished(HundredfoldError):
    """A copy into the store at {url} was not finished. Empty it, and copy again."""

    url: str
    code = "FAILED_PRECONDITION"
    reason = "STORE_UNFINISHED"


@dataclass(eq=False)
class CopyFailed(HundredfoldError):
    """{source} has {records} record(s) and {target} {copied}, or others. Somebody has written to one; copy again."""

    source: str
    target: str
    records: int
    copied: int
    code = "ABORTED"
    reason = "COPY_FAILED"


@dataclass(eq=False)
class StoreCannot(HundredfoldError):
    """The store at {url} cannot {action}. Use what its backend brings along for that."""

    url: str
    action: str
    code = "UNIMPLEMENTED"
    reason = "STORE_CANNOT"


@dataclass(eq=False)
class BackupFailed(HundredfoldError):
    """No backup was made at {path}: {problem}. Name a new file, in a directory that has room and may be written."""

    path: str
    problem: str
    code = "FAILED_PRECONDITION"
    reason = "BACKUP_FAILED"


@dataclass(eq=False)
class Fenced(HundredfoldError):
    """Another coordinator has taken over this store; nothing was written. This one must end."""

    code = "ABORTED"
    reason = "FENCED"
