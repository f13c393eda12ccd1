"""Shows which memory is put into huge pages: what is written to and belongs to no file, in whole huge pages."""

import mmap

import pytest
from hundredfold_worker import memory

HUGE = 2 << 20
MAPS = """\
55d0c8a00000-55d0c8a05000 r--p 00000000 fe:00 1234 /usr/bin/python3.11
55d0c8a05000-55d0c8a09000 rw-p 00005000 fe:00 1234 /usr/bin/python3.11
55d0c9000000-55d0ca200000 rw-p 00000000 00:00 0 [heap]
7f0000100000-7f0000800000 rw-p 00000000 00:00 0
7f0001000000-7f0001800000 r--p 00000000 00:00 0
7f0002000000-7f0002800000 rw-s 00000000 00:05 99 /memfd:shared (deleted)
7ffc00000000-7ffc00800000 rw-p 00000000 00:00 0 [stack]
"""


def test_only_whole_huge_pages_of_private_memory_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(memory, "_madvise", lambda start, size, advice: asked.append((start, size, advice)))
    monkeypatch.setattr(memory.Path, "read_text", lambda _self: MAPS)
    memory.collapse()
    assert asked == [
        (0x55D0C9000000, 9 * HUGE, memory._MADV_COLLAPSE),
        (0x7F0000200000, 3 * HUGE, memory._MADV_COLLAPSE),
    ]


def test_what_is_in_memory_stays_as_it_was() -> None:
    with mmap.mmap(-1, 4 * HUGE) as area:
        area.write(bytes(range(256)) * (4 * HUGE // 256))
        memory.collapse()
        assert area[:] == bytes(range(256)) * (4 * HUGE // 256)
