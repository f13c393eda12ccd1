"""A client that keeps books: what it was promised, and whether that was kept, whatever died meanwhile."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hundredfold import Retry, Submission, SyncClient
from hundredfold.errors import HundredfoldError, RequestIdReused
from hundredfold.testing.coordinator import CoordinatorProcess
from hundredfold.v1 import task_pb2

HERE = Path(__file__).parent
AGENTS = HERE / "agents.py"
BUILD = (sys.executable, str(HERE / "build.py"))
AGAIN = Retry(max_attempts=5, initial_seconds=0.05, max_seconds=0.2)
_END = {"get": 20.0, "start": 30.0}


def build(*options: str) -> tuple[str, ...]:
    """Return the program of the test build with these options."""
    return (*BUILD, *options, "--")


@dataclass
class Books:
    """What a client wanted, what it was promised, and what it has got.

    Attributes:
        wishes: by request id.
        promised: ids of tasks whose submission was answered, by request id.

    """

    directory: Path
    wishes: dict[str, Submission] = field(default_factory=dict)
    promised: dict[str, str] = field(default_factory=dict)

    @property
    def ledger(self) -> Path:
        """File in which agents note that they ran."""
        return self.directory / "ledger"

    def want(self, behaviour: str, number: int, **fields: object) -> None:
        """Note a wish."""
        name = f"{behaviour}-{number}"
        session = "books" if behaviour == "remember" else ""
        given = {"ledger": str(self.ledger), "name": name, **fields}
        self.wishes[name] = Submission(behaviour, given, session=session, retry=AGAIN, request_id=name)

    def submit(self, client: SyncClient) -> None:
        """Submit what was not answered yet, one after the other; a crash may come at any moment."""
        for request_id, wish in self.wishes.items():
            if request_id not in self.promised:
                (answer,) = client.submit_many([wish])
                if isinstance(answer, HundredfoldError):
                    raise answer
                self.promised[request_id] = answer.id

    def settle(self, client: SyncClient) -> None:
        """Wait for the end of everything, and compare it with what was promised.

        Raises:
            AssertionError: something was lost, or recorded twice.

        """
        self.submit(client)
        for request_id, wish in self.wishes.items():
            again = client.submit_many([wish])[0]
            assert not isinstance(again, RequestIdReused)
            assert not isinstance(again, HundredfoldError), again
            assert again.id == self.promised[request_id], f"{request_id} was accepted twice"
        ended = {task.id: task for task in client.as_ended(self.promised.values(), timeout_seconds=60)}
        for request_id, task_id in self.promised.items():
            task = ended[task_id]
            assert task.state == task_pb2.TASK_STATE_SUCCEEDED, (request_id, task)
        assert sorted(task.id for task in client.list()) == sorted(self.promised.values()), "tasks that nobody wanted"
        self._check_session(ended)
        for task_id in self.promised.values():
            self._check_history(list(client.watch(task_id)))

    def _check_session(self, ended: dict[str, task_pb2.Task]) -> None:
        """Every task of the session saw exactly what those before it had written, each once."""
        seen = [int(ended[task_id].result.data) for name, task_id in self.promised.items() if name.startswith("remem")]
        assert sorted(seen) == list(range(len(seen))), f"the session was written {seen}"

    def _check_history(self, events: Sequence[task_pb2.Event]) -> None:
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        ends = [event for event in events if event.state_change.state == task_pb2.TASK_STATE_SUCCEEDED]
        assert len(ends) == 1


def standard_books(directory: Path) -> Books:
    """Return books with a bit of everything."""
    books = Books(directory)
    for number in range(3):
        books.want("count", number)
        books.want("remember", number)
    books.want("stumble", 0)
    return books


def play(books: Books, data_dir: Path, program: Sequence[str], *arguments: str) -> bool:
    """Run the books against a coordinator that may die under them; then against one that does not, and settle.

    Returns:
        whether the first one died.

    """
    died = play_until_death(books, data_dir, program, *arguments)
    with _coordinator(data_dir, arguments) as process, process.client() as client:
        books.settle(client)
    return died


def play_until_death(books: Books, data_dir: Path, program: Sequence[str], *arguments: str) -> bool:
    """Run the books against a coordinator that may die; return whether it did."""
    try:
        process = CoordinatorProcess(data_dir, ["--plugin", str(AGENTS), *arguments], program=program)
    except AssertionError:  # it died before it was ready
        return True
    try:
        with process.client() as client:
            books.submit(client)
            with contextlib.suppress(StopIteration):
                list(client.as_ended(books.promised.values(), timeout_seconds=30))
            _until_receipts(client, books)
            client.drain(drain_seconds=5, grace_seconds=1, keep_agents=True)
    except HundredfoldError as error:
        if not _dies(process):
            process.stop()
            raise AssertionError(f"{error}\n{process.log}") from error
    return process.wait() == -signal.SIGKILL


def _dies(process: CoordinatorProcess) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
        return True
    return False


def _until_receipts(client: SyncClient, books: Books) -> None:
    deadline = time.monotonic() + _END["get"]
    while time.monotonic() < deadline:
        tasks = [client.get(task_id) for task_id in books.promised.values()]
        if all(task.attempts[-1].HasField("receipt") for task in tasks):
            return
        time.sleep(0.02)


@contextlib.contextmanager
def _coordinator(data_dir: Path, arguments: Sequence[str]) -> Iterator[CoordinatorProcess]:
    process = CoordinatorProcess(data_dir, ["--plugin", str(AGENTS), *arguments])
    try:
        yield process
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.stop()
