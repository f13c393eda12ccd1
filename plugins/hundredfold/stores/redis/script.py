"""A script in the server: called by its digest, and loaded when the server does not know it."""

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final

from redis.exceptions import NoScriptError

from hundredfold.stores.redis.link import Link

_SHEBANG: Final = "#!lua"


class Script:
    """A Lua file of this package.

    Args:
        name: of the file.
        flags: what its first line says besides.

    """

    def __init__(self, name: str, flags: str = "") -> None:
        text = (files(__package__) / name).read_text()
        self._text = text.replace(_SHEBANG, f"{_SHEBANG} flags={flags}", 1) if flags else text
        self._digest = sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    def run(self, link: Link, keys: Sequence[str], arguments: Sequence[bytes | str | int]) -> Any:
        """Run it, atomically; a script that the server does not know has not begun.

        Raises: as `Link.call`.
        """
        command = ("EVALSHA", self._digest, len(keys), *keys, *arguments)
        try:
            return link.call(*command)
        except NoScriptError:
            link.call("SCRIPT", "LOAD", self._text)
            return link.call(*command)
