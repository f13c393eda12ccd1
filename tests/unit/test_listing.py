"""Shows that a filtered list is the same in pages of any size."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import Batch, Write
from hundredfold.stores.memory import MemoryStore
from hundredfold.v1 import task_pb2
from hundredfold.v1 import task_service_pb2 as pb
from hundredfold_coordinator import keys
from hundredfold_coordinator.services.listing import list_tasks
from hundredfold_coordinator.storage import Storage

TENANTS = ("", "acme", "acme", "umbrella")
SESSIONS = ("", "chat", "")


@pytest.fixture
async def storage() -> AsyncIterator[Storage]:
    storage = Storage()
    await storage.open(MemoryStore)
    records = [records_pb2.TaskRecord(task=task_pb2.Task(id=f"t{number:02}")) for number in range(24)]
    for number, record in enumerate(records):
        record.task.spec.tenant = TENANTS[number % len(TENANTS)]
        record.task.spec.session = SESSIONS[number % len(SESSIONS)]
    await storage.commit([Batch([Write(keys.task(one.task.id), one.SerializeToString()) for one in records])])
    yield storage
    await storage.close()


async def listed(storage: Storage, page_size: int, **wanted: Any) -> list[str]:
    """Return the ids of all pages."""
    found: list[str] = []
    token = ""
    while True:
        request = pb.ListTasksRequest(page_size=page_size, page_token=token, **wanted)
        page = await list_tasks(request, storage, lambda data: records_pb2.TaskRecord.FromString(data).task)
        assert len(page.tasks) <= page_size
        found += [task.id for task in page.tasks]
        token = page.next_page_token
        if not token:
            return found


@pytest.mark.parametrize("page_size", [1, 2, 5, 1000])
@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ({}, range(24)),
        ({"tenant": "acme"}, [n for n in range(24) if n % 4 in (1, 2)]),
        ({"tenant": ""}, range(0, 24, 4)),
        ({"session": "chat"}, range(1, 24, 3)),
        ({"session": "", "tenant": "umbrella"}, [n for n in range(3, 24, 4) if n % 3 != 1]),
        ({"tenant": "nobody"}, []),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
async def test_a_filter_holds_across_pages(
    storage: Storage, page_size: int, wanted: dict[str, str], numbers: list[int]
) -> None:
    assert await listed(storage, page_size, **wanted) == [f"t{number:02}" for number in sorted(numbers, reverse=True)]
