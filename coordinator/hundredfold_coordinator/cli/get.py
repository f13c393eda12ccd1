"""`hundredfold get`."""

import json
from collections.abc import Iterator
from typing import Any

import click
from hundredfold import Client
from hundredfold.v1 import attempt_pb2, policy_pb2, task_pb2

from hundredfold_coordinator.cli import options, output
from hundredfold_coordinator.cli.task_options import detail


@click.command("get")
@click.argument("task_id", metavar="TASK")
@options.client_options
@options.output_format
@options.asynchronous
async def command(*, task_id: str, output_format: str, **where: Any) -> None:
    """Show everything about TASK: state, attempts with their receipts, input and result."""
    async with Client(**options.target(where)) as client:
        task = await client.get(task_id)
    if output_format == "json":
        output.write_json(output.as_dict(task))
    else:
        _show(task)


def _show(task: task_pb2.Task) -> None:
    lines = [
        ("task", task.id),
        ("behaviour", task.spec.behaviour),
        ("state", output.state_name(task.state)),
        ("detail", detail(task)),
        ("dead", output.dead_letter_name(task.dead_letter_cause)),
        ("tenant", task.spec.tenant),
        ("session", _session(task.spec)),
        ("priority", str(task.spec.priority or "")),
        ("limits", ", ".join(_limits(task.spec.limits))),
        ("labels", ", ".join(f"{key}={value}" for key, value in sorted(task.spec.labels.items()))),
        ("submitted", output.clock(task.create_time)),
        ("ended", output.clock(task.end_time) if task.HasField("end_time") else ""),
        ("input", json.dumps(output.payload_value(task.spec.input), ensure_ascii=False)),
        (
            "result",
            json.dumps(output.payload_value(task.result), ensure_ascii=False) if task.HasField("result") else "",
        ),
    ]
    for name, value in lines:
        if value:
            click.echo(f"{name:<10} {value}")
    for attempt in task.attempts:
        click.echo(f"attempt {attempt.number}  {describe_attempt(attempt)}")
        if attempt.HasField("failure"):
            click.echo(f"{'':<10} {attempt.failure.message.splitlines()[0]}")
    if task.failure.traceback:
        click.echo("\n" + task.failure.traceback.rstrip())


def _session(spec: task_pb2.TaskSpec) -> str:
    policy = task_pb2.SessionPolicy.Name(spec.session_policy).removeprefix("SESSION_POLICY_").lower()
    return f"{spec.session} ({policy})" if spec.session and spec.session_policy else spec.session


def _limits(limits: policy_pb2.Limits) -> Iterator[str]:
    """Yield what each attempt may use, as it holds."""
    if limits.HasField("wall_time"):
        yield f"{output.seconds(limits.wall_time.ToNanoseconds() / 1e9)} wall"
    if limits.HasField("cpu_time"):
        yield f"{output.seconds(limits.cpu_time.ToNanoseconds() / 1e9)} CPU"
    if limits.memory_bytes:
        yield f"{output.size(limits.memory_bytes)} of memory"
    if limits.processes:
        yield output.counted(limits.processes, "process", "processes")
    if limits.descriptors:
        yield output.counted(limits.descriptors, "descriptor")
    if limits.output_bytes:
        yield f"{output.size(limits.output_bytes)} of output"


def describe_attempt(attempt: attempt_pb2.Attempt) -> str:
    """Return an attempt and its receipt in one line."""
    parts = [output.outcome_name(attempt.outcome) or "alive", f"pid {attempt.pid}", attempt.host]
    if attempt.reservation_bytes:
        parts.append(f"{output.size(attempt.reservation_bytes)} set aside")
    receipt = attempt.receipt
    if attempt.HasField("receipt"):
        parts.append(f"signal {receipt.signal}" if receipt.signal else f"exit code {receipt.exit_code}")
        parts.append(f"{output.seconds(receipt.wall_time.ToNanoseconds() / 1e9)} wall")
        parts.append(f"{output.seconds(receipt.cpu_time.ToNanoseconds() / 1e9)} CPU")
        if receipt.samples:
            parts.append(f"{output.size(receipt.peak_pss_bytes)} peak PSS")
        parts += [f"ended for {output.kill_cause_name(receipt.kill_cause)}"] if receipt.kill_cause else []
        parts.append(f"held by {output.containment_name(receipt.containment)}")
        parts.append(
            f"{receipt.leftovers_killed} left behind and killed, {output.counted(receipt.survivors, 'survivor')}"
        )
    return ", ".join(parts)
