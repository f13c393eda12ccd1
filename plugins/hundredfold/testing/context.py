"""A context for unit tests of behaviours: what a behaviour is given, with nobody at the other end.

ctx = sync_context(FakePort(items=[Item("user", "hello")]))
my_behaviour(ctx, "input")
assert ctx.session.appended == [...]
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hundredfold.context import Context, SyncContext
from hundredfold.memory import Match, Vector
from hundredfold.session import AsyncSession, Item, Json, Session
from hundredfold.words import has_words, words_of


class FakePort:
    """The far end of a context: has what it is given, and keeps what it is told.

    Args:
        items: of the session, as far as they were there before.
        matches: what every search in a collection finds, by collection.
        embed: makes the vector of a text.

    Attributes:
        events: what was emitted.
        checkpoints: what was saved.

    """

    def __init__(
        self,
        *,
        items: Iterable[Item] = (),
        matches: Mapping[str, Sequence[Match]] | None = None,
        embed: Callable[[str], Vector] = lambda text: [float(len(text))],
    ) -> None:
        self.items = list(items)
        self.matches = dict(matches or {})
        self._embed = embed
        self.events: list[Json] = []
        self.checkpoints: list[Json] = []

    def emit(self, value: Json) -> None:
        """See `hundredfold.context.Port`."""
        self.events.append(value)

    def save_checkpoint(self, value: Json) -> None:
        """See `hundredfold.context.Port`."""
        self.checkpoints.append(value)

    def read_items(self, after: int, limit: int) -> list[Item]:
        """See `hundredfold.session.SessionReader`."""
        return self.items[after : after + limit]

    def find_items(self, query: str, limit: int, role: str) -> list[Item]:
        """See `hundredfold.session.SessionReader`."""
        words = words_of(query)
        found = [item for item in self.items[::-1] if role in ("", item.role) and has_words(item.content, words)]
        return found[:limit]

    def embed(self, collection: str, text: str) -> Vector:  # noqa: ARG002  # one embedder for all
        """See `hundredfold.memory.MemoryPort`."""
        return self._embed(text)

    def check_dimension(self, collection: str, dimension: int) -> None:
        """See `hundredfold.memory.MemoryPort`: here everything fits."""

    def search_memory(
        self,
        collection: str,
        vector: Vector,  # noqa: ARG002  # what is found was said before
        limit: int,
        where: Mapping[str, Json],
    ) -> list[Match]:
        """See `hundredfold.memory.MemoryPort`."""
        return [match for match in self.matches.get(collection, ()) if where.items() <= match.metadata.items()][:limit]


def sync_context(port: FakePort | None = None, *, session: str = "session", **fields: Any) -> SyncContext:
    """Return a context for a sync behaviour; `fields` are those of `SyncContext`."""
    port = port or FakePort()
    given = {"task_id": "task", "attempt": 1, **fields}
    return SyncContext(port, session=Session(session, items=port.items, reader=port), **given)


def async_context(port: FakePort | None = None, *, session: str = "session", **fields: Any) -> Context:
    """Return a context for an async behaviour; `fields` are those of `Context`."""
    port = port or FakePort()
    given = {"task_id": "task", "attempt": 1, **fields}
    return Context(port, session=AsyncSession(session, items=port.items, reader=port), **given)
