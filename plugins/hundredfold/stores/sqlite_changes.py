"""Which records an index has to look at again: noted in the very transaction that changes them.

So an index that says how far it is can be brought up to date exactly, after whatever end its process came to.
"""

import secrets
from collections.abc import Iterable, Sequence
from typing import Any, Final

import apsw

_MOST: Final = 100_000
"""Changes noted, after which it is better to make the index again than to keep on noting for one that does not come."""

_SOME: Final = 1000
"""Changes noted, after which those are removed that the index has."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS indexed (prefix BLOB NOT NULL, token BLOB NOT NULL, floor INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS change (version INTEGER, key BLOB, PRIMARY KEY (version, key)) WITHOUT ROWID;
"""
_IS_THERE: Final = "SELECT count(*) FROM sqlite_schema WHERE name = 'indexed'"


class ChangeLog:
    """The changes of records below one prefix; there is no table and no cost until `begin` has once been called.

    Called in the thread of its connection.

    Attributes:
        prefix: that of the keys whose changes are noted; None if none are.
        token: tells the index of this log from that of any other one.

    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.prefix: bytes | None = None
        self.token = b""
        self._noted = 0
        if self._rows(_IS_THERE)[0][0]:
            ((self.prefix, self.token),) = self._rows("SELECT prefix, token FROM indexed") or [(None, b"")]
            self._noted = self._rows("SELECT count(*) FROM change")[0][0]

    def begin(self, prefix: bytes, version: int) -> None:
        """Note changes below `prefix` from `version` on, unless that has begun before. In no transaction."""
        if prefix != self.prefix:
            with self._connection:
                self._connection.execute(_SCHEMA).fetchall()
                self._connection.execute("DELETE FROM change; DELETE FROM indexed").fetchall()
                token = secrets.token_bytes(16)
                self._connection.execute("INSERT INTO indexed VALUES (?, ?, ?)", (prefix, token, version))
            self.prefix, self.token, self._noted = prefix, token, 0

    def note(self, keys: Iterable[bytes], version: int, known: int) -> None:
        """Note that these keys change, in the transaction that changes them; forget what the index is known to have."""
        prefix = self.prefix
        if prefix is None:
            return
        changed = [key for key in keys if key.startswith(prefix)]
        if not changed:
            return
        self._connection.executemany("INSERT INTO change VALUES (?, ?)", [(version, key) for key in changed])
        self._noted += len(changed)
        if self._noted >= _SOME:
            self._forget(known, version)

    def since(self, version: int, newest: int) -> list[bytes] | None:
        """Return the keys that have changed after `version`; None if nobody can tell."""
        (floor,) = self._rows("SELECT floor FROM indexed")[0]
        if not floor <= version <= newest:
            return None
        return [key for (key,) in self._rows("SELECT DISTINCT key FROM change WHERE version > ?", (version,))]

    def _forget(self, known: int, version: int) -> None:
        if self._noted >= _MOST:
            known = version
        self._connection.execute("UPDATE indexed SET floor = max(floor, ?)", (known,))
        self._connection.execute("DELETE FROM change WHERE version <= ?", (known,))
        self._noted = self._rows("SELECT count(*) FROM change")[0][0]

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._connection.execute(statement, tuple(values)).fetchall()
