"""The commands that say why and how many: explain, fit, doctor, status."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from command_line import AGENTS, INTERRUPTED, Cli
from hundredfold.testing.coordinator import CoordinatorProcess, eventually, running_coordinator


def test_explain_says_why(cli: Cli, tmp_path: Path) -> None:
    task_id = cli("submit", "hold", json.dumps({"path": str(tmp_path / "go")}), "--tenant", "t").stdout.strip()
    eventually(lambda: "Attempt 1 has run for" in cli("explain", task_id).stdout, what="running")
    assert "set aside" in cli("get", task_id).stdout
    (tmp_path / "go").touch()
    cli("wait", task_id)
    told = cli("explain", task_id).stdout.splitlines()
    assert told[0].startswith("It is SUCCEEDED,")
    assert told[1].startswith("Attempt 1 completed.")
    shown = json.loads(cli("explain", task_id, "-o", "json").stdout)
    assert shown["attempts"][0]["summary"].startswith("Attempt 1 completed.")
    assert cli("explain", "nobody").returncode == 4


def test_fit_says_how_many_more_and_what_is_short(cli: Cli) -> None:
    said = cli("fit", "nap").stdout
    assert " more; " in said
    assert " is the limit: " in said
    assert int(json.loads(cli("fit", "nap", "-o", "json").stdout)["count"]) == int(said.split()[0])
    limited = cli("fit", "nap", "--memory-limit-bytes", str(1 << 50)).stdout
    assert limited.startswith(("1 more; memory is the limit", "0 more; memory is the limit"))
    unknown = cli("fit", "nobody")
    assert (unknown.returncode, "'nobody'" in unknown.stderr) == (4, True)


def test_ps_and_hosts_show_reservations(cli: Cli, tmp_path: Path) -> None:
    task_id = cli("submit", "hold", json.dumps({"path": str(tmp_path / "go")})).stdout.strip()
    eventually(lambda: task_id in cli("ps").stdout, what="the worker")
    assert "RESERVED" in cli("ps").stdout
    assert "RESERVED" in cli("hosts").stdout
    assert "kept in reserve" in cli("status").stdout
    (tmp_path / "go").touch()


def test_status_can_be_watched(cli: Cli) -> None:
    with cli.start("status", "--watch", "-o", "json") as watching:
        assert watching.stdout
        first, second = (json.loads(watching.stdout.readline()) for _ in range(2))
        watching.terminate()
        assert watching.wait(10) == -signal.SIGTERM
    assert first["pid"] == second["pid"]


def test_watching_outlives_the_coordinator(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "data")
    coordinators = [CoordinatorProcess(tmp_path / "data")]

    def seen_enough(shown: str) -> bool:
        if "no coordinator for 2 s; what was seen last:" in shown and len(coordinators) == 1:
            coordinators.append(CoordinatorProcess(tmp_path / "data"))
        elif "epoch 1" in shown and len(coordinators) == 1:
            coordinators[0].stop()
        return "epoch 2" in shown

    try:
        shown = cli.on_a_terminal("status", "--watch", until=seen_enough)
    finally:
        coordinators[-1].stop()
    assert "epoch 2" in shown, "it did not take it up again"
    away = shown.partition("no coordinator for 2 s")[2].partition("no coordinator for 3 s")[0]
    assert "\x1b[2mcoordinator" in away, "what was seen last is not grey"


@pytest.mark.parametrize("output_format", ["json", "table"])
def test_watching_from_a_pipe_says_once_that_it_waits(tmp_path: Path, output_format: str) -> None:
    cli = Cli(tmp_path / "data")
    assert cli("status", "--watch", "-o", output_format).returncode == 3, "nobody has answered yet"
    first = CoordinatorProcess(tmp_path / "data")
    watching = cli.start("status", "--watch", "-o", output_format)
    assert watching.stdout
    assert watching.stderr
    watching.stdout.readline()
    first.stop()
    assert watching.stderr.readline() == "no coordinator answers any more; trying again until Ctrl-C\n"
    second = CoordinatorProcess(tmp_path / "data")
    try:
        assert watching.stderr.readline() == "a coordinator answers again\n"
    finally:
        watching.send_signal(signal.SIGINT)
        out, err = watching.communicate(timeout=20)
        second.stop()
    assert watching.returncode == INTERRUPTED
    assert "Traceback" not in err
    if output_format == "table":
        assert re.search(r"(^|\n)\nnow          ", out), "no empty line between them"
    else:
        assert all(json.loads(line)["pid"] for line in out.splitlines())


def test_status_says_what_is_full_and_what_is_capped(tmp_path: Path) -> None:
    caps = ["--tenant-limit", "acme=0", "--tenant-limit", "=7", "--behaviour-limit", "nap=1", "--concurrency", "1"]
    limits = ["--queue-limit", "50", "--tenant-queue-limit", "5", "--queue-bytes", "2048"]
    with running_coordinator(tmp_path / "data", plugins=[AGENTS], arguments=[*caps, *limits]):
        cli = Cli(tmp_path / "data")
        cli("wait", cli("submit", "square", '{"number": 2}').stdout.strip())
        cli("submit", "square", '{"number": 2}', "--tenant", "acme")
        shown = cli("status").stdout
        told = json.loads(cli("status", "-o", "json").stdout)
    assert "tasks        1 QUEUED; since the start: 1 SUCCEEDED\n" in shown
    assert re.search(r"queue        1 of 50 tasks, \d+ B of 2.0 KiB of input, at most 5 of each tenant\n", shown)
    assert "limits       1 attempt at once, 7 of no tenant, 0 of tenant acme" in shown
    assert "1 of behaviour nap\n" in shown
    assert (told["tenant_limits"], told["behaviour_limits"]) == ({"acme": "0", "": "7"}, {"nap": "1"})
    assert 0 < int(told["queued_bytes"]) < int(told["queue_bytes"]) == 2048


def test_history_shows_what_was(cli: Cli, tmp_path: Path) -> None:
    cli("submit", "hold", json.dumps({"path": str(tmp_path / "go")}))
    eventually(lambda: _most_workers(cli) == 1, what="a sample with a worker")
    assert "MEMORY FREE" in cli("history").stdout
    (tmp_path / "go").touch()
    refused = cli("history", "--seconds", "-1")
    assert (refused.returncode, "-1.0 is not in the range" in refused.stderr) == (2, True)


def _most_workers(cli: Cli) -> int:
    samples = [json.loads(line) for line in cli("history", "-o", "json").stdout.splitlines()]
    assert all(int(sample["memory_free_bytes"]) > 0 for sample in samples)
    return max((sample.get("workers", 0) for sample in samples), default=0)


def test_status_is_watched_in_pictures_on_a_terminal(cli: Cli) -> None:
    shown = cli.on_a_terminal("status", "--watch", until=lambda text: text.count("  used") > 1)
    assert "  workers    0; they use 0 B" in shown
    assert "▁" in shown
    assert shown.count("  used") > 1, "it did not go on"
    assert re.search(r"now +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", shown)


def test_doctor_needs_no_coordinator(cli: Cli, tmp_path: Path) -> None:
    begin = time.monotonic()
    findings = [
        json.loads(line)
        for line in cli("doctor", "-o", "json", "--data-dir", str(tmp_path / "none")).stdout.splitlines()
    ]
    names = [finding["name"] for finding in findings]
    assert names == ["containment", "memory", "pressure", "swap", "files", "processes", "cpu", "disk", "sqlite"]
    assert all(finding["found"] and finding["follows"] for finding in findings)
    assert "never given away" in cli("doctor").stdout
    assert time.monotonic() - begin < 20


def test_doctor_finds_that_a_directory_cannot_be_written_and_goes_on(cli: Cli) -> None:
    done = cli("doctor", "--data-dir", "/proc/1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "disk         /proc/1 cannot be written: " in done.stdout
    assert "choose another --data-dir" in done.stdout
    assert "sqlite" in done.stdout
    assert "processes and threads for this user" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tenant-weight", "a"], "is 'a' and must look like TENANT=WEIGHT, with a weight above 0"),
        (["--tenant-weight", "a=0"], "is 'a=0' and must look like TENANT=WEIGHT, with a weight above 0"),
        (["--tenant-weight", "a=nan"], "is 'a=nan' and must look like TENANT=WEIGHT"),
        (["--tenant-limit", "a=-1"], "is 'a=-1' and must look like TENANT=N, with a whole number N from 0"),
        (["--tenant-limit", "a=99999999999"], "from 0 to 1000000000"),
        (["--behaviour-limit", "b=many"], "is 'b=many' and must look like BEHAVIOUR=N, with a whole number N from 0"),
        (["--behaviour-limit", "=3"], "is '=3', and no behaviour can be called ''"),
        (["--queue-bytes", "0"], "`queue_bytes` is 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_setting_that_is_none_is_refused(cli: Cli, arguments: list[str], said: str) -> None:
    answer: subprocess.CompletedProcess[str] = cli("serve", *arguments)
    assert (answer.returncode, said in answer.stderr) == (5, True), answer.stderr
