"""Shows that a process says when it waits for the coordinator, and what it is called otherwise stays."""

import os

from hundredfold import prctl
from hundredfold.calling import calling, is_calling


def test_it_says_so_while_it_calls() -> None:
    before = prctl.thread_name()
    assert not is_calling(os.getpid())
    with calling():
        assert is_calling(os.getpid())
    assert not is_calling(os.getpid())
    assert prctl.thread_name() == before


def test_a_process_that_is_gone_calls_nobody() -> None:
    assert not is_calling(2**22 + 1)
