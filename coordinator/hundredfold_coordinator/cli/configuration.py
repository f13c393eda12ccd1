"""The configuration file: the same names as the options, in TOML."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import platformdirs
from hundredfold.errors import InvalidSetting


def load_configuration(path: str | None, commands: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the defaults of every command's options, from `path` or from the default file if there is one.

    Raises:
        InvalidSetting: a file that was named is not there, or it is not TOML.

    """
    file = Path(path) if path else platformdirs.user_config_path("hundredfold", appauthor=False) / "config.toml"
    if not path and not file.exists():
        return {}
    try:
        settings = tomllib.loads(file.read_text())
    except OSError as error:
        raise InvalidSetting("config", f"is {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSetting("config", f"is {file}, which is not TOML: {error}") from error
    return {command: _for_command(settings, command) for command in commands}


def _for_command(settings: Mapping[str, Any], command: str) -> dict[str, Any]:
    shared = {key: value for key, value in settings.items() if not isinstance(value, dict) or key == "commands"}
    own = settings.get(command, {})
    if not isinstance(own, dict):
        raise InvalidSetting(
            command, "is a value in the configuration file and must be a table with a command's settings"
        )
    merged = {_option(key): value for key, value in {**shared, **own}.items()}
    if isinstance(merged.get("commands"), dict):
        merged["commands"] = [_command_text(name, argv) for name, argv in merged["commands"].items()]
    return merged


def _option(key: str) -> str:
    return key.replace("-", "_")


def _command_text(name: str, argv: Any) -> str:
    import shlex

    return f"{name}={argv if isinstance(argv, str) else shlex.join(map(str, argv))}"
