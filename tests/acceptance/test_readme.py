"""The README does what it says: its agent and its commands are run as they stand there."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CLIENTS = (ROOT / "docs" / "clients.md").read_text()
PICK_RESULT = (
    f"""{sys.executable} -c 'import json,sys; print(json.dumps(json.load(sys.stdin)["result"]).replace(" ", ""))'"""
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands(block: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a console block with the lines that it is said to print."""
    for part in block.split("$ ")[1:]:
        command, *said = part.splitlines()
        yield command.replace(".venv/bin/", ""), said


@pytest.fixture
def shell(tmp_path: Path) -> Iterator["Shell"]:
    (tmp_path / "agents.py").write_text(blocks("python")[0])
    shell = Shell(tmp_path)
    yield shell
    shell("hundredfold stop --drain-seconds 0 2>/dev/null || true")


class Shell:
    """Runs commands like a reader, in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "XDG_DATA_HOME": str(directory),
        }
        self._environment.pop("XDG_RUNTIME_DIR", None)

    def __call__(self, command: str) -> list[str]:
        done = subprocess.run(
            ["/bin/bash", "-c", command],
            cwd=self._directory,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout.splitlines()


def test_the_agent_is_short() -> None:
    assert len(blocks("python")[0].splitlines()) <= 20


def test_an_agent_is_run_on_a_file(shell: Shell) -> None:
    block = next(block for block in blocks("console") if "run summarise" in block)
    for command, said in commands(block):
        rows = [json.loads(line) for line in shell(command)]
        expected = [json.loads(line) for line in said]
        assert [row | {"task": "01…"} for row in rows] == expected


def test_a_program_is_an_agent(shell: Shell) -> None:
    block = next(block for block in blocks("console") if "run count" in block)
    length = f'{sys.executable} -c "import json,sys; print(len(json.load(sys.stdin)))"'
    for command, said in commands(block):
        rows = [json.loads(line) for line in shell(command.replace("jq length", length))]
        assert [row | {"task": "01…"} for row in rows] == [json.loads(line) for line in said]


def test_the_daemon_is_started_used_and_stopped(shell: Shell) -> None:
    block = next(block for block in blocks("console") if "serve" in block)
    known: dict[str, str] = {}
    for command, said in commands(block):
        if "serve" in command:
            shell(command.replace("&", ">/dev/null 2>&1 &") + " until hundredfold status >/dev/null 2>&1; do :; done")
            continue
        for old, new in known.items():
            command = command.replace(old, new)  # noqa: PLW2901  # the reader's id instead of the README's
        printed = shell(command.replace("jq -c .result", PICK_RESULT))
        if said and re.fullmatch(r"[0-9A-Z]{26}", said[0]):
            known[said[0]] = printed[0]
        for line, expected in zip(printed, said, strict=True):
            assert re.sub(r"[0-9A-Z]{26}", "ID", line) == re.sub(r"[0-9A-Z]{26}", "ID", expected)


def test_the_ways_are_compared(shell: Shell, tmp_path: Path) -> None:
    (block,) = [block for block in blocks("console") if "compare" in block]
    ((command, _),) = commands(block)
    shell(next(command for command, _ in commands(next(b for b in blocks("console") if "run summarise" in b))))
    *_, last = shell(f"{command} 2>&1")
    assert last.startswith("page: ")
    assert Path(last.removeprefix("page: ")) == tmp_path / "hundredfold-compare.html"
    assert (tmp_path / "hundredfold-compare.html").stat().st_size > 100_000


def test_the_clients_page_runs(shell: Shell, tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", CLIENTS, flags=re.DOTALL)
    (tmp_path / "program.py").write_text(program)
    shell("hundredfold serve --plugin agents.py >/dev/null 2>&1 & until hundredfold status >/dev/null 2>&1; do :; done")
    printed = shell("python program.py")
    assert printed[:3] == ["{'words': 2}", "{'words': 1}", "{'words': 2}"]
    assert len(printed) == 5
