"""Tests a behaviour twice: as the function it is, and as users run it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hundredfold import SyncClient
from hundredfold.client import result_of
from hundredfold.testing.context import FakePort, sync_context
from hundredfold.testing.coordinator import running_coordinator
from hundredfold_letters import Letters, letters


def test_letters_are_counted_and_remembered() -> None:
    port = FakePort(embed=lambda text: Letters().embed([text])[0])
    ctx = sync_context(port)
    assert letters(ctx, "Abba!", "words") == {"a": 2, "b": 2}
    assert [item.content for item in ctx.session.appended] == ["Abba!"]
    assert list(ctx.memory("words").upserted) == ["Abba!"]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[SyncClient]:
    """A client of a coordinator that has found this plugin by its entry point."""
    with running_coordinator(tmp_path / "data") as process, process.client() as client:
        yield client


def test_what_was_remembered_is_found_by_its_letters(client: SyncClient) -> None:
    client.memory.create("words", 26, embedder="letters")
    for word in ("listen", "banana", "enlist"):
        client.wait(client.submit("letters", {"text": word, "collection": "words"}).id)
    found = result_of(client.wait(client.submit("alike", {"text": "silent", "collection": "words"}).id))
    assert (sorted(found[:2]), found[2]) == (["enlist", "listen"], "banana")
