"""Shows that a worker's title says when it waits for the coordinator."""

import os
import subprocess
import sys

from hundredfold.waiting import WAITING, WORKING, is_waiting

SHOW = """
from hundredfold.waiting import is_waiting
from hundredfold_worker.process import Title
import os, threading
title = Title("b t/1")
for waits in (True, False, True):
    title.show(waits)
    print(is_waiting(os.getpid()))
other = threading.Thread(target=title.show, args=[False])
other.start()
other.join()
print(is_waiting(os.getpid()))
"""


def test_a_title_says_so() -> None:
    done = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "True", "True"], "another thread's waiting is its own"


def test_the_kernel_can_tell_them_apart() -> None:
    assert WAITING[:15] != WORKING[:15]


def test_others_do_not_wait() -> None:
    assert not is_waiting(os.getpid())
    assert not is_waiting(2**22 + 1)
