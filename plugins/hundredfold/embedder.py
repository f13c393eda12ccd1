"""Embedders: what makes vectors of texts. They run where behaviours run, and nowhere else."""

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from hundredfold.errors import UnknownEmbedder


@runtime_checkable
class Embedder(Protocol):
    """Makes vectors of texts; of the same text always the same vector."""

    @property
    def name(self) -> str:
        """What collections know it by."""

    @property
    def dimension(self) -> int:
        """Number of figures of its vectors."""

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return a vector for each text. Called in a worker, never in the zygote; a model may be loaded then."""


class WordLlama:
    """The built-in embedder: a static model that comes in a wheel (extra `embed`), and needs no network.

    Its model takes about 0.3 s of CPU time to load, in every worker that embeds a text. With
    `@behaviour(warm_up=wordllama.load)` the zygote loads it once, and all its workers have it.
    """

    name: Final = "wordllama"
    dimension: Final = 256

    def __init__(self) -> None:
        self._model: Any = None

    def load(self) -> None:
        """Load the model. Idempotent.

        Raises:
            UnknownEmbedder: the extra is not installed.

        """
        if self._model is None:
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # or its threads would be in the way of forks
            try:
                package = import_module("wordllama")
            except ImportError as error:
                raise UnknownEmbedder(self.name, "none that could be loaded") from error
            # The wheel has its tokenizer where the package looks for what it has downloaded.
            files = Path(str(package.__file__)).parent
            self._model = package.WordLlama.load(dim=self.dimension, cache_dir=files, disable_download=True)

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """See `Embedder.embed`."""
        self.load()
        return [[float(figure) for figure in vector] for vector in self._model.embed(list(texts))]


wordllama: Final = WordLlama()
"""The one that is registered."""
