"""The embeddings of the records below a prefix, kept as the records are."""

from collections.abc import Iterator, Sequence
from typing import Final

from psycopg.sql import SQL, Identifier

from hundredfold.stores.contract import end_of_prefix
from hundredfold.stores.postgresql.address import Address
from hundredfold.stores.postgresql.backlog import PORTION, Backlog
from hundredfold.stores.postgresql.connection import Line
from hundredfold.stores.postgresql.graph import GraphBuilder
from hundredfold.stores.postgresql.schema import EMBEDDING
from hundredfold.stores.postgresql.vector import Findings
from hundredfold.stores.search import Extract

_PAGE: Final = 500
"""Embeddings written by one statement when they are made: nothing else is committed yet."""

_STEP: Final = 10_000
"""Keys that one statement looks at: over all of millions none would answer in time, nor its repetition."""

_STALE: Final = (
    "SELECT r.key, r.value, r.version FROM hundredfold.record r WHERE r.key > %b {end}"
    " AND NOT EXISTS (SELECT FROM hundredfold.embedding e WHERE e.key = r.key AND e.version = r.version)"
    " ORDER BY r.key LIMIT %b"
)
_ORPHANS: Final = (
    "DELETE FROM hundredfold.embedding e WHERE e.key > %b {end} AND (NOT {ours} OR NOT EXISTS"
    " (SELECT FROM hundredfold.record r WHERE r.key = e.key AND r.version = e.version)) RETURNING 1"
)
_NEXT: Final = "SELECT key FROM hundredfold.{table} WHERE key > %b ORDER BY key OFFSET %b LIMIT 1"


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
        self._backlog = Backlog(address, self._builder.note)

    @staticmethod
    def written_with(findings: Findings) -> Findings:
        """Return what is to be written in the commit itself: all of it, unless it takes long."""
        return findings if len(findings.keys) <= PORTION else Findings(findings.gone)

    def fill(self) -> None:
        """Have the embeddings be as the records are now, whatever was done without them."""
        self._remove_orphans()
        self._embed_stale()
        self._builder.start()

    def _remove_orphans(self) -> None:
        """Remove the embeddings of what is no record any more, or none at that version, or none of this prefix."""
        end = end_of_prefix(self.prefix)
        ours = SQL("(e.key >= %b AND e.key < %b)" if end else "(e.key >= %b)")
        bounds = [self.prefix, end] if end else [self.prefix]
        for after, last in self._steps("embedding", b""):
            statement = SQL(_ORPHANS).format(end=SQL("AND e.key <= %b" if last else ""), ours=ours)
            self._line.ask(statement, (after, *[last] * bool(last), *bounds))

    def _embed_stale(self) -> None:
        """Write the embeddings of records that have none at their version."""
        end = end_of_prefix(self.prefix)
        # All keys behind it that are not behind the prefix; it is no key of a vector itself.
        for after, last in self._steps("record", self.prefix):
            bounds = [("<=", last)] * bool(last) + [("<", end)] * bool(end)
            statement = SQL(_STALE).format(end=SQL(" ".join(f"AND r.key {sign} %b" for sign, _ in bounds)))
            while rows := self._line.ask(statement, (after, *(bound for _, bound in bounds), _PAGE)):
                findings = Findings()
                for key, value, version in rows:
                    findings.add(key, version, value, self.extract)
                self._line.ask(EMBEDDING, findings.embedding())
                after = rows[-1][0]  # noqa: PLW2901  # what nothing is found of stays stale
            if end and last and last >= end:
                return

    def _steps(self, table: str, after: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield ranges of keys, without their first and with their last; the last one has no end."""
        statement = SQL(_NEXT).format(table=Identifier(table))
        while rows := self._line.ask(statement, (after, _STEP)):
            yield after, rows[0][0]
            after = rows[0][0]
        yield after, b""

    def note(self, findings: Findings, versions: Sequence[int | None]) -> None:
        """Take note of what was committed, and at which version each batch is; None for those that are not."""
        if len(findings.keys) > PORTION:
            self._backlog.add(findings.at(versions))
        elif findings.keys:
            self._builder.note(len(findings.keys))

    def settle(self) -> None:
        """Wait until all can be found that was committed before; see `Backlog.settle`."""
        self._backlog.settle()

    def close(self) -> None:
        """End what goes on in the background. Idempotent."""
        self._backlog.close()
        self._builder.close()
