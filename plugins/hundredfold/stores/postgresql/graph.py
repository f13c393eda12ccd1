"""Graphs: the HNSW indexes that make searching large collections fast, built in the background.

A graph is made once, when its collection has become large and has calmed down: to build it of what is there takes a
fraction of what it takes to add the same embeddings one by one. Until then searches look at everything.
"""

import logging
import math
import threading
import time
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from hundredfold.stores.postgresql.address import Address
from hundredfold.stores.postgresql.connection import Connection, connect
from hundredfold.stores.postgresql.server import greet_pgvector
from hundredfold.stores.search import Distance

OPERATORS: Final = {Distance.COSINE: SQL("<#>"), Distance.DOT: SQL("<#>"), Distance.EUCLIDEAN: SQL("<->")}
"""What is apart how far; those of cosines are of length 1."""

_LARGE: Final = 5_000
"""Embeddings in a collection that is worth a graph."""

_LOOK_SECONDS: Final = 2.0
_LOOK_EVERY: Final = 500
"""New embeddings after which the collections are looked at again."""

_LOAD: Final = 200
"""New embeddings between two looks that mean that many more will come."""

_LOAD_SECONDS: Final = 300.0
"""How long a graph waits for the end of a load."""

_FAILED_SECONDS: Final = 60.0

_LOCK: Final = 0x68756E64726566
"""An advisory lock: one builder at a time."""

_LONGEST: Final = {"vector": 2_000, "halfvec": 4_000}
"""Most dimensions that a graph of this type takes."""

_MEMORY: Final = (64 << 20, 2 << 30)
_OVERHEAD: Final = 600
"""Bytes of memory for each embedding, beside its vector."""

_WANTING: Final = """
SELECT c.id, c.distance, c.dimension, (SELECT count(*) FROM hundredfold.embedding e WHERE e.collection = c.id)
FROM hundredfold.collection c
WHERE c.dimension <= {longest}
    AND NOT EXISTS (
        SELECT FROM pg_index i JOIN pg_class t ON t.oid = i.indexrelid
        WHERE t.relnamespace = 'hundredfold'::regnamespace AND t.relname = 'embedding_graph_' || c.id AND i.indisvalid
    )
    AND {large} <= (
        SELECT count(*) FROM (SELECT FROM hundredfold.embedding e WHERE e.collection = c.id LIMIT {large}) AS counted
    )
"""
_BUILD: Final = """
CREATE INDEX CONCURRENTLY {name} ON hundredfold.embedding
USING hnsw (({expression}) {operators}) WHERE collection = {collection}
"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Graph:
    """The graph of a collection, whether it is there or not."""

    collection: int
    distance: Distance
    dimension: int

    @property
    def can_be(self) -> bool:
        """Whether there can be one of that many dimensions."""
        return self.dimension <= max(_LONGEST.values())

    @property
    def expression(self) -> Composed:
        """What it is a graph of."""
        return self.cast(SQL("vector"))

    @property
    def build(self) -> Composed:
        """The statement that builds it."""
        operators = "l2" if self.distance == Distance.EUCLIDEAN else "ip"
        return SQL(_BUILD).format(
            name=Identifier(self.name),
            expression=self.expression,
            operators=Identifier(f"{self._type}_{operators}_ops"),
            collection=Literal(self.collection),
        )

    @property
    def name(self) -> str:
        """Its name in the schema."""
        return f"embedding_graph_{self.collection}"

    def cast(self, what: SQL | Composed) -> Composed:
        """Return a vector as one of the type of this graph."""
        return SQL("({}::{}({}))").format(what, Identifier(self._type), Literal(self.dimension))

    @property
    def _type(self) -> str:
        return "vector" if self.dimension <= _LONGEST["vector"] else "halfvec"


class GraphBuilder:
    """A thread that builds graphs, with a connection of its own."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._stop = threading.Event()
        self._counting = threading.Lock()
        self._written = _LOOK_EVERY  # what was there before
        self._workers = 2
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._work, name="store-graphs", daemon=True)

    def start(self) -> None:
        """Begin to look for what is to be built."""
        self._thread.start()

    def note(self, number: int) -> None:
        """Take note, in any thread, that so many embeddings were written."""
        with self._counting:
            self._written += number

    def close(self) -> None:
        """Give up what is being built, and end. Idempotent."""
        self._stop.set()
        if connection := self._connection:
            try:
                connection.cancel_safe(timeout=1.0)
            except psycopg.Error:
                _log.debug("the building of a graph could not be cancelled", exc_info=True)
            connection.silence_seconds = 0.5
        if self._thread.ident is not None:
            self._thread.join(timeout=5.0)

    def _work(self) -> None:
        looked, seen, waited_from = 0, self._written, time.monotonic()
        while not self._stop.wait(_LOOK_SECONDS if looked else 0):
            written, before, seen = self._written, seen, self._written
            loading = written - before >= _LOAD and time.monotonic() - waited_from < _LOAD_SECONDS
            if written - looked < _LOOK_EVERY or loading:
                continue
            looked, waited_from = written, time.monotonic()
            try:
                self._build_all()
            except psycopg.Error as error:
                if self._stop.is_set():
                    return
                _log.warning("no graph could be built, searches look at everything instead: %s", error)
                looked, self._workers = 0, 0  # shared memory of several workers may be what was short
                self._stop.wait(_FAILED_SECONDS)

    def _build_all(self) -> None:
        with connect(self._address) as connection:
            greet_pgvector(connection)
            connection.execute("SET statement_timeout = 0; SET lock_timeout = 0")
            ((alone,),) = connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchall()
            statement = SQL(_WANTING).format(longest=Literal(max(_LONGEST.values())), large=Literal(_LARGE))
            wanting = connection.execute(statement).fetchall() if alone else []
            connection.silence_seconds = math.inf
            self._connection = connection
            try:
                for collection, distance, dimension, count in wanting:
                    if not self._stop.is_set():
                        self._build(connection, Graph(collection, Distance(distance), dimension), count)
            finally:
                self._connection = None

    def _build(self, connection: Connection, graph: Graph, count: int) -> None:
        memory = min(max(_MEMORY[0], count * (4 * graph.dimension + _OVERHEAD)), _MEMORY[1])
        for name, value in (
            ("maintenance_work_mem", f"{memory >> 10}kB"),
            ("max_parallel_maintenance_workers", str(self._workers)),
        ):
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        # One that was given up is there, cannot be used, and is in the way.
        connection.execute(SQL("DROP INDEX IF EXISTS hundredfold.{}").format(Identifier(graph.name)))
        connection.execute(graph.build)
