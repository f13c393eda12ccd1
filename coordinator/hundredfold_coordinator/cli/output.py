"""How commands write: JSON for programs, tables for people; results to stdout, all else to stderr."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hundredfold import Collection, Item, Match, SessionSnapshot
from hundredfold.v1 import attempt_pb2, payload_pb2, task_pb2


def write_json(value: Any) -> None:
    """Write one line of JSON to stdout."""
    click.echo(json.dumps(value, ensure_ascii=False))


def write_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write an aligned table to stdout; whole values, never cut to the width of the terminal."""
    lines = [tuple(map(str.upper, columns)), *rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        click.echo("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def note(text: str) -> None:
    """Tell a person something, on stderr."""
    click.echo(text, err=True)


def as_dict(message: Message) -> dict[str, Any]:
    """Return a message as JSON would have it: names as in the proto, payloads as the JSON they hold."""
    value: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    if isinstance(message, task_pb2.Task):
        _open_payloads(value, message)
    if isinstance(message, task_pb2.Event) and message.HasField("emitted"):
        value["emitted"]["payload"] = payload_value(message.emitted.payload)
    if isinstance(message, task_pb2.Event) and message.HasField("output"):
        value["output"]["data"] = message.output.data.decode(errors="replace")
    return value


def fields_of(record: Item | SessionSnapshot | Collection | Match) -> dict[str, Any]:
    """Return what a client has read as JSON would have it: names as in Python, moments as text."""
    return {name: _plain(value) for name, value in asdict(record).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, tuple):  # the items of a session
        return [{name: _plain(one) for name, one in item.items()} for item in value]
    return value


def text_of(value: Any) -> str:
    """Return a JSON value as people read it; what is no character is left escaped."""
    return json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace").decode()


def _open_payloads(value: dict[str, Any], task: task_pb2.Task) -> None:
    if task.spec.HasField("input"):
        value["spec"]["input"] = payload_value(task.spec.input)
    if task.HasField("result"):
        value["result"] = payload_value(task.result)
    for shown, attempt in zip(value.get("attempts", ()), task.attempts, strict=True):
        for tail in ("stdout_tail", "stderr_tail"):
            if getattr(attempt.receipt, tail):
                shown["receipt"][tail] = getattr(attempt.receipt, tail).decode(errors="replace")


def payload_value(payload: payload_pb2.Payload) -> Any:
    """Return the JSON value that a payload holds; its text if it holds something else."""
    try:
        return json.loads(payload.data)
    except ValueError:
        return payload.data.decode(errors="replace")


def state_name(state: task_pb2.TaskState.ValueType) -> str:
    """Return a task's state as people say it: `RUNNING`."""
    return task_pb2.TaskState.Name(state).removeprefix("TASK_STATE_")


def outcome_name(outcome: attempt_pb2.AttemptOutcome.ValueType) -> str:
    """Return how an attempt ended, as people say it: `SIGNALLED`; empty if it has not."""
    return attempt_pb2.AttemptOutcome.Name(outcome).removeprefix("ATTEMPT_OUTCOME_") if outcome else ""


def dead_letter_name(cause: task_pb2.DeadLetterCause.ValueType) -> str:
    """Return why a task is a dead letter: `QUARANTINED`; empty if it is none."""
    return task_pb2.DeadLetterCause.Name(cause).removeprefix("DEAD_LETTER_CAUSE_") if cause else ""


def kill_cause_name(cause: attempt_pb2.KillCause.ValueType) -> str:
    """Return why an attempt was ended: `WALL_LIMIT`."""
    return attempt_pb2.KillCause.Name(cause).removeprefix("KILL_CAUSE_")


def containment_name(containment: attempt_pb2.Containment.ValueType) -> str:
    """Return what held an attempt's processes together: `CGROUP_V1`."""
    return attempt_pb2.Containment.Name(containment).removeprefix("CONTAINMENT_")


def gate_name(gate: task_pb2.GateKind.ValueType) -> str:
    """Return a gate as people say it: `CONCURRENCY`."""
    return task_pb2.GateKind.Name(gate).removeprefix("GATE_KIND_")


def seconds(count: float) -> str:
    """Return a time as people say it: `0.25 s`, `3 min 20 s`."""
    if count < 60:  # noqa: PLR2004
        return f"{count:.2f} s" if count < 10 else f"{count:.1f} s"  # noqa: PLR2004
    minutes, rest = divmod(round(count), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"  # noqa: PLR2004


def between(start: Timestamp, end: Timestamp) -> float:
    """Return the seconds from one moment to another."""
    return (end.ToNanoseconds() - start.ToNanoseconds()) / 1e9


def clock(moment: Timestamp | datetime | None) -> str:
    """Return a moment in local time; `-` if it has not come."""
    if isinstance(moment, Timestamp):
        moment = moment.ToDatetime(tzinfo=UTC) if moment.ByteSize() else None
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else "-"
