"""`hundredfold session`: the memory that tasks share."""

from typing import Any

import click
from hundredfold import Client, Item, SessionSnapshot, wording

from hundredfold_coordinator.cli import options, output
from hundredfold_coordinator.cli.deletion import delete_each
from hundredfold_coordinator.cli.naming import SuggestingGroup
from hundredfold_coordinator.cli.values import object_of, value_of


@click.group("session", cls=SuggestingGroup)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List, show, write, search and delete sessions."""
    # The settings of this command are those of what is below it.
    ctx.default_map = dict.fromkeys(command.commands, ctx.default_map or {})


@command.command("list")
@click.argument("prefix", default="")
@options.client_options
@options.output_format
@options.asynchronous
async def list_sessions(*, prefix: str, output_format: str, **where: Any) -> None:
    """List the sessions whose names begin with PREFIX; all, if there is none."""
    async with Client(**options.target(where)) as client:
        sessions = [session async for session in client.sessions.list(prefix)]
    if output_format == "json":
        for session in sessions:
            output.write_json(output.fields_of(session))
    else:
        output.write_table(("session", "items", "version", "written"), map(_row, sessions))


@command.command("get")
@click.argument("session_id", metavar="SESSION")
@click.option("--after", type=click.IntRange(min=0), default=0, help="Only items with a higher number.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="Most items to show."
)
@options.client_options
@options.output_format
@options.asynchronous
async def get(*, session_id: str, after: int, limit: int, output_format: str, **where: Any) -> None:
    """Show a session: its state, and its items, oldest first."""
    async with Client(**options.target(where)) as client:
        session = await client.sessions.get(session_id, after=after, limit=limit)
    if output_format == "json":
        output.write_json(output.fields_of(session))
        return
    click.echo(f"session      {session.id}, version {session.version}, {wording.counted(session.item_count, 'item')}")
    for key, value in sorted(session.state.items()):
        click.echo(f"state        {key} = {output.text_of(value)}")
    for item in session.items:
        click.echo(_line(item))
    shown_until = session.items[-1].number if session.items else after
    if shown_until < session.item_count:
        output.note(f"there are later items; --after {shown_until} shows them")


@command.command("append")
@click.argument("session_id", metavar="SESSION")
@click.argument("role")
@click.argument("content")
@click.option("--metadata", default="{}", help="What else there is to know of it: a JSON object.")
@click.option("--request-id", default="", help="The same id never appends a second time.")
@options.client_options
@options.output_format
@options.asynchronous
async def append(
    *, session_id: str, role: str, content: str, metadata: str, request_id: str, output_format: str, **where: Any
) -> None:
    """Append an item to SESSION, whatever tasks use it just now.

    ROLE is who says it: user, agent, tool. CONTENT is JSON, or - to read it from stdin.
    """
    item = Item(role, value_of("content", content), object_of("metadata", metadata))
    async with Client(**options.target(where)) as client:
        version = await client.sessions.commit(session_id, [item], request_id=request_id)
    if output_format == "json":
        output.write_json({"session": session_id, "version": version})
    else:
        output.note(f"session {session_id} is at version {version}")


@command.command("search")
@click.argument("session_id", metavar="SESSION")
@click.argument("query")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Most items to show.")
@click.option("--role", default="", help="Only items of this role.")
@options.client_options
@options.output_format
@options.asynchronous
async def search(*, session_id: str, query: str, limit: int, role: str, output_format: str, **where: Any) -> None:
    """Show the items of SESSION that have every word of QUERY, newest first."""
    async with Client(**options.target(where)) as client:
        items = await client.sessions.search(session_id, query, limit=limit, role=role)
    for item in items:
        if output_format == "json":
            output.write_json(output.fields_of(item))
        else:
            click.echo(_line(item))


@command.command("delete")
@click.argument("session_ids", metavar="SESSION...", nargs=-1, required=True)
@options.client_options
@options.output_format
@options.asynchronous
async def delete(*, session_ids: tuple[str, ...], output_format: str, **where: Any) -> None:
    """Delete sessions with everything in them."""
    async with Client(**options.target(where)) as client:
        await delete_each("session", session_ids, client.sessions.delete, output_format)


def _row(session: SessionSnapshot) -> tuple[str, ...]:
    return session.id, str(session.item_count), str(session.version), output.clock(session.update_time)


def _line(item: Item) -> str:
    return f"{item.number:>6}  {output.clock(item.create_time)}  {item.role:<8} {output.text_of(item.content)}"
