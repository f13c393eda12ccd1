"""What the errors of a server and of its connection mean, and the cure for each."""

import ssl
from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import InvalidResponse, RedisError
from redis.exceptions import TimeoutError as TimedOut

from hundredfold.errors import Fenced, HundredfoldError, StoreFull, StoreUnavailable, StoreUnreachable

RETRY_SECONDS: Final = 1
"""When to try again what was not answered."""

_ROOM_SECONDS: Final = 5
"""When to try again what was refused for want of room."""

LOST: Final = (
    "it has lost changes that it had acknowledged: it was restarted without `appendfsync always`, a replica that was"
    " behind has taken its place, or it was emptied. Restore its data if they can be; whoever starts again takes what"
    " it has for the whole truth"
)
DISORDER: Final = (
    "its records and their order do not fit together: somebody else has deleted or written keys of this namespace;"
    " restore its data, or choose another namespace"
)
_NOT_A_SERVER: Final = "what answers there is neither Redis nor Valkey; look at host and port"

_TEMPORARY: Final = MappingProxyType(
    {
        "LOADING": "it is loading its data",
        "BUSY": "a script of somebody else keeps it busy; `SCRIPT KILL` ends that",
        "READONLY": "it is a replica and takes no writes; its primary is what the URL should lead to",
        "MASTERDOWN": "it is a replica that has lost its primary",
        "CLUSTERDOWN": "its cluster is down",
        "TRYAGAIN": "its cluster is moving the keys",
        "ASK": "its cluster is moving the keys",
        "NOREPLICAS": "it has fewer replicas than its min-replicas-to-write, and takes no writes",
        "MISCONF": "it takes no writes because it cannot save its data; its log says why",
    }
)
_LASTING: Final = MappingProxyType(
    {
        "NOAUTH": "it wants a password: redis://:PASSWORD@HOST",
        "WRONGPASS": "user or password is wrong; special characters in a password are written as %XX",
        "NOPERM": "its user may not do what a store does; docs/store.md has the rule to give it",
        "DENIED": "it is in protected mode and takes no connections from other machines; give it a password",
        "WRONGTYPE": "somebody else uses keys of this namespace; choose another one",
        "DISORDER": DISORDER,
        "BEHIND": LOST,
    }
)


def code_of(error: BaseException) -> str:
    """Return the word with which a server's error begins; empty if it is none of a server."""
    known = getattr(error, "status_code", None)
    return str(known) if known else str(error).partition(" ")[0] if isinstance(error, RedisError) else ""


def explain(error: Exception, url: str) -> HundredfoldError:
    """Return the error of the contract that says what redis-py has raised, and what to do."""
    code, text = code_of(error), str(error)
    if code == "FENCED":
        return Fenced()
    if code == "OOM" or (code == "MISCONF" and "No space left" in text):
        return StoreFull(_ROOM_SECONDS)
    if code in _TEMPORARY:
        return StoreUnreachable(url, _TEMPORARY[code], RETRY_SECONDS)
    lasting = _LASTING.get(code) or _lasting(error, code, text)
    if lasting:
        return StoreUnavailable(url, lasting)
    if isinstance(error, Disconnected | TimedOut | OSError):
        return StoreUnreachable(url, text.rstrip("."), RETRY_SECONDS)
    return StoreUnavailable(url, text)


def _lasting(error: Exception, code: str, text: str) -> str:
    if code == "MOVED":
        # Its text is the slot and the node.
        return f"another node of its cluster has this namespace: name {text.partition(' ')[2]} in the URL"
    if "without any password" in text or "no password is set" in text:
        return "it has no password, and the URL has one; leave it out"
    if "DB index" in text or "SELECT is not allowed" in text:
        return f"it has no such database ({text}); choose a smaller number, or a namespace instead"
    if isinstance(error, InvalidResponse):
        return _NOT_A_SERVER
    return next(filter(None, map(_cure_of_cause, _causes(error))), "")


def _cure_of_cause(cause: BaseException) -> str:
    if isinstance(cause, PermissionError):
        return f"{cause.strerror}; look at owner and mode of its socket"
    if isinstance(cause, ssl.SSLError):
        return f"TLS fails ({cause.reason or cause}); look at ssl_ca_certs in the URL, and whether the port has TLS"
    return ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
