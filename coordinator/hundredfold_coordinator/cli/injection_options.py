"""Options that say what is done to tasks on purpose."""

from collections.abc import Callable, Sequence
from typing import Any

from hundredfold import Client
from hundredfold.errors import InvalidArgument
from hundredfold.injection import Share

from hundredfold_coordinator.cli.options import setting

_OPTIONS = (
    setting(
        "--inject",
        default="",
        metavar="FAULT=SHARE,...",
        help="Faults for a share of the tasks: crash, hang, timeout, slow, leak; slow=0.1:3 takes 3 s.",
    ),
    setting("--seed", type=int, default=0, show_default=True, help="Which tasks those are: the same ones each time."),
)


def injection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def may_last(shares: Sequence[Share], wall_seconds: float) -> bool:
    """Return whether attempts will hang whose tasks do not say for how long: see `check_hang`."""
    return not wall_seconds and any(one.injection.fault == "hang" and one.share for one in shares)


async def check_hang(client: Client, behaviour: str, environment: str = "") -> None:
    """Check that a behaviour says how long its attempts may take: what a coordinator sets for all is an hour, or more.

    Raises:
        InvalidArgument: it does not.

    """
    for found in await client.behaviours(environment):  # one that is not there is refused when it is submitted
        if found.name == behaviour and not found.limits.wall_time.ToNanoseconds():
            problem = f"has hang, and {behaviour} has no limit: say with --wall-limit-seconds how long that is"
            raise InvalidArgument("inject", problem)
