"""`hundredfold get`."""

import json
from typing import Any

import click
from hundredfold import Client
from hundredfold.v1 import attempt_pb2, task_pb2

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
        ("session", task.spec.session),
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
        parts.append(f"{receipt.leftovers_killed} left behind and killed, {receipt.survivors} survivors")
    return ", ".join(parts)
