"""A client that keeps books: what it was promised, and whether that was kept, whatever died meanwhile."""

import contextlib
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from hundredfold import Retry, Submission, SyncClient
from hundredfold.client import result_of
from hundredfold.errors import HundredfoldError, RequestIdReused, TimedOut
from hundredfold.testing.coordinator import CoordinatorProcess
from hundredfold.v1 import task_pb2

HERE = Path(__file__).parent
AGENTS = HERE / "agents.py"
BUILD = (sys.executable, str(HERE / "build.py"))
AGAIN = Retry(max_attempts=5, initial_seconds=0.05, max_seconds=0.2)
_RECEIPTS_SECONDS: Final = 20.0

SUCCEEDED: Final = task_pb2.TASK_STATE_SUCCEEDED
FAILED: Final = task_pb2.TASK_STATE_FAILED
CANCELLED: Final = task_pb2.TASK_STATE_CANCELLED
_ENDS: Final = (SUCCEEDED, FAILED, CANCELLED, task_pb2.TASK_STATE_EXPIRED)


def build(*options: str) -> tuple[str, ...]:
    """Return the program of the test build with these options."""
    return (*BUILD, *options, "--")


@dataclass(frozen=True)
class Wish:
    """A task that is wanted.

    Attributes:
        ends: how it has to end: once, unless it is to be tried again after a failure. CANCELLED is asked for.
        delay_seconds: from its first submission to `not_before`.

    """

    submission: Submission
    ends: tuple[task_pb2.TaskState.ValueType, ...] = (SUCCEEDED,)
    delay_seconds: float = 0.0

    def dated(self) -> "Wish":
        """Return it with the moment before which it must not start; repetitions have to name the same."""
        if not self.delay_seconds or self.submission.not_before:
            return self
        moment = datetime.now(UTC) + timedelta(seconds=self.delay_seconds)
        return replace(self, submission=replace(self.submission, not_before=moment))


@dataclass
class Books:
    """What a client wanted, what it was promised, and what it has got.

    Attributes:
        wishes: by request id.
        promised: ids of tasks whose submission was answered, by request id.
        answered: request ids of the tasks whose cancellation or further try was answered.
        patience_seconds: within which everything has to end once no coordinator dies any more.

    """

    directory: Path
    wishes: dict[str, Wish] = field(default_factory=dict)
    promised: dict[str, str] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    patience_seconds: float = 60.0

    @property
    def ledger(self) -> Path:
        """File in which agents note that they ran."""
        return self.directory / "ledger"

    def want(
        self,
        behaviour: str,
        number: int,
        *ends: task_pb2.TaskState.ValueType,
        delay_seconds: float = 0.0,
    ) -> None:
        """Note a wish."""
        name = f"{behaviour}-{number}"
        session = "books" if behaviour == "remember" else ""
        given = {"ledger": str(self.ledger), "name": name}
        submission = Submission(behaviour, given, session=session, retry=AGAIN, request_id=name)
        self.wishes[name] = Wish(submission, ends or (SUCCEEDED,), delay_seconds)

    def ask(self, client: SyncClient) -> None:
        """Ask for what was not answered yet, one after the other; a crash may come at any moment."""
        self._submit(client)
        for request_id, wish in self.wishes.items():
            if wish.ends == (CANCELLED,) and request_id not in self.answered:
                client.cancel(self.promised[request_id])
                self.answered.add(request_id)
        for request_id, wish in self.wishes.items():
            if wish.ends[0] == FAILED:
                self._try_again(client, request_id)

    def settle(self, client: SyncClient) -> None:
        """Wait for the end of everything, and compare it with what was promised.

        Raises:
            AssertionError: something was lost, or recorded twice.

        """
        self._submit(client)
        self._check_repetitions(client)
        self.ask(client)
        ended = self._ended(client)
        for request_id, task in ended.items():
            self._check_task(request_id, task)
            self._check_history(request_id, list(client.watch(task.id)))
        assert sorted(task.id for task in client.list()) == sorted(self.promised.values()), "tasks that nobody wanted"
        self._check_session(ended)
        self._check_checkpoints(ended)
        assert list(client.check_store().problems) == []

    def _submit(self, client: SyncClient) -> None:
        for request_id in self.wishes:
            if request_id not in self.promised:
                wish = self.wishes[request_id] = self.wishes[request_id].dated()
                (answer,) = client.submit_many([wish.submission])
                if isinstance(answer, HundredfoldError):
                    raise answer
                self.promised[request_id] = answer.id

    def _try_again(self, client: SyncClient, request_id: str) -> None:
        """Mend what made a task fail, and have it tried again; if that is not answered, it may have been done."""
        task = client.wait(self.promised[request_id], timeout_seconds=30)
        if task.state == FAILED:
            assert request_id not in self.answered, f"the further try of {request_id} was forgotten"
            self.ledger.with_name(request_id).touch()
            client.retry(task.id)
        self.answered.add(request_id)

    def _ended(self, client: SyncClient) -> dict[str, task_pb2.Task]:
        """Return all tasks as they have ended, by request id."""
        found = {}
        with contextlib.suppress(TimedOut):
            for task in client.as_ended(self.promised.values(), timeout_seconds=self.patience_seconds):
                found[task.id] = task
        missing = [request_id for request_id, task_id in self.promised.items() if task_id not in found]
        assert not missing, f"{missing} have not ended"
        return {request_id: found[task_id] for request_id, task_id in self.promised.items()}

    def _check_repetitions(self, client: SyncClient) -> None:
        for request_id, wish in self.wishes.items():
            again = client.submit_many([wish.submission])[0]
            assert not isinstance(again, RequestIdReused)
            assert not isinstance(again, HundredfoldError), again
            assert again.id == self.promised[request_id], f"{request_id} was accepted twice"

    def _check_task(self, request_id: str, task: task_pb2.Task) -> None:
        wish = self.wishes[request_id]
        assert task.state == wish.ends[-1], (request_id, task)
        if wish.submission.not_before:
            assert task.start_time.ToDatetime(UTC) >= wish.submission.not_before, f"{request_id} came too early"

    def _check_history(self, request_id: str, events: Sequence[task_pb2.Event]) -> None:
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        ends = tuple(event.state_change.state for event in events if event.state_change.state in _ENDS)
        assert ends == self.wishes[request_id].ends, f"{request_id} has ended {ends}"

    def _check_session(self, ended: dict[str, task_pb2.Task]) -> None:
        """Every task of the session saw exactly what those before it had written, each once."""
        seen = [result_of(task) for name, task in ended.items() if name.startswith("remember")]
        assert sorted(seen) == list(range(len(seen))), f"the session was written {seen}"

    def _check_checkpoints(self, ended: dict[str, task_pb2.Task]) -> None:
        """Whoever was told that a checkpoint is saved has never had to save another one."""
        notes = [line.split()[0] for line in self.ledger.read_text().splitlines()]
        for name, task in ended.items():
            if name.startswith("resume"):
                assert notes.count(f"{name}-saved") <= 1, f"a checkpoint of {name} was forgotten"
                assert 1 <= result_of(task) < len(task.attempts), f"{name} has resumed from {result_of(task)}"


def standard_books(directory: Path) -> Books:
    """Return books with a bit of everything."""
    books = Books(directory)
    books.want("linger", 0, CANCELLED)
    books.want("mend", 0, FAILED, SUCCEEDED)
    books.want("resume", 0)
    for number in range(3):
        books.want("remember", number)
    for number in range(2):
        books.want("count", number)
    books.want("count", 2, delay_seconds=0.3)
    books.want("stumble", 0)
    return books


def play(books: Books, data_dir: Path, program: Sequence[str], *arguments: str) -> bool:
    """Run the books against a coordinator that may die under them; then against one that does not, and settle.

    Returns:
        whether the first one died.

    """
    died = play_until_death(books, data_dir, program, *arguments)
    settle(books, data_dir, *arguments)
    return died


def settle(books: Books, data_dir: Path, *arguments: str) -> None:
    """Settle the books with a coordinator that does not die."""
    with _coordinator(data_dir, arguments) as process, process.client() as client:
        books.settle(client)


def play_until_death(books: Books, data_dir: Path, program: Sequence[str], *arguments: str) -> bool:
    """Run the books against a coordinator that may die; return whether it did."""
    try:
        process = CoordinatorProcess(data_dir, ["--plugin", str(AGENTS), *arguments], program=program)
    except AssertionError:  # it died before it was ready
        return True
    try:
        with process.client() as client:
            books.ask(client)
            list(client.as_ended(books.promised.values(), timeout_seconds=30))
            _until_receipts(client, books)
            client.drain(drain_seconds=5, grace_seconds=1, keep_agents=True)
        return process.wait() == -signal.SIGKILL
    except HundredfoldError as error:
        if not _dies(process):
            raise AssertionError(f"{error}\n{process.log}") from error
        return process.wait() == -signal.SIGKILL
    finally:
        process.stop()


def sweep(
    directory: Path, places: Sequence[str], number: int, seed: int, program: Callable[[str], Sequence[str]]
) -> None:
    """Play at so many of the places, 0 for all, each with the program that dies there.

    Raises:
        AssertionError: something was lost or recorded twice, or too few have died.

    """
    chosen = random.Random(seed).sample(places, min(number or len(places), len(places)))
    print(f"{len(chosen)} of {len(places)} places, with --seed {seed}")
    died = 0
    for place in chosen:
        print(place, flush=True)
        here = directory / place
        here.mkdir()
        died += play(standard_books(here), here / "data", program(place))
        shutil.rmtree(here)
    print(f"{died} of {len(chosen)} have died")
    # Which places a run passes depends on what shares a commit, and so on the machine: not all of them are met again.
    assert died >= len(chosen) / 2, f"only {died} of {len(chosen)} have died"


def _dies(process: CoordinatorProcess) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
        return True
    return False


def _until_receipts(client: SyncClient, books: Books) -> None:
    deadline = time.monotonic() + _RECEIPTS_SECONDS
    while time.monotonic() < deadline:
        tasks = [client.get(task_id) for task_id in books.promised.values()]
        if all(task.attempts[-1].HasField("receipt") for task in tasks if task.attempts):
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
