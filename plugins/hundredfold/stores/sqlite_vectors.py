"""A file of vectors in which the nearest ones can be found, by sqlite-vec, which nothing else knows of.

Every vector of a collection is compared, as 32-bit floats, so what is found is exact. Measured with 100,000 vectors of
256 dimensions, ten wanted, in milliseconds of one core: 25 so; 16 as bytes, of which the nearest thirty are compared
again, which loses what is in tight clusters; 1.4 as bits, of which a tenth would have to be compared again; 48 in an
ordinary table. Smaller pages are slower to search, larger ones to write: 31 with 4 KiB, 23 with 64. Larger chunks are
a little faster, but each collection takes one at least.

sqlite-vec never fills a gap but in its last chunk: the last vector moves into the place of one that is deleted.
"""

import heapq
import os
from array import array
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw
import sqlite_vec

from hundredfold.stores.layout import apart, lay, lay_wanted
from hundredfold.stores.search import Distance, Embedding, Hit

_FORMAT: Final = 1
_CHUNK_BYTES: Final = 128 << 10
_MOST_CHUNKED: Final = 4096
"""Most that sqlite-vec returns of a whole part."""
_FEW: Final = 1000
"""Up to so many candidates are compared one by one, without a look at the others."""
_LOG_BYTES: Final = 8 << 20
_PAGE_BYTES: Final = 32 << 10

# Everything can be made again, so a commit need not be durable; but one that is lost must not leave half of itself.
_PRAGMAS: Final = f"""
PRAGMA page_size = {_PAGE_BYTES};
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA cache_size = -16384;
PRAGMA wal_autocheckpoint = 0;
"""
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS state (version INTEGER NOT NULL, token BLOB NOT NULL);
INSERT INTO state SELECT 0, x'' WHERE NOT EXISTS (SELECT 1 FROM state);
CREATE TABLE IF NOT EXISTS part (
    id INTEGER PRIMARY KEY, collection BLOB, distance TEXT, exponent INTEGER, dimension INTEGER,
    UNIQUE (collection, distance, exponent, dimension)
);
CREATE TABLE IF NOT EXISTS item (slot INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, part INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS item_part ON item (part);
CREATE TABLE IF NOT EXISTS label (
    name BLOB, value BLOB, part INTEGER, slot INTEGER, PRIMARY KEY (name, value, part, slot)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS label_slot ON label (slot);
PRAGMA user_version = 1;
"""
_TABLE: Final = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS vector_{dimension} USING"
    " vec0(part INTEGER PARTITION KEY, vector FLOAT[{width}], chunk_size={chunk})"
)
_PART: Final = "SELECT id FROM part WHERE (collection, distance, exponent, dimension) = (?, ?, ?, ?)"
_NEW_PART: Final = "INSERT INTO part (collection, distance, exponent, dimension) VALUES (?, ?, ?, ?)"
_EMPTY_PART: Final = "DELETE FROM part WHERE id = ? AND NOT EXISTS (SELECT 1 FROM item WHERE item.part = part.id)"
_READ: Final = "SELECT vector FROM vector_{dimension} WHERE rowid = ?"
_INSERT: Final = "INSERT INTO vector_{dimension} (rowid, part, vector) VALUES (?, ?, ?)"
_UPDATE: Final = "UPDATE vector_{dimension} SET vector = ? WHERE rowid = ?"
_DELETE: Final = "DELETE FROM vector_{dimension} WHERE rowid = ?"
_LABELLED: Final = "SELECT slot FROM label WHERE part = ? AND name = ? AND value = ?"
_CHUNKED: Final = "SELECT rowid, vector FROM vector_{dimension} WHERE vector MATCH ? AND k = ? AND part = ?"
_COUNT: Final = "SELECT count(*) FROM ({slots})"
_SINGLY: Final = (
    "SELECT v.rowid, v.vector FROM ({slots}) AS found CROSS JOIN vector_{dimension} AS v ON v.rowid = found.slot"
    " ORDER BY vec_distance_L2(v.vector, ?) LIMIT ?"
)


class DamagedVectorsError(Exception):
    """The file is not what it should be: it has to be made again."""


DAMAGE: Final = (DamagedVectorsError, apsw.NotADBError, apsw.CorruptError, apsw.SQLError, apsw.FormatError)
"""What is raised for a file that has to be made again."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Vectors that are compared with each other: those of a collection, and of one power of two."""

    id: int
    distance: Distance
    exponent: int
    dimension: int


class VectorFile:
    """The file at `path`, made if it is missing; for one thread at a time.

    Attributes:
        version: how far it was when it was opened, or brought by `apply` since.
        durable: the version that is there after a loss of power, too.
        token: see `ChangeLog`.

    Raises:
        apsw.Error: from every method, what SQLite says.
        OSError: it cannot be made.
        DamagedVectorsError: it has to be made again; so do those that are in `DAMAGE`.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log_pages = 0
        self._is_closed = False
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))  # the log gets the same mode
        self._connection = apsw.Connection(str(path))
        try:
            self._open()
        except BaseException:
            self.close(quietly=True)
            raise

    def apply(self, changes: Iterable[tuple[bytes, Embedding | None]], version: int, token: bytes) -> None:
        """Have the vector of each key as it is now, or not at all, and the file at `version`; everything or nothing."""
        with self._connection:
            for key, embedding in changes:
                self._put(key, embedding)
            self._connection.execute("UPDATE state SET version = ?, token = ?", (version, token))
        self.version = version
        if self._log_pages * _PAGE_BYTES > _LOG_BYTES:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self.durable = version

    def nearest(self, collection: str, vector: bytes, limit: int, where: Mapping[str, str]) -> list[Hit]:
        """Return the nearest records, see `Searching.search`."""
        rows = self._rows(
            "SELECT id, distance, exponent, dimension FROM part WHERE collection = ? AND dimension = ?",
            (_blob(collection), len(vector) // 4),
        )
        wanted = array("f", vector)
        hits: list[tuple[float, int]] = []
        for part in (_Part(number, Distance(distance), *rest) for number, distance, *rest in rows):
            for slot, laid in self._nearest_slots(part, lay_wanted(part.distance, vector), limit, where):
                hits.append((apart(part.distance, part.exponent, laid, wanted), slot))
        return [Hit(self._key(slot), distance) for distance, slot in heapq.nsmallest(limit, hits)]

    def close(self, *, quietly: bool = False) -> None:
        """Release everything; `quietly` without copying the log into the file. Idempotent."""
        if quietly and not self._is_closed:
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self._is_closed = True
        self._connection.close()

    def discard(self) -> None:
        """Close and remove the file."""
        self.close(quietly=True)
        discard(self._path)

    def _open(self) -> None:
        self._connection.enable_load_extension(True)  # noqa: FBT003  # apsw's signature
        self._connection.load_extension(sqlite_vec.loadable_path())
        self._connection.enable_load_extension(False)  # noqa: FBT003
        self._connection.execute(_PRAGMAS).fetchall()
        if self._rows("PRAGMA user_version")[0][0] not in (0, _FORMAT):
            raise DamagedVectorsError("it is of another version")
        # A page that holds nothing but numbers can hold any; all others are looked at.
        problems = self._rows("PRAGMA quick_check(1)")
        if problems != [("ok",)]:
            raise DamagedVectorsError(str(problems[0][0]))
        self._connection.setwalhook(self._count_log_pages)
        with self._connection:
            self._connection.execute(_SCHEMA).fetchall()
        ((self.version, self.token),) = self._rows("SELECT version, token FROM state")
        self.durable = self.version

    def _count_log_pages(self, _connection: object, _name: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _put(self, key: bytes, embedding: Embedding | None) -> None:
        known = self._rows("SELECT slot, part FROM item WHERE key = ?", (key,))
        if embedding is None:
            if known:
                self._remove(*known[0])
            return
        exponent, laid = lay(embedding.distance, embedding.vector)
        part = self._part(embedding, exponent)
        if known and known[0][1] != part:
            self._remove(*known[0])
            known = []
        slot = known[0][0] if known else self._insert(key, part)
        dimension = len(embedding.vector) // 4
        if known:
            self._connection.execute(_UPDATE.format(dimension=dimension), (laid, slot))
            self._connection.execute("DELETE FROM label WHERE slot = ?", (slot,))
        else:
            self._connection.execute(_INSERT.format(dimension=dimension), (slot, part, laid))
        labels = [(_blob(name), _blob(value), part, slot) for name, value in embedding.metadata.items()]
        self._connection.executemany("INSERT INTO label VALUES (?, ?, ?, ?)", labels)

    def _insert(self, key: bytes, part: int) -> int:
        self._connection.execute("INSERT INTO item (key, part) VALUES (?, ?)", (key, part))
        return self._connection.last_insert_rowid()

    def _remove(self, slot: int, part: int) -> None:
        ((dimension,),) = self._rows("SELECT dimension FROM part WHERE id = ?", (part,))
        ((last,),) = self._rows("SELECT max(slot) FROM item WHERE part = ?", (part,))
        self._connection.execute("DELETE FROM item WHERE slot = ?", (slot,))
        self._connection.execute("DELETE FROM label WHERE slot = ?", (slot,))
        if last != slot:
            ((laid,),) = self._rows(_READ.format(dimension=dimension), (last,))
            self._connection.execute(_UPDATE.format(dimension=dimension), (laid, slot))
            self._connection.execute("UPDATE item SET slot = ? WHERE slot = ?", (slot, last))
            self._connection.execute("UPDATE label SET slot = ? WHERE slot = ?", (slot, last))
        self._connection.execute(_DELETE.format(dimension=dimension), (last,))
        self._connection.execute(_EMPTY_PART, (part,))

    def _part(self, embedding: Embedding, exponent: int) -> int:
        dimension = len(embedding.vector) // 4
        values = (_blob(embedding.collection), embedding.distance.value, exponent, dimension)
        rows = self._rows(_PART, values)
        if rows:
            return int(rows[0][0])
        self._connection.execute(_NEW_PART, values)
        part = self._connection.last_insert_rowid()
        width = dimension + 1
        chunk = max(8, _CHUNK_BYTES // (4 * width) // 8 * 8)
        self._connection.execute(_TABLE.format(dimension=dimension, width=width, chunk=min(chunk, 4096)))
        return part

    def _nearest_slots(
        self, part: _Part, wanted: bytes, limit: int, where: Mapping[str, str]
    ) -> list[tuple[int, bytes]]:
        """Return the slots of the nearest vectors of a part, and these."""
        slots = " INTERSECT ".join([_LABELLED] * len(where)) or "SELECT slot FROM item WHERE part = ?"
        values = [value for pair in where.items() for value in (part.id, *map(_blob, pair))] or [part.id]
        few = where and self._rows(_COUNT.format(slots=slots), values)[0][0] <= _FEW
        if few or limit > _MOST_CHUNKED:
            return self._rows(_SINGLY.format(slots=slots, dimension=part.dimension), (*values, wanted, limit))
        statement, known = _CHUNKED.format(dimension=part.dimension), (wanted, limit, part.id)
        if where:
            return self._rows(f"{statement} AND rowid IN ({slots})", (*known, *values))
        return self._rows(statement, known)

    def _key(self, slot: int) -> bytes:
        return bytes(self._rows("SELECT key FROM item WHERE slot = ?", (slot,))[0][0])

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        with closing(self._connection.cursor()) as cursor:
            return cursor.execute(statement, tuple(values)).fetchall()


def discard(path: Path) -> None:
    """Remove the file at `path`, which nobody has open, and its log. Idempotent."""
    for end in ("", "-wal", "-journal"):
        path.with_name(path.name + end).unlink(missing_ok=True)


def _blob(text: str) -> bytes:
    """Return text as something that is compared byte by byte, whatever is in it."""
    return text.encode("utf-8", "surrogatepass")
