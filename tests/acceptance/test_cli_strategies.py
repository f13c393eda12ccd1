"""Strategies and faults on the command line: what is chosen for a behaviour, for a task, and for a whole run."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import AGENTS, Cli
from hundredfold.testing.coordinator import CoordinatorProcess, running_coordinator

FAILED, USAGE, INVALID = 1, 2, 5
LIMITED = """
from hundredfold import Limits, behaviour

@behaviour(limits=Limits(wall_seconds=0.2))
def limited(number: int) -> int:
    return number
"""


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoordinatorProcess]:
    """A coordinator that has a pool for one behaviour."""
    arguments = ["--behaviour-strategy", "nap=pool", "--pool-size", "2"]
    with running_coordinator(tmp_path_factory.mktemp("data"), plugins=[AGENTS], arguments=arguments) as process:
        yield process


def lines(path: Path, *values: object) -> str:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return str(path)


def pids(cli: Cli, path: Path, *arguments: str) -> list[int]:
    """Run naps; return which process each was in."""
    done = cli("run", "nap", "-i", lines(path, *[{"seconds": 0.01}] * 8), "--fresh", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["result"] for line in done.stdout.splitlines()]


def test_a_behaviour_has_the_strategy_that_the_coordinator_says(cli: Cli, tmp_path: Path) -> None:
    assert len(set(pids(cli, tmp_path / "lines"))) <= 2


def test_a_run_may_choose_another_one(cli: Cli, tmp_path: Path) -> None:
    assert len(set(pids(cli, tmp_path / "lines", "--strategy", "fresh"))) == 8
    assert len(set(pids(cli, tmp_path / "lines", "--strategy", "sequential"))) == 1


def test_a_task_may_choose_and_says_what_it_has(cli: Cli) -> None:
    for given, wanted in (((), "pool"), (("--strategy", "fresh"), "fresh"), (("--strategy", "stateful"), "stateful")):
        task_id = cli("submit", "nap", '{"seconds": 0}', *given).stdout.strip()
        shown = json.loads(cli("wait", task_id, "-o", "json").stdout)
        assert shown["spec"]["strategy"] == f"STRATEGY_{wanted.upper()}"


def test_a_run_under_another_strategy_is_another_run(cli: Cli, tmp_path: Path) -> None:
    path = lines(tmp_path / "lines", *[{"number": number} for number in range(4)])
    for given in (
        (),
        ("--strategy", "pool"),
        ("--inject", "slow=0.5:0.01"),
        ("--inject", "slow=0.5:0.01", "--seed", "1"),
    ):
        assert "4 succeeded, 0 failed; " in cli("run", "square", "-i", path, *given).stderr
        assert "4 done by an earlier run" in cli("run", "square", "-i", path, *given).stderr


def test_faults_befall_the_same_lines_each_time(cli: Cli, tmp_path: Path) -> None:
    path = lines(tmp_path / "lines", *[{"number": number} for number in range(20)])
    given = ["run", "square", "-i", path, "--fresh", "--inject", "timeout=0.2:0.01,crash=0.1", "--seed", "3"]
    failed = []
    for strategy in ("fresh", "pool"):
        done = cli(*given, "--strategy", strategy)
        assert (done.returncode, "16 succeeded, 4 failed" in done.stderr) == (FAILED, True)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        failed.append([number for number, row in enumerate(rows) if row["state"] == "FAILED"])
        assert {row["failure"]["type"] for row in rows if row["state"] == "FAILED"} == {"TimeoutError"}
    assert failed[0] == failed[1]


def test_an_injection_that_is_none_is_refused_before_results_are_opened(cli: Cli, tmp_path: Path) -> None:
    path, kept = lines(tmp_path / "lines", {"number": 1}), tmp_path / "results"
    kept.write_text("of an earlier run")
    done = cli("run", "square", "-i", path, "--inject", "crush=1", "--output", str(kept))
    assert (done.returncode, "`--inject` has 'crush=1'" in done.stderr) == (INVALID, True)
    assert kept.read_text() == "of an earlier run"


def test_who_may_hang_has_a_limit(cli: Cli, tmp_path: Path) -> None:
    path, kept = lines(tmp_path / "lines", {"number": 1}), tmp_path / "results"
    kept.write_text("of an earlier run")
    done = cli("run", "square", "-i", path, "--inject", "hang=1", "--output", str(kept))
    assert (done.returncode, "square has no limit: say with --wall-limit-seconds" in done.stderr) == (INVALID, True)
    assert kept.read_text() == "of an earlier run"
    plugin = tmp_path / "limited.py"
    plugin.write_text(LIMITED)
    for given in (["square", "--wall-limit-seconds", "0.2"], ["limited", "--plugin", str(plugin)]):
        done = cli("run", *given, "-i", path, "--inject", "hang=1")
        assert (done.returncode, "longer than its limit of 0.2 s" in done.stderr) == (FAILED, True)


@pytest.mark.parametrize("text", ["nap", "nap=", "nap=pol", "=pool"])
def test_a_strategy_for_a_behaviour_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    done = Cli(tmp_path / "data")("serve", "--behaviour-strategy", text)
    assert done.returncode == INVALID
    assert "must look like BEHAVIOUR=STRATEGY, with one of fresh, pool, stateful, sequential" in done.stderr


def test_a_strategy_that_is_none_is_refused(cli: Cli) -> None:
    done = cli("submit", "nap", '{"seconds": 0}', "--strategy", "pol")
    assert (done.returncode, "'pol' is not one of" in done.stderr) == (USAGE, True)
