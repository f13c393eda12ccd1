"""The configuration file: the same names as the options, in TOML."""

import difflib
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import platformdirs
from hundredfold.errors import InvalidSetting

_FIGURES: Final = ("tenant_weights", "tenant_limits", "behaviour_limits")
_TABLES: Final = ("commands", "strategies", *_FIGURES)
"""Settings that are tables: names with what belongs to them."""

LISTS: Final = (*_TABLES, "plugin_files", "labels", "states", "causes")
"""Settings that have several values."""


def load_configuration(
    path: str | None, commands: Sequence[str], option_names: Callable[[str], Collection[str]]
) -> dict[str, dict[str, Any]]:
    """Return the defaults of every command's options, from `path` or from the default file if there is one.

    `option_names` returns what a command's options are called; it is asked only if there is a file.

    Raises:
        InvalidSetting: a file that was named is not there, it is not TOML, or it has a key that is no setting.

    """
    file = Path(path) if path else default_file()
    if not path and not file.exists():
        return {}
    try:
        settings = tomllib.loads(file.read_text())
    except OSError as error:
        raise InvalidSetting("config", f"is {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSetting("config", f"is {file}, which is not TOML: {error}") from error
    known = {command: option_names(command) for command in commands}
    _check_keys(file, settings, known)
    everywhere = set().union(*known.values())
    return {command: _for_command(settings, command, everywhere) for command in commands}


def default_file() -> Path:
    """Return the file that is read if none is named."""
    return platformdirs.user_config_path("hundredfold", appauthor=False) / "config.toml"


def _check_keys(file: Path, settings: Mapping[str, Any], known: Mapping[str, Collection[str]]) -> None:
    """Refuse what no command would read: a setting that was misspelt must not look as if it held.

    Raises:
        InvalidSetting: names the key, and the one that was probably meant.

    """
    everywhere = set().union(*known.values())
    for key, value in settings.items():
        if isinstance(value, dict) and key not in _TABLES:
            _check_key(file, "", key, known)
            for own, one in value.items():
                _check_key(file, f"{key}.", own, known[key])
                _check_value(file, f"{key}.", own, one)
        elif key not in known:  # a value where a table belongs has an error of its own
            _check_key(file, "", key, everywhere)
            _check_value(file, "", key, value)


def _check_key(file: Path, table: str, key: str, known: Collection[str]) -> None:
    if _option(key) not in known:
        near = difflib.get_close_matches(_option(key), known, n=1, cutoff=0.5)
        hint = f"; did you mean {table}{near[0]}?" if near else ""
        raise InvalidSetting("config", f"is {file}, where {table}{key} is no setting{hint}")


def _check_value(file: Path, table: str, key: str, value: Any) -> None:
    if isinstance(value, list | dict) and _option(key) not in LISTS:
        raise InvalidSetting("config", f"is {file}, where {table}{key} is {value} and must be a single value")
    if _option(key) == "commands" and isinstance(value, dict):
        for name, argv in value.items():
            if not isinstance(argv, str | list):
                problem = f"{table}{key}.{name} is {argv} and must be a program with its arguments"
                raise InvalidSetting("config", f"is {file}, where {problem}")


def _for_command(settings: Mapping[str, Any], command: str, options: Collection[str]) -> dict[str, Any]:
    shared = {key: value for key, value in settings.items() if not isinstance(value, dict) or key in _TABLES}
    own = settings.get(command, {})
    if command in options and not isinstance(own, dict):
        own = {}  # `store` is an option of several commands, and a command
    if not isinstance(own, dict):
        raise InvalidSetting(
            command, "is a value in the configuration file and must be a table with a command's settings"
        )
    merged = {_option(key): value for key, value in {**shared, **own}.items()}
    if isinstance(merged.get("commands"), dict):
        merged["commands"] = [_command_text(name, argv) for name, argv in merged["commands"].items()]
    for table in _FIGURES:
        if isinstance(merged.get(table), dict):
            merged[table] = [f"{name}={figure}" for name, figure in merged[table].items()]
    return merged


def _option(key: str) -> str:
    return key.replace("-", "_")


def _command_text(name: str, argv: Any) -> str:
    import shlex

    return f"{name}={argv if isinstance(argv, str) else shlex.join(map(str, argv))}"
