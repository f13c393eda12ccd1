"""The one connection of a store to its server, made again when it is needed."""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from redis.connection import Connection, parse_url
from redis.exceptions import InvalidResponse, RedisError, ResponseError

Call: TypeAlias = Callable[..., Any]
"""Sends a command and returns its answer."""

_CONNECT_SECONDS: Final = 3.0
_ANSWER_SECONDS: Final = 10.0
_READ_BYTES: Final = 1 << 18


class Link:
    """A connection.

    A command is sent once: after one whose answer was lost, only its sender knows whether it may be sent again.

    Args:
        url: of the server, with its secrets.
        greet: called with `call` whenever a connection is new, before anything else is asked of it.

    Raises:
        ValueError, TypeError: the URL has options that make no sense.

    """

    def __init__(self, url: str, greet: Callable[[Call], None]) -> None:
        settings: dict[str, Any] = {"socket_connect_timeout": _CONNECT_SECONDS, "socket_timeout": _ANSWER_SECONDS}
        settings |= parse_url(url)  # type: ignore[no-untyped-call]  # redis-py has no types there
        # With the older protocol, and without a name for the driver, nothing goes to and fro before the greeting.
        settings |= {"protocol": 2, "driver_info": None, "socket_read_size": _READ_BYTES}
        self._connection: Any = settings.pop("connection_class", Connection)(**settings)
        self._greet = greet
        self._greeted = False

    def call(self, *command: bytes | str | int) -> Any:
        """Send a command and return its answer.

        Raises:
            RedisError: what the server says, or that it says nothing.
            OSError: as above.

        """
        try:
            self._be_connected()
            return self._exchange(*command)
        except ResponseError:
            raise
        except BaseException:
            self.drop()  # a late answer would be taken for that to the next command
            raise

    def drop(self) -> None:
        """Close the connection. Idempotent."""
        self._greeted = False
        self._connection.disconnect()

    def _be_connected(self) -> None:
        if self._greeted and self._is_stale():
            self.drop()
        if not self._greeted:
            self._connection.connect()
            try:
                self._greet(self._exchange)
            except BaseException:
                self.drop()
                raise
            self._greeted = True

    def _is_stale(self) -> bool:
        """Return whether the server has closed the connection since the last answer, as after a restart."""
        try:
            return bool(self._connection.can_read())
        except (RedisError, OSError):
            return True

    def _exchange(self, *command: bytes | str | int) -> Any:
        self._connection.send_command(*command)
        try:
            return self._connection.read_response()
        except ValueError as error:
            raise InvalidResponse(str(error)) from error
