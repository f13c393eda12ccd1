"""Options that several commands share. Each has a flag, a configuration key and an environment variable."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click
from hundredfold import paths

from hundredfold_coordinator.cli.naming import Invocation, in_words_of_the_user

P = ParamSpec("P")
R = TypeVar("R")
_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def setting(*names: str, **attributes: Any) -> _Decorator:
    """Return an option with the environment variable of its name: `--data-dir` is `$HUNDREDFOLD_DATA_DIR`."""
    long = next(name for name in names if name.startswith("--"))
    variable = "HUNDREDFOLD_" + long.split("/")[0].strip("-").replace("-", "_").upper()
    return click.option(*names, envvar=variable, show_envvar=True, **attributes)


data_dir = setting(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=paths.default_data_dir,
    show_default="~/.local/share/hundredfold",
    help="Directory with everything that outlives the coordinator.",
)


def _remember_format(ctx: click.Context, option: click.Parameter, value: str) -> str:  # noqa: ARG001  # click's signature
    ctx.ensure_object(Invocation).output_format = value
    return value


output_format = setting(
    "-o",
    "--format",
    "output_format",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    is_eager=True,  # an error in another option is written so, too
    callback=_remember_format,
    help="How results and errors are written.",
)


def client_options(command: Callable[P, R]) -> Callable[P, R]:
    """Add the options that say which coordinator is meant."""
    address = setting("--address", help="gRPC address of the coordinator, instead of the data directory's socket.")
    token = setting(
        "--token-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="File with the token that a coordinator on TCP wants.",
    )
    return address(token(data_dir(command)))


def target(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options of `client_options` out and return them as arguments of `Client`."""
    token_file: Path | None = options.pop("token_file")
    return {
        "address": options.pop("address"),
        "data_dir": options.pop("data_dir"),
        "token": token_file.read_text().strip() if token_file else None,
    }


def asynchronous(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """Make a coroutine function a command's callback."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with in_words_of_the_user():
            return asyncio.run(function(*args, **kwargs))

    return wrapper
