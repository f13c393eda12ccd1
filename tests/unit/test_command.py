"""Shows that any program can be an agent: JSON in, JSON out, and a reason when that does not work."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from hundredfold.behaviours.command import CommandFailed, command

MEGABYTES = 8 << 20


def run(argv: list[str], value: object = None) -> Any:
    """Do with the behaviour what a worker does: parse, call, dump."""
    made = command("tool", argv)
    made.prepare("hundredfold")
    arguments = made.parse(json.dumps(value).encode())
    return json.loads(made.dump(made.function(arguments["input"])))


def python(source: str) -> list[str]:
    return [sys.executable, "-c", f"import json, os, signal, sys\n{source}"]


def shell(source: str) -> list[str]:
    return ["sh", "-c", source]


def failure(argv: list[str], value: object = None) -> str:
    with pytest.raises(CommandFailed) as caught:
        run(argv, value)
    return str(caught.value)


# Programs that work ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, True]}, [], "naïve 🦜", 0, None, ""], ids=repr)
def test_json_goes_in_and_json_comes_out(value: object) -> None:
    assert run(["cat"], value) == value


def test_a_program_works_on_its_input() -> None:
    program = python("order = json.load(sys.stdin); print(json.dumps({'total': sum(order['prices'])}))")
    assert run(program, {"prices": [1, 2, 3]}) == {"total": 6}


def test_a_program_gets_its_arguments_as_they_are() -> None:
    echo = python("print(json.dumps(sys.argv[1:]))")
    assert run([*echo, "two words", "$HOME", "*", ""]) == ["two words", "$HOME", "*", ""]


def test_a_program_need_not_read_its_input() -> None:
    assert run(shell("echo 1"), "x" * MEGABYTES) == 1
    assert run(shell("exec <&-; echo 1"), "x" * MEGABYTES) == 1


def test_a_program_may_answer_over_several_lines() -> None:
    assert run(python("print(json.dumps({'a': [1, 2]}, indent=4))")) == {"a": [1, 2]}


def test_it_has_a_name_and_a_summary() -> None:
    made = command("my-tool", ["/usr/bin/tool", "--flag"])
    assert (made.name, made.summary, made.is_async) == ("my-tool", "Run the program /usr/bin/tool.", False)


# Large inputs and outputs ---------------------------------------------------------------------------------------------


def test_much_goes_in_and_comes_out_at_once() -> None:
    assert run(["cat"], "x" * MEGABYTES) == "x" * MEGABYTES


def test_a_program_may_write_much_before_it_reads_anything() -> None:
    program = python(f"print('\"' + 'y' * {MEGABYTES}, end='', flush=True)\nprint(len(json.load(sys.stdin)), end='\"')")
    assert run(program, "x" * MEGABYTES) == "y" * MEGABYTES + str(MEGABYTES)


def test_much_goes_in_and_out_and_to_the_errors() -> None:
    program = python(
        f"sys.stderr.write('e' * {MEGABYTES}); print(json.dumps('o' * {MEGABYTES}), flush=True);"
        f"sys.stderr.write('e' * {MEGABYTES}); sys.stdin.read()"
    )
    assert run(program, "x" * MEGABYTES) == "o" * MEGABYTES


# Programs that do not -------------------------------------------------------------------------------------------------


def test_an_exit_code_is_a_failure() -> None:
    assert failure(["false"]) == "false exited with code 1"


def test_a_failure_counts_even_with_an_answer() -> None:
    assert failure(shell("echo 1; exit 3")) == "sh exited with code 3"


def test_a_failure_quotes_the_standard_error() -> None:
    message = failure(shell("echo reading >&2; echo 'no such model: ü' >&2; exit 2"))
    assert message == "sh exited with code 2; it wrote: reading\nno such model: ü"


def test_a_failure_quotes_the_end_of_a_long_standard_error() -> None:
    message = failure(python("sys.stderr.write('beginning' + 'x\\n' * 100_000 + 'the end'); sys.exit(1)"))
    assert message.endswith("the end")
    assert "beginning" not in message
    assert len(message) < 2500


def test_a_failure_quotes_what_is_no_text() -> None:
    assert "it wrote: \ufffd" in failure(python("sys.stderr.buffer.write(b'\\xff'); sys.exit(1)"))


def test_a_failure_quotes_what_a_child_writes_a_moment_later() -> None:
    message = failure(shell("(sleep 0.2; echo 'the cause' >&2) >/dev/null & exit 3"))
    assert message == "sh exited with code 3; it wrote: the cause"


def test_a_signal_is_a_failure() -> None:
    assert failure(shell("kill -9 $$")) == f"sh was ended by signal {signal.SIGKILL:d}"


@pytest.mark.parametrize(
    ("answer", "quoted"), [("", "''"), ("plain text", "'plain text"), ("{'a': 1}", "{'a': 1}"), ('{"a": 1} 2', "2")]
)
def test_an_answer_that_is_no_json_is_quoted(answer: str, quoted: str) -> None:
    message = failure(python(f"sys.stdout.write({answer!r})"))
    assert "did not answer with JSON" in message
    assert quoted in message


def test_an_answer_that_is_no_text_is_quoted() -> None:
    assert "did not answer with JSON" in failure(["printf", r"\377"])


def test_a_long_answer_that_is_no_json_is_cut() -> None:
    assert len(failure(python("print('x' * 1_000_000)"))) < 2500


@pytest.mark.parametrize("program", ["hundredfold-no-such-program", "/nowhere/tool"])
def test_a_missing_program_is_named(program: str) -> None:
    assert failure([program]) == f"cannot start {program}: No such file or directory"


def test_a_file_that_cannot_be_executed_is_named(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    assert failure([str(tmp_path / "tool")]) == f"cannot start {tmp_path / 'tool'}: Permission denied"


def test_the_standard_error_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(shell("echo working >&2; echo 1")) == 1
    assert "working\n" in capfd.readouterr().err


def test_a_daemon_that_keeps_the_standard_error_does_not_hold_up_the_answer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "end")
    assert run(shell(f"cat {tmp_path}/end >/dev/null & echo 1")) == 1
    (tmp_path / "end").write_bytes(b"")  # only now does the daemon end


def test_a_program_ends_with_the_task_it_works_for(tmp_path: Path) -> None:
    """What cancels a task raises in the middle of it: here it is a signal, which the program sends itself."""

    class Cancelled(BaseException):
        pass

    def cancel(_number: int, _frame: object) -> None:
        raise Cancelled

    program = python(
        "def end(*_):\n    open(sys.argv[1], 'w').write('ended')\n    sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "os.kill(os.getppid(), signal.SIGUSR1)\n"
        "signal.pause()"
    )
    before = signal.signal(signal.SIGUSR1, cancel)
    try:
        with pytest.raises(Cancelled):
            run([*program, str(tmp_path / "how")])
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (tmp_path / "how").read_text() == "ended"
