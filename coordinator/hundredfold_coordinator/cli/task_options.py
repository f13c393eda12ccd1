"""What the commands about one or several tasks share: showing them."""

from collections.abc import Iterable

from hundredfold.v1 import task_pb2

from hundredfold_coordinator.cli import output

COLUMNS = ("task", "behaviour", "state", "attempts", "submitted", "took", "detail")


def row(task: task_pb2.Task) -> tuple[str, ...]:
    """Return a task as a line of a table."""
    took = (
        output.seconds(output.between(task.start_time, task.end_time))
        if task.HasField("end_time") and task.HasField("start_time")
        else "-"
    )
    return (
        task.id,
        task.spec.behaviour,
        output.state_name(task.state),
        str(len(task.attempts)),
        output.clock(task.create_time),
        took,
        detail(task),
    )


def detail(task: task_pb2.Task) -> str:
    """Return why a task waits or has failed, in one line."""
    if task.HasField("gate"):
        return f"{output.gate_name(task.gate.kind)}: {task.gate.detail}"
    if task.HasField("failure"):
        return f"{task.failure.type}: {task.failure.message}".splitlines()[0]
    return ""


def show(tasks: Iterable[task_pb2.Task], output_format: str) -> None:
    """Write tasks, one line each."""
    if output_format == "json":
        for task in tasks:
            output.write_json(output.as_dict(task))
    else:
        output.write_table(COLUMNS, map(row, tasks))
