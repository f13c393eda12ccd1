"""A store on a Redis or Valkey server.

A commit is one script, so that it is atomic; each has a number, and the server keeps the last number of every opener
with its answer. So a commit that is repeated because its answer was lost is not made twice, one that reaches the server
after it was repeated is not made at all, and a server that does not know the last number any more has lost something.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Final, NoReturn, ParamSpec, TypeVar

from redis.exceptions import RedisError

from hundredfold.errors import Fenced, HundredfoldError, StoreUnavailable, StoreUnreachable
from hundredfold.stores.contract import Batch, Capabilities, Committed, Conflict, Entry, Guard, Record, end_of_prefix
from hundredfold.stores.redis.address import Address
from hundredfold.stores.redis.examination import examine
from hundredfold.stores.redis.link import Call, Link
from hundredfold.stores.redis.problems import DISORDER, LOST, explain
from hundredfold.stores.redis.request import bounds, decoded, encoded, makes_no_room_less, record_in, version_in
from hundredfold.stores.redis.script import Script

_P = ParamSpec("_P")
_T = TypeVar("_T")

_KEPT_SECONDS: Final = 7 * 86400
"""How long the server keeps an opener's last answer."""

_MISSED_SECONDS: Final = 86400
"""How old that answer may be for its absence to be a loss."""

_COMMIT: Final = Script("commit.lua")
_COMMIT_WHEN_FULL: Final = Script("commit.lua", flags="allow-oom")
_SCAN: Final = Script("scan.lua")


def _typed(method: Callable[_P, _T]) -> Callable[_P, _T]:
    """Turn what redis-py and the network raise into the contract's errors; a loss is never forgotten."""

    @wraps(method)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        store: RedisStore = args[0]  # type: ignore[assignment]  # it wraps methods only
        if store.broken:
            raise store.broken
        try:
            return method(*args, **kwargs)
        except (RedisError, OSError) as error:
            raise store.explain(error) from error

    return wrapper


class RedisStore:
    """The store at an address.

    Raises:
        StoreUnavailable: the server is not fit for a store; the error says what to do.
        StoreUnreachable: the server does not answer.

    """

    def __init__(self, address: Address) -> None:
        self.url = address.url
        self.broken: HundredfoldError | None = None
        self._address = address
        self._capabilities: Capabilities | None = None
        self._records = f"{{{address.namespace}}}:records"
        self._order = f"{{{address.namespace}}}:order"
        self._opener = f"{{{address.namespace}}}:opener:{secrets.token_hex(8)}"
        self._seen = 0
        self._number = 0
        self._answered = 0
        self._answered_at = 0.0
        self._unanswered: list[bytes] | None = None
        try:
            self._link = Link(address.driver_url, self._greet)
        except (TypeError, ValueError) as error:
            problem = f"the options of its URL do not fit ({type(error).__name__})"
            raise StoreUnavailable(self.url, problem) from error
        try:
            self.get([])
        except BaseException:
            self._link.drop()
            raise

    @property
    def capabilities(self) -> Capabilities:
        """See `Store.capabilities`."""
        return self._capabilities or Capabilities(durable=False, shared=True)

    @_typed
    def get(self, keys: Sequence[bytes]) -> list[Record | None]:
        """See `Store.get`."""
        clock, *found = self._link.call("HMGET", self._records, b"", *keys)
        self._note(version_in(clock))
        return [record_in(stored) if stored and key else None for key, stored in zip(keys, found, strict=True)]

    @_typed
    def scan(self, prefix: bytes, *, after: bytes = b"", limit: int = 1000, reverse: bool = False) -> list[Entry]:
        """See `Store.scan`."""
        first, last = bounds(prefix, end_of_prefix(prefix), after, reverse=reverse)
        arguments = (first, last, limit, "REV" if reverse else "")
        clock, keys, found = _SCAN.run(self._link, (self._records, self._order), arguments)
        self._note(version_in(clock))
        if None in found:
            self._break(DISORDER)
        return [Entry(key, record_in(stored)) for key, stored in zip(keys, found, strict=True)]

    @_typed
    def commit(self, batches: Iterable[Batch], guard: Guard | None = None) -> list[Committed | Conflict]:
        """See `Store.commit`."""
        batches = list(batches)
        request = encoded(batches, guard)
        if request != self._unanswered:
            self._number += 1
            self._unanswered = request
        script = _COMMIT_WHEN_FULL if makes_no_room_less(batches) else _COMMIT
        keys = (self._records, self._order, self._opener)
        progress = (self._number, self._last_answered(), self._seen, _KEPT_SECONDS)
        results = decoded(script.run(self._link, keys, [*progress, *request]), len(batches))
        self._conclude(results)
        return results

    def close(self) -> None:
        """See `Store.close`."""
        self.broken = self.broken or StoreUnavailable(self.url, "it is closed")
        self._link.drop()

    def explain(self, error: Exception) -> HundredfoldError:
        """Return the error that says what redis-py has raised, and remember it if nothing can follow."""
        problem = explain(error, self.url)
        if isinstance(problem, Fenced):
            self._unanswered = None
        elif isinstance(problem, StoreUnreachable):
            self._link.drop()  # after a failover, its name may lead elsewhere
        elif isinstance(problem, StoreUnavailable) and problem.problem in (LOST, DISORDER):
            self.broken = problem
        return problem

    def _greet(self, call: Call) -> None:
        found = Capabilities(durable=examine(call, self._address), shared=True)
        if self._capabilities and self._capabilities.durable and not found.durable:
            self._break("it was durable when it was opened, and is so no more; `CONFIG SET appendfsync always`")
        self._capabilities = found

    def _note(self, version: int) -> None:
        if version < self._seen:
            self._break(LOST)
        self._seen = version

    def _break(self, problem: str) -> NoReturn:
        self.broken = StoreUnavailable(self.url, problem)
        raise self.broken

    def _last_answered(self) -> int:
        """Return the number of the last commit that the server must remember."""
        return self._answered if _now() - self._answered_at < _MISSED_SECONDS else 0

    def _conclude(self, results: Sequence[Committed | Conflict]) -> None:
        self._unanswered = None
        self._answered, self._answered_at = self._number, _now()
        self._seen = max((self._seen, *(result.version for result in results if isinstance(result, Committed))))


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)  # a server's clock goes on while this machine sleeps
