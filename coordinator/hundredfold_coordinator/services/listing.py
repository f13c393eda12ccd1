"""Listing tasks: newest first, filtered, page by page."""

from collections.abc import Callable
from typing import Final

from hundredfold.errors import InvalidArgument
from hundredfold.stores.contract import Entry
from hundredfold.v1 import task_pb2
from hundredfold.v1 import task_service_pb2 as pb

from hundredfold_coordinator import keys
from hundredfold_coordinator.services import page_token
from hundredfold_coordinator.storage import Storage

_DEFAULT_PAGE: Final = 100
_LARGEST_PAGE: Final = 1000
_SCAN: Final = 500


async def list_tasks(
    request: pb.ListTasksRequest, storage: Storage, view: Callable[[bytes], task_pb2.Task]
) -> pb.ListTasksResponse:
    """Return one page; `view` makes a task of a stored record.

    Raises:
        InvalidArgument: page size or token is wrong.

    """
    size = request.page_size or _DEFAULT_PAGE
    if not 1 <= size <= _LARGEST_PAGE:
        raise InvalidArgument("page_size", f"is {size} and must be from 1 to {_LARGEST_PAGE}")
    prefix = keys.DEAD if request.dead_letters else keys.TASK
    after = page_token.parse(request.page_token, prefix)
    response = pb.ListTasksResponse()
    while entries := await storage.scan(prefix, after=after, limit=_SCAN, reverse=True):
        for entry in await _records(storage, entries, prefix):
            task = view(entry.record.value)
            after = prefix + task.id.encode()
            if _matches(task, request):
                response.tasks.append(_shortened(task))
            if len(response.tasks) == size:
                response.next_page_token = page_token.make(after)
                return response
        after = entries[-1].key
    return response


def _shortened(task: task_pb2.Task) -> task_pb2.Task:
    """Take out what is too long for a list; `GetTask` returns it."""
    if task.HasField("failure"):
        task.failure.ClearField("traceback")
    for attempt in task.attempts:
        if attempt.HasField("failure"):
            attempt.failure.ClearField("traceback")
        if attempt.HasField("receipt"):
            attempt.receipt.ClearField("stdout_tail")
            attempt.receipt.ClearField("stderr_tail")
    return task


async def _records(storage: Storage, entries: list[Entry], prefix: bytes) -> list[Entry]:
    """Return the tasks that entries of an index are about."""
    if prefix == keys.TASK:
        return entries
    wanted = [keys.TASK + entry.key.removeprefix(prefix) for entry in entries]
    found = await storage.get(wanted)
    return [Entry(key, record) for key, record in zip(wanted, found, strict=True) if record]


def _matches(task: task_pb2.Task, request: pb.ListTasksRequest) -> bool:
    return (
        (not request.states or task.state in request.states)
        and request.behaviour in ("", task.spec.behaviour)
        and (not request.HasField("tenant") or task.spec.tenant == request.tenant)
        and (not request.HasField("session") or task.spec.session == request.session)
        and all(task.spec.labels.get(key) == value for key, value in request.labels.items())
    )
