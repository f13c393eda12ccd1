"""Errors in the words of the command line: what the API calls a field is a flag here, or a key in a file."""

import difflib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import click
from click.core import ParameterSource
from hundredfold.errors import InvalidArgument, InvalidSetting

_FLAGS: Final = {
    "wall_seconds": "--wall-limit-seconds",
    "wall_time": "--wall-limit-seconds",
    "memory_bytes": "--memory-limit-bytes",
    "processes": "--process-limit",
    "cpu_seconds": "--cpu-limit-seconds",
    "cpu_time": "--cpu-limit-seconds",
    "descriptors": "--descriptor-limit",
    "output_bytes": "--output-limit-bytes",
    "causes": "--retry",
    "rules": "--retry",
    "initial_seconds": "--backoff-seconds",
    "backoff": "--backoff-seconds",
    "not_before": "--delay-seconds",
    "schedule_to_start_timeout": "--schedule-to-start-seconds",
    "schedule_to_close_timeout": "--schedule-to-close-seconds",
    "timeout_seconds": "--timeout",
    "after_sequence": "--after",
    "labels": "--label",
}
"""Where a flag is not called like the field."""

_PREFIX: Final = re.compile(r"^(spec\.|collection\.)?(limits\.|retry\.)?")
_QUOTED: Final = re.compile(r"`([\w.]+)`")


@dataclass(slots=True)
class Invocation:
    """What is known of a command line as a whole: `ctx.obj`.

    Attributes:
        output_format: how results, and errors, are written.
        config_file: file with settings that was read; empty if none was.

    """

    output_format: str = "table"
    config_file: str = ""


class SuggestingGroup(click.Group):
    """Says which command was probably meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is called, as click wants it."""
        known = self.list_commands(ctx)
        near = difflib.get_close_matches(args[0], known, n=1)
        if near and args[0] not in known:
            ctx.fail(f"No such command {args[0]!r}; did you mean {near[0]}?")
        return super().resolve_command(ctx, args)


@contextmanager
def in_words_of_the_user() -> Iterator[None]:
    """Name what is wrong as it was typed, in errors from inside the block."""
    ctx = click.get_current_context()
    try:
        yield
    except InvalidArgument as error:
        problem = _QUOTED.sub(lambda match: f"`{_flag(ctx, match[1])}`", error.problem)
        raise InvalidArgument(_flag(ctx, error.field), problem) from error
    except InvalidSetting as error:
        option = next((one for one in ctx.command.params if error.setting in _names(one)), None)
        if option is None or not _is_from_file(ctx, option):
            raise
        raise InvalidSetting(error.setting, f"{error.problem}; {_file(ctx)} says so") from error


def from_file(error: click.BadParameter) -> click.UsageError:
    """Return what says that a value is wrong, and names the file if it is from there."""
    ctx, option = error.ctx, error.param
    if ctx is None or option is None or not _is_from_file(ctx, option):
        return error
    return click.UsageError(f"Invalid value for `{option.name}` in {_file(ctx)}: {error.message}", ctx)


def _flag(ctx: click.Context, field: str) -> str:
    """Return the flag of the current command for a field; the field itself if it has none."""
    name = re.split(r"[.\[]", _PREFIX.sub("", field))[0]
    flag = _FLAGS.get(name, "--" + name.replace("_", "-"))
    return flag if any(flag in option.opts for option in ctx.command.params) else field


def _names(option: click.Parameter) -> set[str]:
    return {option.name or "", *(flag.strip("-").replace("-", "_") for flag in option.opts)}


def _is_from_file(ctx: click.Context, option: click.Parameter) -> bool:
    return ctx.get_parameter_source(option.name or "") is ParameterSource.DEFAULT_MAP


def _file(ctx: click.Context) -> str:
    return ctx.ensure_object(Invocation).config_file
