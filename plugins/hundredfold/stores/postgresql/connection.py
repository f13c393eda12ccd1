"""Connections to a PostgreSQL server: they do not wait for ever, and are made again when they were lost."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.sql import SQL, Composed

from hundredfold.errors import StoreUnavailable
from hundredfold.stores.postgresql.address import Address
from hundredfold.stores.postgresql.failure import NoAnswer, explain, is_passing

_T = TypeVar("_T")

Statement = SQL | Composed
Row = tuple[Any, ...]

SILENCE_SECONDS: Final = 10.0
"""How long a server may neither take nor send a byte."""

# What a silent server was asked it may go on with for long: the repetition waits for it up to `lock_timeout`, and finds
# its answer recorded. A `statement_timeout` as short as our patience would end a slow commit every time.
# A table that has just grown has no statistics yet: nothing that is asked here may be answered by reading all of it.
_SESSION: Final = """
SET synchronous_commit = on;
SET default_transaction_isolation = 'read committed';
SET statement_timeout = '60s';
SET lock_timeout = '8s';
SET idle_in_transaction_session_timeout = '60s';
SET client_encoding = 'UTF8';
SET client_min_messages = warning;
SET jit = off;
SET enable_seqscan = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
"""


_PATIENCE_SPENT: Final = (NoAnswer, psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable)


class Connection(psycopg.Connection[Row]):
    """A connection that gives up on a silent server."""

    silence_seconds = SILENCE_SECONDS

    def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:
        """Have the server asked, and wait for it."""
        return super().wait(_patient(gen, self), interval, timeout)


def _patient(asking: PQGen[_T], connection: Connection) -> Generator[Any, Any, _T]:
    """Do as `asking` does, unless nothing comes or goes for too long."""
    heard = time.monotonic()
    try:
        wanted = next(asking)
        while True:
            ready = yield wanted
            if ready:
                heard = time.monotonic()
            elif time.monotonic() - heard > connection.silence_seconds:
                raise NoAnswer(f"nothing came for {connection.silence_seconds:.0f} s")
            wanted = asking.send(ready)
    except StopIteration as end:
        result: _T = end.value
        return result


def connect(address: Address) -> Connection:
    """Connect, and set the session up.

    Raises:
        psycopg.Error: it cannot be done.

    """
    connection = Connection.connect(**address.parameters, autocommit=True)
    try:
        connection.execute(_SESSION)
    except BaseException:
        connection.close()
        raise
    return connection


class Line:
    """A connection for one thread, made at the first call and again at the first one after it was lost.

    Args:
        address: where to.
        greet: what every new connection is prepared with.

    """

    def __init__(self, address: Address, greet: Callable[[Connection], None]) -> None:
        self._address = address
        self._greet = greet
        self._connection: Connection | None = None
        self._closed = False

    @property
    def is_up(self) -> bool:
        """Whether there is a connection now."""
        return self._connection is not None

    def ask(self, statement: Statement, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return the rows that a statement answers, which must bear being executed twice.

        Raises:
            StoreFull, StoreUnavailable, StoreUnreachable: as the contract says.

        """
        return self.use(lambda connection: connection.execute(statement, parameters, binary=True).fetchall())

    def use(self, job: Callable[[Connection], _T]) -> _T:
        """Do something with the connection; once more with a new one when it turns out to be lost.

        Raises:
            StoreFull, StoreUnavailable, StoreUnreachable: as the contract says.

        """
        again = self.is_up
        while True:
            try:
                return self._try(job)
            except psycopg.Error as error:
                if not again or not is_passing(error) or isinstance(error, _PATIENCE_SPENT):
                    raise explain(self._address.url, error) from error
            again = False

    def close(self) -> None:
        """Close it for good. Idempotent."""
        self._closed = True
        self._drop()

    def _try(self, job: Callable[[Connection], _T]) -> _T:
        if self._closed:
            raise StoreUnavailable(url=self._address.url, problem="it is closed")
        try:
            return job(self._open())
        except psycopg.Error as error:
            if is_passing(error):
                self._drop()
            raise
        except BaseException:
            self._drop()  # nobody knows in what state it is
            raise

    def _open(self) -> Connection:
        if self._connection is None:
            connection = connect(self._address)
            try:
                self._greet(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            with suppress(psycopg.Error):
                connection.close()
