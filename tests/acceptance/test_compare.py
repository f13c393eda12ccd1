"""`hundredfold compare` as a user has it: a table, a JSON file, and a page that is looked at in a real browser."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, find_browser
from command_line import Cli
from hundredfold_coordinator.trial.rows import ROWS, cell, figure
from matplotlib import image

STRATEGIES = ["fresh", "pool", "stateful", "sequential"]
TASKS = 20
USAGE, UNKNOWN, INVALID = 2, 4, 5
PLUGIN = """
import time
from hundredfold import SyncContext, behaviour

@behaviour
def work(ctx: SyncContext, number: int, seconds: float = 0.03) -> dict[str, int]:
    ctx.session.append("user", number)
    time.sleep(seconds)
    return {"double": 2 * number}
"""
MARKUP = "<!--<script>alert(1)</script>"


@dataclass
class Compared:
    """What a comparison has left."""

    done: "subprocess.CompletedProcess[str]"
    directory: Path

    @property
    def page(self) -> Path:
        return self.directory / "page.html"

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / "page.json").read_text())
        return found


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a plugin and its input."""
    found = tmp_path_factory.mktemp("compare")
    (found / "work.py").write_text(PLUGIN)
    (found / "lines.jsonl").write_text("".join(f'{{"number": {number}}}\n' for number in range(TASKS)))
    return found


@pytest.fixture(scope="module")
def compare(directory: Path) -> Cli:
    """The command line, without a coordinator."""
    return Cli(directory / "data")


def arguments(*more: str, lines: str = "lines.jsonl") -> list[str]:
    return ["compare", "work", "--plugin", "work.py", "-i", lines, *more]


@pytest.fixture(scope="module")
def compared(compare: Cli, directory: Path) -> Compared:
    """All strategies, with faults: of twenty tasks one crashes, one hangs, one gets no answer and two are slow."""
    faults = ["--inject", "crash=0.05,hang=0.05,timeout=0.05:0.1,slow=0.1:0.1", "--seed", "7"]
    given = [*faults, "--wall-limit-seconds", "1", "--repeat", "1", "--agents", "3", "--session", f"{MARKUP}{{number}}"]
    (directory / "page.html").write_text("it is written over")
    return Compared(compare(*arguments(*given, "--page", "page.html", "--charts", "charts")), directory)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser."""
    program = find_browser()
    if program is None:
        pytest.skip("there is no Chromium and no Chrome on this machine to look at the page with")
    return Browser(program, tmp_path_factory.mktemp("browser"))


def embedded(html: str) -> Any:
    """Return the report that is in a page."""
    (text,) = re.findall(r'<script type="application/json" id="report">(.*?)</script>', html, re.DOTALL)
    return json.loads(text)


def cells(html: str) -> dict[str, tuple[Any, str]]:
    found = re.findall(r'<td data-key="([^"]+)" data-value="([^"]*)">([^<]*)</td>', html)
    return {key: (json.loads(unescape(value)), unescape(text)) for key, value, text in found}


def wanted(report: dict[str, Any]) -> dict[str, tuple[Any, str]]:
    return {
        f"{name}.{row.key}": (figure(one["figures"], row.key), cell(one["figures"], row))
        for name, one in report["strategies"].items()
        for row in ROWS
    }


# What it says ---------------------------------------------------------------------------------------------------------


def test_it_ends_with_the_path_of_a_page(compared: Compared) -> None:
    assert compared.done.returncode == 0, compared.done.stderr
    said = compared.done.stderr.splitlines()
    assert said[-1] == f"page: {compared.page}"
    assert [line for line in said if line.startswith("work: ")] == [
        f"work: {strategy}, run 1 ({number} of 4)" for number, strategy in enumerate(STRATEGIES, start=1)
    ]


def test_the_table_has_every_figure(compared: Compared) -> None:
    head, *lines = compared.done.stdout.splitlines()
    assert head.split() == [strategy.upper() for strategy in STRATEGIES]
    assert len(lines) == len(ROWS)
    for row, line in zip(ROWS, lines, strict=True):
        shown = [cell(compared.report["strategies"][name]["figures"], row) for name in STRATEGIES]
        assert re.split(r"\s{2,}", line.strip()) == [row.name, *shown]


def test_every_innocent_succeeds_under_fresh_and_pool(compared: Compared) -> None:
    for strategy in ("fresh", "pool"):
        figures = compared.report["strategies"][strategy]["figures"]
        assert (figures["tasks"], figures["innocents"]) == (TASKS, TASKS - 5)
        assert (figures["taken_along"], figures["failed_by_itself"]) == (0, 0)
        assert (figures["lost"], figures["lost_by"]) == (2, {"RAISED": 1, "TIMED_OUT": 1})
        assert figures["sessions_lost"] == 0
    assert compared.report["strategies"]["fresh"]["figures"]["innocents_affected"] == 0


def test_what_older_ways_lose_is_counted_by_what_happened(compared: Compared) -> None:
    """Every task that was lost is one in the list of its run, and whoever was taken along has its fault."""
    for strategy in ("stateful", "sequential"):
        (run,) = [run for run in compared.report["runs"] if run["strategy"] == strategy]
        found = compared.report["strategies"][strategy]
        lost = [task for task in run["tasks"] if task["state"] != "SUCCEEDED"]
        dropped = [task for task in lost if task["failure"] == "DROPPED"]
        assert dropped
        assert found["figures"]["lost"] == len(lost)
        assert found["figures"]["lost_by"]["DROPPED"] == found["figures"]["taken_along"] == len(dropped)
        assert found["figures"]["lost_to_own_fault"] == len(lost) - len(dropped)
        taken = {fault: cost["taken_along"] for fault, cost in found["faults"].items()}
        assert taken["crash"] + taken["hang"] == sum(taken.values()) == len(dropped)


def test_traces_are_found_where_processes_are_shared(compared: Compared) -> None:
    traces = {name: one["figures"]["contaminated"] for name, one in compared.report["strategies"].items()}
    assert traces.pop("fresh") == 0
    assert {name for name, count in traces.items() if count} == {"pool", "stateful", "sequential"}


def test_outputs_are_the_same_everywhere(compared: Compared) -> None:
    figures = {name: one["figures"] for name, one in compared.report["strategies"].items()}
    assert [one["outputs_differ"] for one in figures.values()] == [None, 0, 0, 0], "the first has none to compare with"
    assert [one["outputs_compared"] for one in figures.values()] == [
        0,
        *(figures[n]["succeeded"] for n in STRATEGIES[1:]),
    ]


def test_the_same_tasks_suffer_the_same_faults_everywhere(compared: Compared) -> None:
    faults = [[task["fault"] for task in run["tasks"]] for run in compared.report["runs"]]
    assert faults == [faults[0]] * 4
    assert {fault: faults[0].count(fault) for fault in set(faults[0])} == {
        "": 15,
        "crash": 1,
        "hang": 1,
        "timeout": 1,
        "slow": 2,
    }


def test_the_page_says_how_to_do_it_again(compared: Compared, compare: Cli) -> None:
    about = compared.report["about"]
    assert (about["seed"], about["tasks"], about["repeat"]) == (7, TASKS, 1)
    assert about["command"].startswith("hundredfold compare work --plugin work.py -i lines.jsonl --inject crash=0.05")
    assert about["directory"] == str(compared.directory)
    assert {"cpus", "memory_bytes", "kernel"} <= about["machine"].keys()
    assert compare("version").stdout.split()[-1] == about["versions"]["hundredfold"]


def test_pictures_are_files_too(compared: Compared) -> None:
    names = {file.name for file in (compared.directory / "charts").iterdir()}
    assert names == {
        f"{name}.{kind}"
        for name in ("timeline", "timeline_each", "latency", "throughput", "use", "faults")
        for kind in ("svg", "png")
    }


def test_many_that_wait_are_done_at_once_in_processes_of_their_own(compare: Cli, directory: Path) -> None:
    """Twenty-five tasks of half a second: the figures go to stdout as JSON, and are those of the page."""
    given = ["--strategies", "sequential,fresh", "--repeat", "1", "--page", "small.html", "-o", "json"]
    lines = "".join(f'{{"number": {number}, "seconds": 0.5}}\n' for number in range(25))
    done = compare(*arguments(*given, lines="-"), stdin=lines)
    assert done.returncode == 0, done.stderr
    report, page = json.loads(done.stdout), (directory / "small.html").read_text()
    assert json.loads((directory / "small.json").read_text()) == embedded(page) == report
    assert list(report["strategies"]) == ["sequential", "fresh"]
    assert all(run["samples"] for run in report["runs"])
    shown = cells(page)
    assert shown["sequential.makespan_s"][0] / shown["fresh.makespan_s"][0] > 10
    assert shown["sequential.innocents_late"][0] > 10, "they had to wait"
    assert re.search(r"<h1>25 tasks: fresh had .* results a second, \d+\.?\d* times as many as sequential</h1>", page)
    assert "was read from stdin" in page


# What is wrong --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (["--strategies", "fresh,frish"], INVALID, "has 'frish', which is none; there are: fresh, pool"),
        (["--strategies", ","], INVALID, "names none"),
        (["--strategy", "pool"], USAGE, "--strategy means nothing here"),
        (["--inject", "crush=0.1"], INVALID, "has 'crush=0.1', which must look like FAULT=SHARE"),
        (["--session", "{nothing}"], INVALID, "line 1 has no field 'nothing'"),
        (["--page", "missing/page.html"], INVALID, "which is not there"),
        (["--page", "page.json"], INVALID, "where its figures would go"),
        (["--page", "tasks.html"], INVALID, "tasks.json, which is the input, too"),
        (["--charts", "work.py/charts"], INVALID, "is no directory"),
        (["--plugin", "missing.py"], INVALID, "missing.py"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(
    compare: Cli, directory: Path, given: list[str], code: int, said: str
) -> None:
    (directory / "tasks.json").write_text('{"number": 1}\n')
    done = compare(*arguments(*given, lines="tasks.json"))
    assert said in done.stderr
    assert "run 1" not in done.stderr
    assert (done.returncode, done.stdout) == (code, "")
    assert (directory / "tasks.json").read_text() == '{"number": 1}\n'


@pytest.mark.parametrize(
    ("lines", "said"), [("", "has no line"), ("\n\n", "has no line"), ('{"number": 1}\n{\n', "line 2 of the input")]
)
def test_input_that_is_none_is_said_before_anything_runs(compare: Cli, lines: str, said: str) -> None:
    done = compare(*arguments(lines="-"), stdin=lines)
    assert (done.returncode, said in done.stderr, "run 1" in done.stderr) == (INVALID, True, False)


def test_a_line_that_is_refused_is_named(compare: Cli) -> None:
    done = compare(*arguments("--strategies", "fresh", lines="-"), stdin='{"number": 1}\n{"number": "two"}\n')
    assert done.returncode == INVALID
    assert "line 2 of the input" in done.stderr
    assert "`number`" in done.stderr


def test_a_plugin_that_is_broken_is_shown(compare: Cli, directory: Path) -> None:
    (directory / "broken.py").write_text("import nothing_like_this\n")
    given = ["compare", "work", "--plugin", "broken.py", "-i", "lines.jsonl", "--strategies", "fresh"]
    done = compare(*given)
    assert done.returncode == UNKNOWN
    assert "No module named 'nothing_like_this'" in done.stderr
    assert "broken.py" in done.stderr


# The page in a browser ------------------------------------------------------------------------------------------------


def test_a_browser_shows_the_figures_and_complains_of_nothing(browser: Browser, compared: Compared) -> None:
    html, complaints = browser.open(compared.page)
    assert complaints == []
    assert cells(html) == wanted(compared.report)
    assert embedded(html) == compared.report
    assert html.count("<svg") == 6
    assert html.count("<script") == 1


def test_a_browser_that_has_something_to_complain_of_does(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "broken.html"
    page.write_text("<script>console.error('one'); nothing()</script>")
    _, complaints = browser.open(page)
    assert any("one" in line for line in complaints)
    assert any("nothing is not defined" in line for line in complaints)


def test_the_page_can_be_read_by_day_and_by_night(browser: Browser, compared: Compared, tmp_path: Path) -> None:
    day, night = (
        image.imread(browser.photograph(compared.page, tmp_path / f"{dark}.png", dark=dark))[..., :3]
        for dark in (False, True)
    )
    assert day.shape == night.shape == (1600, 1100, 3)
    assert day[4, 4].min() > 0.95, "the paper is light"
    assert night[4, 4].max() < 0.2, "the paper is dark"
    for picture in (day, night):
        inked = abs(picture - picture[4, 4]).max(axis=2) > 0.3
        assert 0.01 < inked.mean() < 0.6, "there is something on it"
        colourful = picture.max(axis=2) - picture.min(axis=2) > 0.3
        assert colourful.mean() > 0.001, "pictures have their colours"


def test_the_page_fits_a_phone(browser: Browser, compared: Compared, tmp_path: Path) -> None:
    picture = image.imread(browser.photograph(compared.page, tmp_path / "phone.png", dark=False, width=500, height=900))
    edge = picture[:, -4:, :3]
    assert abs(edge - picture[4, 4, :3]).max() < 0.1, "nothing reaches beyond the edge"
