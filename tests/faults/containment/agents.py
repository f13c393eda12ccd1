"""Behaviours that go wrong in every way a process can; every one of them is bounded, should nothing hold it."""

import itertools
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from hundredfold import behaviour

_BOMB_SIZE = 300
_BOMB_SECONDS = 15.0
_HOG_BYTES = 2 << 30
_LEAK_BYTES = 16 << 20
_DAEMON = """
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
if os.fork() == 0: os._exit(0)  # nobody ever waits for it
open(sys.argv[1], "w").write(str(os.getpid()))
time.sleep(60)
"""


@behaviour
def hold(path: str) -> int:
    """Wait until a file is there."""
    while not Path(path).exists():
        time.sleep(0.02)
    return os.getpid()


@behaviour
def nap(seconds: float) -> int:
    """Sleep."""
    time.sleep(seconds)
    return os.getpid()


@behaviour
def die(name: str) -> None:
    """Be ended by a signal."""
    os.kill(os.getpid(), signal.Signals[name])
    time.sleep(60)


@behaviour
def leave() -> int:
    """Exit as if all were well."""
    os._exit(0)
    return 1


@behaviour
def ignore_sigterm() -> None:
    """Do not listen."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)


@behaviour
def spin(how: str) -> None:
    """Be busy, in Python or in native code that keeps the interpreter's lock."""
    if how == "native":
        sum(itertools.repeat(1, 10**9))
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pass


@behaviour
def eat(how: str) -> None:
    """Take more and more memory: at once, slowly, or in a child."""
    if how == "child":
        subprocess.run([sys.executable, "-c", f"x = bytearray(b'x') * {_HOG_BYTES}"], check=False)
        time.sleep(60)
    kept = []
    while len(kept) * _LEAK_BYTES < _HOG_BYTES:
        kept.append(bytearray(b"x") * _LEAK_BYTES)
        if how == "slowly":
            time.sleep(0.05)
    time.sleep(60)


@behaviour
def bomb() -> None:
    """Fork in every generation, each in a session of its own, at most so many in all, for so long."""
    end = time.monotonic() + _BOMB_SECONDS
    tokens, give = os.pipe()
    os.write(give, bytes(_BOMB_SIZE))
    os.close(give)
    while time.monotonic() < end:
        try:
            if os.read(tokens, 1) and os.fork() == 0:
                os.setsid()
        except OSError:
            pass
        time.sleep(0.005)


@behaviour
def daemonise(path: str) -> int:
    """Leave a daemon behind that has left this session, its parents gone, with a zombie of its own."""
    subprocess.run([sys.executable, "-c", _DAEMON, path], check=True)
    while not (Path(path).exists() and Path(path).read_text()):
        time.sleep(0.01)
    return int(Path(path).read_text())


@behaviour
def keep_stdout() -> int:
    """Leave a child behind that holds the output open."""
    return subprocess.Popen(["/bin/sleep", "60"], start_new_session=True).pid


@behaviour
def shout(seconds: float) -> None:
    """Write as fast as the pipe takes it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        os.write(1, b"x" * 65536)


@behaviour
def exhaust(path: str) -> list[str]:
    """Use up descriptors and a file's allowed size; return the errors."""
    errors = []
    resource.prlimit(0, resource.RLIMIT_NOFILE, (512, 512))
    try:
        kept = [os.dup(1) for _ in range(1000)]
    except OSError as error:
        errors.append(type(error).__name__)
        kept = []
    os.closerange(50, 512)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        Path(path).write_bytes(bytes(2 << 20))
    except OSError as error:
        errors.append(type(error).__name__)
    return [*errors, str(len(kept))]


@behaviour
def make_a_mess() -> None:
    """Change what a process has of its own, the inherited descriptors last."""
    os.chdir("/")
    os.umask(0o777)
    os.environ["LANG"] = "xx_XX"
    resource.prlimit(0, resource.RLIMIT_NOFILE, (100, 100))
    for number in (signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    os.closerange(0, 1000)


@behaviour
def look() -> list[str]:
    """Say what a process has of its own."""
    figures = [os.umask(0), *resource.getrlimit(resource.RLIMIT_NOFILE)]
    return [str(Path.cwd()), *map(str, figures), os.environ.get("LANG", ""), str(signal.getsignal(signal.SIGCHLD))]
