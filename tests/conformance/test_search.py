"""Runs the conformance kit for searching on the built-in stores that can."""

from pathlib import Path

import pytest
from hundredfold.stores.contract import Store
from hundredfold.stores.memory import MemoryStore
from hundredfold.stores.postgresql import open_store
from hundredfold.stores.sqlite import SqliteStore
from hundredfold.testing.search import SearchConformance
from servers.postgresql import PostgresqlServer


class TestMemoryStore(SearchConformance):
    def open(self, directory: Path) -> Store:  # noqa: ARG002  # it is in memory
        return MemoryStore()


class TestSqliteStore(SearchConformance):
    def open(self, directory: Path) -> Store:
        return SqliteStore(directory / "state.db")


class TestPostgresqlStore(SearchConformance):
    @pytest.fixture(autouse=True)
    def _database(self, postgresql: PostgresqlServer, tmp_path: Path) -> None:
        (tmp_path / "url").write_text(postgresql.new_database())

    def open(self, directory: Path) -> Store:
        return open_store((directory / "url").read_text())
