"""Sixty-four tasks at once on one session, with every policy, on every store: no update is lost."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hundredfold import Submission, SyncClient
from hundredfold.errors import SessionBusy
from hundredfold.testing.coordinator import running_coordinator
from hundredfold.v1 import attempt_pb2, task_pb2
from servers.postgresql import PostgresqlServer
from servers.redis import RedisServer

AGENTS = Path(__file__).with_name("agents.py")
CROWD = 64
SUCCEEDED, CANCELLED = task_pb2.TASK_STATE_SUCCEEDED, task_pb2.TASK_STATE_CANCELLED


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "redis", "memory"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncClient]:
    """A client of a coordinator on each kind of store."""
    postgresql: PostgresqlServer = request.getfixturevalue("postgresql")
    redis: RedisServer = request.getfixturevalue("redis")
    options = {
        "sqlite": [],
        "postgresql": ["--store", postgresql.new_database()],
        "redis": ["--store", redis.url("everywhere")],
        "memory": ["--store", "memory:", "--volatile"],
    }[request.param]
    with (
        running_coordinator(tmp_path_factory.mktemp("data"), plugins=[AGENTS], arguments=options) as process,
        process.client() as client,
    ):
        yield client


def crowd(client: SyncClient, policy: str, **fields: Any) -> tuple[list[task_pb2.Task], int]:
    """Submit them all at once; return what became of those that were accepted, and how many were not."""
    wishes = [
        Submission("note", {"text": str(number), "merge": False, **fields}, session=policy, session_policy=policy)
        for number in range(CROWD)
    ]
    answers = client.submit_many(wishes)
    refused = [answer for answer in answers if isinstance(answer, SessionBusy)]
    accepted = [answer.id for answer in answers if isinstance(answer, task_pb2.Task)]
    assert len(refused) + len(accepted) == CROWD
    return list(client.as_ended(accepted, timeout_seconds=110)), len(refused)


def said(client: SyncClient, session: str) -> list[str]:
    return [item.content for item in client.sessions.get(session).items]


def test_in_line_all_of_them_are_recorded_in_order(client: SyncClient) -> None:
    tasks, refused = crowd(client, "enqueue", pause=0.0)
    assert (refused, {task.state for task in tasks}) == (0, {SUCCEEDED})
    assert said(client, "enqueue") == [str(number) for number in range(CROWD)]


def test_beside_each_other_all_of_them_are_recorded(client: SyncClient) -> None:
    tasks, refused = crowd(client, "concurrent", pause=0.0)
    assert (refused, {task.state for task in tasks}) == (0, {SUCCEEDED})
    assert sorted(said(client, "concurrent")) == sorted(map(str, range(CROWD)))
    lost = {attempt.outcome for task in tasks for attempt in task.attempts[:-1]}
    assert lost <= {attempt_pb2.ATTEMPT_OUTCOME_CONFLICT}


def test_only_the_first_one_is_accepted(client: SyncClient) -> None:
    tasks, refused = crowd(client, "reject", pause=0.5)
    assert (refused, [task.state for task in tasks]) == (CROWD - 1, [SUCCEEDED])
    assert said(client, "reject") == ["0"]


@pytest.mark.parametrize("policy", ["interrupt", "rollback"])
def test_the_last_one_is_recorded_and_whoever_else_had_succeeded(client: SyncClient, policy: str) -> None:
    tasks, refused = crowd(client, policy, pause=0.5)
    assert refused == 0
    assert {task.state for task in tasks} <= {SUCCEEDED, CANCELLED}
    by_state = {task.id: task.state for task in tasks}
    assert by_state[max(by_state)] == SUCCEEDED, "the last one has its way"
    assert len(said(client, policy)) == sum(task.state == SUCCEEDED for task in tasks)
    assert said(client, policy)[-1] == str(CROWD - 1)
