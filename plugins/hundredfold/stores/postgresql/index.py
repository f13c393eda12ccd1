"""The embeddings of the records below a prefix, kept as the records are."""

from typing import Final

from psycopg.sql import SQL, Identifier

from hundredfold.stores.contract import end_of_prefix
from hundredfold.stores.postgresql.address import Address
from hundredfold.stores.postgresql.connection import Line
from hundredfold.stores.postgresql.graph import GraphBuilder
from hundredfold.stores.postgresql.parcel import integers
from hundredfold.stores.postgresql.schema import EMBED
from hundredfold.stores.postgresql.vector import Findings
from hundredfold.stores.search import Extract

_PAGE: Final = 500
_STALE: Final = (
    "SELECT r.key, r.value, r.version FROM hundredfold.record r WHERE r.key >= %b AND r.key > %b {end}"
    " AND NOT EXISTS (SELECT FROM hundredfold.embedding e WHERE e.key = r.key AND e.version = r.version)"
    " ORDER BY r.key LIMIT %b"
)
_ORPHANS: Final = (
    "DELETE FROM hundredfold.embedding e WHERE NOT (e.key >= %b {end}) OR NOT EXISTS"
    " (SELECT FROM hundredfold.record r WHERE r.key = e.key AND r.version = e.version) RETURNING 1"
)
_EMBED: Final = SQL(
    "SELECT hundredfold.{}(%b::bytea[], %b::bytea[], %s::bigint[], %b::bytea[], %b::text[], %b::vector[], %b::text[])"
).format(Identifier(EMBED))


class Index:
    """The embeddings of all records below a prefix.

    Args:
        address: where a graph is built, with a connection of its own.
        line: where everything else is done.
        prefix: which records.
        extract: what is searched for of each.

    """

    def __init__(self, address: Address, line: Line, prefix: bytes, extract: Extract) -> None:
        self.prefix = prefix
        self.extract = extract
        self._line = line
        self._builder = GraphBuilder(address)

    def fill(self) -> None:
        """Have the embeddings be as the records are now, whatever was done without them."""
        end = end_of_prefix(self.prefix)
        bounds = [end] if end else []
        orphans = SQL(_ORPHANS).format(end=SQL("AND e.key < %b" * len(bounds)))
        self._line.ask(orphans, (self.prefix, *bounds))
        stale = SQL(_STALE).format(end=SQL("AND r.key < %b" * len(bounds)))
        after = b""
        while rows := self._line.ask(stale, (self.prefix, after, *bounds, _PAGE)):
            findings = Findings()
            for key, value, version in rows:
                findings.add(key, version, value, self.extract)
            parameters = (findings.keys, integers(findings.places), *findings.parameters()[1:])
            self._line.ask(_EMBED, (findings.gone, *parameters))
            after = rows[-1][0]
        self._builder.start()

    def note(self, findings: Findings) -> None:
        """Take note of what was committed."""
        if findings.keys:
            self._builder.note(len(findings.keys))

    def close(self) -> None:
        """End what goes on in the background. Idempotent."""
        self._builder.close()
