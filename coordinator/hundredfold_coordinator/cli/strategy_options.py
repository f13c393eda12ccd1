"""Options of `serve` that say which processes attempts run in."""

from collections.abc import Callable
from typing import Any, Final

import click
from hundredfold.client.submission import STRATEGIES
from hundredfold.errors import InvalidSetting

from hundredfold_coordinator.cli.options import setting

_FORM: Final = f"BEHAVIOUR=STRATEGY, with one of {', '.join(STRATEGIES)}"

_OPTIONS = (
    setting(
        "--behaviour-strategy",
        "strategies",
        metavar="BEHAVIOUR=STRATEGY",
        multiple=True,
        help="Processes of a behaviour's attempts: fresh, pool, stateful or sequential; can be given several times.",
    ),
    setting("--pool-size", type=int, default=8, show_default=True, help="Most workers of a behaviour in a pool."),
    setting("--pool-tasks", type=int, default=1000, show_default=True, help="Attempts after which one is replaced."),
    setting("--pool-bytes", type=int, default=0, help="Memory after which one is replaced.  [default: any]"),
    setting("--pool-seconds", type=float, default=3600, show_default=True, help="Age at which one is replaced."),
    setting("--pool-idle-seconds", type=float, default=30, show_default=True, help="How long one waits for work."),
)


def strategy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def parse_strategies(texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return strategies by behaviour, from `BEHAVIOUR=STRATEGY` texts.

    Raises:
        InvalidSetting: names the text that is none.

    """
    found = {}
    for text in texts:
        name, _, strategy = text.partition("=")
        if not name or strategy not in STRATEGIES:
            raise InvalidSetting("behaviour_strategy", f"is {text!r} and must look like {_FORM}")
        found[name] = strategy
    return tuple(found.items())


def chosen_strategy() -> Callable[[Any], Any]:
    """Return the option with which a task or a run chooses for itself."""
    return setting(
        "--strategy",
        type=click.Choice(STRATEGIES),
        default=None,
        help="Processes its attempts run in.  [default: as the coordinator says, else fresh]",
    )
