"""Policies: what attempts of a task may use, and when the task is tried again.

Declared with a behaviour, where they hold for all of its tasks, or with a single submission, which overrides that.

See also: `proto/hundredfold/v1/policy.proto`, where each field is explained.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hundredfold import bounds
from hundredfold.errors import InvalidArgument

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

    from hundredfold.v1 import policy_pb2

CAUSES: Final = ("raised", "crashed", "memory", "timed_out", "evicted", "host_lost", "conflict")
"""Why an attempt can have to be made again."""


class NonRetryable(Exception):  # it is what a behaviour says of its failure
    """Raised by a behaviour to say that another attempt would be in vain; the task fails at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one attempt may use; 0 means what the coordinator says.

    Raises:
        InvalidArgument: a figure is out of its bounds; the error names both.

    Attributes:
        wall_seconds: longest time from the start of its process to its end.
        memory_bytes: most memory of its whole process tree.
        processes: most processes and threads of its whole process tree.
        cpu_seconds: most CPU time of its whole process tree.
        descriptors: most open descriptors of each of its processes.
        output_bytes: most bytes it may write to its standard output and error together.

    """

    wall_seconds: float = 0
    memory_bytes: int = 0
    processes: int = 0
    cpu_seconds: float = 0
    descriptors: int = 0
    output_bytes: int = 0

    def __post_init__(self) -> None:
        """Check every figure, where whoever wrote it sees the line."""
        for name in ("wall_seconds", "cpu_seconds"):
            bounds.check_number(name, getattr(self, name), bounds.SECONDS)
        for name, possible in bounds.LIMITS.items():
            bounds.check_integer(name, getattr(self, name), possible)

    def message(self) -> "policy_pb2.Limits":
        """Return it as it travels."""
        from hundredfold.v1 import policy_pb2

        limits = policy_pb2.Limits(
            memory_bytes=self.memory_bytes,
            processes=self.processes,
            descriptors=self.descriptors,
            output_bytes=self.output_bytes,
        )
        if self.wall_seconds:
            limits.wall_time.CopyFrom(duration("wall_seconds", self.wall_seconds))
        if self.cpu_seconds:
            limits.cpu_time.CopyFrom(duration("cpu_seconds", self.cpu_seconds))
        return limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """When a task is tried again.

    The wait before an attempt is random, from zero to `initial_seconds * multiplier ** (failed attempts - 1)`, at most
    `max_seconds`.

    Raises:
        InvalidArgument: a figure is out of its bounds, or a cause is none; the error names it.

    Attributes:
        max_attempts: most attempts that may end by the task's own doing, from 1; 0 means that each cause has its own
            number: 1 for `raised` and `timed_out`, 3 for `crashed` and `memory`.
        causes: most attempts that may end by a cause; see `CAUSES`.
        initial_seconds, multiplier, max_seconds: as above.
        non_retryable: exceptions, or names of their classes, after which a task is never tried again.

    """

    max_attempts: int = 0
    causes: Mapping[str, int] = field(default_factory=dict)
    initial_seconds: float = 1
    multiplier: float = 2
    max_seconds: float = 60
    non_retryable: tuple[type[BaseException] | str, ...] = ()

    def __post_init__(self) -> None:
        """Check every field, where whoever wrote it sees the line."""
        bounds.check_integer("max_attempts", self.max_attempts, bounds.MAX_ATTEMPTS)
        for name in ("initial_seconds", "max_seconds"):
            bounds.check_number(name, getattr(self, name), bounds.SECONDS)
        bounds.check_number("multiplier", self.multiplier, bounds.MULTIPLIER)
        for cause, attempts in self.causes.items():
            if cause not in CAUSES:
                raise InvalidArgument("causes", f"has {cause!r}, which is none; there are: {', '.join(CAUSES)}")
            bounds.check_integer(f"causes.{cause}", attempts, bounds.ATTEMPTS)

    def message(self) -> "policy_pb2.RetryPolicy":
        """Return it as it travels."""
        from hundredfold.v1 import policy_pb2

        names = [each if isinstance(each, str) else each.__name__ for each in self.non_retryable]
        policy = policy_pb2.RetryPolicy(max_attempts=self.max_attempts, non_retryable_types=names)
        policy.backoff.initial.CopyFrom(duration("initial_seconds", self.initial_seconds))
        policy.backoff.max.CopyFrom(duration("max_seconds", self.max_seconds))
        policy.backoff.multiplier = self.multiplier
        for name, attempts in self.causes.items():
            cause = policy_pb2.RetryCause.Value(f"RETRY_CAUSE_{name.upper()}")
            policy.rules.add(cause=cause, max_attempts=attempts)
        return policy


def duration(name: str, seconds: float) -> "Duration":
    """Return a number of seconds as it travels.

    Raises:
        InvalidArgument: it is below zero, longer than a year, or no number.

    """
    from google.protobuf.duration_pb2 import Duration

    bounds.check_number(name, seconds, bounds.SECONDS)
    found = Duration()
    found.FromNanoseconds(int(seconds * 1e9))
    return found
