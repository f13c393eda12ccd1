"""What a command writes when it is done: that it can, found out before it begins.

A check is no promise: a disk may be full by then.
"""

import os
from pathlib import Path

from hundredfold.errors import InvalidSetting


def check_file(setting: str, path: Path, input_name: str) -> None:
    """Check that a file can be written, and is not the one with the input.

    Raises:
        InvalidSetting: names the setting and says why not.

    """
    if path.is_dir():
        raise InvalidSetting(setting, f"is {path}, which is a directory")
    if path.exists() and Path(input_name).exists() and path.samefile(input_name):
        raise InvalidSetting(setting, f"is {path}, which is the input, too")
    _check_writable(setting, path if path.exists() else path.absolute().parent)


def check_directory(setting: str, path: Path) -> None:
    """Check that a directory can be made, with those above it, and written to.

    Raises:
        InvalidSetting: names the setting and says why not.

    """
    there = next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())
    if not there.is_dir():
        raise InvalidSetting(setting, f"is {path}, but {there} is no directory")
    _check_writable(setting, there)


def _check_writable(setting: str, path: Path) -> None:
    if not path.exists():
        raise InvalidSetting(setting, f"would be in {path}, which is not there")
    if not os.access(path, os.W_OK):
        raise InvalidSetting(setting, f"cannot be written: {path} is for reading only")
