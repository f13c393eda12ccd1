"""`hundredfold store`: looking after the store, through the coordinator that uses it, or directly if there is none."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import click
from hundredfold import Client, wording
from hundredfold.errors import DataDirectoryBusy, InvalidSetting, StoreCannot
from hundredfold.hooks import COORDINATOR_GROUP
from hundredfold.manager import PluginManager
from hundredfold.stores.contract import Copying, Store
from hundredfold.v1 import store_service_pb2 as pb
from hundredfold.wording import masked

from hundredfold_coordinator.cli import options, output
from hundredfold_coordinator.cli.naming import SuggestingGroup
from hundredfold_coordinator.consistency import Check
from hundredfold_coordinator.copying import check_source, copy, refuse_if_used
from hundredfold_coordinator.export import exported, line, read_page
from hundredfold_coordinator.lock import DataDirectoryLock
from hundredfold_coordinator.services.store_service import check_response

_url = options.setting("--store", help="URL of the store.  [default: sqlite: in the data directory]")


@click.group("store", cls=SuggestingGroup)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Look after the store: check it, back it up, export it.

    Works while a coordinator serves, and without one.
    """
    # The settings of this command are those of what is below it.
    ctx.default_map = dict.fromkeys(command.commands, ctx.default_map or {})


@command.command("check")
@options.client_options
@_url
@options.output_format
@options.asynchronous
async def check(*, output_format: str, store: str | None, **where: Any) -> None:
    """Look for damage, in the database and between the records. Ends with 1 if there is any."""
    async with _access(where, store) as access:
        found = await access.check_store() if isinstance(access, Client) else _check(access)
    if output_format == "json":
        output.write_json(output.as_dict(found))
    else:
        output.write_table(("kind", "records"), [(count.kind, str(count.count)) for count in found.counts])
        for problem in found.problems:
            click.echo(f"damaged: {problem}")
        output.note(wording.counted(found.problem_count, "problem"))
    if found.problem_count:
        sys.exit(1)


@command.command("backup")
@click.argument("path", type=click.Path(path_type=Path))
@options.client_options
@_url
@options.output_format
@options.asynchronous
async def backup(*, path: Path, output_format: str, store: str | None, **where: Any) -> None:
    """Copy the store into the new file PATH, on the coordinator's machine.

    To restore it, put it in the place of the store while no coordinator runs, remove the store's -wal file, and accept
    the loss of what is newer: `hundredfold store accept-loss`.
    """
    async with _access(where, store) as access:
        made = await access.back_up_store(path) if isinstance(access, Client) else _back_up(access, path)
    if output_format == "json":
        output.write_json(output.as_dict(made))
    else:
        output.note(f"{made.path} has {wording.size(made.size_bytes)}")


@command.command("export")
@click.option("--output", "file", type=click.Path(dir_okay=False, path_type=Path), help="File to write, not stdout.")
@options.client_options
@_url
@options.asynchronous
async def export(*, file: Path | None, store: str | None, **where: Any) -> None:
    """Write every record as a line of JSON, in the order of the keys."""
    async with _access(where, store) as access:
        with _target(file) as stream:
            if isinstance(access, Client):
                async for record in access.export_store():
                    stream.write(line(record) + "\n")
            else:
                stream.writelines(line(record) + "\n" for record in _records(access))


@command.command("copy")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@options.output_format
def copy_store(*, source: str, target: str, output_format: str) -> None:
    """Copy everything in the store FROM into the empty store TO, and compare them. Both are URLs.

    A URL with a password is better read from a file: @FILE. No coordinator may use either of them meanwhile. Start the
    next one with `--store TO`.
    """
    plugins = _plugins()
    with closing(plugins.open_store(_existing(_read(source)))) as old:
        check_source(old)  # before there is anything of the other one
        refuse_if_used(old, partial(_say_how_long, old.url))
        with closing(plugins.open_store(_read(target))) as new:
            copied = copy(old, new, _say_how_far)
    if sys.stderr.isatty():
        click.echo("", err=True)
    if output_format == "json":
        output.write_json({"records": copied.records, "size_bytes": copied.size_bytes, "digest": copied.digest})
    else:
        output.note(
            f"{wording.counted(copied.records, 'record')} with {wording.size(copied.size_bytes)} are in {new.url}, and "
            f"both stores have the digest {copied.digest[:16]}"
        )


def _read(url: str) -> str:
    return Path(url[1:]).read_text().strip() if url.startswith("@") else url


def _existing(url: str) -> str:
    """Return the URL of a store to read from, which is not made just because its name was misspelt."""
    scheme, _, path = url.partition(":")
    if scheme == "sqlite" and not Path(path).exists():
        raise click.UsageError(f"there is no store at {url}")
    return url


def _say_how_long(url: str, seconds: float) -> None:
    output.note(f"waiting {seconds:g} s at most, to hear whether a coordinator uses {url}")


def _say_how_far(records: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{records} records", nl=False, err=True)


@command.command("accept-loss")
@options.data_dir
@_url
@options.output_format
def accept_loss(*, data_dir: Path, store: str | None, output_format: str) -> None:
    """Take a store that has lost changes for the whole truth, so that it can be used again.

    What is gone is gone: tasks and results that were acknowledged. Restore a backup first if it has more.
    """
    with _lock(data_dir):
        scheme, _, path = _store_url(data_dir, store).partition(":")
        if scheme != "sqlite":
            raise StoreCannot(masked(_store_url(data_dir, store)), "lose what was durable, as far as Hundredfold knows")
        from hundredfold.stores.sqlite import accept_loss as accept

        missing = accept(Path(path))
    if output_format == "json":
        output.write_json({"accepted": missing})
    else:
        output.note(
            f"the loss of {wording.counted(missing, 'change')} is accepted" if missing else "nothing is missing"
        )


@asynccontextmanager
async def _access(where: dict[str, Any], store: str | None) -> AsyncIterator[Client | Store]:
    """Yield a client of the coordinator that uses the store, or the store itself if none does."""
    data_dir: Path = where["data_dir"]
    target = options.target(where)
    if not target["address"]:
        try:
            with _lock(data_dir), closing(_open(_store_url(data_dir, store))) as opened:
                yield opened
                return
        except DataDirectoryBusy:
            pass
    async with Client(**target) as client:
        yield client


@contextmanager
def _lock(data_dir: Path) -> Iterator[None]:
    if not data_dir.is_dir():
        raise InvalidSetting("data_dir", f"is {data_dir}, which is not there")
    lock = DataDirectoryLock(data_dir)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _target(file: Path | None) -> Iterator[TextIO]:
    if file is None:
        yield sys.stdout
        return
    file.touch(mode=0o600)  # inputs and results are nobody else's business
    with file.open("w") as stream:
        yield stream


def _store_url(data_dir: Path, store: str | None) -> str:
    return store or f"sqlite:{data_dir.absolute() / 'hundredfold.db'}"


def _open(url: str) -> Store:
    return _plugins().open_store(url)


def _plugins() -> PluginManager:
    plugins = PluginManager(COORDINATOR_GROUP)
    plugins.discover()
    return plugins


def _check(store: Store) -> pb.CheckStoreResponse:
    # What is read while somebody writes is not one moment, and looks like damage.
    refuse_if_used(store, partial(_say_how_long, store.url))
    check = Check()
    for look in check.looks():
        look(store)
    return check_response(check)


def _back_up(store: Store, path: Path) -> pb.BackupStoreResponse:
    if not isinstance(store, Copying):
        raise StoreCannot(store.url, "be copied while it is in use")
    path = path.absolute()
    for _ in store.back_up(path):
        pass
    return pb.BackupStoreResponse(path=str(path), size_bytes=path.stat().st_size)


def _records(store: Store) -> Iterator[pb.StoreRecord]:
    after = b""
    while entries := read_page(store, after):
        yield from exported(entries)
        after = entries[-1].key
