"""The commands that look after tasks: policies, dead letters, hosts."""

import json

import pytest
from command_line import Cli
from hundredfold.testing.coordinator import eventually


def test_a_dead_letter_is_seen_tried_again_and_discarded(cli: Cli) -> None:
    task_id = cli("submit", "end", '{"how": "SIGKILL"}', "--max-attempts", "2", "--backoff-seconds", "0").stdout.strip()
    assert cli("wait", task_id).returncode == 1
    assert task_id in cli("dead").stdout
    shown = cli("get", task_id).stdout
    assert "RETRIES_EXHAUSTED" in shown
    assert shown.count("SIGNALLED") == 2
    assert "held by" in shown
    assert task_id in cli("retry", task_id).stdout
    assert cli("wait", task_id).returncode == 1
    assert cli("get", task_id).stdout.count("SIGNALLED") == 4
    eventually(lambda: cli("delete", task_id).returncode == 0, what="deletion")
    assert cli("get", task_id).returncode == 4
    assert task_id not in cli("dead", "-o", "json").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--retry", "bad=2"], "there are: raised, crashed"),
        (["--retry", "bad"], "must look like crashed=5"),
        (["--priority", "500"], "`spec.priority` is 500"),
        (["--wall-limit-seconds", "-1"], "`wall_seconds` is -1"),
        (["--memory-limit-bytes", "5"], "`spec.limits.memory_bytes` is 5"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_policy_that_is_none_is_refused(cli: Cli, arguments: list[str], said: str) -> None:
    answer = cli("submit", "nap", '{"seconds": 0}', *arguments)
    assert (answer.returncode, said in answer.stderr) == (5, True), answer.stderr


def test_hosts_are_listed(cli: Cli) -> None:
    table = cli("hosts").stdout
    assert "READY" in table
    (host,) = [json.loads(line) for line in cli("hosts", "-o", "json").stdout.splitlines()]
    assert host["state"] == "HOST_STATE_READY"
    assert host["id"] in table
