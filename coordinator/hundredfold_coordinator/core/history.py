"""What machines had and what agents took lately: of each host a sample a second, for ten minutes."""

from collections import deque
from typing import Final

from hundredfold.v1 import coordinator_service_pb2 as pb

_SECOND_NS: Final = 1_000_000_000
SPAN_SECONDS: Final = 600
_LARGEST: Final = ("workers_pss_bytes", "reserved_bytes", "workers", "cpu_percent", "memory_some")


class History:
    """Samples in the order of their seconds; what is measured within the same second is folded into its worst."""

    def __init__(self) -> None:
        self._samples: deque[pb.Sample] = deque()
        self._newest: dict[str, pb.Sample] = {}

    def note(self, host: str, machine: pb.Machine, *, reserved_bytes: int, workers: int, now_ns: int) -> None:
        """Take in what a host has measured."""
        sample = pb.Sample(
            host=host,
            memory_free_bytes=machine.memory_free_bytes,
            workers_pss_bytes=machine.workers_pss_bytes,
            reserved_bytes=reserved_bytes,
            workers=workers,
            cpu_percent=machine.cpu_percent,
            memory_some=machine.pressure.memory_some,
        )
        sample.time.FromSeconds(now_ns // _SECOND_NS)
        newest = self._newest.get(host)
        if newest and newest.time == sample.time:
            _fold(newest, sample)
            return
        self._newest[host] = sample
        self._samples.append(sample)
        self._forget(sample.time.seconds - SPAN_SECONDS)

    def after(self, moment_ns: int) -> list[pb.Sample]:
        """Return the samples of the seconds that began later than a moment."""
        return [sample for sample in self._samples if sample.time.seconds * _SECOND_NS > moment_ns]

    def _forget(self, until: int) -> None:
        while self._samples[0].time.seconds <= until:
            gone = self._samples.popleft()
            if self._newest[gone.host] is gone:
                del self._newest[gone.host]


def _fold(sample: pb.Sample, other: pb.Sample) -> None:
    sample.memory_free_bytes = min(sample.memory_free_bytes, other.memory_free_bytes)
    for field in _LARGEST:
        setattr(sample, field, max(getattr(sample, field), getattr(other, field)))
