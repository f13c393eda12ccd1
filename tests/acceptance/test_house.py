"""The house itself: every folder holds what it should, generated code is current, docs name what there is."""

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest
from hundredfold.errors import ERRORS
from hundredfold.hooks import CoordinatorHooks, WorkerHooks
from hundredfold.v1 import coordinator_service_pb2, store_service_pb2, task_service_pb2, worker_service_pb2
from hundredfold_coordinator.cli import COMMANDS
from hundredfold_coordinator.cli.submit import command as submit
from hundredfold_coordinator.config import Config

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "plugins": {"hundredfold"},
    "coordinator": {"hundredfold_coordinator", "hundredfold_host"},
    "worker": {"hundredfold_worker"},
}


def tracked() -> list[str]:
    listed = subprocess.run(["/usr/bin/env", "git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.split()


@pytest.mark.parametrize("folder", PACKAGES)
def test_a_folder_holds_its_packages_and_nothing_else(folder: str) -> None:
    found = {path.split("/")[1] for path in tracked() if path.startswith(f"{folder}/")}
    assert found == PACKAGES[folder] | {"README.md"}


def test_the_root_holds_nothing_by_accident() -> None:
    files = {path for path in tracked() if "/" not in path}
    known = {
        ".gitignore",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "README.md",
        "constraints.txt",
        "pyproject.toml",
    }
    assert files == known


def test_every_top_level_folder_opens_with_a_readme() -> None:
    folders = {path.split("/")[0] for path in tracked() if "/" in path and not path.startswith(".")}
    assert {folder for folder in folders if not (ROOT / folder / "README.md").is_file()} == set()


def test_the_wheel_installs_and_imports_outside_the_tree(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    names = [name for packages in PACKAGES.values() for name in sorted(packages)]
    script = f"""
import importlib, sys
sys.path.insert(0, {str(tmp_path / "site")!r})
sys.path = [entry for entry in sys.path if not entry.startswith({str(ROOT)!r}) or "site-packages" in entry]
for name in {names!r}:
    module = importlib.import_module(name)
    assert module.__file__.startswith({str(tmp_path)!r}), module.__file__
from hundredfold import Client, behaviour
from hundredfold_coordinator.daemon import Daemon
from hundredfold.stores.redis.store import RedisStore  # it reads its scripts
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    top = {path.name for path in (tmp_path / "site").iterdir() if not path.name.endswith(".dist-info")}
    assert top == {*names}
    for name in names:
        assert (tmp_path / "site" / name / "py.typed").is_file()


def test_generated_code_is_current(tmp_path: Path) -> None:
    subprocess.run([ROOT / "scripts/generate", str(tmp_path)], check=True, capture_output=True)
    fresh = {path.relative_to(tmp_path) for path in tmp_path.rglob("*_pb2*")}
    kept = {path.relative_to(ROOT / "plugins") for path in (ROOT / "plugins").rglob("*_pb2*.py*")}
    assert fresh == {path for path in kept if "__pycache__" not in path.parts}
    different = [path for path in fresh if (tmp_path / path).read_bytes() != (ROOT / "plugins" / path).read_bytes()]
    assert different == [], "run scripts/generate"


def test_the_front_door_is_light() -> None:
    script = "import hundredfold, sys; print(*(m for m in ('grpc', 'pydantic', 'google.protobuf') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""


def test_the_pure_core_pulls_in_nothing_impure() -> None:
    names = [
        path.stem
        for path in (ROOT / "coordinator/hundredfold_coordinator/core").glob("*.py")
        if path.stem != "__init__"
    ]
    script = f"""
import importlib, sys
for name in {names!r}:
    importlib.import_module("hundredfold_coordinator.core." + name)
print(*(m for m in ("grpc", "asyncio", "psutil", "apsw", "threading.Thread") if m in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert len(names) > 10
    assert done.stdout.strip() == ""


def test_constraints_name_no_addresses() -> None:
    assert "://" not in (ROOT / "constraints.txt").read_text()


def documented() -> str:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    return "\n".join(page.read_text() for page in pages)


def expected() -> Iterator[str]:
    yield from ERRORS
    for module in (task_service_pb2, coordinator_service_pb2, store_service_pb2, worker_service_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            yield from (method.name for method in service.methods)
    for hooks in (WorkerHooks, CoordinatorHooks):
        yield from (name for name in vars(hooks) if name.startswith("hundredfold_"))
    yield from (field.name for field in fields(Config) if field.name not in ("runtime_dir", "owner_fd"))


@pytest.mark.parametrize(
    "flag", sorted(option.opts[-1] for option in submit.params if option.opts[-1].startswith("--"))
)
def test_the_docs_name_every_flag_of_a_task(flag: str) -> None:
    assert re.search(rf"[`\s]{flag}\b", documented()), f"{flag} is in no page of docs/"


@pytest.mark.parametrize("name", sorted(set(expected())))
def test_the_docs_name_it(name: str) -> None:
    assert re.search(rf"`{name}\b", documented()), f"{name} is in no page of docs/"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    command = import_module(f"hundredfold_coordinator.cli.{name}").command
    assert command.help
    assert all(
        getattr(parameter, "help", "") or parameter.param_type_name == "argument" or parameter.hidden
        for parameter in command.params
    ), "an option without help"


def test_import_contracts_are_exhaustive() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert all(contract["exhaustive"] for contract in contracts if contract["type"] == "layers")
