"""What a coordinator on the default store finds among vectors: at once, after it was killed, and without its index."""

import random
import signal
from collections.abc import Callable
from pathlib import Path

from hundredfold import SyncClient
from hundredfold.client.memory import Remembered
from hundredfold.testing.coordinator import CoordinatorProcess

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
    files = sorted((tmp_path / "data").glob("hundredfold.vectors-*"))
    assert {path.name for path in files} >= {"hundredfold.vectors-1", "hundredfold.vectors-2"}
    for path in files:
        path.write_bytes(b"garbage" * 100_000)
    with start().client() as client:
        finds_all(client)
