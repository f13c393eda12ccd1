"""Shows figures as people say them."""

import pytest
from hundredfold.wording import counted, masked, size


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


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:/a/b.db", "sqlite:/a/b.db"),
        ("postgresql://me:secret@host/db?x=1", "postgresql://me:***@host/db?x=1"),
        ("redis://:secret@host:6379/0", "redis://:***@host:6379/0"),
        ("unix:///run/redis.sock?db=1&password=secret&x=2", "unix:///run/redis.sock?db=1&password=***&x=2"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
    ],
)
def test_a_password_is_not_shown(url: str, shown: str) -> None:
    assert masked(url) == shown
