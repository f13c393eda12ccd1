"""The front door of Hundredfold: everything that plugins and clients import.

Names are loaded on first use (PEP 562), so that a plugin that imports one noun pays for that noun only: importing this
package alone brings in neither gRPC nor pydantic.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

# Not lazy: `behaviour` is a function *and* a module, and whichever is bound last is what `hundredfold.behaviour` means.
from hundredfold.behaviour import Behaviour, behaviour

if TYPE_CHECKING:
    from hundredfold.client import Client, Submission, SyncClient
    from hundredfold.context import Context, SyncContext
    from hundredfold.embedder import Embedder
    from hundredfold.errors import HundredfoldError
    from hundredfold.hooks import hookimpl
    from hundredfold.injection import Injection
    from hundredfold.memory import Collection, Match, Remembered
    from hundredfold.policy import Limits, NonRetryable, Retry
    from hundredfold.session import Item, SessionSnapshot

__all__ = [
    "Behaviour",
    "Client",
    "Collection",
    "Context",
    "Embedder",
    "HundredfoldError",
    "Injection",
    "Item",
    "Limits",
    "Match",
    "NonRetryable",
    "Remembered",
    "Retry",
    "SessionSnapshot",
    "Submission",
    "SyncClient",
    "SyncContext",
    "behaviour",
    "hookimpl",
]

_HOMES: Final = {
    "Client": "hundredfold.client",
    "Collection": "hundredfold.memory",
    "Context": "hundredfold.context",
    "Embedder": "hundredfold.embedder",
    "HundredfoldError": "hundredfold.errors",
    "Injection": "hundredfold.injection",
    "Item": "hundredfold.session",
    "Limits": "hundredfold.policy",
    "Match": "hundredfold.memory",
    "NonRetryable": "hundredfold.policy",
    "Remembered": "hundredfold.memory",
    "Retry": "hundredfold.policy",
    "SessionSnapshot": "hundredfold.session",
    "Submission": "hundredfold.client",
    "SyncClient": "hundredfold.client",
    "SyncContext": "hundredfold.context",
    "hookimpl": "hundredfold.hooks",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
