"""The example that the README runs does what the README says: for a user, from a shell, to its end or to Ctrl-C."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

_ROOT: Final = Path(__file__).parents[2]
_EXAMPLE: Final = [sys.executable, str(_ROOT / "examples" / "stdlib_review")]
_SCRIPT: Final = [str(_ROOT / "scripts" / "run")]


@dataclass(frozen=True)
class Hundred:
    """A run of the example: what it printed, what its agents returned, and which processes it left."""

    out: str
    err: str
    reviews: list[dict[str, Any]]
    answers: list[dict[str, Any]]
    left: list[str]


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which everything is started, which is how it is found again; sockets want a short path."""
    return tmp_path_factory.mktemp("example")


@contextmanager
def started(argv: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    argv = [*argv, "--data-dir", str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def finished(argv: list[str], folder: Path) -> tuple[int, str, str]:
    with started(argv, folder) as process:
        out, err = process.communicate()
    return process.returncode, out, err


def results(folder: Path, behaviour: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "results" / f"{behaviour}.jsonl").read_text().splitlines()]
    assert {row["state"] for row in rows} == {"SUCCEEDED"}
    assert [row["index"] for row in rows] == list(range(len(rows)))
    return [row["result"] for row in rows]


def running_in(folder: Path) -> list[str]:
    """Return what runs that was started in a folder, however it calls itself and whoever its parent is."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(folder) or str(folder) in " ".join(process.cmdline()):
                found.append(" ".join(process.cmdline()))
    return found


def count(what: str, out: str) -> int:
    found = re.search(rf"^ *(\d+) {what}", out, re.MULTILINE)
    assert found, f"{what!r} is not in:\n{out}"
    return int(found[1])


@pytest.fixture(scope="module")
def hundred(tmp_path_factory: pytest.TempPathFactory) -> Hundred:
    """What has come of `scripts/run`, as the README says."""
    folder = tmp_path_factory.mktemp("hundred")
    code, out, err = finished(_SCRIPT, folder)
    assert code == 0, out + err
    return Hundred(out, err, results(folder, "review"), results(folder, "answer"), running_in(folder))


def test_a_hundred_agents_review_in_as_many_processes(hundred: Hundred) -> None:
    assert len({review["module"] for review in hundred.reviews}) == 100
    assert len({review["pid"] for review in hundred.reviews}) == 100
    assert "review: 100/100" in hundred.err
    assert "100 reviews and 100 answers, none failed" in hundred.out
    assert "200, a fresh one for each task, none left running" in hundred.out
    assert hundred.left == []


def test_a_hundred_others_answer_from_the_store(hundred: Hundred) -> None:
    assert len({answer["pid"] for answer in hundred.answers}) == 100
    assert [answer["module"] for answer in hundred.answers] == [review["module"] for review in hundred.reviews]
    assert {answer["reviews"] for answer in hundred.answers} == {1}


def test_broken_tools_are_visible_and_harm_nobody_else(hundred: Hundred) -> None:
    for kind in ("answered late", "never answered", "503 once", "503 every time"):
        assert count(kind, hundred.out) > 0
    faults = [fault for review in hundred.reviews for fault in review["tool_faults"]]
    assert {fault["recovered"] for fault in faults} == {True, False}
    assert {fault["tries"] for fault in faults if not fault["recovered"]} == {3}
    assert count("agents met none", hundred.out) == sum(not review["tool_faults"] for review in hundred.reviews) > 0
    for review in hundred.reviews:
        missing = {fault["tool"] for fault in review["tool_faults"] if not fault["recovered"]}
        wanted = {"document", *(decision["tool"] for decision in review["decisions"])}
        assert set(review["tools_used"]) == wanted - missing


def test_a_second_run_remembers_the_first(folder: Path) -> None:
    argv = [*_EXAMPLE, "--count", "6", "--seed", "22"]
    assert finished(argv, folder)[0] == 0
    first = results(folder, "review")
    code, out, err = finished(argv, folder)
    assert code == 0, out + err
    second = results(folder, "review")
    assert sum(review["tool_calls"] for review in second) < sum(review["tool_calls"] for review in first)
    assert [review["findings"] for review in second] == [review["findings"] for review in first]
    assert {answer["reviews"] for answer in results(folder, "answer")} == {2}
    assert "not called" in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing_running(folder: Path, number: signal.Signals) -> None:
    with started([*_EXAMPLE, "--count", "30"], folder) as process:
        while not any(title.startswith("hundredfold: worker review") for title in running_in(folder)):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert err.rstrip().endswith("interrupted; nothing left running")
    assert out == ""
    assert running_in(folder) == []


def test_too_many_modules_are_refused_in_words(folder: Path) -> None:
    code, out, err = finished([*_EXAMPLE, "--count", "1000"], folder)
    assert (code, out) == (1, "")
    assert re.fullmatch(r"error: this Python has 1 to \d+ modules to review, not 1000\n", err)
