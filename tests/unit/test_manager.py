"""Shows that a plugin which does not work is reported by its name, and that the others work."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from hundredfold.errors import InvalidSetting, StoreUnavailable
from hundredfold.hooks import COORDINATOR_GROUP, WORKER_GROUP
from hundredfold.manager import Plugin, PluginManager

GOOD = """
    from hundredfold import behaviour

    @behaviour
    def good(text: str) -> str:
        return text
"""


@pytest.fixture(autouse=True)
def _imports_are_undone(tmp_path: Path) -> Iterator[None]:
    path = sys.path[:]
    yield
    sys.path[:] = path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def manager() -> PluginManager:
    return PluginManager(WORKER_GROUP)


@pytest.fixture
def load(manager: PluginManager, tmp_path: Path) -> "Load":
    return Load(manager, tmp_path)


class Load:
    """Writes plugin files and loads them."""

    def __init__(self, manager: PluginManager, directory: Path) -> None:
        self._manager = manager
        self._directory = directory

    def __call__(self, name: str, source: str) -> Plugin:
        path = self._directory / name
        path.write_text(dedent(source))
        self._manager.load_file(path)
        return self._manager.plugins[-1]


# Plugins that work ----------------------------------------------------------------------------------------------------


def test_a_file_is_a_plugin(manager: PluginManager, load: Load) -> None:
    plugin = load("agents.py", GOOD)
    found = manager.collect_behaviours({})
    assert (list(found), list(plugin.behaviours), plugin.error) == (["good"], ["good"], "")
    assert (plugin.name, Path(plugin.origin).name) == ("agents.py", "agents.py")
    assert (found["good"].plugin, found["good"]("x")) == ("agents.py", "x")
    assert "text" in found["good"].input_schema


def test_a_file_can_import_its_neighbours(manager: PluginManager, load: Load, tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_agents.py").write_text("NAME = 'from-next-door'")
    source = "import hundredfold, neighbour_of_agents as n\nagent = hundredfold.behaviour(name=n.NAME)(lambda: 1)"
    assert load("agents.py", source).error == ""
    assert list(manager.collect_behaviours({})) == ["from-next-door"]


def test_what_is_imported_is_not_registered_again(manager: PluginManager, load: Load) -> None:
    load("library_of_agents.py", GOOD)
    other = load("agents.py", "from library_of_agents import good")
    assert list(manager.collect_behaviours({})) == ["good"]
    assert (other.error, other.behaviours) == ("", {})


def test_a_hook_makes_behaviours_at_run_time(manager: PluginManager, load: Load) -> None:
    source = """
        from hundredfold import Behaviour, hookimpl

        @hookimpl
        def hundredfold_behaviours(commands):
            return (Behaviour(lambda: 1, name="run-" + name) for name in commands)
    """
    load("agents.py", source)
    assert list(manager.collect_behaviours({"a": ["true"], "b": ["false"]})) == ["run-a", "run-b"]


def test_a_hook_may_have_nothing(manager: PluginManager, load: Load) -> None:
    plugin = load("agents.py", "import hundredfold\n@hundredfold.hookimpl\ndef hundredfold_behaviours(): return None")
    assert manager.collect_behaviours({}) == {}
    assert plugin.error == ""


@pytest.mark.parametrize("source", ["other_name = good", "@hookimpl\ndef hundredfold_behaviours(): return [good]"])
def test_a_behaviour_that_is_found_twice_is_one(source: str, manager: PluginManager, load: Load) -> None:
    plugin = load("agents.py", dedent(GOOD) + "from hundredfold import hookimpl\n" + source)
    assert (list(manager.collect_behaviours({})), plugin.error) == (["good"], "")


def test_two_files_of_one_name_are_two_plugins(manager: PluginManager, load: Load, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    load("agents.py", GOOD)
    Load(manager, tmp_path / "other")("agents.py", GOOD.replace("good", "better"))
    assert sorted(manager.collect_behaviours({})) == ["better", "good"]


def test_the_built_in_plugin_offers_programs(manager: PluginManager) -> None:
    manager.discover()
    found = manager.collect_behaviours({"echo": ["cat"]})
    assert found["echo"].plugin == "hundredfold"
    assert [plugin.error for plugin in manager.plugins if plugin.name == "hundredfold"] == [""]


# Plugins that do not --------------------------------------------------------------------------------------------------

BROKEN = {
    "raises": ("raise RuntimeError('no luck\\nat all')", "RuntimeError: no luck"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt:"),
    "is_no_python": ("def (", "SyntaxError"),
    "needs_more": ("import hundredfold_needs_this", "ModuleNotFoundError: No module named 'hundredfold_needs_this'"),
    "misspelt": ("import hundredfold\n@hundredfold.hookimpl\ndef hundredfold_behavior(): ...", "hundredfold_behavior"),
    "wrong_argument": ("import hundredfold\n@hundredfold.hookimpl\ndef hundredfold_behaviours(cmd): ...", "Validation"),
    "bad_name": ("import hundredfold\n@hundredfold.behaviour\ndef Shout(): ...", "'Shout' must match"),
    "hook_raises": ("import hundredfold\n@hundredfold.hookimpl\ndef hundredfold_behaviours(): 1 / 0", "ZeroDivision"),
    "hook_exits": ("import hundredfold\n@hundredfold.hookimpl\ndef hundredfold_behaviours(): raise SystemExit", "Exit"),
    "returns_text": ("import hundredfold\n@hundredfold.hookimpl\ndef hundredfold_behaviours(): return 'abc'", "a str"),
    "returns_one": ("import hundredfold\n@hundredfold.hookimpl\ndef hundredfold_behaviours(): return 5", "TypeError"),
    "returns_functions": (
        "import hundredfold\n@hundredfold.hookimpl\ndef hundredfold_behaviours(): return [print]",
        "hundredfold_behaviours returned a builtin_function_or_method, not a Behaviour",
    ),
    "no_schema": ("import hundredfold\n@hundredfold.behaviour\ndef f(x: type(print)): ...", "schema"),
    "unknown_hint": ("import hundredfold\n@hundredfold.behaviour\ndef f(x: 'Missing'): ...", "Missing"),
    "bad_warm_up": ("import hundredfold\n@hundredfold.behaviour(warm_up=lambda: 1 / 0)\ndef f(): ...", "ZeroDivision"),
    "stars": ("import hundredfold\n@hundredfold.behaviour\ndef f(*texts): ...", "cannot be given by name"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_named_and_the_others_work(name: str, manager: PluginManager, load: Load) -> None:
    source, error = BROKEN[name]
    before = load("before.py", GOOD)
    broken = load(f"{name}.py", source)
    after = load("after.py", GOOD.replace("good", "better"))
    assert sorted(manager.collect_behaviours({})) == ["better", "good"]
    assert (before.error, after.error) == ("", "")
    assert error in broken.error
    assert (broken.name, broken.behaviours, "\n" in broken.error) == (f"{name}.py", {}, False)
    assert "Error" in broken.traceback or "Exit" in broken.traceback or "Interrupt" in broken.traceback


def test_the_traceback_shows_the_line(load: Load) -> None:
    plugin = load("agents.py", "def helper():\n    raise RuntimeError('no luck')\nhelper()")
    assert 'agents.py", line 2, in helper' in plugin.traceback
    assert plugin.traceback.endswith("RuntimeError: no luck\n")


def test_an_endless_traceback_is_cut_at_its_beginning(load: Load) -> None:
    plugin = load("agents.py", "raise RuntimeError('x' * 100_000 + ' the end')")
    assert len(plugin.traceback) <= 16 * 1024
    assert plugin.traceback.endswith("the end\n")


def test_a_plugin_fails_whole(manager: PluginManager, load: Load) -> None:
    plugin = load("agents.py", GOOD + "\n    @behaviour\n    def bad(*texts): ...")
    assert (manager.collect_behaviours({}), plugin.behaviours) == ({}, {})
    assert "by name" in plugin.error


def test_a_name_that_is_taken_is_an_error_of_the_later_plugin(manager: PluginManager, load: Load) -> None:
    first, second = load("first.py", GOOD), load("second.py", GOOD)
    assert manager.collect_behaviours({})["good"].plugin == "first.py"
    assert first.error == ""
    assert "'good' is already registered by plugin 'first.py'" in second.error


def test_a_command_cannot_take_the_name_of_a_behaviour(manager: PluginManager, load: Load) -> None:
    plugin = load("first.py", GOOD)
    manager.discover()
    assert manager.collect_behaviours({"good": ["cat"]})["good"].plugin == "first.py"
    assert plugin.error == ""
    assert "'good' is already" in next(plugin.error for plugin in manager.plugins if plugin.name == "hundredfold")


@pytest.mark.parametrize("name", ["missing.py", "directory.py", "agents.txt"])
def test_what_is_no_python_file_is_an_error_of_that_plugin(name: str, manager: PluginManager, tmp_path: Path) -> None:
    (tmp_path / "directory.py").mkdir()
    (tmp_path / "agents.txt").write_text("hello")
    manager.load_file(tmp_path / name)
    assert manager.plugins[0].name == name
    assert name in manager.plugins[0].error


def test_the_error_of_a_wrong_argument_names_the_argument(load: Load) -> None:
    assert "'cmd'" in load("agents.py", BROKEN["wrong_argument"][0]).error


def test_a_file_given_twice_does_no_harm(manager: PluginManager, load: Load) -> None:
    first = load("agents.py", GOOD)
    load("agents.py", GOOD)
    assert list(manager.collect_behaviours({})) == ["good"]
    assert first.error == ""


def test_a_name_cannot_be_taken_twice_in_one_plugin(manager: PluginManager, load: Load) -> None:
    plugin = load("agents.py", GOOD + "\n    @behaviour(name='good')\n    def other(): ...")
    assert manager.collect_behaviours({}) == {}
    assert "'good' is already registered" in plugin.error


def test_an_exception_that_cannot_be_shown_is_still_an_error_of_its_plugin(manager: PluginManager, load: Load) -> None:
    plugin = load("agents.py", "class Odd(Exception):\n    def __str__(self): raise LookupError\nraise Odd")
    assert "Odd" in plugin.error
    load("after.py", GOOD)
    assert list(manager.collect_behaviours({})) == ["good"]


# Installed plugins ----------------------------------------------------------------------------------------------------


def install(site: Path, name: str, source: str, group: str = WORKER_GROUP) -> None:
    """Do what pip does: put a module and its metadata where Python finds them."""
    (site / f"{name}.py").write_text(dedent(source))
    metadata = site / f"{name}-1.2.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{name} = {name}\n")


def test_installed_plugins_are_found_and_broken_ones_named(
    manager: PluginManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "acme_agents", GOOD)
    install(tmp_path, "acme_broken", "raise SystemExit('not today')")
    install(tmp_path, "acme_stores", "raise AssertionError('imported in a worker')", group=COORDINATOR_GROUP)
    monkeypatch.syspath_prepend(tmp_path)
    manager.discover()
    found = {plugin.name: plugin for plugin in manager.plugins if plugin.name.startswith("acme")}
    assert list(found) == ["acme_agents", "acme_broken"]
    assert found["acme_agents"].origin == "acme_agents 1.2"
    assert found["acme_broken"].error == "SystemExit: not today"
    assert "good" in manager.collect_behaviours({})


# Stores ---------------------------------------------------------------------------------------------------------------


def test_a_store_is_chosen_by_its_url(tmp_path: Path) -> None:
    manager = PluginManager(COORDINATOR_GROUP)
    manager.discover()
    for url in ("memory:", f"sqlite:{tmp_path / 'state.db'}"):
        store = manager.open_store(url)
        assert store.url == url
        store.close()


def test_a_scheme_that_nobody_knows_is_refused() -> None:
    manager = PluginManager(COORDINATOR_GROUP)
    manager.discover()
    with pytest.raises(InvalidSetting, match="`store` has the scheme 'nothing'"):
        manager.open_store("nothing:x")


def test_a_store_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    manager = PluginManager(COORDINATOR_GROUP)
    manager.discover()
    with pytest.raises(StoreUnavailable, match="missing"):
        manager.open_store(f"sqlite:{tmp_path / 'missing' / 'state.db'}")


def test_a_plugin_can_bring_a_store(tmp_path: Path) -> None:
    manager = PluginManager(COORDINATOR_GROUP)
    manager.discover()
    source = """
        from hundredfold import hookimpl
        from hundredfold.stores.memory import MemoryStore

        @hookimpl
        def hundredfold_store(url):
            return MemoryStore() if url.startswith("mine:") else None
    """
    Load(manager, tmp_path)("stores.py", source)
    assert manager.open_store("mine:x").capabilities.durable is False


# Editions -------------------------------------------------------------------------------------------------------------


def test_the_edition_counts_that_is_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = tmp_path / "agents.py"
    for source in (GOOD, GOOD.replace("good", "best")):  # as long as the other, and written in the same second
        path.write_text(dedent(source))
        os.utime(path, (1, 1))
        manager = PluginManager(WORKER_GROUP)
        manager.load_file(path)
        assert [name in source for name in manager.collect_behaviours({})] == [True]
    assert [one.name for one in tmp_path.iterdir()] == ["agents.py"]
