"""Hook specifications: what a plugin can implement.

There are two kinds of plugins, after the process that imports them. Entry points of the group `hundredfold.worker` are
imported in the zygote of every environment, never in the coordinator; those of `hundredfold.coordinator` are imported
in the coordinator, never where behaviours run.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import pluggy

if TYPE_CHECKING:
    from hundredfold.behaviour import Behaviour
    from hundredfold.embedder import Embedder
    from hundredfold.stores.contract import Store

PROJECT: Final = "hundredfold"
WORKER_GROUP: Final = "hundredfold.worker"
COORDINATOR_GROUP: Final = "hundredfold.coordinator"

hookimpl: Final = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as the implementation of the hook of its name."""

_hookspec: Final = pluggy.HookspecMarker(PROJECT)


class WorkerHooks:
    """Hooks of the group `hundredfold.worker`."""

    @_hookspec
    def hundredfold_behaviours(self, commands: dict[str, list[str]]) -> "Iterable[Behaviour[..., Any]]":  # type: ignore[empty-body]
        """Return the behaviours of this plugin.

        Called once in each zygote, right after the plugin was imported and before the first fork. A plugin that is a
        module needs this hook only for behaviours it makes at run time: those decorated with `@behaviour` at its top
        level are found without it. The results of all plugins count; a name that is taken already is reported as an
        error of the later plugin. A plugin that raises here is listed as broken, and the others work.

        Args:
            commands: the programs configured as behaviours: argv by name.

        """

    @_hookspec
    def hundredfold_embedders(self) -> "Iterable[Embedder]":  # type: ignore[empty-body]
        """Return the embedders of this plugin: what makes vectors of texts for `ctx.memory`.

        Called once in each zygote, after all plugins were imported and before the first fork; models are better loaded
        when they are first used, in a worker. The results of all plugins count; a name that is taken already is
        reported as an error of the later plugin. A plugin that raises here is listed as broken, and the others work.
        """


class CoordinatorHooks:
    """Hooks of the group `hundredfold.coordinator`."""

    @_hookspec(firstresult=True)
    def hundredfold_store(self, url: str) -> "Store | None":
        """Open the store at `url`, or return None if the scheme is not yours.

        Called once in the coordinator at its start, in the thread that will use the store. The first plugin that
        returns a store wins. If it raises, the coordinator does not start and says which store could not be opened.
        """

    @_hookspec(firstresult=True)
    def hundredfold_store_shared(self, url: str) -> bool | None:
        """Return whether several coordinators may open the store at `url` at once; None if the scheme is not yours.

        Called once in the coordinator, before the store is opened: one that is not shared is opened only by who has the
        lock on the data directory. Its capabilities must say the same. A scheme for which no plugin answers is not
        shared. If it raises, the coordinator does not start.
        """
