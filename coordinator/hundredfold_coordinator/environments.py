"""The environments: what they are made of, what they have reported, and whether a submission fits.

Behaviours are known here by their manifest only: nothing of a plugin is ever imported in this process.
"""

import asyncio
import difflib
import json
import logging
import math
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Final, Never

from hundredfold.behaviour import BEHAVIOUR_NAME
from hundredfold.errors import (
    BrokenEnvironment,
    BrokenPlugin,
    InvalidArgument,
    InvalidInput,
    UnknownBehaviour,
    UnknownEnvironment,
)
from hundredfold.internal.v1 import host_service_pb2
from hundredfold.v1 import behaviour_pb2, task_pb2
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match

DEFAULT: Final = "default"
_log: Final = logging.getLogger(__name__)
_PROBLEM_LIMIT: Final = 300
_LARGE_BYTES: Final = 64 * 1024
_ERRORS_COMPARED: Final = 20


class Environments:
    """All environments this coordinator knows, by name; temporary ones are kept warm for `idle_seconds`."""

    def __init__(self, idle_seconds: float) -> None:
        self._idle_seconds = idle_seconds
        self._environments: dict[str, behaviour_pb2.Environment] = {}
        self._reported: dict[str, asyncio.Event] = {}
        self._validators: dict[tuple[str, str], Draft202012Validator] = {}

    def add(self, name: str, spec: behaviour_pb2.EnvironmentSpec) -> behaviour_pb2.Environment:
        """Make an environment known. Idempotent."""
        if name not in self._environments:
            self._environments[name] = behaviour_pb2.Environment(
                name=name, spec=spec, state=behaviour_pb2.ENVIRONMENT_STATE_STARTING
            )
            self._reported[name] = asyncio.Event()
        return self._environments[name]

    def opening(self, name: str) -> host_service_pb2.HostCommand:
        """Return the command that has a host open an environment."""
        command = host_service_pb2.OpenEnvironment(name=name, spec=self._environments[name].spec)
        if name != DEFAULT:
            command.idle_time.FromNanoseconds(int(self._idle_seconds * 1e9))
        return host_service_pb2.HostCommand(open_environment=command)

    def all(self) -> list[behaviour_pb2.Environment]:
        """Return them, the default one first."""
        return sorted(self._environments.values(), key=lambda e: (e.name != DEFAULT, e.name))

    def report(self, environment: behaviour_pb2.Environment) -> None:
        """Take in what a host says about an environment. A restart does not make its behaviours unknown."""
        known = self._environments.get(environment.name)
        if known is None:
            return
        if environment.state == behaviour_pb2.ENVIRONMENT_STATE_STARTING:
            known.state, known.warning = environment.state, environment.warning
            return
        known.CopyFrom(environment)
        _warn(known)
        self._validators = {key: value for key, value in self._validators.items() if key[0] != environment.name}
        self._reported[environment.name].set()

    async def reported(self, name: str) -> behaviour_pb2.Environment:
        """Wait until an environment has reported, and return it.

        Raises:
            UnknownEnvironment: there is none of that name.

        """
        if name not in self._environments:
            raise UnknownEnvironment(name)
        await self._reported[name].wait()
        return self._environments[name]

    async def behaviour(self, environment_name: str, name: str) -> behaviour_pb2.Behaviour:
        """Return a behaviour of an environment, when that has reported.

        Raises:
            UnknownEnvironment, UnknownBehaviour, BrokenEnvironment, BrokenPlugin: there is none.

        """
        environment = await self.reported(environment_name)
        if environment.state == behaviour_pb2.ENVIRONMENT_STATE_FAILED:
            raise BrokenEnvironment(environment.name, environment.error[:_PROBLEM_LIMIT])
        behaviour = next((b for b in environment.behaviours if b.name == name), None)
        if behaviour is None:
            _refuse_unknown(environment, name)
        return behaviour

    async def check_embedder(self, name: str) -> None:
        """Check that an environment has an embedder, when those have reported that do not need to be waited for.

        Raises:
            InvalidArgument: none has; names those there are.
            BrokenEnvironment: the default one cannot say what it has.

        """
        for environment in self.all():
            if name not in self._embedders():
                await self.reported(environment.name)
        if name in self._embedders():
            return
        default = self._environments[DEFAULT]
        if default.state == behaviour_pb2.ENVIRONMENT_STATE_FAILED:
            raise BrokenEnvironment(default.name, default.error[:_PROBLEM_LIMIT])
        near = difflib.get_close_matches(name, self._embedders(), n=1)
        hint = f". Did you mean {near[0]!r}?" if near else "; a plugin can bring others"
        known = ", ".join(sorted(self._embedders())) or "none"
        raise InvalidArgument("collection.embedder", f"is {name!r}, which no environment has; there are: {known}{hint}")

    def _embedders(self) -> set[str]:
        return {name for environment in self._environments.values() for name in environment.embedders}

    async def check(self, spec: task_pb2.TaskSpec) -> behaviour_pb2.Behaviour:
        """Check that a task's behaviour exists and that its input fits; return the behaviour.

        Raises:
            UnknownEnvironment, UnknownBehaviour, BrokenEnvironment, BrokenPlugin: there is nothing to run it.
            InvalidArgument, InvalidInput: names the field that does not fit.

        """
        behaviour = await self.behaviour(spec.environment, spec.behaviour)
        if spec.input.content_type.partition(";")[0].strip() not in ("", "application/json"):
            raise InvalidArgument("spec.input.content_type", f"is {spec.input.content_type!r}; behaviours take JSON")
        if len(spec.input.data) < _LARGE_BYTES:
            self._check_input(spec.environment, behaviour, spec.input.data)
        else:  # it takes a second or so for every megabyte
            await asyncio.to_thread(self._check_input, spec.environment, behaviour, spec.input.data)
        return behaviour

    def _check_input(self, environment: str, behaviour: behaviour_pb2.Behaviour, data: bytes) -> None:
        value = _parse(data)
        key = environment, behaviour.name
        if key not in self._validators:
            self._validators[key] = Draft202012Validator(json.loads(behaviour.input_schema))
        try:
            error = best_match(islice(self._validators[key].iter_errors(value), _ERRORS_COMPARED))
        except RecursionError:
            raise InvalidInput(behaviour.name, "input", "is nested too deeply") from None
        if error:
            raise InvalidInput(behaviour.name, _field(error), error.message[:_PROBLEM_LIMIT])


def _warn(environment: behaviour_pb2.Environment) -> None:
    if environment.state == behaviour_pb2.ENVIRONMENT_STATE_FAILED:
        _log.warning("environment %s cannot run: %s", environment.name, environment.error)
    for plugin in environment.plugins:
        if plugin.error:
            _log.warning("plugin %s cannot be used: %s; see `hundredfold plugins`", plugin.name, plugin.error)


def name_for(spec: behaviour_pb2.EnvironmentSpec) -> str:
    """Return the name of a temporary environment: the same spec and the same files give the same one.

    Raises:
        InvalidArgument: names the file that is not there, or the command that cannot be.

    """
    digest = sha256(spec.SerializeToString(deterministic=True))
    for index, path in enumerate(spec.plugin_files):
        try:
            digest.update(Path(path).read_bytes())
            for neighbour in sorted(Path(path).parent.glob("*.py")):  # a plugin can import them
                figures = neighbour.stat()
                digest.update(f"{neighbour.name} {figures.st_size} {figures.st_mtime_ns}\n".encode())
        except (OSError, ValueError) as error:
            raise InvalidArgument(f"spec.plugin_files[{index}]", f"is {path!r}: {error}") from error
    for index, command in enumerate(spec.commands):
        if not BEHAVIOUR_NAME.fullmatch(command.name):
            problem = f"is {command.name!r} and must match {BEHAVIOUR_NAME.pattern}"
            raise InvalidArgument(f"spec.commands[{index}].name", problem)
        if not command.argv:
            raise InvalidArgument(f"spec.commands[{index}].argv", "is empty; it begins with a program")
    if spec.python and not Path(spec.python).is_file():
        raise InvalidArgument("spec.python", f"is {spec.python}, which is not there")
    return "env-" + digest.hexdigest()[:12]


def broken_plugin(environment: behaviour_pb2.Environment, name: str) -> BrokenPlugin | None:
    """Return the error of a plugin that could not be used; None if it could."""
    for plugin in environment.plugins:
        if plugin.error and name in (plugin.name, plugin.origin):
            return BrokenPlugin(plugin.name, plugin.error[:_PROBLEM_LIMIT])
    return None


def _refuse_unknown(environment: behaviour_pb2.Environment, behaviour: str) -> Never:
    names = [known.name for known in environment.behaviours]
    near = difflib.get_close_matches(behaviour, names, n=1)
    broken = ", ".join(plugin.name for plugin in environment.plugins if plugin.error)
    if near:
        raise UnknownBehaviour(behaviour, environment.name, ", ".join(names), f"Did you mean {near[0]!r}?")
    if broken:
        hint = f"These plugins are broken: {broken}; `hundredfold plugins` shows why."
        raise UnknownBehaviour(behaviour, environment.name, ", ".join(names) or "none", hint)
    raise UnknownBehaviour(behaviour, environment.name, ", ".join(names) or "none")


def _parse(data: bytes) -> Any:
    if not data:
        raise InvalidArgument("spec.input", "is missing; an input without fields is {}")
    try:
        return json.loads(data, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument("spec.input.data", f"is not JSON: {error}") from error


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse_constant(text)


def _refuse_constant(name: str) -> Never:
    message = f"{name} is not a JSON number"
    raise ValueError(message)


def _field(error: ValidationError) -> str:
    """Return the path of the field at fault: `pages[2].url`."""
    parts: list[str | int] = list(error.absolute_path)
    schema: Any = error.schema
    wanted: Any = error.validator_value
    if error.validator == "required" and isinstance(error.instance, dict):
        parts += [name for name in wanted if name not in error.instance][:1]
    elif error.validator == "additionalProperties" and isinstance(error.instance, dict):
        parts += [name for name in error.instance if name not in schema.get("properties", {})][:1]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return path.lstrip(".") or "input"
