"""What a search for words finds: the text of a JSON value, however it is written down.

Texts and numbers count, in whatever case; names of fields, `true`, `false` and `null` do not.
"""

from collections.abc import Iterator
from typing import Any


def words_of(query: str) -> list[str]:
    """Return the words of a query."""
    return query.casefold().split()


def has_words(content: Any, words: list[str]) -> bool:
    """Whether a JSON value has every word: each as a part of its text."""
    text = "\n".join(_texts(content)).casefold()
    return all(word in text for word in words)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, bool):
        return
    elif isinstance(value, int | float):
        yield str(value)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
