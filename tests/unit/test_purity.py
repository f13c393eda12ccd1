"""Shows, in fresh interpreters, what importing does not bring along: the core no network, the front door no weight."""

import subprocess
import sys
from pathlib import Path

import hundredfold_coordinator.core
import pytest

CORE = sorted(path.stem for path in Path(hundredfold_coordinator.core.__file__).parent.glob("*.py"))
COUNT_THREADS = "import os; print(len(os.listdir('/proc/self/task')))"


def printed(program: str) -> str:
    """Return what a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def loaded(program: str, *modules: str) -> set[str]:
    """Return which of these modules a program has brought in."""
    return set(printed(f"{program}\nimport sys\nprint(*(m for m in {modules!r} if m in sys.modules))").split())


def test_the_core_brings_in_no_network_loop_or_measuring() -> None:
    assert len(CORE) > 10
    imports = "\n".join(f"import hundredfold_coordinator.core.{name}" for name in CORE if name != "__init__")
    unwanted = ("grpc", "asyncio", "psutil", "sqlite3", "apsw", "click", "pydantic", "jsonschema", "multiprocessing")
    assert loaded(imports, *unwanted, "hundredfold_coordinator.core.decide") == {"hundredfold_coordinator.core.decide"}


def test_the_front_door_is_light() -> None:
    assert loaded("import hundredfold", "grpc", "pydantic", "google.protobuf", "asyncio", "pluggy") == set()


@pytest.mark.parametrize("name", ["Context", "SyncContext", "hookimpl", "HundredfoldError"])
def test_what_a_plugin_imports_brings_in_no_network(name: str) -> None:
    assert loaded(f"from hundredfold import behaviour, {name}", "grpc", "pydantic") == set()


def test_workers_bring_in_no_store_and_no_coordinator() -> None:
    unwanted = ("apsw", "sqlite3", "hundredfold.stores.sqlite", "hundredfold_coordinator", "hundredfold_host", "psutil")
    assert loaded("import hundredfold_worker.zygote", *unwanted) == set()


def test_importing_the_zygote_starts_no_thread() -> None:
    assert printed(f"import hundredfold_worker.zygote\n{COUNT_THREADS}") == "1"


def test_preparing_as_a_zygote_leaves_no_thread() -> None:
    program = f"from hundredfold_worker.rehearsal import rehearse\nrehearse()\n{COUNT_THREADS}"
    assert printed(program) == "1"


def test_the_version_can_be_shown_without_the_network() -> None:
    asked = "import sys; from hundredfold_coordinator.cli import cli; cli.main(['version'], standalone_mode=False)"
    assert "grpc" not in printed(f"{asked}\nprint(*sys.modules)").splitlines()[-1].split()
