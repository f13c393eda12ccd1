"""The command line: one file per command, loaded when it is used."""

import importlib
import json
import os
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import click
from hundredfold.errors import HundredfoldError

from hundredfold_coordinator.cli.configuration import default_file, load_configuration
from hundredfold_coordinator.cli.naming import Invocation, SuggestingGroup, from_file

COMMANDS: Final = (
    "serve",
    "stop",
    "run",
    "compare",
    "bench",
    "submit",
    "get",
    "list",
    "watch",
    "wait",
    "cancel",
    "retry",
    "delete",
    "dead",
    "logs",
    "ps",
    "hosts",
    "session",
    "memory",
    "plugins",
    "status",
    "history",
    "explain",
    "fit",
    "doctor",
    "store",
    "version",
)

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNREACHABLE: Final = 3
EXIT_NOT_FOUND: Final = 4
EXIT_REFUSED: Final = 5
EXIT_TRY_LATER: Final = 6
EXIT_TIMED_OUT: Final = 7
EXIT_INTERRUPTED: Final = 130

_EXIT_CODES: Final = {
    "NOT_FOUND": EXIT_NOT_FOUND,
    "INVALID_ARGUMENT": EXIT_REFUSED,
    "FAILED_PRECONDITION": EXIT_REFUSED,
    "ALREADY_EXISTS": EXIT_REFUSED,
    "UNAUTHENTICATED": EXIT_REFUSED,
    "PERMISSION_DENIED": EXIT_REFUSED,
    "UNIMPLEMENTED": EXIT_REFUSED,
    "DATA_LOSS": EXIT_REFUSED,
    "UNAVAILABLE": EXIT_UNREACHABLE,
    "STORE_UNREACHABLE": EXIT_TRY_LATER,  # a coordinator has answered
    "STORE_UNAVAILABLE": EXIT_REFUSED,
    "RESOURCE_EXHAUSTED": EXIT_TRY_LATER,
    "DEADLINE_EXCEEDED": EXIT_TIMED_OUT,
}

_NONE: Final[Mapping[str, str | int]] = MappingProxyType({})


class _Commands(SuggestingGroup):
    """Imports a command when it is asked for: `hundredfold version` need not wait for gRPC."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return [*COMMANDS]  # `list` is a module here as soon as that command was loaded

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # as above
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"{__name__}.{cmd_name}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.BadParameter as error:
            raise from_file(error) from error


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--config",
    type=click.Path(dir_okay=False),
    envvar="HUNDREDFOLD_CONFIG",
    help="TOML file with settings.  [default: config.toml in ~/.config/hundredfold]",
)
@click.pass_context
def cli(ctx: click.Context, config: str | None) -> None:
    """Run AI agents at volume on one machine: one fresh process per task.

    Every option of a command is also a key of the configuration file, at its top or in a table named like the
    command, and an environment variable that the command's help names.

    Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 a task failed, 2 wrong usage, 3 no
    coordinator answers, 4 not found, 5 refused, 6 try again later, 7 timed out, 130 interrupted.
    """
    ctx.ensure_object(Invocation).config_file = config or str(default_file())
    ctx.default_map = load_configuration(config, COMMANDS, _option_names)


def _option_names(command: str) -> set[str]:
    module = importlib.import_module(f"{__name__}.{command}")
    members = [module.command, *getattr(module.command, "commands", {}).values()]
    return {option.name for one in members for option in one.params if not getattr(option, "hidden", False)}


def main() -> None:
    """Run the command line; every error becomes a message and an exit code."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # what gRPC finds worth saying is nothing to a person
    invocation = Invocation()
    try:
        code = cli.main(standalone_mode=False, obj=invocation)
    except HundredfoldError as error:
        code = tell(invocation, error)
    except click.ClickException as error:
        _tell(invocation, "USAGE" if isinstance(error, click.UsageError) else "FAILED", error.format_message(), error)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _tell(invocation, "INTERRUPTED", "interrupted", "interrupted")
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read stdout has seen enough; nothing more may be written there, not even at exit.
        sys.stdout = None
        code = EXIT_FAILED
    except UnicodeError as error:
        problem = f"what was given is not UTF-8: {error}"
        _tell(invocation, "USAGE", problem, f"error: {problem}")
        code = EXIT_USAGE
    except OSError as error:
        problem = f"{f'{error.filename}: ' if error.filename else ''}{error.strerror}"
        _tell(invocation, "SYSTEM", problem, f"error: {problem}")
        sys.stdout = None  # it may be what failed
        code = EXIT_FAILED
    sys.exit(code)


def tell(invocation: Invocation, error: HundredfoldError) -> int:
    """Say on stderr what was refused; return the exit code for it."""
    _tell(invocation, error.reason, str(error), f"error: {error} [{error.reason}]", error.figures())
    return _EXIT_CODES.get(error.reason, _EXIT_CODES.get(error.code, EXIT_FAILED))


def _tell(
    invocation: Invocation,
    reason: str,
    message: str,
    text: str | click.ClickException,
    figures: Mapping[str, str | int] = _NONE,
) -> None:
    """Say on stderr what went wrong: `text` to a person, the rest to a program."""
    if invocation.output_format == "json":
        found = {"error": {"reason": reason, "message": message, **figures}}
        click.echo(json.dumps(found, ensure_ascii=False), err=True)
    elif isinstance(text, click.ClickException):
        text.show()
    else:
        click.echo(text, err=True)
