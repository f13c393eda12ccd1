"""What a coordinator on the default store finds among vectors: at once, after it was killed, and without its index."""

import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hundredfold import SyncClient
from hundredfold.client.memory import Remembered
from hundredfold.errors import IndexUnavailable
from hundredfold.testing.coordinator import CoordinatorProcess
from hundredfold.v1 import task_pb2

Start = Callable[..., CoordinatorProcess]


def vector(number: int) -> list[float]:
    source = random.Random(number)
    return [source.gauss(0, 1) for _ in range(64)]


def finds_all(client: SyncClient) -> None:
    for number in (0, 299, 777):
        (match,) = client.memory.search("facts", vector(number), 1)
        assert (match.id, round(match.distance, 4)) == (f"{number}", 0)
    matches = client.memory.search("facts", vector(5), 100, where={"odd": True})
    assert len(matches) == 100
    assert all(match.metadata == {"odd": True} for match in matches)


def test_what_was_written_is_found_whatever_happens(start: Start, tmp_path: Path) -> None:
    process = start()
    with process.client() as client:
        client.memory.create("facts", 64)
        records = [
            Remembered(f"{number}", vector(number), f"fact {number}", {"odd": number % 2 == 1}) for number in range(800)
        ]
        client.memory.write("facts", records)
        finds_all(client)
    process.signal(signal.SIGKILL)
    process.wait()
    process = start()
    with process.client() as client:
        finds_all(client)
    process.stop()
    files = sorted((tmp_path / "data").glob("hundredfold.db-vectors-*"))
    assert {path.name for path in files} >= {"hundredfold.db-vectors-1", "hundredfold.db-vectors-2"}
    for path in files:
        path.write_bytes(b"garbage" * 100_000)
    with start().client() as client:
        finds_all(client)


def test_an_agent_is_told_that_nothing_can_be_searched(start: Start, tmp_path: Path) -> None:
    """Seen red: it asked again, ten times a second, until its time was over."""
    with start().client() as client:
        in_the_way = tmp_path / "data" / "hundredfold.db-vectors-1"
        in_the_way.mkdir()
        client.memory.create("facts", 2)
        client.memory.write("facts", [Remembered("a", [1.0, 0.0])])
        with pytest.raises(IndexUnavailable, match="cannot be made"):
            client.memory.search("facts", [1.0, 0.0])
        task = client.submit("nearest", {"collection": "facts", "vector": [1.0, 0.0]})
        failed = client.wait(task.id, timeout_seconds=30)
        assert (failed.state, failed.failure.type) == (task_pb2.TASK_STATE_FAILED, "IndexUnavailable")
