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
_FEW_NARROWED: Final = 5_000
"""As many candidates are looked at one by one: that is exact, and takes about as long as with a graph."""

_REMEMBERED: Final = 1_000
"""Searches of which it is remembered that many candidates are left."""

_BREADTH: Final = 64
_BREADTH_NARROWED: Final = 200
"""How many a graph is asked for at a time; most of them do not fit when the search is narrowed."""

_COLLECTIONS: Final = """
SELECT c.id, c.distance, CASE WHEN c.id = ANY (%s::bigint[]) THEN {few} ELSE (
    SELECT count(*) FROM (SELECT FROM hundredfold.embedding WHERE {candidates} LIMIT {few}) AS counted
) END, set_config('hnsw.ef_search', {breadth}, false)
FROM hundredfold.collection c WHERE c.name = %b AND c.dimension = %b
"""
_NEAREST: Final = """
SELECT key, vector {operator} {wanted} FROM hundredfold.embedding WHERE {candidates} ORDER BY {order} LIMIT %b
"""
_ALL: Final = SQL("collection = {}")
_NARROWED: Final = SQL("metadata @> %s::bigint[]")  # digests tell the collections apart, too

# The planner does not know yet how large a table has become: it is not to read and sort a collection that has a graph.
# That one is searched on until there is enough that fits: https://github.com/pgvector/pgvector#iterative-index-scans
_SESSION: Final = "SET enable_sort = off; SET hnsw.iterative_scan = relaxed_order"


class Search:
    """Searches, on a connection of their own."""

    def __init__(self, address: Address) -> None:
        self._line = Line(address, _greet)
        # By what narrows the search. They are not counted again: if they have shrunk, they are searched less exactly.
        self._large: dict[str, set[int]] = {}

    def nearest(self, collection: str, vector: bytes, limit: int, where: Mapping[str, str]) -> list[Hit]:
        """See `Searching.search`."""
        given = [integers(digests(collection, where))] if where else []
        few = _FEW_NARROWED if where else _FEW
        hits: list[Hit] = []
        for number, distance, count in self._collections(collection, len(vector) // 4, few, given):
            graph = Graph(number, Distance(distance), len(vector) // 4)
            found: list[Hit] = []
            if count > few and graph.can_be:
                found = self._ask(graph, vector, limit, given, exactly=False)
            hits += found if len(found) >= limit else self._ask(graph, vector, limit, given, exactly=True)
        return sorted(hits, key=lambda hit: (hit.distance, hit.key))[:limit]

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._line.close()

    def _collections(self, name: str, dimension: int, few: int, given: Sequence[str]) -> list[tuple[int, str, int]]:
        """Return the collections of a name, and of how many candidates each has whether they are more than a few."""
        statement = SQL(_COLLECTIONS).format(
            candidates=_NARROWED if given else _ALL.format(SQL("c.id")),
            few=Literal(few + 1),
            breadth=Literal(str(_BREADTH_NARROWED if given else _BREADTH)),
        )
        known = self._large.get("".join(given), set())
        rows = self._line.ask(statement, (integers(known), *given, as_bytes(name), dimension))
        large = {number for number, _distance, count, _breadth in rows if count > few}
        if large - known:
            if len(self._large) >= _REMEMBERED:
                self._large.clear()
            self._large["".join(given)] = known | large
        return [(number, distance, count) for number, distance, count, _breadth in rows]

    def _ask(self, graph: Graph, vector: bytes, limit: int, given: Sequence[str], *, exactly: bool) -> list[Hit]:
        """Return the nearest; `exactly` looks at all of them, even if there is a graph."""
        operator, cosine = OPERATORS[graph.distance], graph.distance == Distance.COSINE
        wanted = SQL("l2_normalize(%b::vector)") if cosine else SQL("%b::vector")
        collection = _ALL.format(Literal(graph.collection))
        candidates = [collection] * (not given or not exactly) + [_NARROWED] * len(given)
        order = SQL("2, 1") if exactly else graph.expression + operator + graph.cast(wanted)
        statement = SQL(_NEAREST).format(
            operator=operator, wanted=wanted, candidates=SQL(" AND ").join(candidates), order=order
        )
        asked = [Vector(vector)]
        rows = self._line.ask(statement, (*asked, *given, *asked * (not exactly), limit))
        return [Hit(key, 1 + distance if cosine else distance) for key, distance in rows]


def _greet(connection: Connection) -> None:
    greet_pgvector(connection)
    connection.execute(_SESSION)
