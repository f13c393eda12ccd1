"""A behaviour that counts letters and remembers what it has seen, and the embedder it goes by."""

from collections import Counter
from collections.abc import Iterable, Sequence
from string import ascii_lowercase

from hundredfold import Embedder, SyncContext, behaviour, hookimpl


@behaviour
def letters(ctx: SyncContext, text: str, collection: str = "") -> dict[str, int]:
    """Count the letters of a text; with a collection, remember it there."""
    ctx.session.append("user", text)
    if collection:
        ctx.memory(collection).upsert(text, text)
    return dict(Counter(letter for letter in text.lower() if letter in ascii_lowercase))


@behaviour
def alike(ctx: SyncContext, text: str, collection: str) -> list[str]:
    """Return the three remembered texts whose letters are most like those of a text."""
    return [match.content for match in ctx.memory(collection).search(text, 3)]


class Letters:
    """How often each letter occurs: a vector of 26 figures."""

    name = "letters"
    dimension = 26

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector for each text."""
        return [[float(text.lower().count(letter)) for letter in ascii_lowercase] for text in texts]


@hookimpl
def hundredfold_embedders() -> Iterable[Embedder]:
    """Return the embedder of this plugin."""
    return [Letters()]
