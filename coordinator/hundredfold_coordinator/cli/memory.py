"""`hundredfold memory`: collections of vectors."""

from typing import Any

import click
from hundredfold import Client, Collection, Remembered

from hundredfold_coordinator.cli import options, output
from hundredfold_coordinator.cli.deletion import delete_each
from hundredfold_coordinator.cli.naming import SuggestingGroup
from hundredfold_coordinator.cli.values import object_of, value_of, vector_of


@click.group("memory", cls=SuggestingGroup)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Make, list, write, search and delete collections of vectors."""
    # The settings of this command are those of what is below it.
    ctx.default_map = dict.fromkeys(command.commands, ctx.default_map or {})


@command.command("create")
@click.argument("name")
@click.option("--dimension", type=click.IntRange(1, 4096), required=True, help="Number of figures of a vector.")
@click.option("--distance", type=click.Choice(["cosine", "euclidean", "dot"]), default="cosine", show_default=True)
@click.option("--embedder", default="", help="What agents make vectors of texts with.")
@click.option("--tenant", default="", help="Whose tasks may use it.  [default: everybody's]")
@options.client_options
@options.output_format
@options.asynchronous
async def create(*, name: str, output_format: str, **fields: Any) -> None:
    """Make the collection NAME; one that is the same already is left alone."""
    wishes = {key: fields.pop(key) for key in ("dimension", "distance", "embedder", "tenant")}
    async with Client(**options.target(fields)) as client:
        made = await client.memory.create(name, wishes.pop("dimension"), **wishes)
    if output_format == "json":
        output.write_json(output.fields_of(made))
    else:
        output.note(f"collection {made.name} is there")


@command.command("list")
@options.client_options
@options.output_format
@options.asynchronous
async def list_collections(*, output_format: str, **where: Any) -> None:
    """List the collections."""
    async with Client(**options.target(where)) as client:
        collections = await client.memory.list()
    if output_format == "json":
        for collection in collections:
            output.write_json(output.fields_of(collection))
    else:
        columns = ("collection", "dimension", "distance", "embedder", "tenant", "made")
        output.write_table(columns, map(_row, collections))


@command.command("write")
@click.argument("name")
@click.argument("record_id", metavar="RECORD")
@click.argument("vector")
@click.argument("content", default="null")
@click.option("--metadata", default="{}", help="What a search can be narrowed by: a JSON object.")
@options.client_options
@options.output_format
@options.asynchronous
async def write(
    *, name: str, record_id: str, vector: str, content: str, metadata: str, output_format: str, **where: Any
) -> None:
    """Write RECORD to the collection NAME; one of this name is replaced.

    VECTOR is a JSON list of numbers. CONTENT, what it stands for, is JSON, or - to read it from stdin.
    """
    figures = vector_of("vector", vector)
    record = Remembered(record_id, figures, value_of("content", content), object_of("metadata", metadata))
    async with Client(**options.target(where)) as client:
        await client.memory.write(name, [record])
    if output_format == "json":
        output.write_json({"collection": name, "id": record_id})
    else:
        output.note(f"record {record_id} is in collection {name}")


@command.command("search")
@click.argument("name")
@click.argument("vector")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=10, show_default=True, help="Most records.")
@options.client_options
@options.output_format
@options.asynchronous
async def search(*, name: str, vector: str, limit: int, output_format: str, **where: Any) -> None:
    """Show the records of the collection NAME nearest to VECTOR, a JSON list of numbers."""
    figures = vector_of("vector", vector)
    async with Client(**options.target(where)) as client:
        matches = await client.memory.search(name, figures, limit)
    if output_format == "json":
        for match in matches:
            output.write_json(output.fields_of(match))
    else:
        rows = [(match.id, f"{match.distance:.4f}", output.text_of(match.content)) for match in matches]
        output.write_table(("id", "distance", "content"), rows)


@command.command("delete")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@options.client_options
@options.output_format
@options.asynchronous
async def delete(*, names: tuple[str, ...], output_format: str, **where: Any) -> None:
    """Delete collections with all of their records."""
    async with Client(**options.target(where)) as client:
        await delete_each("collection", names, client.memory.delete, output_format)


def _row(collection: Collection) -> tuple[str, ...]:
    return (
        collection.name,
        str(collection.dimension),
        collection.distance,
        collection.embedder or "-",
        collection.tenant or "-",
        output.clock(collection.create_time),
    )
