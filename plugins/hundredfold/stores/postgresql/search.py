"""Searching: what finds the nearest embeddings."""

from collections.abc import Mapping, Sequence
from typing import Final

from psycopg.sql import SQL, Literal

from hundredfold.stores.postgresql.address import Address
from hundredfold.stores.postgresql.connection import Connection, Line
from hundredfold.stores.postgresql.graph import OPERATORS, Graph
from hundredfold.stores.postgresql.parcel import integers
from hundredfold.stores.postgresql.server import greet_pgvector
from hundredfold.stores.postgresql.vector import Vector, as_bytes, digests
from hundredfold.stores.search import Distance, Hit

_FEW: Final = 2_000
"""As many candidates are looked at one by one: that is exact, and takes no longer than a graph."""

_COLLECTIONS: Final = """
SELECT c.id, c.distance, (
    SELECT count(*) FROM (SELECT FROM hundredfold.embedding e WHERE e.collection = c.id {narrowed} LIMIT {few}) AS some
) FROM hundredfold.collection c WHERE c.name = %b AND c.dimension = %b
"""
_NARROWED: Final = SQL("AND metadata @> %s::bigint[]")
_NEAREST: Final = """
SELECT key, vector {operator} {wanted} FROM hundredfold.embedding
WHERE collection = {collection} {narrowed} ORDER BY {given} LIMIT %b
"""

# The planner does not know yet how large a table has become: it is not to read and sort a collection that has a graph.
# That one is searched on until there is enough that fits: https://github.com/pgvector/pgvector#iterative-index-scans
_SESSION: Final = "SET enable_sort = off; SET hnsw.ef_search = {breadth}; SET hnsw.iterative_scan = relaxed_order"
_BREADTH: Final = 100


class Search:
    """Searches, on a connection of their own."""

    def __init__(self, address: Address) -> None:
        self._line = Line(address, _greet)

    def nearest(self, collection: str, vector: bytes, limit: int, where: Mapping[str, str]) -> list[Hit]:
        """See `Searching.search`."""
        narrowed, given = SQL(""), []
        if where:
            narrowed, given = _NARROWED, [integers(digests(collection, where))]
        statement = SQL(_COLLECTIONS).format(narrowed=narrowed, few=Literal(_FEW + 1))
        hits: list[Hit] = []
        for number, distance, count in self._line.ask(statement, (*given, as_bytes(collection), len(vector) // 4)):
            graph = Graph(number, Distance(distance), len(vector) // 4)
            found = self._ask(graph, vector, limit, given, exactly=count <= _FEW)
            if len(found) < limit and count > _FEW:
                found = self._ask(graph, vector, limit, given, exactly=True)
            hits += found
        return sorted(hits, key=lambda hit: (hit.distance, hit.key))[:limit]

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._line.close()

    def _ask(self, graph: Graph, vector: bytes, limit: int, given: Sequence[str], *, exactly: bool) -> list[Hit]:
        """Return the nearest; `exactly` looks at all of them, even if there is a graph."""
        operator, cosine = OPERATORS[graph.distance], graph.distance == Distance.COSINE
        wanted = SQL("l2_normalize(%b::vector)") if cosine else SQL("%b::vector")
        order = SQL("2, 1") if exactly or not graph.can_be else graph.expression + operator + graph.cast(wanted)
        statement = SQL(_NEAREST).format(
            operator=operator,
            wanted=wanted,
            collection=Literal(graph.collection),
            narrowed=_NARROWED if given else SQL(""),
            given=order,
        )
        asked = [Vector(vector)]
        rows = self._line.ask(statement, (*asked, *given, *asked * (order != SQL("2, 1")), limit))
        return [Hit(key, 1 + distance if cosine else distance) for key, distance in rows]


def _greet(connection: Connection) -> None:
    greet_pgvector(connection)
    connection.execute(_SESSION.format(breadth=_BREADTH).encode())
