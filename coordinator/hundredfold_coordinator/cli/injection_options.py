"""Options that say what is done to tasks on purpose."""

from collections.abc import Callable
from typing import Any

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
