"""Shows figures as people say them."""

import pytest
from hundredfold.wording import counted, size


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (3_565_158, "3.4 MiB"),
        (64 << 20, "64 MiB"),
        (340 << 20, "340 MiB"),
        (9_019_431_322, "8.4 GiB"),
        (5 << 40, "5120 GiB"),
    ],
)
def test_bytes_have_a_fitting_unit(count: int, said: str) -> None:
    assert size(count) == said


def test_one_is_no_plural() -> None:
    assert [counted(count, "attempt") for count in (0, 1, 2)] == ["0 attempts", "1 attempt", "2 attempts"]
