"""The base of all errors: a docstring that is the message and the cure, fields that are the figures in it."""

import re
from dataclasses import dataclass, fields
from inspect import cleandoc
from typing import ClassVar, Final

DOMAIN: Final = "hundredfold"
"""`ErrorInfo.domain` of every error."""

_FIGURE: Final = re.compile(r"\{(\w+)\}(\.?)")


@dataclass(eq=False)
class HundredfoldError(Exception):
    """Something went wrong inside Hundredfold."""

    code: ClassVar[str] = "INTERNAL"
    reason: ClassVar[str] = "INTERNAL"

    def __str__(self) -> str:
        """Return the message and the cure: the class's docstring, with the figures filled in."""
        text = " ".join(cleandoc(type(self).__doc__ or self.reason).split())
        figures = {name: str(value) for name, value in self.figures().items()}
        # A figure that is a sentence itself, such as another one's message, brings its own full stop.
        return _FIGURE.sub(
            lambda m: figures[m[1]] + (m[2] if not figures[m[1]].endswith((".", "?", "!")) else ""), text
        )

    def __reduce__(self) -> tuple[type["HundredfoldError"], tuple[str | int, ...]]:
        """Let errors travel between processes: they are made of their fields, not of `args`."""
        return type(self), tuple(self.figures().values())

    def figures(self) -> dict[str, str | int]:
        """Return the fields by name, as they travel in `ErrorInfo.metadata`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
