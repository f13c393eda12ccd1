"""What live attempts take of a host: what they were seen to use, and what was set aside for them beyond that."""

from dataclasses import dataclass

_NANOS = 1_000_000_000


@dataclass(slots=True)
class Load:
    """What one attempt takes.

    Attributes:
        behaviour: what it runs.
        reservation_bytes: memory set aside for it when it was launched.
        cores: CPUs it is expected to keep busy.
        launched_ns: when it was launched.
        lasts_seconds: how long it is expected to take.
        known: whether its reservation is more than a guess.
        used_bytes: memory it was last seen to use.
        renewed_ns: when its worker was given another attempt; 0 for never.

    """

    behaviour: str
    reservation_bytes: int
    cores: float
    launched_ns: int
    lasts_seconds: float
    known: bool = True
    used_bytes: int = 0
    renewed_ns: int = 0

    def age_seconds(self, now_ns: int) -> float:
        """Return how long it has been there."""
        return max(0, now_ns - self.launched_ns) / _NANOS

    def outstanding_bytes(self, now_ns: int) -> int:
        """Return what is still set aside for it beyond what it uses.

        That shrinks with its age, or that of its worker's newest attempt, and is nothing when it has been there as long
        as it was expected to take: by then what it was seen to use is the better word.
        """
        left = 1 - max(0, now_ns - (self.renewed_ns or self.launched_ns)) / _NANOS / self.lasts_seconds
        return int(max(0.0, left) * max(0, self.reservation_bytes - self.used_bytes))
