"""`hundredfold run`."""

import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import click
from hundredfold import Client, wording
from hundredfold.errors import BrokenPlugin, Unreachable
from hundredfold.injection import choose, parse_shares
from hundredfold.v1 import behaviour_pb2

from hundredfold_coordinator.cli import options, output
from hundredfold_coordinator.cli.batch import Batch, Plan, Summary, run_name
from hundredfold_coordinator.cli.embedded import Embedded, embedded_coordinator
from hundredfold_coordinator.cli.injection_options import check_hang, injection_options, may_last
from hundredfold_coordinator.cli.lines import OrderedWriter, open_results, read_lines
from hundredfold_coordinator.cli.options import setting
from hundredfold_coordinator.cli.policy_options import policy_options, take_policy
from hundredfold_coordinator.cli.progress import Observed, observing
from hundredfold_coordinator.cli.serve import check_plugins, environment_options, parse_commands
from hundredfold_coordinator.cli.submit import parse_labels


@click.command("run")
@click.argument("behaviour")
@options.client_options
@environment_options
@setting(
    "--concurrency", type=click.IntRange(1, 100_000), help="Most agents at once; the coordinator's own by default."
)
@click.option(
    "-i", "--input", "input_file", type=click.File("rb"), required=True, help="JSON lines, one task each; - for stdin."
)
@click.option("--output", "output_path", default="-", help="File that results go to.  [default: stdout]")
@click.option("--name", default="", help="Name of the run.  [default: from behaviour, plugins and input file]")
@click.option(
    "--session", default="", metavar="TEXT", help="Session of each task; {field} stands for a field of its input."
)
@click.option("--label", "labels", metavar="KEY=VALUE", multiple=True, help="Label for every task.")
@policy_options
@injection_options
@click.option("--fresh", is_flag=True, help="Run everything again, whatever an earlier run of this name has done.")
@options.asynchronous
async def command(
    *,
    behaviour: str,
    plugin_files: tuple[Path, ...],
    commands: tuple[str, ...],
    concurrency: int | None,
    input_file: Any,
    output_path: str,
    name: str,
    session: str,
    labels: tuple[str, ...],
    fresh: bool,
    inject: str,
    seed: int,
    **where: Any,
) -> None:
    """Run BEHAVIOUR on every line of a file: one task, one fresh process each.

    Uses the coordinator that is running, or starts one for the time being. Results are written as JSON lines in the
    order of the input, as they come. The same command again does only what is missing: lines whose task has succeeded
    are not run again. Ctrl-C cancels what is not done.
    """
    spec = _environment_spec(plugin_files, commands)
    shares = parse_shares(inject)
    may_hang = may_last(shares, where["wall_limit_seconds"])
    policy = take_policy(where)
    values = list(read_lines(input_file))
    input_name = getattr(input_file, "name", "")
    async with AsyncExitStack() as stack:
        target = options.target(where)
        client = await stack.enter_async_context(Client(**target))
        embedded = await _embed(stack, client, target, concurrency)
        environment = await _open_environment(client, spec)
        if may_hang:
            await check_hang(client, behaviour, environment)
        # Not before it is known that something can run: what is there is lost by opening it.
        results = stack.enter_context(open_results(output_path, str(input_name)))
        # Done otherwise, it is another run: what succeeded there says nothing here.
        trial = [str(one) for one in (policy.get("strategy"), inject and f"{inject} {seed}") if one]
        plan = Plan(
            behaviour,
            environment,
            run_name(name, (behaviour, environment, session, *trial), input_name, fresh=fresh),
            session,
            parse_labels(labels),
            # An embedded coordinator was started with this limit; another one's is not for this run to set.
            lanes=0 if embedded else concurrency or 0,
            policy=policy,
            injections=choose(shares, len(values), seed),
        )
        batch = Batch(client, plan, values, OrderedWriter(results))
        async with observing(client, behaviour, batch.summary) as observed:
            summary = await batch.run()
        if embedded and summary.abandoned:
            embedded.hurry = True
    _report(summary, observed)
    sys.exit(summary.exit_code)


def _environment_spec(plugin_files: tuple[Path, ...], commands: tuple[str, ...]) -> behaviour_pb2.EnvironmentSpec:
    return behaviour_pb2.EnvironmentSpec(
        plugin_files=[str(path) for path in check_plugins(plugin_files)],
        commands=[behaviour_pb2.Command(name=key, argv=argv) for key, argv in parse_commands(commands).items()],
    )


async def _embed(
    stack: AsyncExitStack, client: Client, target: dict[str, Any], concurrency: int | None
) -> Embedded | None:
    """Start a coordinator for the time being and return it, if there is none."""
    try:
        await client.status()
    except Unreachable:
        if target["address"]:
            raise  # somebody else's coordinator was meant
        return await stack.enter_async_context(embedded_coordinator(client, target["data_dir"], concurrency))
    return None


async def _open_environment(client: Client, spec: behaviour_pb2.EnvironmentSpec) -> str:
    """Return the name of an environment for the spec; empty for the default one, if there is none."""
    if not spec.ByteSize():
        return ""
    try:
        return (await client.open_environment(spec)).name
    except BrokenPlugin as error:
        # An embedded coordinator is gone before anybody could ask it for the traceback.
        for environment in await client.environments():
            for plugin in environment.plugins:
                if plugin.name == error.plugin and plugin.traceback and environment.spec == spec:
                    output.note(plugin.traceback)
        raise


def _report(summary: Summary, observed: Observed) -> None:
    ends = [f"{summary.succeeded} succeeded", f"{summary.failed} failed"]
    ends += [f"{summary.cancelled} cancelled"] if summary.cancelled else []
    ends += [f"{summary.refused} refused"] if summary.refused else []
    ends += [f"{summary.reused} done by an earlier run"] if summary.reused else []
    use = [wording.counted(len(summary.pids), "process", "processes")]
    use += [f"{summary.most_at_once} at once"] if summary.most_at_once else []
    use += [f"{wording.size(observed.peak_bytes)} of memory seen at most"] if observed.peak_bytes else []
    tasks = wording.counted(summary.total, "task")
    output.note(f"{tasks} in {output.seconds(summary.seconds)}: {', '.join(ends)}; {', '.join(use)}")
    for failure in summary.first_failures:
        output.note(f"  {failure}")
