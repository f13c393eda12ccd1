"""A store that is a log, `log:PATH`: everything is in memory, and every commit is a line in a file, synced."""

from pathlib import Path

from hundredfold import hookimpl
from hundredfold.stores.contract import Store


@hookimpl
def hundredfold_store(url: str) -> Store | None:
    """Open `log:PATH`."""
    scheme, _, path = url.partition(":")
    if scheme != "log":
        return None
    from hundredfold_logstore.store import LogStore

    return LogStore(Path(path))
