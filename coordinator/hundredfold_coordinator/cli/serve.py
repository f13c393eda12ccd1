"""`hundredfold serve`."""

import logging
import math
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from hundredfold import paths
from hundredfold.behaviour import BEHAVIOUR_NAME
from hundredfold.errors import InvalidSetting

from hundredfold_coordinator.cli import options, output
from hundredfold_coordinator.cli.naming import in_words_of_the_user
from hundredfold_coordinator.cli.options import setting
from hundredfold_coordinator.cli.origins import print_settings
from hundredfold_coordinator.cli.strategy_options import parse_strategies, strategy_options
from hundredfold_coordinator.config import Config

N = TypeVar("N", int, float)
_MOST: Final = 1_000_000_000
_WEIGHT: Final = "TENANT=WEIGHT, with a weight above 0"
_LIMIT: Final = f"{{}}=N, with a whole number N from 0 to {_MOST}"


def environment_options(command: Any) -> Any:
    """Add the options that say what an environment is made of."""
    plugin = setting(
        "--plugin",
        "plugin_files",
        type=click.Path(dir_okay=False, path_type=Path),
        multiple=True,
        help="Python file with behaviours; can be given several times.",
    )
    program = setting(
        "--command",
        "commands",
        metavar="NAME=ARGV",
        multiple=True,
        help="Program to offer as behaviour NAME; can be given several times.",
    )
    return plugin(program(command))


@click.command("serve")
@options.data_dir
@setting("--store", help="URL of the store.  [default: sqlite: in the data directory]")
@setting(
    "--store-patience-seconds",
    type=float,
    default=0,
    show_default=True,
    help="How long the store's server may not answer; 0 for ever.",
)
@setting(
    "--lease-seconds",
    type=float,
    default=10,
    show_default=True,
    help="How long a coordinator on a shared store may not be heard of before another one takes over.",
)
@setting(
    "--ballast-bytes",
    type=int,
    default=16 << 20,
    show_default=True,
    help="Room to keep on the disk for finishing what runs when it is full; 0 for none.",
)
@setting("--standby/--no-standby", default=False, help="Wait while another coordinator has the store.")
@setting("--volatile/--no-volatile", default=False, help="Accept a store that loses everything when it ends.")
@setting("--concurrency", type=int, default=100, show_default=True, help="Most attempts alive at once.")
@setting("--queue-limit", type=int, default=100_000, show_default=True, help="Most queued tasks.")
@setting("--queue-bytes", type=int, default=1 << 30, show_default=True, help="Most bytes of queued inputs.")
@setting("--tenant-queue-limit", type=int, default=0, help="Most queued tasks of one tenant.  [default: as all]")
@setting(
    "--tenant-weight",
    "tenant_weights",
    metavar="TENANT=WEIGHT",
    multiple=True,
    help="Share of a tenant, 1 for those not named; can be given several times.",
)
@setting(
    "--tenant-limit",
    "tenant_limits",
    metavar="TENANT=N",
    multiple=True,
    help="Most attempts of a tenant alive at once, 0 for none, =N for tasks without one; can be given several times.",
)
@setting(
    "--behaviour-limit",
    "behaviour_limits",
    metavar="BEHAVIOUR=N",
    multiple=True,
    help="Most attempts of a behaviour alive at once, 0 for none; can be given several times.",
)
@setting(
    "--priority-ageing-seconds",
    type=float,
    default=300,
    show_default=True,
    help="Wait that is worth as much as one more of priority; 0 for none.",
)
@strategy_options
@setting("--max-payload-bytes", type=int, default=4 << 20, show_default=True, help="Largest input or result.")
@setting("--event-quota", type=int, default=10_000, show_default=True, help="Most events of one attempt.")
@setting(
    "--memory-reserve-bytes",
    type=int,
    default=256 << 20,
    show_default=True,
    help="Memory of the machine to leave alone at least; 0 to not look at memory.",
)
@setting("--hosts", type=int, default=1, show_default=True, help="Host processes to keep.")
@setting(
    "--wall-limit-seconds",
    type=float,
    default=3600,
    show_default=True,
    help="Longest time of an attempt, unless its task or behaviour says otherwise; 0 for any.",
)
@setting(
    "--process-limit",
    type=int,
    default=1000,
    show_default=True,
    help="Most processes and threads of an attempt, unless its task or behaviour says otherwise; 0 for any.",
)
@setting("--retention-tasks", type=int, default=100_000, show_default=True, help="Most ended tasks to keep.")
@setting("--retention-seconds", type=float, default=7 * 86_400, show_default=True, help="How long to keep ended tasks.")
@setting(
    "--dead-letter-retention-seconds",
    type=float,
    default=30 * 86_400,
    show_default=True,
    help="How long to keep dead letters.",
)
@setting("--grace-seconds", type=float, default=5, show_default=True, help="Time from SIGTERM to SIGKILL.")
@setting("--drain-seconds", type=float, default=30, show_default=True, help="How long running tasks may go on at stop.")
@setting(
    "--environment-idle-seconds",
    type=float,
    default=60,
    show_default=True,
    help="How long a temporary environment is kept warm.",
)
@setting(
    "--orphan-seconds", type=float, default=60, show_default=True, help="How long agents live without coordinator."
)
@environment_options
@setting(
    "--listen", default="", help="Serve on this loopback TCP address too, for callers with the token file's token."
)
@click.option("--owner-fd", type=int, default=-1, hidden=True)
@click.option("--print-config", is_flag=True, help="Print every setting with its origin, and end.")
@options.output_format
@click.pass_context
def command(ctx: click.Context, /, *, print_config: bool, output_format: str, **values: Any) -> None:
    """Run a coordinator in the foreground until SIGTERM, Ctrl-C or `hundredfold stop`.

    A second signal stops without waiting for running tasks.
    """
    with in_words_of_the_user():
        config = make_config(**values)
    if print_config:
        print_settings(ctx, config, output_format)
        return
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    from hundredfold_coordinator.daemon import serve

    serve(config, lambda addresses: output.note(f"hundredfold serves at {' and '.join(addresses)}"))


def make_config(
    *,
    data_dir: Path,
    store: str | None,
    plugin_files: tuple[Path, ...],
    commands: tuple[str, ...],
    tenant_weights: tuple[str, ...],
    tenant_limits: tuple[str, ...],
    behaviour_limits: tuple[str, ...],
    strategies: tuple[str, ...],
    **values: Any,
) -> Config:
    """Return the configuration that the options describe.

    Raises:
        InvalidSetting: names the option that is wrong.

    """
    data_dir = data_dir.absolute()
    return Config(
        data_dir=data_dir,
        runtime_dir=paths.runtime_dir(data_dir),
        store=store or f"sqlite:{data_dir / 'hundredfold.db'}",
        plugin_files=check_plugins(plugin_files),
        commands=tuple((name, tuple(argv)) for name, argv in parse_commands(commands).items()),
        tenant_weights=parse_figures("tenant_weight", tenant_weights, _WEIGHT, _weight),
        tenant_limits=parse_figures("tenant_limit", tenant_limits, _LIMIT.format("TENANT"), _limit),
        behaviour_limits=_check_behaviours(
            parse_figures("behaviour_limit", behaviour_limits, _LIMIT.format("BEHAVIOUR"), _limit)
        ),
        strategies=parse_strategies(strategies),
        **values,
    )


def check_plugins(files: tuple[Path, ...]) -> tuple[Path, ...]:
    """Return the absolute paths of plugin files.

    Raises:
        InvalidSetting: names the file that is not there.

    """
    for file in files:
        if not file.is_file():
            raise InvalidSetting("plugin", f"is {file}, which is not a file")
    return tuple(file.resolve() for file in files)


def parse_commands(texts: tuple[str, ...]) -> dict[str, list[str]]:
    """Return argv by name, from `NAME=ARGV` texts.

    Raises:
        InvalidSetting: names the text that is none.

    """
    commands = {}
    for text in texts:
        name, _, argv = text.partition("=")
        try:
            commands[name] = shlex.split(argv)
        except ValueError as error:
            raise InvalidSetting("command", f"is {text!r}: {error}") from error
        if not BEHAVIOUR_NAME.fullmatch(name) or not commands[name]:
            raise InvalidSetting("command", f"is {text!r} and must look like name=PROGRAM ARGUMENTS")
    return commands


def parse_figures(
    option: str, texts: tuple[str, ...], form: str, kind: Callable[[str], N]
) -> tuple[tuple[str, N], ...]:
    """Return names and figures, from `NAME=FIGURE` texts; `form` says what they look like.

    Raises:
        InvalidSetting: names the text that is none.

    """
    found = {}
    for text in texts:
        name, equals, figure = text.rpartition("=")
        try:
            found[name] = kind(figure if equals else "")
        except ValueError as error:
            raise InvalidSetting(option, f"is {text!r} and must look like {form}") from error
    return tuple(found.items())


def _weight(text: str) -> float:
    weight = float(text)
    if not 0 < weight < math.inf:
        raise ValueError(text)
    return weight


def _limit(text: str) -> int:
    limit = int(text)
    if not 0 <= limit <= _MOST:
        raise ValueError(text)
    return limit


def _check_behaviours(limits: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    for name, limit in limits:
        if not BEHAVIOUR_NAME.fullmatch(name):
            raise InvalidSetting("behaviour_limit", f"is '{name}={limit}', and no behaviour can be called {name!r}")
    return limits
