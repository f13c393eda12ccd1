"""Fault injection: what is done to tasks on purpose, and to which of them.

The same shares and the same seed choose the same tasks, however they are run.

See also: `proto/hundredfold/v1/task.proto`, where each fault is explained.
"""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hundredfold import bounds
from hundredfold.errors import InvalidArgument
from hundredfold.policy import duration

if TYPE_CHECKING:
    from hundredfold.v1 import task_pb2

FAULTS: Final = ("crash", "hang", "timeout", "slow", "leak")
"""What can be done to an attempt."""

_SLIP: Final = 1e-9
"""What shares that are 1 together may come to more in binary fractions."""

_FORM: Final = f"FAULT=SHARE or FAULT=SHARE:SECONDS, with one of {', '.join(FAULTS)} and a share from 0 to 1"


@dataclass(frozen=True, slots=True)
class Injection:
    """What is done to a task's attempts on purpose.

    Raises:
        InvalidArgument: the fault is none, or the time out of its bounds.

    Attributes:
        fault: what its first attempt is made to suffer, see `FAULTS`; empty for nothing.
        seconds: how long a timeout or a slow one takes; 0 for 2 s.
        canary: whether attempts leave a trace in their process, and look for those of others.

    """

    fault: str = ""
    seconds: float = 0
    canary: bool = False

    def __post_init__(self) -> None:
        """Check every field, where whoever wrote it sees the line."""
        if self.fault and self.fault not in FAULTS:
            raise InvalidArgument("fault", f"is {self.fault!r}, which is none; there are: {', '.join(FAULTS)}")
        bounds.check_number("seconds", self.seconds, bounds.SECONDS)

    def message(self) -> "task_pb2.Injection":
        """Return it as it travels."""
        from hundredfold.v1 import task_pb2

        fault = task_pb2.Fault.Value(f"FAULT_{self.fault.upper()}") if self.fault else task_pb2.FAULT_UNSPECIFIED
        found = task_pb2.Injection(fault=fault, canary=self.canary)
        if self.seconds:
            found.time.CopyFrom(duration("seconds", self.seconds))
        return found


@dataclass(frozen=True, slots=True)
class Share:
    """How many of all tasks suffer a fault: from 0 to 1, and how it is for them."""

    injection: Injection
    share: float


def parse_shares(text: str) -> list[Share]:
    """Return what `crash=0.05,slow=0.1:3` means.

    Raises:
        InvalidArgument: names the part that is none, or says that there is too much of everything.

    """
    shares = [_share(part.strip()) for part in text.split(",") if part.strip()]
    if sum(one.share for one in shares) > 1 + _SLIP:
        raise InvalidArgument("inject", f"is {text!r}, which is more than there are tasks")
    if len({one.injection.fault for one in shares}) < len(shares):
        raise InvalidArgument("inject", f"is {text!r}, which has the same fault twice")
    return shares


def choose(shares: list[Share], count: int, seed: int) -> Mapping[int, Injection]:
    """Return what is done to which of `count` tasks, by their number from 0.

    Of each fault there are as many as its share says, rounded, a half up; the same seed chooses the same ones.
    """
    numbers = list(range(count))
    random.Random(seed).shuffle(numbers)  # noqa: S311  # it is to be repeated, not to be unknown
    chosen = iter(numbers)
    return dict(_deal(shares, count, chosen))


def _deal(shares: list[Share], count: int, chosen: Iterator[int]) -> Iterator[tuple[int, Injection]]:
    for one in shares:
        for _ in range(math.floor(one.share * count + 0.5 + _SLIP)):
            number = next(chosen, None)
            if number is not None:  # rounding may want one more than there is
                yield number, one.injection


def _share(part: str) -> Share:
    fault, _, figures = part.partition("=")
    share, colon, seconds = figures.partition(":")
    try:
        found = Share(Injection(fault, float(seconds) if colon else 0), float(share))
    except (ValueError, InvalidArgument) as error:
        raise InvalidArgument("inject", f"has {part!r}, which must look like {_FORM}") from error
    if not fault:
        raise InvalidArgument("inject", f"has {part!r}, which must look like {_FORM}")
    if not 0 <= found.share <= 1:
        raise InvalidArgument("inject", f"has {part!r}, and a share is from 0 to 1")
    return found
