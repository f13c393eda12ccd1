"""What psycopg raises, as the errors of the store contract.

A failed attempt to connect has no SQLSTATE, as libpq keeps it to itself: those are told apart by their English text.
One whose text is not known counts as a server that may answer later.
"""

from typing import Final

import psycopg

from hundredfold.errors import HundredfoldError, StoreFull, StoreUnavailable, StoreUnreachable

RETRY_SECONDS: Final = 1
"""When to ask a server again that did not answer."""

_FULL_RETRY_SECONDS: Final = 5
_DISK_FULL: Final = "53100"

READ_ONLY: Final = "25006"

_PASSING: Final = frozenset(
    {
        *("57P01", "57P02", "57P03", "57P05"),  # shut down, crashed, starting up, idle for too long
        *("53000", "53200", "53300", "53400"),  # short of memory, connections or something else
        *("40001", "40P01", "55P03", "57014"),  # another commit was in the way, or it took too long
        *(READ_ONLY, "57000", "58000"),
    }
)
_NO_TLS: Final = "TLS"
"""Stands for the SQLSTATE that a connection without the TLS that was asked for has not."""

_CURES: Final = {
    _NO_TLS: "; correct sslmode or sslrootcert in the URL, or the server's certificate",
    "42501": "; grant the role CREATE on the database, or let it own the schema hundredfold",
    "3D000": "; create the database, or correct its name in the URL",
    "28P01": "; correct the password in the URL, or in ~/.pgpass",
    "28000": "; correct the user in the URL, or let it in by pg_hba.conf",
    "42P01": "; the schema hundredfold was changed by hand: restore it",
    "42883": "; the schema hundredfold was changed by hand: restore it",
    "54000": "; keys may have 2600 bytes",
}
_REFUSALS: Final = (
    ("password authentication failed", "28P01"),
    ("no password supplied", "28P01"),
    ("authentication failed", "28000"),
    ("no pg_hba.conf entry", "28000"),
    ("is not permitted to log in", "28000"),
    ("permission denied for database", "42501"),
    ("server does not support SSL", _NO_TLS),
    ("certificate verify failed", _NO_TLS),
    ("root certificate file", _NO_TLS),
    ("does not match host name", _NO_TLS),
)


class NoAnswer(psycopg.OperationalError):
    """The server was silent for too long."""


def explain(url: str, error: Exception) -> HundredfoldError:
    """Return the error that says what has happened."""
    if isinstance(error, HundredfoldError):
        return error
    state, text = _state(error), " ".join(str(error).split())
    if state == _DISK_FULL:
        return StoreFull(_FULL_RETRY_SECONDS)
    if is_passing(error):
        return StoreUnreachable(url=url, problem=text, retry_seconds=RETRY_SECONDS)
    return StoreUnavailable(url=url, problem=text + _CURES.get(state, ""))


def is_passing(error: Exception) -> bool:
    """Tell whether the same call may succeed later."""
    state = _state(error)
    lost = not state and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return lost or state.startswith("08") or state in _PASSING


def _state(error: Exception) -> str:
    """Return the SQLSTATE; empty if there is none, as when the connection is lost."""
    if state := getattr(error, "sqlstate", None):
        return str(state)
    if not isinstance(error, psycopg.OperationalError):
        return ""
    text = str(error)
    if "does not exist" in text and 'FATAL:  database "' in text:
        return "3D000"
    if "does not exist" in text and 'FATAL:  role "' in text:
        return "28000"
    return next((state for words, state in _REFUSALS if words in text), "")
