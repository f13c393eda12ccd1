"""Shows how a function becomes a behaviour: what its input looks like, what it may return, what it may be called."""

import json
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from hundredfold import Behaviour, Context, SyncContext, behaviour
from hundredfold.errors import InvalidInput
from pydantic import BaseModel, Field
from typing_extensions import TypedDict


class Page(BaseModel):
    url: str
    depth: Annotated[int, Field(ge=0)] = 0


class Crawl(BaseModel):
    pages: list[Page]


@dataclass
class Options:
    lang: str
    strict: bool = False


class Query(TypedDict):
    text: str


def prepared(function: Callable[..., Any]) -> Behaviour[..., Any]:
    made = Behaviour(function)
    made.prepare("a plugin")
    return made


def parse(function: Callable[..., Any], value: object) -> dict[str, Any]:
    return prepared(function).parse(json.dumps(value).encode())


def refusal(function: Callable[..., Any], data: bytes) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        prepared(function).parse(data)
    return caught.value


# Inputs ---------------------------------------------------------------------------------------------------------------


def test_parameters_are_the_fields_of_the_input() -> None:
    def greet(name: str, times: int) -> str:
        return name * times

    assert parse(greet, {"name": "Ada", "times": 2}) == {"name": "Ada", "times": 2}


def test_defaults_need_not_be_given() -> None:
    def greet(name: str = "you", *, loud: bool = False) -> str:
        return name.upper() if loud else name

    assert parse(greet, {}) == {"name": "you", "loud": False}
    assert parse(greet, {"loud": True}) == {"name": "you", "loud": True}


def test_a_default_is_not_shared_between_runs() -> None:
    def collect(found: list[int] = []) -> list[int]:  # noqa: B006  # users write this
        found.append(1)
        return found

    made = prepared(collect)
    assert made(**made.parse(b"{}")) == made(**made.parse(b"{}")) == [1]


def test_types_are_those_of_the_hints() -> None:
    def crawl(pages: list[Page], options: Options) -> None: ...

    found = parse(crawl, {"pages": [{"url": "a"}], "options": {"lang": "en"}})
    assert found == {"pages": [Page(url="a")], "options": Options("en")}


def test_no_parameters_mean_an_empty_object() -> None:
    def tick() -> None: ...

    assert parse(tick, {}) == {}
    assert refusal(tick, b'{"a": 1}').field == "a"


def test_what_has_no_hint_can_be_anything() -> None:
    def keep(one, other=None): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202  # users write this

    assert parse(keep, {"one": [1, "x"]}) == {"one": [1, "x"], "other": None}


def test_an_alias_is_the_name_in_the_input() -> None:
    def move(source: Annotated[str, Field(alias="from")], to: str) -> None: ...

    assert parse(move, {"from": "a", "to": "b"}) == {"source": "a", "to": "b"}


def test_a_default_may_be_a_field_of_pydantic() -> None:
    def count(number: int = Field(5, ge=0, title="How many")) -> None: ...

    assert parse(count, {}) == {"number": 5}
    assert refusal(count, b'{"number": -1}').field == "number"
    assert json.loads(prepared(count).input_schema)["properties"]["number"]["title"] == "How many"


# A single parameter that is the whole input ---------------------------------------------------------------------------


def takes_model(crawl: Crawl) -> None: ...
def takes_dataclass(options: Options) -> None: ...
def takes_typed_dict(query: Query) -> None: ...
def takes_dict(data: dict[str, int]) -> None: ...
def takes_bare_dict(data: dict) -> None: ...  # type: ignore[type-arg]  # users write this
def takes_any(data: Any) -> None: ...
def takes_context_too(ctx: SyncContext, crawl: Crawl) -> None: ...


@pytest.mark.parametrize(
    ("function", "value", "wanted"),
    [
        (takes_model, {"pages": [{"url": "a"}]}, {"crawl": Crawl(pages=[Page(url="a")])}),
        (takes_dataclass, {"lang": "en"}, {"options": Options("en")}),
        (takes_typed_dict, {"text": "x"}, {"query": {"text": "x"}}),
        (takes_dict, {"a": 1}, {"data": {"a": 1}}),
        (takes_bare_dict, {"a": [1]}, {"data": {"a": [1]}}),
        (takes_any, [1, 2], {"data": [1, 2]}),
        (takes_any, None, {"data": None}),
        (takes_context_too, {"pages": []}, {"crawl": Crawl(pages=[])}),
    ],
)
def test_a_single_object_is_the_whole_input(function: Callable[..., Any], value: object, wanted: object) -> None:
    assert parse(function, value) == wanted


@pytest.mark.parametrize("hint", [str, int, list[str], Page | None, list[Page]], ids=str)
def test_a_single_parameter_of_another_type_is_a_field(hint: Any) -> None:
    def behave(value: Any) -> None: ...

    behave.__annotations__["value"] = hint
    assert list(json.loads(prepared(behave).input_schema)["properties"]) == ["value"]


def test_two_objects_are_two_fields() -> None:
    def crawl(page: Page, options: Options) -> None: ...

    found = parse(crawl, {"page": {"url": "a"}, "options": {"lang": "en"}})
    assert found == {"page": Page(url="a"), "options": Options("en")}


# The context ----------------------------------------------------------------------------------------------------------


def test_a_first_parameter_called_ctx_is_the_context() -> None:
    async def with_context(ctx: Context, text: str) -> str:
        return f"{ctx.task_id} {text}"

    def with_untyped_context(ctx, text: str) -> str:  # type: ignore[no-untyped-def]  # noqa: ANN001  # users write this
        return f"{ctx.task_id} {text}"

    for function in (with_context, with_untyped_context):
        assert prepared(function).wants_context
        assert parse(function, {"text": "x"}) == {"text": "x"}


def test_any_other_parameter_is_input() -> None:
    def without(text: str, ctx: str) -> None: ...

    assert not prepared(without).wants_context
    assert parse(without, {"text": "x", "ctx": "y"}) == {"text": "x", "ctx": "y"}


def test_it_is_known_whether_it_is_async() -> None:
    async def waits() -> None: ...
    def blocks() -> None: ...

    assert [Behaviour(waits).is_async, Behaviour(blocks).is_async] == [True, False]


# Inputs that do not fit -----------------------------------------------------------------------------------------------


def takes_pages(pages: list[Page], note: str = "") -> None: ...


@pytest.mark.parametrize(
    ("function", "data", "field"),
    [
        (takes_pages, b"{}", "pages"),
        (takes_pages, b'{"pages": [{"url": "a"}, {"url": "b"}, {}]}', "pages[2].url"),
        (takes_pages, b'{"pages": [{"url": "a", "depth": -1}]}', "pages[0].depth"),
        (takes_pages, b'{"pages": "none"}', "pages"),
        (takes_pages, b'{"pages": "none", "note": 5}', "pages"),
        (takes_pages, b'{"pages": [], "nope": 1}', "nope"),
        (takes_pages, b'{"pages": [], "note": 5}', "note"),
        (takes_model, b'{"pages": [{}]}', "pages[0].url"),
        (takes_dataclass, b"{}", "lang"),
        (takes_pages, b"[1]", "input"),
        (takes_pages, b"null", "input"),
        (takes_pages, b"{", "input"),
        (takes_pages, b"", "input"),
        (takes_pages, b"\xff\xfe", "input"),
    ],
)
def test_an_error_names_the_field(function: Callable[..., Any], data: bytes, field: str) -> None:
    error = refusal(function, data)
    assert (error.behaviour, error.field) == (function.__name__, field)
    assert f"`{field}` {error.problem}" in str(error)


def test_an_error_does_not_quote_the_input() -> None:
    assert "hunter2" not in str(refusal(takes_pages, b'{"pages": "hunter2"}'))


def test_braces_in_an_error_are_only_braces() -> None:
    assert "`{}` Extra" in str(refusal(takes_pages, b'{"pages": [], "{}": 1}'))


# Schemas --------------------------------------------------------------------------------------------------------------


def test_the_schemas_say_what_goes_in_and_what_comes_out() -> None:
    def crawl(ctx: SyncContext, url: str, depth: int = 1) -> list[Page]:
        return [Page(url=url, depth=depth)] if ctx else []

    made = prepared(crawl)
    schema = json.loads(made.input_schema)
    assert (schema["required"], sorted(schema["properties"])) == (["url"], ["depth", "url"])
    assert schema["additionalProperties"] is False
    assert json.loads(made.output_schema)["type"] == "array"


@pytest.mark.parametrize("star", ["*texts", "**texts", "text, /"])
def test_parameters_without_a_name_are_refused(star: str) -> None:
    scope: dict[str, Any] = {}
    exec(f"def behave({star}): ...", scope)  # noqa: S102  # a literal of this file
    with pytest.raises(TypeError, match="by name"):
        prepared(scope["behave"])


@pytest.mark.parametrize("name", ["_private", "model_config", "schema", "json", "copy", "validate"])
def test_a_parameter_may_be_called_like_a_method_of_pydantic(name: str) -> None:
    scope: dict[str, Any] = {}
    exec(f"def behave({name}: str, other: int = 1): ...", scope)  # noqa: S102  # a literal of this file
    assert parse(scope["behave"], {name: "x"}) == {name: "x", "other": 1}


@pytest.mark.parametrize("hint", [Behaviour, Callable[[], None]], ids=["class", "callable"])
def test_a_type_without_a_schema_is_refused(hint: Any) -> None:
    def behave(text: str, odd: Any) -> None: ...

    behave.__annotations__["odd"] = hint
    with pytest.raises(TypeError, match="behave"):
        prepared(behave)


def test_a_plugin_is_remembered_and_warmed_up_once() -> None:
    built: list[str] = []
    made = behaviour(warm_up=lambda: built.append("model"))(takes_any)
    assert (made.plugin, built) == ("", [])
    made.prepare("agents.py")
    assert (made.plugin, built) == ("agents.py", ["model"])


# Outputs --------------------------------------------------------------------------------------------------------------


def returns_int() -> int: ...  # type: ignore[empty-body]
def returns_pages() -> list[Page]: ...  # type: ignore[empty-body]
def returns_nothing() -> None: ...
def returns_something(): ...  # type: ignore[no-untyped-def]  # noqa: ANN201  # users write this


@pytest.mark.parametrize(
    ("function", "value", "data"),
    [
        (returns_int, 5, b"5"),
        (returns_pages, [Page(url="é")], '[{"url":"é","depth":0}]'.encode()),
        (returns_pages, [{"url": "a"}], b'[{"url":"a","depth":0}]'),
        (returns_nothing, None, b"null"),
        (returns_something, {"a": [1, None, True, "x"]}, b'{"a":[1,null,true,"x"]}'),
        (returns_something, Options("en"), b'{"lang":"en","strict":false}'),
        (returns_something, Page(url="a"), b'{"url":"a","depth":0}'),
    ],
)
def test_a_result_is_json(function: Callable[..., Any], value: object, data: bytes) -> None:
    assert prepared(function).dump(value) == data


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_does_not_make_invalid_json(number: float) -> None:
    assert json.loads(prepared(returns_something).dump([number])) == [None]


@pytest.mark.parametrize(
    ("function", "value", "problem"),
    [
        (returns_int, "five", "valid integer"),
        (returns_int, None, "valid integer"),
        (returns_pages, [Page(url="a"), {}], r"\[1\].url Field required"),
        (returns_nothing, 0, "None"),
        (returns_something, object(), "no JSON"),
        (returns_something, b"\xff", "no JSON"),
        (returns_something, "\ud800", "no JSON"),
    ],
)
def test_a_result_of_the_wrong_type_is_refused(function: Callable[..., Any], value: object, problem: str) -> None:
    with pytest.raises(TypeError, match=problem) as caught:
        prepared(function).dump(value)
    assert function.__name__ in str(caught.value)


def test_a_result_without_an_end_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(TypeError, match="no JSON"):
        prepared(returns_something).dump(endless)


def test_a_generator_is_not_a_result() -> None:
    async def stream() -> AsyncIterator[int]:
        yield 1

    def behave() -> dict[str, int]: ...  # type: ignore[empty-body]

    with pytest.raises(TypeError):
        prepared(behave).dump(stream())


# Names ----------------------------------------------------------------------------------------------------------------


def test_the_name_is_that_of_the_function_or_the_one_given() -> None:
    assert behaviour(takes_any).name == "takes_any"
    assert behaviour(name="acme.take-2")(takes_any).name == "acme.take-2"
    assert behaviour()(takes_any).name == "takes_any"


@pytest.mark.parametrize("name", ["Upper", "1st", "with space", "a/b", "é", "_private", "a\n", "x" * 101])
def test_a_name_that_could_not_be_typed_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must match"):
        Behaviour(takes_any, name=name)


def test_a_lambda_needs_a_name() -> None:
    with pytest.raises(ValueError, match="lambda"):
        Behaviour(lambda: None)
    assert Behaviour(lambda: None, name="nothing").name == "nothing"


def test_the_longest_name_is_accepted() -> None:
    assert Behaviour(takes_any, name="x" * 100).name == "x" * 100


def test_it_is_still_the_function() -> None:
    @behaviour
    def double(number: int) -> int:
        """Double a number,

        and say nothing else.
        """
        return 2 * number

    assert (double(4), double.__doc__, double.summary) == (8, double.function.__doc__, "Double a number,")
