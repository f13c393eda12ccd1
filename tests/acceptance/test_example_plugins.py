"""The two plugins of `examples/plugins`: installed from their own projects, and tested by their own tests."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[2] / "examples" / "plugins"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which both are installed, beside everything else."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    projects = [str(PLUGINS / name) for name in ("letters", "logstore")]
    subprocess.run([*pip, "--disable-pip-version-check", "--target", str(target), *projects], check=True)
    return target


@pytest.mark.parametrize("name", ["letters", "logstore"])
def test_its_own_tests_pass(installed: Path, name: str, tmp_path: Path) -> None:
    path = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])
    short = tempfile.mkdtemp(prefix="hf-")  # a socket's path has 107 bytes
    options = ["-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", "-c", os.devnull, f"--basetemp={short}/t"]
    told = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(PLUGINS / name / "tests")],
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    shutil.rmtree(short)
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-2000:]
