"""What becomes of a coordinator that is asked for ten times what it can do: goodput, refusals, and who else is heard.

An open loop: submissions come at their own pace, whatever the answers. They come from a process of its own, whose CPU
time is told apart.
"""

import asyncio
import json
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from hundredfold import Client, Submission, SyncClient
from hundredfold.errors import HundredfoldError, QueueFull
from hundredfold.v1 import task_pb2
from measures import coordinator

_AGENTS: Final = Path(__file__).with_name("agents.py")
_CONCURRENCY: Final = 100
_QUEUE: Final = 300
_NAP_SECONDS: Final = 2.0
_SHORT_NAP_SECONDS: Final = 0.1
_SETTLING_SECONDS: Final = 6.0
_SECONDS: Final = 20.0
_FACTOR: Final = 10
_PROBE_SECONDS: Final = 0.1
_BATCH: Final = 50


def overload(directory: Path, n: int = _FACTOR) -> dict[str, Any]:
    """Measure how many tasks end per second while the queue is just never empty; then ask for `n` times as many."""
    return _overload(directory, n, _NAP_SECONDS)


def stampede(directory: Path, n: int = _FACTOR) -> dict[str, Any]:
    """Do the same with agents so short that launching them is all there is to do."""
    return _overload(directory, n, _SHORT_NAP_SECONDS)


def _overload(directory: Path, n: int, nap_seconds: float) -> dict[str, Any]:
    nap = Submission("nap", {"seconds": nap_seconds})
    arguments = ["--concurrency", str(_CONCURRENCY), "--queue-limit", str(_QUEUE)]
    with coordinator(directory, _AGENTS, *arguments) as process, process.client() as client:
        peak = _peak(client, nap)
        sys.stderr.write(f"  peak: {peak:.1f} tasks/s; now {n * peak:.0f} submissions/s\n")
        argv = [sys.executable, __file__, process.address, str(n * peak), str(nap_seconds)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as generator:
            time.sleep(_SETTLING_SECONDS)
            goodput = _ends_per_second(client, _SECONDS - _SETTLING_SECONDS - 1)
            told, _ = generator.communicate()
    return {
        "factor": n,
        "peak": round(peak, 1),
        "goodput": round(goodput, 1),
        "goodput_ratio": round(goodput / peak, 3),
        **json.loads(told),
    }


def _peak(client: SyncClient, nap: Submission) -> float:
    client.submit_many([nap] * _QUEUE)
    time.sleep(_SETTLING_SECONDS / 2)
    begin, done = time.monotonic(), _ended(client)
    while time.monotonic() - begin < _SECONDS / 2:
        client.submit_many([nap] * _BATCH)  # what does not fit is refused
        time.sleep(0.1)
    return (_ended(client) - done) / (time.monotonic() - begin)


def _ends_per_second(client: SyncClient, seconds: float) -> float:
    begin, done = time.monotonic(), _ended(client)
    time.sleep(seconds)
    return (_ended(client) - done) / (time.monotonic() - begin)


def _ended(client: SyncClient) -> int:
    succeeded = task_pb2.TASK_STATE_SUCCEEDED
    return sum(count.count for count in client.status().task_counts if count.state == succeeded)


class Generator:
    """Submits at a fixed rate, and asks for and cancels one now and then; keeps all latencies."""

    def __init__(self, client: Client, nap_seconds: float) -> None:
        self._client = client
        self._nap = {"seconds": nap_seconds}
        self._last = ""
        self.accepted: list[float] = []
        self.refused: list[float] = []
        self.probes: list[float] = []
        self.without_retry = 0
        self.failed: Counter[str] = Counter()

    async def run(self, rate: float) -> None:
        """Go on for a while."""
        begin, sent, calls = time.monotonic(), 0, set()
        probing = asyncio.ensure_future(self._probe())
        while (now := time.monotonic() - begin) < _SECONDS:
            while sent < now * rate:
                sent += 1
                calls.add(call := asyncio.ensure_future(self._submit()))
                call.add_done_callback(calls.discard)
            await asyncio.sleep(0.005)
        probing.cancel()
        await asyncio.gather(probing, *calls, return_exceptions=True)

    async def _submit(self) -> None:
        begin = time.perf_counter()
        try:
            self._last = (await self._client.submit("nap", self._nap)).id
            self.accepted.append(time.perf_counter() - begin)
        except QueueFull as error:
            self.refused.append(time.perf_counter() - begin)
            self.without_retry += error.retry_seconds < 1
        except HundredfoldError as error:
            self.failed[error.reason] += 1

    async def _probe(self) -> None:
        while True:
            await asyncio.sleep(_PROBE_SECONDS)
            if self._last:
                for call in (self._client.get, self._client.cancel):
                    begin = time.perf_counter()
                    await call(self._last)
                    self.probes.append(time.perf_counter() - begin)


async def _generate(address: str, rate: float, nap_seconds: float) -> dict[str, Any]:
    async with Client(address) as client:
        generator = Generator(client, nap_seconds)
        await generator.run(rate)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "offered": len(generator.accepted) + len(generator.refused) + generator.failed.total(),
        "accepted": len(generator.accepted),
        "refused": len(generator.refused),
        "refused_p99_s": _p99(generator.refused),
        "refused_without_retry": generator.without_retry,
        "other_errors": dict(generator.failed),
        "get_and_cancel_p99_s": _p99(generator.probes),
        "probes": len(generator.probes),
        "generator_cores": round((used.ru_utime + used.ru_stime) / _SECONDS, 2),
    }


def _p99(values: list[float]) -> float:
    return round(sorted(values)[int(len(values) * 0.99)], 4) if values else 0.0


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_generate(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))))
