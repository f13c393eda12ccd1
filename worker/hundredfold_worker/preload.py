"""What a zygote imports before it forks: the environment's plugins, and everything a worker would import itself.

Every module that is missing here is imported again by every worker, at its own cost.
"""

import importlib
import logging
import sys
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from hundredfold.behaviour import Behaviour
from hundredfold.embedder import Embedder
from hundredfold.hooks import WORKER_GROUP
from hundredfold.internal.v1 import zygote_pb2
from hundredfold.manager import Plugin, PluginManager
from hundredfold.v1 import behaviour_pb2

from hundredfold_worker.rehearsal import rehearse

_MODULES: Final = (
    "asyncio.runners",
    "concurrent.futures.thread",
    "encodings.idna",
    "pydantic",
    "traceback",
)


def preload(
    request: zygote_pb2.Preload,
) -> tuple[behaviour_pb2.Environment, dict[str, Behaviour[..., Any]], dict[str, Embedder]]:
    """Import everything; return the environment's manifest, its behaviours and its embedders, by name."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a worker's output is wanted as it comes
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for name in _MODULES:
        importlib.import_module(name)
    manager = PluginManager(WORKER_GROUP, _say)
    manager.discover()
    for path in request.spec.plugin_files:
        manager.load_file(Path(path))
    behaviours = manager.collect_behaviours({command.name: list(command.argv) for command in request.spec.commands})
    embedders = manager.collect_embedders()
    environment = manifest(request, manager.plugins, behaviours, embedders)
    rehearse()
    return environment, behaviours, embedders


def _say(plugin: Plugin) -> None:
    """Leave a word in this process's output, which is quoted if it ends here."""
    sys.stdout.write(f"importing plugin {plugin.name} from {plugin.origin}\n")


def manifest(
    request: zygote_pb2.Preload,
    plugins: list[Plugin],
    behaviours: Mapping[str, Behaviour[..., Any]],
    embedders: Iterable[str],
) -> behaviour_pb2.Environment:
    """Return what is to be known about an environment outside it."""
    environment = behaviour_pb2.Environment(
        name=request.environment,
        spec=request.spec,
        state=behaviour_pb2.ENVIRONMENT_STATE_READY,
        plugins=[
            behaviour_pb2.Plugin(
                name=plugin.name,
                origin=plugin.origin,
                behaviours=sorted(plugin.behaviours),
                error=plugin.error,
                traceback=plugin.traceback,
            )
            for plugin in plugins
        ],
        behaviours=[
            behaviour_pb2.Behaviour(
                name=name,
                summary=behaviour.summary,
                plugin=behaviour.plugin,
                input_schema=behaviour.input_schema,
                output_schema=behaviour.output_schema,
                limits=behaviour.limits.message() if behaviour.limits else None,
                retry=behaviour.retry.message() if behaviour.retry else None,
            )
            for name, behaviour in sorted(behaviours.items())
        ],
        embedders=sorted(embedders),
    )
    environment.digest = sha256(b"".join(b.SerializeToString() for b in environment.behaviours)).hexdigest()[:16]
    return environment
