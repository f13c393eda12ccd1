"""The command line as people and scripts use it: what goes where, what the exit code says, what an error says."""

import json
import signal
import time
from pathlib import Path

import psutil
import pytest
from command_line import AGENTS, Cli
from hundredfold.testing.coordinator import CoordinatorProcess, eventually, running_coordinator
from hundredfold.v1 import task_pb2


def jsonl(path: Path, *values: object) -> str:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return str(path)


def test_submit_wait_get(cli: Cli) -> None:
    submitted = cli("submit", "square", '{"number": 12}', "--label", "kind=test")
    task_id = submitted.stdout.strip()
    assert (submitted.returncode, len(task_id)) == (0, 26)
    assert cli("wait", task_id).stdout == f"{task_id}  SUCCEEDED\n"
    shown = json.loads(cli("get", task_id, "-o", "json").stdout)
    assert (shown["result"], shown["spec"]["input"], shown["spec"]["labels"]) == (144, {"number": 12}, {"kind": "test"})
    assert "result     144" in cli("get", task_id).stdout
    assert task_id in cli("list", "--label", "kind=test").stdout


def test_input_comes_from_stdin_too(cli: Cli) -> None:
    task_id = cli("submit", "square", "-", stdin='{"number": 3}').stdout.strip()
    assert json.loads(cli("wait", task_id, "-o", "json").stdout)["result"] == 9


def test_watch_and_logs(cli: Cli) -> None:
    task_id = cli("submit", "end", '{"how": "raise"}').stdout.strip()
    told = [json.loads(line) for line in cli("watch", task_id, "-o", "json").stdout.splitlines()]
    assert [int(event["sequence"]) for event in told] == [1, 2, 3, 4]
    assert "FAILED" in cli("watch", task_id, "--after", "3").stdout
    cli("wait", task_id)
    logs = cli("logs", "-f", task_id)
    assert (logs.stdout, logs.stderr) == ("some output\n", "last words\n")
    pieces = [json.loads(line) for line in cli("logs", task_id, "-o", "json").stdout.splitlines()]
    assert pieces == [
        {"stream": "stdout", "data": "some output\n"},
        {"stream": "stderr", "data": "last words\n"},
    ]


def test_logs_follow_a_running_task(cli: Cli) -> None:
    task_id = cli("submit", "write_much", '{"megabytes": 1}').stdout.strip()
    assert cli("logs", "-f", task_id).stdout.endswith("o\n")


def test_ps_status_plugins_version(cli: Cli) -> None:
    task_id = cli("submit", "nap", '{"seconds": 30}').stdout.strip()
    eventually(lambda: "RUNNING" in cli("ps").stdout, what="the worker")
    workers = [json.loads(line) for line in cli("ps", "-o", "json").stdout.splitlines()]
    assert [worker["behaviour"] for worker in workers if worker["task_id"] == task_id] == ["nap"]
    status = json.loads(cli("status", "-o", "json").stdout)
    assert status["durable"]
    assert "1 RUNNING" in cli("status").stdout
    assert "CANCELLED" in cli("cancel", task_id).stdout
    assert "CANCELLED" in cli("list", "--state", "cancelled").stdout
    assert "square: Square a number, without a context." in cli("plugins").stdout
    assert json.loads(cli("version", "-o", "json").stdout)["version"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["submit", "square", '{"number": "x"}'], 5, "`number` 'x' is not of type 'integer'"),
        (["submit", "square", "{number: 3}"], 5, "`input` is not JSON"),
        (["submit", "sqare", '{"number": 3}'], 4, "Did you mean 'square'?"),
        (["submit", "square", '{"number": 3}', "--label", "x"], 5, "KEY=VALUE"),
        (["get", "nope"], 4, "There is no task 'nope' here"),
        (["wait", "nope"], 4, "There is no task 'nope' here"),
        (["run", "square", "--input", "/nowhere"], 2, "No such file"),
        (["run", "square", "--plugin", "/nowhere.py", "--input", "/dev/null"], 5, "/nowhere.py, which is not a file"),
        (["serve", "--concurrency", "0"], 5, "`concurrency` is 0 and must be from 1"),
        (["serve", "--listen", "0.0.0.0:80"], 5, "must be a loopback address"),
        (["serve", "--store", "memory:", "--data-dir", "."], 5, "--volatile"),
        (["serve", "--command", "x"], 5, "name=PROGRAM"),
        (["nonsense"], 2, "No such command"),
        (["explan"], 2, "did you mean explain?"),
        (["store", "chek"], 2, "did you mean check?"),
        (["get"], 2, "Missing argument"),
        (["--config", "/nowhere.toml", "status"], 5, "/nowhere.toml"),
    ],
)
def test_an_error_says_what_and_how_to_cure_it(cli: Cli, arguments: list[str], code: int, said: str) -> None:
    done = cli(*arguments)
    assert said in done.stderr
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["get", "nope"], 4, "TASK_NOT_FOUND"),
        (["submit", "square", "--priority", "500"], 5, "INVALID_ARGUMENT"),
        (["submit", "square", "--priority", "high"], 2, "USAGE"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_errors_are_json_where_results_are(cli: Cli, arguments: list[str], code: int, reason: str) -> None:
    done = cli(*arguments, "-o", "json")
    told = json.loads(done.stderr)["error"]
    assert (done.returncode, done.stdout, told["reason"]) == (code, "", reason)
    assert "nope" in told["message"] or "--priority" in told["message"]


def test_no_coordinator_is_said_in_one_line(tmp_path: Path) -> None:
    done = Cli(tmp_path)("status")
    assert (done.returncode, done.stdout) == (3, "")
    assert "Start one with `hundredfold serve`" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_path_too_long_for_a_socket_is_named(tmp_path: Path) -> None:
    done = Cli(tmp_path / ("x" * 120))("status")
    assert done.returncode == 5
    assert "choose a shorter one" in done.stderr


def test_wait_says_by_its_exit_code_that_a_task_failed(cli: Cli) -> None:
    task_id = cli("submit", "end", '{"how": "SIGKILL"}').stdout.strip()
    done = cli("wait", task_id)
    assert done.returncode == 1
    assert "SIGKILL" in done.stdout
    assert cli("wait", "--timeout", "0.1", cli("submit", "nap", '{"seconds": 2}').stdout.strip()).returncode == 7


def test_run_writes_results_in_order_and_says_the_rest_on_stderr(cli: Cli, tmp_path: Path) -> None:
    done = cli("run", "square", "--input", jsonl(tmp_path / "in.jsonl", *({"number": n} for n in range(30))))
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["result"] for row in rows] == [n * n for n in range(30)]
    assert done.returncode == 0
    assert "30 succeeded, 0 failed; 30 processes" in done.stderr


def test_run_again_does_only_what_is_missing(cli: Cli, tmp_path: Path) -> None:
    file = jsonl(tmp_path / "in.jsonl", {"how": "raise"}, *({"how": how} for how in ("large",)))
    first = cli("run", "end", "--name", "again", "--input", file)
    assert first.returncode == 1
    assert "2 failed" in first.stderr
    good = jsonl(tmp_path / "good.jsonl", {"number": 1}, {"number": 2})
    ids = [json.loads(line)["task"] for line in cli("run", "square", "--input", good).stdout.splitlines()]
    second = cli("run", "square", "--input", good)
    assert [json.loads(line)["task"] for line in second.stdout.splitlines()] == ids
    assert "2 done by an earlier run" in second.stderr
    longer = jsonl(tmp_path / "good.jsonl", {"number": 1}, {"number": 2}, {"number": 3})
    assert "2 done by an earlier run" in cli("run", "square", "--input", longer).stderr
    failed = [json.loads(line)["task"] for line in first.stdout.splitlines()]
    retried = [
        json.loads(line)["task"] for line in cli("run", "end", "--name", "again", "--input", file).stdout.splitlines()
    ]
    assert not {*failed} & {*retried}


def test_run_keeps_a_bad_line_to_itself(cli: Cli, tmp_path: Path) -> None:
    done = cli("run", "square", "--input", jsonl(tmp_path / "in.jsonl", {"number": 1}, {"number": "x"}, {"number": 3}))
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["state"] for row in rows] == ["SUCCEEDED", "REFUSED", "SUCCEEDED"]
    assert rows[1]["error"]["field"] == "number"
    assert done.returncode == 1
    (tmp_path / "bad.jsonl").write_text('{"number": 1}\n{oops\n')
    refused = cli("run", "square", "--input", str(tmp_path / "bad.jsonl"))
    assert refused.returncode == 5
    assert "line 2 of the input" in refused.stderr


def test_run_in_lanes(cli: Cli, tmp_path: Path) -> None:
    file = jsonl(tmp_path / "in.jsonl", *({"seconds": 0.05 + n / 1000} for n in range(8)))
    done = cli("run", "nap", "--concurrency", "2", "--input", file)
    assert len({json.loads(line)["result"] for line in done.stdout.splitlines()}) == 8


def test_run_without_a_coordinator_brings_its_own(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "data")
    file = jsonl(tmp_path / "in.jsonl", {"name": "Ada"}, {"name": "Grace"})
    done = cli("run", "greet", "--plugin", str(AGENTS), "--input", file, "--output", str(tmp_path / "out.jsonl"))
    assert (done.returncode, done.stdout) == (0, "")
    texts = [json.loads(line)["result"]["text"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert texts == ["hello Ada", "hello Grace"]
    assert cli("status").returncode == 3


@pytest.mark.parametrize("embedded", [True, False])
def test_ctrl_c_cancels_cleanly(cli: Cli, tmp_path: Path, *, embedded: bool) -> None:
    cli = Cli(tmp_path / "data") if embedded else cli
    file = jsonl(tmp_path / "in.jsonl", *({"seconds": 60 + n / 1000} for n in range(5)))
    run = cli.start("run", "nap", "--plugin", str(AGENTS), "--input", file)
    eventually(lambda: cli("status").stdout.count("5 RUNNING"), seconds=30, what="five agents")
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=30)
    assert run.returncode == 130
    assert [json.loads(line)["state"] for line in out.splitlines()] == ["CANCELLED"] * 5
    assert "5 cancelled" in err
    assert "Traceback" not in err


def test_an_embedded_coordinator_ends_with_its_owner(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "data")
    run = cli.start("run", "nap", "--plugin", str(AGENTS), "--input", jsonl(tmp_path / "in.jsonl", {"seconds": 60}))
    eventually(lambda: "1 RUNNING" in cli("status").stdout, seconds=30, what="the agent")
    pid = json.loads(cli("status", "-o", "json").stdout)["pid"]
    family = psutil.Process(pid).children(recursive=True)
    run.kill()
    run.communicate()
    eventually(lambda: not any(map(_lives, family)), seconds=30, what="their end")


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it has ended between the two looks
        return False


def test_settings_come_from_flag_variable_and_file(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    config = tmp_path / "config.toml"
    config.write_text('queue_limit = 7\n[serve]\nconcurrency = 3\n[commands]\ncount = ["wc", "-l"]\n')
    cli.environment |= {"HUNDREDFOLD_CONFIG": str(config), "HUNDREDFOLD_GRACE_SECONDS": "2.5"}
    shown = cli("serve", "--print-config", "--drain-seconds", "1").stdout
    lines = {line.split()[0]: line for line in shown.splitlines()}
    assert lines["concurrency"].split()[1:] == ["3", "config", "file"]
    assert lines["queue_limit"].split()[1:] == ["7", "config", "file"]
    assert lines["grace_seconds"].split()[1:] == ["2.5", "environment"]
    assert lines["drain_seconds"].split()[1:] == ["1.0", "commandline"]
    assert lines["event_quota"].split()[1:] == ["10000", "default"]
    assert "count" in lines["commands"]


def test_a_full_queue_is_said_with_the_cure(tmp_path: Path) -> None:
    with running_coordinator(tmp_path / "d", plugins=[AGENTS], arguments=["--concurrency", "1", "--queue-limit", "2"]):
        cli = Cli(tmp_path / "d")
        cli("submit", "nap", '{"seconds": 60}')
        eventually(lambda: "1 RUNNING" in cli("status").stdout, what="running")
        codes = [cli("submit", "nap", '{"seconds": 60}').returncode for _ in range(3)]
        assert codes == [0, 0, 6]
        assert "raise `queue_limit`" in cli("submit", "nap", '{"seconds": 60}').stderr


def test_stop_waits_until_it_has_ended(tmp_path: Path) -> None:
    process = CoordinatorProcess(tmp_path / "data", ["--plugin", str(AGENTS)])
    cli = Cli(tmp_path / "data")
    cli("submit", "nap", '{"seconds": 1}')
    began = time.monotonic()
    done = cli("stop")
    assert done.returncode == 0
    assert "stopped (pid" in done.stderr
    assert time.monotonic() - began < 20
    assert process.wait(2) == 0
    assert cli("stop").returncode == 3


def test_a_run_that_found_anothers_coordinator_is_not_left_alone(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "data")
    quick = jsonl(tmp_path / "quick.jsonl", {"seconds": 1.5})
    many = jsonl(tmp_path / "many.jsonl", *[{"seconds": 0.3}] * 20)
    first = cli.start("run", "nap", "--plugin", str(AGENTS), "-i", quick)
    eventually(lambda: cli("status").returncode == 0, what="the coordinator of the first run")
    second = cli("run", "nap", "--plugin", str(AGENTS), "-i", many, "--concurrency", "2")
    assert (second.returncode, len(second.stdout.splitlines())) == (0, 20), second.stderr
    _, said = first.communicate(timeout=60)
    assert first.returncode == 0
    assert "goes on until the tasks of other runs are done" in said
    eventually(lambda: cli("status").returncode == 3, what="the end of the coordinator")


def test_nobody_is_launched_by_ctrl_c(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "data")
    lines = jsonl(tmp_path / "in.jsonl", *[{"seconds": 30}] * 12)
    running = cli.start("run", "nap", "--plugin", str(AGENTS), "-i", lines, "--concurrency", "3")
    eventually(lambda: cli("ps").stdout.count("RUNNING") == 3, what="three agents")
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    assert [json.loads(line)["state"] for line in out.splitlines()] == ["CANCELLED"] * 12
    with running_coordinator(cli.directory / "data") as process, process.client() as client:
        assert sum(bool(task.attempts) for task in client.list()) == 3


def test_a_second_ctrl_c_leaves_at_once(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "data")
    lines = jsonl(tmp_path / "in.jsonl", {})
    running = cli.start("run", "stubborn", "--plugin", str(AGENTS), "-i", lines)
    eventually(lambda: "RUNNING" in cli("ps").stdout, what="the agent")
    running.send_signal(signal.SIGINT)
    time.sleep(0.5)
    running.send_signal(signal.SIGINT)
    began = time.monotonic()
    running.communicate(timeout=60)
    assert (running.returncode, time.monotonic() - began < 3) == (130, True)


def test_a_run_of_nothing_known_says_so_once(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "data")
    lines = jsonl(tmp_path / "in.jsonl", {}, {}, {})
    done = cli("run", "nope", "-i", lines)
    assert (done.returncode, done.stdout, done.stderr.count("There is no behaviour")) == (4, "", 1)


def test_results_cannot_go_where_they_cannot_be_written(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "data")
    lines = jsonl(tmp_path / "in.jsonl", {})
    for path, problem in (("/nowhere/out", "No such file"), (lines, "which is the input, too")):
        done = cli("run", "nap", "-i", lines, "--output", path)
        assert (done.returncode, problem in done.stderr, "Traceback" in done.stderr) == (5, True, False)
    assert Path(lines).read_text() == "{}\n"


def test_the_traceback_of_a_plugin_that_a_run_brings_is_shown(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "data")
    plugin = tmp_path / "broken.py"
    plugin.write_text("def outer():\n    raise ValueError('not today')\nouter()\n")
    done = cli("run", "nap", "-i", jsonl(tmp_path / "in.jsonl", {}), "--plugin", str(plugin))
    assert done.returncode == 5
    assert "in outer" in done.stderr


def test_a_run_goes_on_where_it_was_after_its_plugin_is_mended(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "data")
    plugin = tmp_path / "half.py"
    source = "from hundredfold import behaviour\n@behaviour\ndef half(number: int) -> int:\n    {body}\n"
    plugin.write_text(source.format(body="assert number % 2 == 0; return number // 2"))
    lines = jsonl(tmp_path / "in.jsonl", {"number": 4}, {"number": 5})
    first = cli("run", "half", "-i", lines, "--plugin", str(plugin), "--name", "halves")
    assert [json.loads(line)["state"] for line in first.stdout.splitlines()] == ["SUCCEEDED", "FAILED"]
    plugin.write_text(source.format(body="return number // 2"))
    second = cli("run", "half", "-i", lines, "--plugin", str(plugin), "--name", "halves")
    assert [json.loads(line)["result"] for line in second.stdout.splitlines()] == [2, 2]
    assert "1 done by an earlier run" in second.stderr


def test_more_lines_than_the_queue_holds_are_all_run(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "data")
    arguments = ["--queue-limit", "3", "--concurrency", "4", "--plugin", str(AGENTS)]
    process = CoordinatorProcess(cli.directory / "data", arguments)
    try:
        done = cli("run", "square", "-i", jsonl(tmp_path / "in.jsonl", *[{"number": n} for n in range(30)]))
        assert [json.loads(line)["result"] for line in done.stdout.splitlines()] == [n * n for n in range(30)]
    finally:
        process.stop()


def test_logs_of_an_agent_that_still_runs_show_both_streams_and_end(cli: Cli) -> None:
    task_id = cli("submit", "speak_and_nap").stdout.strip()
    eventually(lambda: "to stderr" in cli("logs", task_id).stderr, what="what it said")
    shown = cli("logs", task_id)
    assert (shown.stdout, shown.stderr) == ("to stdout\n", "to stderr\n")
    cli("cancel", task_id)


def test_a_run_whose_reader_has_gone_ends_with_its_coordinator(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "data")
    lines = jsonl(tmp_path / "in.jsonl", *[{"seconds": 0.3}] * 30)
    running = cli.start("run", "nap", "--plugin", str(AGENTS), "-i", lines, "--concurrency", "1")
    assert running.stdout
    running.stdout.readline()
    running.stdout.close()
    running.wait(timeout=60)
    assert running.stderr
    running.stderr.close()
    eventually(lambda: cli("status").returncode == 3, what="the end of the coordinator")
    with running_coordinator(cli.directory / "data") as process, process.client() as client:
        assert sum(task.state == task_pb2.TASK_STATE_SUCCEEDED for task in client.list()) < 15
