"""Shows that what cannot be asked for is refused by its name, before anything is sent."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hundredfold import Limits, Retry, Submission
from hundredfold.client.address import Address
from hundredfold.client.client import Client
from hundredfold.errors import InvalidArgument
from hundredfold.policy import duration

HUGE = 99999999999999999999999
LONGEST = "from 0 to 31622400"
MEMORY = "from 16777216 to 1125899906842624, or 0"


def request(**fields: Any) -> Any:
    return Submission("square", **fields).request()


@pytest.mark.parametrize(
    ("cls", "fields", "field", "bounds"),
    [
        (Limits, {"memory_bytes": -1}, "memory_bytes", MEMORY),
        (Limits, {"memory_bytes": 1000}, "memory_bytes", MEMORY),
        (Limits, {"memory_bytes": HUGE}, "memory_bytes", MEMORY),
        (Limits, {"memory_bytes": 1.5}, "memory_bytes", "a whole number"),
        (Limits, {"memory_bytes": "1 GiB"}, "memory_bytes", "a whole number"),
        (Limits, {"output_bytes": -1}, "output_bytes", "from 0 to 1125899906842624"),
        (Limits, {"descriptors": 99999999999}, "descriptors", "from 32 to 1073741824, or 0"),
        (Limits, {"processes": 5000000000}, "processes", "from 0 to 1000000"),
        (Limits, {"wall_seconds": -1}, "wall_seconds", LONGEST),
        (Limits, {"wall_seconds": float("nan")}, "wall_seconds", LONGEST),
        (Limits, {"cpu_seconds": 10**400}, "cpu_seconds", LONGEST),
        (Limits, {"cpu_seconds": "3"}, "cpu_seconds", "a number"),
        (Retry, {"max_attempts": HUGE}, "max_attempts", "from 0 to 1000"),
        (Retry, {"causes": {"crashed": 0}}, "causes.crashed", "from 1 to 1000"),
        (Retry, {"multiplier": 0.5}, "multiplier", "from 1 to 1000, or 0"),
        (Retry, {"max_seconds": float("inf")}, "max_seconds", LONGEST),
        (request, {"priority": 99999999999999}, "priority", "from -100 to 100"),
        (request, {"tenant": 3}, "tenant", "must be text"),
        (request, {"labels": {"a": 3}}, "labels.a", "must be text"),
        (request, {"labels": ["a"]}, "labels", "a mapping"),
        (request, {"not_before": datetime.min}, "not_before", "a moment"),  # noqa: DTZ901
        (request, {"schedule_to_start_seconds": -1}, "schedule_to_start_seconds", LONGEST),
    ],
)
def test_what_is_out_of_bounds_is_refused_by_its_name(
    cls: Callable[..., Any], fields: dict[str, Any], field: str, bounds: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        cls(**fields)
    assert caught.value.field == field
    assert bounds in str(caught.value)


def test_what_is_within_is_let_through() -> None:
    limits = Limits(
        memory_bytes=16 << 20, processes=1_000_000, descriptors=32, output_bytes=1, wall_seconds=366 * 86_400
    )
    assert Limits() != limits, "zero is within, too"
    wish = Submission("b", priority=-100, limits=limits, retry=Retry(multiplier=0, causes={"crashed": 1000}))
    later = datetime.now(UTC) + timedelta(days=1)
    assert Submission("b", not_before=later).request().spec.not_before.ToDatetime(UTC) == later
    assert wish.request().spec.limits.memory_bytes == 16 << 20


def test_bounds_are_said_in_plain_figures() -> None:
    with pytest.raises(InvalidArgument, match=r"`seconds` is 40000000.0 and must be from 0 to 31622400"):
        duration("seconds", 4e7)


def test_a_data_directory_may_be_text(tmp_path: Path) -> None:
    assert Address.find(data_dir=str(tmp_path)) == Address.find(data_dir=tmp_path)


async def test_what_the_other_calls_are_given_is_checked_too(tmp_path: Path) -> None:
    async with Client(data_dir=str(tmp_path)) as client:
        with pytest.raises(InvalidArgument, match="`timeout_seconds` is -1"):
            await client.wait("t", timeout_seconds=-1)
        with pytest.raises(InvalidArgument, match="`after_sequence` is"):
            await anext(aiter(client.watch("t", after_sequence=HUGE)))
        with pytest.raises(InvalidArgument, match="`after_seconds` is nan"):
            await client.samples(after_seconds=float("nan"))
        with pytest.raises(InvalidArgument, match="`grace_seconds` is -1"):
            await client.drain(grace_seconds=-1)
