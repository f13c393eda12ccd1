"""`hundredfold bench` as people and scripts use it: its table, its JSON, its page, and what an interruption leaves."""

import html
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from browser import Browser, find_browser
from command_line import INTERRUPTED, Cli
from hundredfold.errors import InvalidSetting
from hundredfold.testing.coordinator import eventually
from hundredfold_coordinator.cli import cli as command_line


@pytest.fixture
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a bench keeps its stores, and sockets, whose paths must be short."""
    return tmp_path_factory.mktemp("b")


@pytest.fixture
def quiet(tmp_path: Path, room: Path) -> Cli:
    cli = Cli(tmp_path / "data")
    cli.environment["TMPDIR"] = str(room)
    return cli


def test_a_small_bench_ends_with_tables_figures_and_a_page(quiet: Cli, tmp_path: Path, room: Path) -> None:
    running = quiet.start("bench", "--most", "5", "--queued", "100", "--page", "bench.html", "--charts", "charts")
    shown, said = running.communicate(timeout=110)
    assert running.returncode == 0, said
    report = json.loads((tmp_path / "bench.json").read_text())
    assert [(name, one["running"]) for name, one in report["agents"].items()] == [("1", 1), ("2", 2), ("5", 5)]
    assert all(one["until_running_s"] > 0 and one["until_ended_s"] > 0 for one in report["agents"].values())
    assert report["costs"]["host_descriptors"]["each"] == pytest.approx(3, abs=0.2)
    assert {"memory", "descriptors", "processes"} >= {*report["limits"]} - {"cpu"}
    assert [*report["queue"]] == ["10", "100"]
    assert all(0 < one["cpu_s"] < 1 for one in report["queue"].values())
    _tables_agree(shown, report)
    _page_agrees(_opened(tmp_path / "bench.html"), report)
    assert said.endswith(f"page: {tmp_path / 'bench.html'}\n")
    assert "5 agents at once (3 of 11)" in said
    assert {path.name for path in (tmp_path / "charts").iterdir()} >= {"crowd.png", "crowd.svg", "queue.png"}
    assert [*room.glob("hundredfold-bench-*")] == []


def _opened(page: Path) -> str:
    """Return what a page has become in a browser that complains of nothing; the page itself where there is none."""
    program = find_browser()
    if program is None:
        return page.read_text()
    text, complaints = Browser(program, page.parent / "browser").open(page)
    assert complaints == []
    return text


def _tables_agree(text: str, report: dict[str, Any]) -> None:
    first, second = (part.splitlines() for part in text.strip().split("\n\n"))
    assert first[0].split()[0] == "AGENTS"
    assert [line.split()[:2] for line in first[1:]] == [[n, str(one["running"])] for n, one in report["agents"].items()]
    assert second[0].split()[0] == "QUEUED"
    assert [line.split()[1] for line in second[1:]] == [f"{one['cpu_s'] * 1e3:.3g}" for one in report["queue"].values()]


def _page_agrees(text: str, report: dict[str, Any]) -> None:
    assert "<svg" in text
    assert "https://" not in re.sub(r"<pre>.*?</pre>|<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    found = dict(_cells(text))
    assert {"agents.5.until_running_s", "queue.100.cpu_s", "costs.memory_bytes.each"} <= found.keys()
    for key, shown in found.items():
        value: Any = report
        for name in key.split("."):
            value = value[name]
        assert shown == value, key


def _cells(text: str) -> Iterator[tuple[str, Any]]:
    for key, value in re.findall(r'data-key="([^"]+)" data-value="([^"]+)"', text):
        yield key, json.loads(html.unescape(value))


@pytest.mark.soak  # twenty seconds for what the tests of `compare` show, too
def test_programs_get_json_and_no_table(quiet: Cli, tmp_path: Path) -> None:
    done = quiet("bench", "--most", "1", "--queued", "10", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((tmp_path / "hundredfold-bench.json").read_text())


def test_ctrl_c_leaves_nothing_behind(quiet: Cli, tmp_path: Path, room: Path) -> None:
    running = quiet.start("bench", "--most", "8", "--queued", "10")
    try:
        assert running.stderr
        while "8 agents at once" not in running.stderr.readline():
            assert running.poll() is None
        eventually(lambda: len(_below(running.pid)) > 8, what="the agents")
        family = _below(running.pid)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    finally:
        running.kill()
    assert (running.returncode, said.strip()) == (INTERRUPTED, "interrupted")
    assert [process for process in family if process.is_running()] == []
    assert [*tmp_path.iterdir(), *room.iterdir()] == []


def _below(pid: int) -> list[psutil.Process]:
    """Return the processes that a process has started, and they."""
    return psutil.Process(pid).children(recursive=True)


def test_without_matplotlib_it_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InvalidSetting, match=r"hundredfold\[report\]"):
        command_line.main(["bench"], standalone_mode=False)
