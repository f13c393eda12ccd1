"""Sessions and vector memory for `SyncClient`: the same calls, blocking."""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from hundredfold.client.memory import MemoryCalls
from hundredfold.client.sessions import SessionCalls
from hundredfold.memory import Collection, Match
from hundredfold.session import Item, SessionSnapshot

_T = TypeVar("_T")
_Run = Callable[[Coroutine[Any, Any, _T]], _T]


class SyncSessionCalls:
    """Methods and errors as for `SessionCalls`."""

    def __init__(self, calls: SessionCalls, run: _Run[Any], iterate: Callable[..., Iterator[Any]]) -> None:
        self._calls = calls
        self._run = run
        self._iterate = iterate

    def get(self, session_id: str, **fields: Any) -> SessionSnapshot:
        """See `SessionCalls.get`."""
        session: SessionSnapshot = self._run(self._calls.get(session_id, **fields))
        return session

    def list(self, prefix: str = "") -> Iterator[SessionSnapshot]:
        """See `SessionCalls.list`."""
        return self._iterate(self._calls.list(prefix))

    def commit(self, session_id: str, *arguments: Any, **fields: Any) -> int:
        """See `SessionCalls.commit`."""
        version: int = self._run(self._calls.commit(session_id, *arguments, **fields))
        return version

    def search(self, session_id: str, query: str, **fields: Any) -> Sequence[Item]:
        """See `SessionCalls.search`."""
        items: Sequence[Item] = self._run(self._calls.search(session_id, query, **fields))
        return items

    def delete(self, session_id: str) -> None:
        """See `SessionCalls.delete`."""
        self._run(self._calls.delete(session_id))


class SyncMemoryCalls:
    """Methods and errors as for `MemoryCalls`."""

    def __init__(self, calls: MemoryCalls, run: _Run[Any]) -> None:
        self._calls = calls
        self._run = run

    def create(self, name: str, dimension: int, **fields: Any) -> Collection:
        """See `MemoryCalls.create`."""
        collection: Collection = self._run(self._calls.create(name, dimension, **fields))
        return collection

    def list(self) -> Sequence[Collection]:
        """See `MemoryCalls.list`."""
        collections: Sequence[Collection] = self._run(self._calls.list())
        return collections

    def delete(self, name: str) -> None:
        """See `MemoryCalls.delete`."""
        self._run(self._calls.delete(name))

    def write(self, collection: str, *arguments: Any, **fields: Any) -> None:
        """See `MemoryCalls.write`."""
        self._run(self._calls.write(collection, *arguments, **fields))

    def search(self, collection: str, *arguments: Any, **fields: Any) -> Sequence[Match]:
        """See `MemoryCalls.search`."""
        found: Sequence[Match] = self._run(self._calls.search(collection, *arguments, **fields))
        return found
