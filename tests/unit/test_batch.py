"""Shows what a run makes of its lines: names that stay the same, wishes, results in order, a summary."""

import io
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from hundredfold import Client, Submission
from hundredfold.errors import HundredfoldError, InvalidArgument, InvalidInput
from hundredfold.v1 import attempt_pb2, task_pb2
from hundredfold_coordinator.cli.batch import Batch, Plan, Summary, fill, run_name
from hundredfold_coordinator.cli.lines import OrderedWriter, read_lines

PLAN = ("echo", "env-1", "")
SUCCEEDED, FAILED, CANCELLED = (
    task_pb2.TASK_STATE_SUCCEEDED,
    task_pb2.TASK_STATE_FAILED,
    task_pb2.TASK_STATE_CANCELLED,
)


def plan(**fields: Any) -> Plan:
    return Plan(**{"behaviour": "b", "environment": "e", "name": "run", "session": "", "labels": {}, **fields})


# Names ----------------------------------------------------------------------------------------------------------------


def test_the_same_command_has_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = run_name("", PLAN, "lines.jsonl", fresh=False)
    assert name == run_name("", PLAN, "lines.jsonl", fresh=False)
    assert name == run_name("", PLAN, str(tmp_path / "lines.jsonl"), fresh=False), "however the file is named"
    assert name.startswith("echo-")


@pytest.mark.parametrize(
    ("other_plan", "path"),
    [(("echo", "env-2", ""), "a"), (("echo", "env-1", "{user}"), "a"), (PLAN, "b"), (("e", "choenv-1", ""), "a")],
)
def test_another_command_has_another_name(other_plan: tuple[str, ...], path: str) -> None:
    assert run_name("", PLAN, "a", fresh=False) != run_name("", other_plan, path, fresh=False)


def test_a_given_name_is_kept() -> None:
    assert run_name("mine", PLAN, "a", fresh=False) == run_name("mine", ("x",), 0, fresh=False) == "mine"


@pytest.mark.parametrize("path", ["-", "<stdin>", 0, None])
def test_what_comes_from_a_pipe_is_new_each_time(path: object) -> None:
    assert run_name("", PLAN, path, fresh=False) != run_name("", PLAN, path, fresh=False)


@pytest.mark.parametrize("name", ["", "mine"])
def test_a_fresh_run_is_new_each_time(name: str) -> None:
    first, second = (run_name(name, PLAN, "a", fresh=True) for _ in range(2))
    assert first != second
    assert first.startswith(name or "echo")


# Wishes ---------------------------------------------------------------------------------------------------------------


def test_a_session_is_made_of_fields() -> None:
    assert fill("{user}-{n}", {"user": "ann", "n": 3}, 0) == "ann-3"
    assert fill("all", {"user": "ann"}, 0) == "all"
    assert fill("all", "text", 0) == "all"
    assert fill("", {}, 0) == ""


@pytest.mark.parametrize(
    ("template", "value"),
    [("{user}", {}), ("{user}", "text"), ("{}", {"user": 1}), ("{0}", [1]), ("{user", {"user": 1})],
)
def test_a_session_that_cannot_be_made_names_the_line(template: str, value: object) -> None:
    with pytest.raises(InvalidArgument, match="line 3 has no field") as caught:
        fill(template, value, 2)
    assert caught.value.field == "session"


@pytest.mark.parametrize("template", ["{user.name}", "{user[name]}"])
def test_a_path_that_leads_nowhere_names_the_line(template: str) -> None:
    with pytest.raises(InvalidArgument, match="line 1 has no field"):
        fill(template, {"user": 1}, 0)


def test_a_line_becomes_a_wish() -> None:
    wish = plan(session="{user}", labels={"team": "x"}).submission(4, {"user": "ann"})
    assert (wish.behaviour, wish.environment, wish.input) == ("b", "e", {"user": "ann"})
    assert (wish.session, wish.labels) == ("ann", {"run": "run", "team": "x"})
    assert wish.request_id.startswith("run/4/")


def test_a_request_id_depends_on_place_content_and_session_only() -> None:
    first = plan().submission(0, {"a": 1, "b": 2}).request_id
    assert plan(labels={"x": "y"}, lanes=3).submission(0, {"b": 2, "a": 1}).request_id == first
    others = {
        plan().submission(1, {"a": 1, "b": 2}).request_id,
        plan().submission(0, {"a": 1, "b": 3}).request_id,
        plan(session="s").submission(0, {"a": 1, "b": 2}).request_id,
        plan(name="other").submission(0, {"a": 1, "b": 2}).request_id,
    }
    assert len(others - {first}) == 4


def test_a_request_id_stays_within_its_limit() -> None:
    assert len(plan(name="n" * 500).submission(99_999, {}).request_id) < 200


# Lines ----------------------------------------------------------------------------------------------------------------


def test_lines_are_read_without_the_blank_ones() -> None:
    assert list(read_lines(io.BytesIO(b'{"a": 1}\n\n  \n2\n"x"'))) == [{"a": 1}, 2, "x"]


def test_a_line_that_is_no_json_is_named() -> None:
    with pytest.raises(InvalidArgument, match="line 3 of the input"):
        list(read_lines(io.BytesIO(b"1\n\nx\n")))


def test_results_are_written_in_the_order_of_the_lines() -> None:
    target = io.StringIO()
    writer = OrderedWriter(target)
    seen = []
    for index in (2, 0, 1, 4, 3):
        writer.put(index, {"n": index})
        seen.append([json.loads(line)["n"] for line in target.getvalue().splitlines()])
    assert seen == [[], [0], [0, 1, 2], [0, 1, 2], [0, 1, 2, 3, 4]]
    assert json.loads(target.getvalue().splitlines()[3]) == {"index": 3, "n": 3}


# Runs -----------------------------------------------------------------------------------------------------------------


@dataclass
class FakeClient:
    """A coordinator's answers: tasks by request id, made as they are wished for, ended last first."""

    known: dict[str, task_pb2.Task] = field(default_factory=dict)
    refusals: dict[str, HundredfoldError] = field(default_factory=dict)
    ends: dict[str, task_pb2.TaskState.ValueType] = field(default_factory=dict)
    most: int = 0

    async def submit_many(self, wishes: Iterable[Submission]) -> list[task_pb2.Task | HundredfoldError]:
        return [self._submit(wish) for wish in wishes]

    async def as_ended(self, task_ids: list[str]) -> AsyncIterator[task_pb2.Task]:
        self.most = max(self.most, len(task_ids))
        tasks = {task.id: task for task in self.known.values()}
        for task_id in reversed(task_ids):
            task = tasks[task_id]
            if task.state not in (SUCCEEDED, FAILED, CANCELLED):
                task.state = self.ends.get(task_id, SUCCEEDED)
                task.attempts.append(attempt_pb2.Attempt(pid=100 + int(task_id), host="h"))
            task.result.data = b'{"of": %s}' % task_id.encode()
            yield task

    def _submit(self, wish: Submission) -> task_pb2.Task | HundredfoldError:
        if str(wish.input) in self.refusals:
            return self.refusals[str(wish.input)]
        fresh = task_pb2.Task(id=str(len(self.known)), state=task_pb2.TASK_STATE_QUEUED)
        return self.known.setdefault(wish.request_id, fresh)


async def run(client: FakeClient, *values: Any, **fields: Any) -> tuple[Summary, list[dict[str, Any]]]:
    target = io.StringIO()
    summary = await Batch(cast("Client", client), plan(**fields), values, OrderedWriter(target)).run()
    return summary, [json.loads(line) for line in target.getvalue().splitlines()]


async def test_every_line_has_its_result() -> None:
    summary, rows = await run(FakeClient(), "a", "b", "c")
    assert [(row["index"], row["state"], row["result"]) for row in rows] == [
        (index, "SUCCEEDED", {"of": index}) for index in range(3)
    ]
    assert (summary.total, summary.succeeded, summary.done, summary.exit_code) == (3, 3, 3, 0)
    assert summary.pids == {("h", 100), ("h", 101), ("h", 102)}


async def test_failures_and_refusals_are_lines_too() -> None:
    refused: dict[str, HundredfoldError] = {"b": InvalidInput("b", "text", "is wrong")}
    summary, rows = await run(FakeClient(refusals=refused, ends={"0": FAILED, "1": CANCELLED}), "a", "b", "c", "d")
    assert [row["state"] for row in rows] == ["FAILED", "REFUSED", "CANCELLED", "SUCCEEDED"]
    assert rows[1]["error"]["reason"] == "INVALID_INPUT"
    assert (summary.failed, summary.refused, summary.cancelled, summary.succeeded) == (1, 1, 1, 1)
    assert (summary.done, summary.exit_code) == (4, 1)
    assert [failure.split(":")[0] for failure in summary.first_failures] == ["line 2", "line 1"]


async def test_only_the_first_failures_are_quoted() -> None:
    summary, _ = await run(
        FakeClient(refusals={str(n): InvalidArgument("spec.input", "is wrong") for n in range(9)}), *range(9)
    )
    assert (summary.refused, len(summary.first_failures)) == (9, 5)


async def test_a_second_run_does_only_what_is_missing() -> None:
    client = FakeClient(ends={"1": FAILED})
    await run(client, "a", "b")
    summary, rows = await run(client, "a", "b")
    assert (summary.succeeded, summary.reused) == (2, 1)
    assert [row["task"] for row in rows] == ["0", "2"], "the one that had failed is a new task"


async def test_lanes_bound_what_is_submitted_at_once() -> None:
    client = FakeClient()
    summary, rows = await run(client, *range(6), lanes=2)
    assert (summary.succeeded, client.most) == (6, 1)
    assert [row["index"] for row in rows] == list(range(6))


async def test_a_run_without_lines_is_done() -> None:
    summary, rows = await run(FakeClient())
    assert (summary.exit_code, rows) == (0, [])


def test_an_interrupted_run_says_so() -> None:
    assert Summary(1, succeeded=1, interrupted=True).exit_code == 130


@pytest.mark.parametrize(
    ("spans", "most"), [([], 0), ([(1, 2)], 1), ([(1, 5), (2, 3), (3, 6)], 2), ([(1, 9), (2, 8), (3, 7), (9, 10)], 3)]
)
def test_how_many_ran_at_once(spans: list[tuple[int, int]], most: int) -> None:
    assert Summary(total=0, spans=spans).most_at_once == most
