"""Shows what `hundredfold compare` starts and what its page says of that, with coordinators that are none."""

import io
import json
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import click
import pytest
from hundredfold.errors import InvalidArgument
from hundredfold.v1 import behaviour_pb2
from hundredfold_coordinator.cli import cli as command_line
from hundredfold_coordinator.cli import compare, embedded, scratch
from hundredfold_coordinator.trial import charts
from hundredfold_coordinator.trial.outcome import Run
from made_runs import run, task


class Coordinators:
    """What was started: data directories and arguments. Their one behaviour has the limits that are set."""

    def __init__(self) -> None:
        self.directories: list[Path] = []
        self.arguments: list[Sequence[str]] = []
        self.behaviour = behaviour_pb2.Behaviour(name="work")

    @asynccontextmanager
    async def start(
        self, client: Any, data_dir: Path, concurrency: int, arguments: Sequence[str]
    ) -> AsyncIterator[embedded.Embedded]:
        del client, concurrency
        self.directories.append(data_dir)
        self.arguments.append(arguments)
        yield embedded.Embedded()

    @asynccontextmanager
    async def client(self, **_: Any) -> AsyncIterator["Coordinators"]:
        yield self

    async def environments(self) -> list[behaviour_pb2.Environment]:
        return []

    async def behaviours(self, environment: str) -> list[behaviour_pb2.Behaviour]:
        assert not environment
        return [self.behaviour]


async def hold(_: Any, start: Any, __: Any) -> AsyncIterator[Run]:
    """Hold a contest of one run."""
    contextmanager: AbstractAsyncContextManager[Any] = start()
    async with contextmanager:
        yield run(task(0))


@pytest.fixture
def coordinators(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Coordinators]:
    found = Coordinators()
    monkeypatch.setattr(compare, "embedded_coordinator", found.start)
    monkeypatch.setattr(compare, "Client", found.client)
    monkeypatch.setattr(compare, "hold", hold)
    monkeypatch.setattr(charts, "draw", lambda _: {})  # it takes seconds
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lines.jsonl").write_text('{"number": 1}\n')
    (tmp_path / "config.toml").write_text("")
    with monkeypatch.context() as environment:
        environment.setenv("HUNDREDFOLD_CONFIG", str(tmp_path / "config.toml"))
        yield found


def compared(*given: str) -> dict[str, Any]:
    """Return the report of a comparison."""
    command_line.main(["compare", "work", "-i", "lines.jsonl", *given], standalone_mode=False)
    report: dict[str, Any] = json.loads(Path("hundredfold-compare.json").read_text())
    return report


# Its stores -----------------------------------------------------------------------------------------------------------


def test_stores_are_its_own_whatever_is_set_for_all(
    coordinators: Coordinators, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as environment:
        environment.setenv("HUNDREDFOLD_STORE", "postgresql://shared/by/all")
        environment.setenv("HUNDREDFOLD_LISTEN", "127.0.0.1:7717")
        compared()
    (data_dir,), (arguments,) = coordinators.directories, coordinators.arguments
    assert list(arguments)[-4:] == ["--store", f"sqlite:{data_dir / 'hundredfold.db'}", "--listen", ""]


def test_stores_are_on_a_disk_unless_it_is_said_where(
    coordinators: Coordinators, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as environment:
        environment.setattr(scratch, "_DISK", tmp_path)
        environment.delenv("TMPDIR", raising=False)
        compared()
        environment.setenv("TMPDIR", "/somewhere")
        environment.setattr("tempfile.tempdir", str(tmp_path / "else"))
        (tmp_path / "else").mkdir()
        compared()
    first, second = (directory.parent for directory in coordinators.directories)
    assert (first.parent, second.parent) == (tmp_path, tmp_path / "else")
    assert first.name.startswith("hundredfold-compare-")
    assert [*tmp_path.glob("**/hundredfold-compare-*")] == []


# How to repeat it -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("coordinators")
def test_settings_from_elsewhere_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("seed = 7\nstore = 'redis://unused'\n[serve]\npool-tasks = 5\n")
    with monkeypatch.context() as environment:
        environment.setenv("HUNDREDFOLD_AGENTS", "3")
        environment.setenv("HUNDREDFOLD_GRACE_SECONDS", "0.5")
        environment.setenv("HUNDREDFOLD_POOL_SIZE", "9")
        about = compared("--repeat", "1")["about"]
    told = {(one["of"], one["setting"], one["value"], one["origin"]) for one in about["settings"]}
    assert told == {
        ("compare", "agents", "3", "environment"),
        ("compare", "seed", "7", "configuration file"),
        ("serve", "grace_seconds", "0.5", "environment"),
        ("serve", "pool_tasks", "5", "configuration file"),
    }, "but no store and no size of a pool, which its coordinators are told otherwise"
    assert about["directory"] == str(tmp_path)
    page = Path("hundredfold-compare.html").read_text()
    assert "serve: pool_tasks is 5 (configuration file)" in page
    assert f"<dd>{tmp_path}</dd>" in page
    assert "read from stdin" not in page


@pytest.mark.usefixtures("coordinators")
def test_what_was_read_from_stdin_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"number": 1}\n')))
    command_line.main(["compare", "work", "-i", "-"], standalone_mode=False)
    assert "was read from stdin" in Path("hundredfold-compare.html").read_text()


def test_coordinators_read_the_configuration_file_that_is_named(tmp_path: Path) -> None:
    with command_line.make_context("hundredfold", ["--config", str(tmp_path / "own.toml"), "version"]) as ctx:
        assert ctx.params["config"] == str(tmp_path / "own.toml")
        argv = embedded._argv(tmp_path, 3, None)
    at = argv.index("--config")
    assert argv[at : at + 3] == ["--config", str(tmp_path / "own.toml"), "serve"]
    assert "--config" not in embedded._argv(tmp_path, 3, None)


# What is wrong --------------------------------------------------------------------------------------------------------


def test_who_may_hang_has_a_limit(coordinators: Coordinators) -> None:
    with pytest.raises(InvalidArgument, match="has hang, and work has no limit: say with --wall-limit-seconds"):
        compared("--inject", "hang=0.5")
    compared("--inject", "hang=0.5", "--wall-limit-seconds", "1")
    compared("--inject", "hang=0,slow=0.5")
    coordinators.behaviour.limits.wall_time.FromSeconds(1)
    assert compared("--inject", "hang=0.5")["about"]["inject"] == "hang=0.5"
    assert len(coordinators.directories) == 5, "one more to ask for the limit, where nobody says it"


@pytest.mark.parametrize("given", [("--strategy", "pool"), ("--delay-seconds", "1")])
def test_what_has_no_meaning_here_is_refused(coordinators: Coordinators, given: tuple[str, str]) -> None:
    with pytest.raises(click.UsageError, match=f"{given[0]} means nothing here"):
        compared(*given)
    assert coordinators.directories == []


@pytest.mark.usefixtures("coordinators")
def test_what_is_meant_for_other_commands_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as environment:
        environment.setenv("HUNDREDFOLD_DELAY_SECONDS", "60")
        assert compared()["kind"] == "comparison"
