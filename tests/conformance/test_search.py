"""Runs the conformance kit for searching on the built-in stores that can."""

from pathlib import Path

from hundredfold.stores.contract import Store
from hundredfold.stores.memory import MemoryStore
from hundredfold.stores.sqlite import SqliteStore
from hundredfold.testing.search import SearchConformance


class TestMemoryStore(SearchConformance):
    def open(self, directory: Path) -> Store:  # noqa: ARG002  # it is in memory
        return MemoryStore()


class TestSqliteStore(SearchConformance):
    def open(self, directory: Path) -> Store:
        return SqliteStore(directory / "state.db")
