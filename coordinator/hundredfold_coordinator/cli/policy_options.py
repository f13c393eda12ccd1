"""Options that say when a task starts, what it may use and when it is tried again; `submit` and `run` have them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from click.core import ParameterSource
from hundredfold import Limits, Retry, bounds
from hundredfold.client.submission import SESSION_POLICIES
from hundredfold.errors import InvalidArgument

from hundredfold_coordinator.cli.options import setting
from hundredfold_coordinator.cli.strategy_options import chosen_strategy

_OPTIONS = (
    setting("--priority", type=int, default=0, show_default=True, help="-100 to 100; higher ones start first."),
    setting("--delay-seconds", type=float, default=0, help="Start no sooner than this from now."),
    setting("--schedule-to-start-seconds", type=float, help="Expire if the first attempt has not started by then."),
    setting("--schedule-to-close-seconds", type=float, help="Expire if it has not ended by then."),
    setting("--wall-limit-seconds", type=float, default=0, help="Longest time of an attempt."),
    setting("--memory-limit-bytes", type=int, default=0, help="Most memory of an attempt's process tree."),
    setting("--process-limit", type=int, default=0, help="Most processes and threads of an attempt."),
    setting("--cpu-limit-seconds", type=float, default=0, help="Most CPU time of an attempt's process tree."),
    setting("--descriptor-limit", type=int, default=0, help="Most open descriptors of each process of an attempt."),
    setting("--output-limit-bytes", type=int, default=0, help="Most bytes an attempt may write to its output."),
    setting("--tenant", default="", help="Whom it is for: tenants share the machine by their weights."),
    setting(
        "--session-policy",
        type=click.Choice(SESSION_POLICIES),
        default="enqueue",
        show_default=True,
        help="What becomes of it while another task has its session.",
    ),
    chosen_strategy(),
    setting("--max-attempts", type=int, default=0, help="Most attempts that may fail by the task's own doing."),
    setting(
        "--retry",
        "causes",
        metavar="CAUSE=N",
        multiple=True,
        help="Most attempts for one cause: raised, crashed, memory, timed_out, evicted, host_lost.",
    ),
    setting("--backoff-seconds", type=float, help="Longest wait before the second attempt; doubles from then on."),
)


def policy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def take_policy(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options out and return those that were given as fields of a `Submission`.

    Raises:
        InvalidArgument: a figure is out of its bounds, or a rule for a cause is none.

    """
    policy: dict[str, Any] = {"priority": options.pop("priority")}
    delay = options.pop("delay_seconds")
    bounds.check_number("delay_seconds", delay, bounds.SECONDS)
    policy["not_before"] = datetime.now(UTC) + timedelta(seconds=delay) if delay > 0 else None
    for name in ("schedule_to_start_seconds", "schedule_to_close_seconds"):
        policy[name] = options.pop(name)
    limits = Limits(
        wall_seconds=options.pop("wall_limit_seconds"),
        memory_bytes=options.pop("memory_limit_bytes"),
        processes=options.pop("process_limit"),
        cpu_seconds=options.pop("cpu_limit_seconds"),
        descriptors=options.pop("descriptor_limit"),
        output_bytes=options.pop("output_limit_bytes"),
    )
    policy["tenant"], policy["session_policy"] = options.pop("tenant"), _session_policy(options.pop("session_policy"))
    policy["strategy"] = options.pop("strategy")
    policy["limits"] = limits if limits != Limits() else None
    policy["retry"] = _retry(options.pop("max_attempts"), options.pop("causes"), options.pop("backoff_seconds"))
    return {name: value for name, value in policy.items() if value}


def _session_policy(name: str) -> str:
    """Return the policy as far as there is a session for it; one that was set for all commands may have none."""
    ctx = click.get_current_context()
    if ctx.params["session"]:
        return name
    if ctx.get_parameter_source("session_policy") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--session-policy means nothing without --session", ctx)
    return "enqueue"


def _retry(max_attempts: int, causes: tuple[str, ...], backoff_seconds: float | None) -> Retry | None:
    if not max_attempts and not causes and backoff_seconds is None:
        return None
    initial = 1.0 if backoff_seconds is None else backoff_seconds
    return Retry(max_attempts=max_attempts, causes=dict(map(_rule, causes)), initial_seconds=initial)


def _rule(text: str) -> tuple[str, int]:
    cause, _, number = text.partition("=")
    if not number.isdecimal():
        raise InvalidArgument("retry", f"is {text!r} and must look like crashed=5")
    return cause, int(number)
