"""Behaviours: what an agent does, as a function with types.

`@behaviour` turns a function into a `Behaviour`; its input and output types become JSON Schemas, against which the
coordinator checks submissions without importing any of this. Registered and run by plugins in the zygote and its
workers. pydantic is imported when schemas are made, not before.

See also: `hundredfold.context`, what a behaviour is given to work with.
"""

import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Generic,
    ParamSpec,
    TypeVar,
    final,
    get_origin,
    get_type_hints,
    overload,
)

from hundredfold.errors import InvalidInput
from hundredfold.policy import Limits, Retry

if TYPE_CHECKING:
    from pydantic import BaseModel, TypeAdapter, ValidationError

P = ParamSpec("P")
R = TypeVar("R")

_FIELD: Final = "field_{}"
BEHAVIOUR_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,99}")


@final
class Behaviour(Generic[P, R]):
    """A function that agents run, with what is known about it.

    It can still be called like the function it was made from, which is how its unit tests use it.

    Args:
        function: sync or async; its first parameter is the context, if it is called `ctx`. The other ones are the
            fields of the input, which is a JSON object. A single parameter that is itself a model, a dataclass, a
            TypedDict, a dict or Any is the whole input.
        name: lower case; the function's name by default.
        warm_up: called once in the zygote before it forks, to import and build what every run needs. It may not
            start threads.
        limits: what each attempt may use, unless its task says otherwise.
        retry: when its tasks are tried again, unless they say otherwise.

    Raises:
        ValueError: the name is not made of lower-case letters, digits, `_`, `.` and `-`.

    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        warm_up: Callable[[], object] | None = None,
        limits: Limits | None = None,
        retry: Retry | None = None,
    ) -> None:
        self.function = function
        self.limits = limits
        self.retry = retry
        self.name = name or str(getattr(function, "__name__", ""))
        self.module = function.__module__
        self.plugin = ""
        self.warm_up = warm_up
        self.summary = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
        self.is_async = inspect.iscoroutinefunction(function)
        self.input_schema = ""
        self.output_schema = ""
        self.__doc__ = function.__doc__
        if not BEHAVIOUR_NAME.fullmatch(self.name):
            message = f"behaviour name {self.name!r} must match {BEHAVIOUR_NAME.pattern}"
            raise ValueError(message)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself."""
        return self.function(*args, **kwargs)

    def prepare(self, plugin: str) -> None:
        """Build validators and schemas from the type hints, and warm up. Called once, in the zygote.

        Raises:
            TypeError: a parameter cannot be given by name, or its type has no JSON Schema.

        """
        from pydantic.errors import PydanticUserError

        self.plugin = plugin
        try:
            self._signature = _Signature.of(self.function)
            self.input_schema = json.dumps(self._signature.input.json_schema())
            self.output_schema = json.dumps(self._signature.output.json_schema(mode="serialization"))
        except PydanticUserError as error:
            message = f"a type in the signature of behaviour {self.name!r} has no JSON Schema: {error.message}"
            raise TypeError(message) from error
        if self.warm_up:
            self.warm_up()

    def parse(self, data: bytes) -> dict[str, Any]:
        """Return the function's keyword arguments for a JSON input.

        Raises:
            InvalidInput: names the first field that does not fit.

        """
        from pydantic import ValidationError

        try:
            value = self._signature.input.validate_json(data)
        except ValidationError as error:
            raise InvalidInput(self.name, *describe(error)) from error
        if self._signature.whole:
            return {self._signature.whole: value}
        return {name: getattr(value, _FIELD.format(index)) for index, name in enumerate(self._signature.fields)}

    @property
    def wants_context(self) -> bool:
        """Whether the function's first parameter is the context."""
        return self._signature.context

    def dump(self, value: object) -> bytes:
        """Return what the function returned as JSON.

        Raises:
            TypeError: it is not of the declared type.

        """
        from pydantic import ValidationError
        from pydantic_core import PydanticSerializationError

        try:
            result = self._signature.output.validate_python(value)
            data = self._signature.output.dump_json(result)
            if b"null" in data:  # which is also what becomes of NaN, unless somebody looks
                json.dumps(self._signature.output.dump_python(result, mode="json"), allow_nan=False)
            return data
        except ValidationError as error:
            field, problem = describe(error)
            message = f"behaviour {self.name!r} returned a value that is not of its declared type: {field} {problem}"
            raise TypeError(message) from error
        except (PydanticSerializationError, ValueError) as error:
            message = f"behaviour {self.name!r} returned a value that is no JSON: {error}"
            raise TypeError(message) from error


@overload
def behaviour(function: Callable[P, R], /) -> Behaviour[P, R]: ...
@overload
def behaviour(
    *,
    name: str | None = None,
    warm_up: Callable[[], object] | None = None,
    limits: Limits | None = None,
    retry: Retry | None = None,
) -> Callable[[Callable[P, R]], Behaviour[P, R]]: ...
def behaviour(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    warm_up: Callable[[], object] | None = None,
    limits: Limits | None = None,
    retry: Retry | None = None,
) -> Behaviour[P, R] | Callable[[Callable[P, R]], Behaviour[P, R]]:
    """Register a function as a behaviour; see `Behaviour` for the arguments and for how inputs are passed."""
    if function is not None:
        return Behaviour(function)
    return lambda wrapped: Behaviour(wrapped, name=name, warm_up=warm_up, limits=limits, retry=retry)


def describe(error: "ValidationError") -> tuple[str, str]:
    """Return field and problem of the first finding: `("pages[2].url", "Field required")`."""
    first = error.errors(include_url=False, include_input=False)[0]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    return path or "input", first["msg"]


class _Signature:
    """The types of a function's input and output, as pydantic sees them."""

    def __init__(
        self,
        *,
        context: bool,
        whole: str,
        fields: Mapping[str, tuple[Any, Any]],
        input: "TypeAdapter[Any]",  # noqa: A002  # the field's own word
        output: "TypeAdapter[Any]",
    ) -> None:
        self.context = context
        self.whole = whole
        self.fields = fields
        self.input = input
        self.output = output

    @classmethod
    def of(cls, function: Callable[..., object]) -> "_Signature":
        from pydantic import TypeAdapter

        hints = get_type_hints(function, include_extras=True)
        parameters = list(inspect.signature(function).parameters.values())
        context = bool(parameters) and parameters[0].name == "ctx"
        fields = dict(_field(parameter, hints) for parameter in parameters[context:])
        whole = next(iter(fields)) if len(fields) == 1 and _is_object(next(iter(fields.values()))[0]) else ""
        wanted = fields[whole][0] if whole else _model(function, fields)
        return cls(
            context=context,
            whole=whole,
            fields=fields,
            input=TypeAdapter(wanted),
            output=TypeAdapter(hints.get("return", Any)),
        )


def _field(parameter: inspect.Parameter, hints: dict[str, Any]) -> tuple[str, tuple[Any, Any]]:
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        message = f"parameter {parameter} cannot be given by name, which is how a behaviour gets its input"
        raise TypeError(message)
    default = ... if parameter.default is parameter.empty else parameter.default
    return parameter.name, (hints.get(parameter.name, Any), default)


def _is_object(hint: Any) -> bool:
    from pydantic import BaseModel

    kind = get_origin(hint) or hint
    if hint is Any or kind is dict:
        return True
    return isinstance(kind, type) and (issubclass(kind, BaseModel | dict) or is_dataclass(kind))


def _model(function: Callable[..., object], fields: Mapping[str, tuple[Any, Any]]) -> "type[BaseModel]":
    from pydantic import ConfigDict, create_model

    config = ConfigDict(extra="forbid", arbitrary_types_allowed=False)
    name = getattr(function, "__name__", "behaviour") + "_input"
    # The model's own names are neutral: a parameter may be called `schema` or `_private`, which pydantic's may not.
    aliased = {
        _FIELD.format(index): (_called(field, hint), default)
        for index, (field, (hint, default)) in enumerate(fields.items())
    }
    return create_model(name, __config__=config, __module__=function.__module__, **aliased)  # type: ignore[call-overload,no-any-return]  # pydantic types fields as Any


def _called(name: str, hint: Any) -> Any:
    """Return the hint with the parameter's name in it, which what the hint or its default says itself overrides."""
    from pydantic import Field

    kind, *metadata = (hint.__origin__, *hint.__metadata__) if get_origin(hint) is Annotated else (hint,)
    return Annotated[(kind, Field(alias=name, title=name), *metadata)]
