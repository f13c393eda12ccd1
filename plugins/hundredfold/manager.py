"""The one typed facade over pluggy: finds plugins, keeps a broken one from harming the others, calls hooks.

`discover` reports what was found, from where, and what failed with its traceback. It catches everything a plugin can
raise at import, `SystemExit` included; a plugin that kills the process is its zygote's business.
"""

import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import metadata, util
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, Final, final

import pluggy

from hundredfold.errors import InvalidSetting
from hundredfold.hooks import COORDINATOR_GROUP, PROJECT, WORKER_GROUP, CoordinatorHooks, WorkerHooks

if TYPE_CHECKING:
    from hundredfold.behaviour import Behaviour
    from hundredfold.embedder import Embedder
    from hundredfold.stores.contract import Store

    _Behaviours = dict[str, Behaviour[..., Any]]

_ERROR_LIMIT: Final = 500
_TRACEBACK_LIMIT: Final = 16 * 1024


@dataclass(slots=True)
class Plugin:
    """What is known about one plugin.

    Attributes:
        name: of the entry point, or of the file.
        origin: distribution and version, or the path of the file.
        behaviours: what it registered, by name.
        error: why it cannot be used, in one line; empty if it can.
        traceback: of that error.

    """

    name: str
    origin: str
    behaviours: dict[str, "Behaviour[..., Any]"] = field(default_factory=dict)
    error: str = ""
    traceback: str = ""

    def fail(self, error: BaseException) -> None:
        """Note that the plugin raised `error`."""
        try:
            text = f"{type(error).__name__}: {error}"
            trace = "".join(traceback.format_exception(error))
        except Exception:  # noqa: BLE001  # an exception's own text is user code, too
            text, trace = f"{type(error).__name__}, which cannot be shown", ""
        self.error = " ".join(text.split())[:_ERROR_LIMIT]
        self.traceback = trace[-_TRACEBACK_LIMIT:]
        self.behaviours.clear()


@final
class PluginManager:
    """The plugins of one process.

    Args:
        group: entry-point group of this kind of process.
        importing: called with every plugin before it is imported, which may end the process.

    """

    def __init__(self, group: str, importing: Callable[[Plugin], None] = lambda _plugin: None) -> None:
        self._group = group
        self.importing = importing
        self._pluggy = pluggy.PluginManager(PROJECT)
        self._pluggy.add_hookspecs({WORKER_GROUP: WorkerHooks, COORDINATOR_GROUP: CoordinatorHooks}[group])
        self.plugins: list[Plugin] = []

    def discover(self) -> None:
        """Import every installed plugin of the group, in the order of their names."""
        for point in sorted(metadata.entry_points(group=self._group), key=lambda point: point.name):
            origin = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
            self._add(Plugin(point.name, origin), point.load)

    def load_file(self, path: Path) -> None:
        """Import a Python file as a plugin; it can import its neighbours, as a script can. Idempotent."""
        if str(path) not in {plugin.origin for plugin in self.plugins}:
            self._add(Plugin(path.name, str(path)), lambda: _import_file(path))

    def collect_behaviours(self, commands: dict[str, list[str]]) -> "_Behaviours":
        """Ask every plugin for its behaviours; note those that fail. Returns all of them by name."""
        found: _Behaviours = {}
        for plugin in self.plugins:
            if not plugin.error:
                self._collect_from(plugin, commands, found)
        return found

    def collect_embedders(self) -> "dict[str, Embedder]":
        """Ask every plugin for its embedders; note those that fail. Returns all of them by name."""
        found: dict[str, Embedder] = {}
        for plugin in self.plugins:
            if plugin.error:
                continue
            try:
                for embedder in self._ask(plugin, "hundredfold_embedders"):
                    _check_embedder(embedder, found)
                    found[embedder.name] = embedder
            except BaseException as error:  # noqa: BLE001  # as in _add
                plugin.fail(error)
        return found

    def is_store_shared(self, url: str) -> bool:
        """Return whether several coordinators may open the store at `url`."""
        return bool(self._pluggy.hook.hundredfold_store_shared(url=url))

    def open_store(self, url: str) -> "Store":
        """Open the store at `url`.

        Raises:
            InvalidSetting: no plugin knows the scheme of the URL.
            StoreUnavailable: the backend could not open it.

        """
        store: Store | None = self._pluggy.hook.hundredfold_store(url=url)
        if store is None:
            raise InvalidSetting(
                "store", f"has the scheme {url.partition(':')[0]!r}, which no plugin knows; try sqlite:PATH"
            )
        return store

    def _add(self, plugin: Plugin, load: Callable[[], object]) -> None:
        self.plugins.append(plugin)
        self.importing(plugin)
        try:
            self._pluggy.register(load(), plugin.origin + ":" + plugin.name)
            self._pluggy.check_pending()
        except BaseException as error:  # noqa: BLE001  # SystemExit at import is a fault of the plugin, not a wish to end
            plugin.fail(error)
            if self._pluggy.has_plugin(plugin.origin + ":" + plugin.name):
                self._pluggy.unregister(name=plugin.origin + ":" + plugin.name)

    def _collect_from(self, plugin: Plugin, commands: dict[str, list[str]], found: "_Behaviours") -> None:
        module = self._pluggy.get_plugin(plugin.origin + ":" + plugin.name)
        try:
            asked = _behaviours_only(self._ask(plugin, "hundredfold_behaviours", commands=commands))
            for behaviour in (*_declared(module), *asked):
                taken = found.get(behaviour.name) or plugin.behaviours.get(behaviour.name)
                if taken is behaviour:
                    continue  # bound to two names, or declared and returned by the hook
                if taken:
                    _refuse_taken(behaviour.name, taken.plugin)
                behaviour.prepare(plugin.name)
                plugin.behaviours[behaviour.name] = behaviour
        except BaseException as error:  # noqa: BLE001  # as in _add
            plugin.fail(error)
        found.update(plugin.behaviours)

    def _ask(self, plugin: Plugin, hook: str, **arguments: Any) -> list[Any]:
        """Return what one plugin alone answers to a hook."""
        module = self._pluggy.get_plugin(plugin.origin + ":" + plugin.name)
        others = [other for other in self._pluggy.get_plugins() if other is not module]
        return [one for answer in self._pluggy.subset_hook_caller(hook, others)(**arguments) for one in answer]


def _import_file(path: Path) -> ModuleType:
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    # Two files may have one name; what a module is looked up by must not.
    name = f"hundredfold_plugin_{path.stem}_{sha256(str(path).encode()).hexdigest()[:8]}"
    spec = util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        message = f"{path} is not a Python file"
        raise ImportError(message)
    if isinstance(spec.loader, SourceFileLoader):
        spec.loader = _AsItIs(name, str(path))
    module = util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look their module up by name
    spec.loader.exec_module(module)
    return module


class _AsItIs(SourceFileLoader):
    """Runs the source that is in a file now, and leaves nothing beside it.

    Python takes bytecode for current that was made in the same second from another edition of the same length.
    """

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002  # its name does not matter
        return self.source_to_code(self.get_data(self.path), self.path)


def _declared(module: object) -> "Iterator[Behaviour[..., Any]]":
    from hundredfold.behaviour import Behaviour

    for value in list(vars(module).values()):
        if isinstance(value, Behaviour) and value.module == getattr(module, "__name__", None):
            yield value


def _behaviours_only(answers: Iterable[object]) -> "Iterator[Behaviour[..., Any]]":
    from hundredfold.behaviour import Behaviour

    for behaviour in answers:
        if not isinstance(behaviour, Behaviour):
            message = f"hundredfold_behaviours returned a {type(behaviour).__name__}, not a Behaviour"
            raise TypeError(message)
        yield behaviour


def _check_embedder(embedder: object, found: "dict[str, Embedder]") -> None:
    from hundredfold.embedder import Embedder

    if not isinstance(embedder, Embedder):
        message = f"hundredfold_embedders returned a {type(embedder).__name__}, not an Embedder"
        raise TypeError(message)
    if embedder.name in found:
        message = f"embedder {embedder.name!r} is already registered by another plugin; choose another name"
        raise ValueError(message)


def _refuse_taken(name: str, owner: str) -> None:
    message = f"behaviour {name!r} is already registered by plugin {owner!r}; choose another name"
    raise ValueError(message)
