"""The commands that look after tasks: policies, dead letters, hosts."""

import json
from pathlib import Path

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
    assert cli("delete", task_id, "-o", "json").returncode == 4
    assert cli("get", task_id).returncode == 4
    assert task_id not in cli("dead", "-o", "json").stdout


HUGE = "99999999999999999999999"
MEMORY = "must be from 16777216 to 1125899906842624, or 0"
LONGEST = "must be from 0 to 31622400."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--retry", "bad=2"], "`--retry` has 'bad', which is none; there are: raised, crashed"),
        (["--retry", "bad"], "must look like crashed=5"),
        (["--retry", "crashed=0"], "`--retry` is 0 and must be from 1 to 1000"),
        (["--max-attempts", HUGE], f"`--max-attempts` is {HUGE} and must be from 0 to 1000"),
        (["--priority", "500"], "`--priority` is 500 and must be from -100 to 100"),
        (["--priority", "99999999999999"], "`--priority` is 99999999999999 and"),
        (["--wall-limit-seconds", "-1"], f"`--wall-limit-seconds` is -1.0 and {LONGEST}"),
        (["--cpu-limit-seconds", "nan"], f"`--cpu-limit-seconds` is nan and {LONGEST}"),
        (["--memory-limit-bytes", "5"], f"`--memory-limit-bytes` is 5 and {MEMORY}"),
        (["--memory-limit-bytes", "-1"], f"`--memory-limit-bytes` is -1 and {MEMORY}"),
        (["--memory-limit-bytes", HUGE], f"`--memory-limit-bytes` is {HUGE} and {MEMORY}"),
        (["--output-limit-bytes", "-1"], "`--output-limit-bytes` is -1 and must be from 0 to 1125899906842624"),
        (["--descriptor-limit", "99999999999"], "is 99999999999 and must be from 32 to 1073741824, or 0"),
        (["--process-limit", "5000000000"], "is 5000000000 and must be from 0 to 1000000"),
        (["--delay-seconds", "1e18"], f"`--delay-seconds` is 1e+18 and {LONGEST}"),
        (["--delay-seconds", "-1"], f"`--delay-seconds` is -1.0 and {LONGEST}"),
        (["--delay-seconds", "nan"], f"`--delay-seconds` is nan and {LONGEST}"),
        (["--tenant", "x" * 300], "`--tenant` has 300 characters and may have 200"),
        (["--tenant", "a\nb"], r"`--tenant` has the control character '\n'"),
        (["--session", "a\x1b[2J"], r"`--session` has the control character '\x1b'"),
        (
            ["--schedule-to-start-seconds", "2", "--schedule-to-close-seconds", "1"],
            "`--schedule-to-start-seconds` is longer than `--schedule-to-close-seconds`",
        ),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, list) else "",
)
def test_a_policy_that_is_none_is_refused(cli: Cli, arguments: list[str], said: str) -> None:
    answer = cli("submit", "nap", '{"seconds": 0}', *arguments)
    assert (answer.returncode, said in answer.stderr) == (5, True), answer.stderr


@pytest.mark.parametrize("figure", ["-1", "1000", HUGE])
def test_what_fit_is_asked_is_checked_as_submit_does(cli: Cli, figure: str) -> None:
    answer = cli("fit", "nap", "--memory-limit-bytes", figure)
    assert (answer.returncode, f"`--memory-limit-bytes` is {figure} and {MEMORY}" in answer.stderr) == (5, True)


def test_fit_knows_no_tenant_that_submit_does_not(cli: Cli) -> None:
    answer = cli("fit", "nap", "--tenant", "x" * 201)
    assert (answer.returncode, "`--tenant` has 201 characters and may have 200" in answer.stderr) == (5, True)


def test_run_refuses_as_a_whole_what_no_line_could_have(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"seconds": 0}\n')
    answer = cli("run", "nap", "-i", str(tmp_path / "in.jsonl"), "--memory-limit-bytes", "-1")
    assert (answer.returncode, answer.stdout, MEMORY in answer.stderr) == (5, "", True)


def test_a_session_policy_wants_a_session(cli: Cli) -> None:
    refused = cli("submit", "nap", '{"seconds": 0}', "--session-policy", "reject")
    assert (refused.returncode, "means nothing without --session" in refused.stderr) == (2, True)
    cli.environment["HUNDREDFOLD_SESSION_POLICY"] = "reject"
    accepted = cli("submit", "nap", '{"seconds": 0}')
    assert accepted.returncode == 0, "what is set for all commands must not get in the way of those without a session"


@pytest.mark.parametrize(
    ("arguments", "code", "flag"),
    [
        (["wait", "x", "--timeout", "-1"], 5, "`--timeout` is -1.0"),
        (["history", "--seconds", "nan"], 5, "`--seconds` is nan"),
        (["watch", "x", "--after", HUGE], 2, "--after"),
        (["stop", "--grace-seconds", "-1"], 5, "`--grace-seconds` is -1.0"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_time_that_is_none_is_refused_by_its_flag(cli: Cli, arguments: list[str], code: int, flag: str) -> None:
    answer = cli(*arguments)
    assert (answer.returncode, flag in answer.stderr, "Traceback" in answer.stderr) == (code, True, False)


def test_hosts_are_listed(cli: Cli) -> None:
    table = cli("hosts").stdout
    assert "READY" in table
    (host,) = [json.loads(line) for line in cli("hosts", "-o", "json").stdout.splitlines()]
    assert host["state"] == "HOST_STATE_READY"
    assert host["id"] in table


def test_a_list_says_that_there_are_more_only_if_there_are(cli: Cli) -> None:
    for number in range(3):
        cli("submit", "square", json.dumps({"number": number}), "--label", "for=list")
    label = ("list", "--label", "for=list")
    for limit, rows, said in (("2", 2, "these are the newest 2; -n 0 lists all\n"), ("3", 3, ""), ("0", 3, "")):
        done = cli(*label, "-n", limit)
        assert (len(done.stdout.splitlines()) - 1, done.stderr) == (rows, said)
    assert cli("list", "--state", "running", "--label", "for=nobody", "-n", "0").stderr == ""


def test_a_list_can_be_of_one_tenant_or_session(cli: Cli) -> None:
    def submit(*more: str) -> str:
        return cli("submit", "square", '{"number": 2}', "--label", "for=filters", *more).stdout.strip()

    nobody, somebody = submit(), submit("--tenant", "acme", "--session", "chat")
    cli("wait", nobody, somebody)

    def listed(*more: str) -> set[str]:
        return {
            json.loads(line)["id"]
            for line in cli("list", "--label", "for=filters", "-o", "json", *more).stdout.splitlines()
        }

    assert listed("--tenant", "acme") == listed("--session", "chat") == {somebody}
    assert listed("--tenant", "") == listed("--session", "") == {nobody}
    assert listed("--tenant", "acme", "--session", "") == set()
    assert listed() == {nobody, somebody}


def test_get_shows_whose_a_task_is_and_what_it_may_use(cli: Cli) -> None:
    limits = ("--memory-limit-bytes", str(1 << 30), "--cpu-limit-seconds", "90", "--descriptor-limit", "100")
    whose = ("--tenant", "acme", "--session", "s", "--session-policy", "interrupt", "--priority", "-5")
    task_id = cli("submit", "square", '{"number": 2}', *limits, *whose, "--output-limit-bytes", "2048").stdout.strip()
    cli("wait", task_id)
    shown = cli("get", task_id).stdout
    lines = dict(line.split(maxsplit=1) for line in shown.splitlines())
    assert (lines["tenant"], lines["session"], lines["priority"]) == ("acme", "s (interrupt)", "-5")
    assert lines["limits"] == (
        "1 h 0 min wall, 1 min 30 s CPU, 1 GiB of memory, 1000 processes, 100 descriptors, 2 KiB of output"
    )
    plain = cli("get", cli("submit", "square", '{"number": 2}').stdout.strip()).stdout
    assert not [line for line in plain.splitlines() if line.startswith(("tenant", "session", "priority"))]


def test_dead_letters_that_are_tried_again_are_shown_as_they_are_then(cli: Cli) -> None:
    cli("dead", "--discard")
    task_id = cli("submit", "end", '{"how": "raise"}').stdout.strip()
    cli("wait", task_id)
    again = cli("dead", "--retry")
    assert again.stderr == "1 task queued again\n"
    assert task_id in again.stdout
    assert "FAILED" not in again.stdout
    cli("wait", task_id)
    discarded = cli("dead", "--discard")
    assert (task_id in discarded.stdout, discarded.stderr) == (True, "1 task deleted\n")
