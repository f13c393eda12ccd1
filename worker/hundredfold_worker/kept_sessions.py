"""The sessions that a long-lived agent keeps in its own memory: nobody else has them, and they end with it."""

from dataclasses import dataclass, field, replace
from typing import TypeVar

from hundredfold.session import BaseSession, Item, Json, copy_of
from hundredfold.words import has_words, words_of

_S = TypeVar("_S", bound=BaseSession)


@dataclass(slots=True)
class KeptSession:
    """What there is of one session; it is its own `hundredfold.session.SessionReader`."""

    version: int = 0
    items: list[Item] = field(default_factory=list)
    state: dict[str, Json] = field(default_factory=dict)

    def read_items(self, after: int, limit: int) -> list[Item]:
        """See `SessionReader`."""
        return list(map(_copy, self.items[after : after + limit]))

    def find_items(self, query: str, limit: int, role: str) -> list[Item]:
        """See `SessionReader`."""
        words = words_of(query)
        found = [item for item in reversed(self.items) if role in ("", item.role) and has_words(item.content, words)]
        return list(map(_copy, found[:limit]))


class KeptSessions:
    """All of them, by name."""

    def __init__(self) -> None:
        self._kept: dict[str, KeptSession] = {}

    def open(self, cls: type[_S], name: str) -> _S:
        """Return a session as an attempt has it: copies, for what it changes in place is not to be kept."""
        kept = self._kept.setdefault(name, KeptSession())
        state = copy_of(kept.state)
        return cls(name, version=kept.version, state=state, item_count=len(kept.items), reader=kept)

    def keep(self, session: BaseSession, task_id: str) -> None:
        """Take over what an attempt has written, which has delivered its result."""
        kept = self._kept.setdefault(session.id, KeptSession())
        for item in session.appended:
            kept.items.append(replace(item, number=len(kept.items) + 1, task_id=task_id))
        kept.state |= session.state.written
        for key in session.state.deleted:
            kept.state.pop(key, None)
        kept.version += 1


def _copy(item: Item) -> Item:
    return replace(item, content=copy_of(item.content), metadata=copy_of(dict(item.metadata)))
