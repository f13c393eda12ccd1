"""Shows which submissions fit an environment, and that a refusal names what is wrong with the others."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hundredfold.errors import (
    BrokenEnvironment,
    HundredfoldError,
    InvalidArgument,
    InvalidInput,
    UnknownBehaviour,
    UnknownEnvironment,
)
from hundredfold.status import to_status
from hundredfold.v1 import behaviour_pb2, payload_pb2, task_pb2
from hundredfold_coordinator.environments import DEFAULT, Environments, broken_plugin, name_for

PAGE = {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"], "additionalProperties": False}
SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "times": {"type": "integer"}, "pages": {"type": "array", "items": PAGE}},
    "required": ["text"],
    "additionalProperties": False,
}
BROKEN = behaviour_pb2.Plugin(name="shop", origin="/srv/shop.py", error="ImportError: no module named 'till'")


def manifest(**fields: Any) -> behaviour_pb2.Environment:
    """Return what a host reports."""
    behaviours = [behaviour_pb2.Behaviour(name=name, input_schema=json.dumps(SCHEMA)) for name in ("echo", "count")]
    ready = {"name": DEFAULT, "state": behaviour_pb2.ENVIRONMENT_STATE_READY, "behaviours": behaviours}
    return behaviour_pb2.Environment(**{**ready, **fields})


def spec(value: Any = None, *, behaviour: str = "echo", **fields: Any) -> task_pb2.TaskSpec:
    """Return what a client submits; bytes are taken as they are."""
    data = value if isinstance(value, bytes) else json.dumps({"text": "hello"} if value is None else value).encode()
    given = {"environment": DEFAULT, "input": payload_pb2.Payload(content_type="application/json", data=data)}
    return task_pb2.TaskSpec(behaviour=behaviour, **{**given, **fields})


async def refusal(environments: Environments, wanted: task_pb2.TaskSpec) -> HundredfoldError:
    with pytest.raises(HundredfoldError) as caught:
        await environments.check(wanted)
    to_status(caught.value)  # it can be told to the client
    return caught.value


@pytest.fixture
async def environments() -> Environments:
    """The default environment, which has reported two behaviours."""
    environments = Environments(idle_seconds=60)
    environments.add(DEFAULT, behaviour_pb2.EnvironmentSpec())
    environments.report(manifest())
    return environments


# Inputs ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [{"text": ""}, {"text": "x", "times": 3}, {"text": "x", "pages": [{"url": "u"}]}])
async def test_what_fits_is_let_through(environments: Environments, value: object) -> None:
    await environments.check(spec(value))


@pytest.mark.parametrize(
    ("value", "field", "problem"),
    [
        ({}, "text", "'text' is a required property"),
        ({"text": 1}, "text", "1 is not of type 'string'"),
        ({"text": "x", "times": 1.5}, "times", "1.5 is not of type 'integer'"),
        ({"text": "x", "tex": 1}, "tex", "'tex' was unexpected"),
        ({"text": "x", "pages": [{"url": "u"}, {"url": 7}]}, "pages[1].url", "7 is not of type 'string'"),
        ({"text": "x", "pages": [{}]}, "pages[0].url", "'url' is a required property"),
        ({"text": "x", "pages": [{"url": "u", "colour": 1}]}, "pages[0].colour", "'colour' was unexpected"),
        (["text"], "input", "is not of type 'object'"),
        (b"null", "input", "None is not of type 'object'"),
    ],
)
async def test_what_does_not_fit_is_named(environments: Environments, value: object, field: str, problem: str) -> None:
    error = await refusal(environments, spec(value))
    assert isinstance(error, InvalidInput)
    assert (error.behaviour, error.field) == ("echo", field)
    assert problem in error.problem


async def test_a_problem_is_told_in_a_bounded_number_of_words(environments: Environments) -> None:
    error = await refusal(environments, spec({"text": ["x" * 10_000]}))
    assert isinstance(error, InvalidInput)
    assert len(error.problem) <= 300


@pytest.mark.parametrize(
    ("data", "field", "problem"),
    [
        (b"", "spec.input", "is missing; an input without fields is {}"),
        (b"{", "spec.input.data", "is not JSON: Expecting property name"),
        (b'{"text": NaN}', "spec.input.data", "is not JSON: NaN is not a JSON number"),
        (b"-Infinity", "spec.input.data", "is not JSON: -Infinity is not a JSON number"),
        (b'"\xff"', "spec.input.data", "is not JSON: 'utf-8' codec"),
    ],
)
async def test_what_is_no_json_is_refused(environments: Environments, data: bytes, field: str, problem: str) -> None:
    error = await refusal(environments, spec(data))
    assert isinstance(error, InvalidArgument)
    assert error.field == field
    assert error.problem.startswith(problem)


async def test_a_name_that_is_no_text_is_refused_like_any_other(environments: Environments) -> None:
    assert (await refusal(environments, spec(b'{"text": "x", "\\ud800": 1}'))).code == "INVALID_ARGUMENT"


async def test_what_is_nested_too_deeply_is_refused(environments: Environments) -> None:
    assert (await refusal(environments, spec(b"[" * 100_000))).code == "INVALID_ARGUMENT"


@pytest.mark.parametrize("content_type", ["", "application/json", "application/json; charset=utf-8"])
async def test_json_may_say_that_it_is_json(environments: Environments, content_type: str) -> None:
    given = payload_pb2.Payload(content_type=content_type, data=b'{"text": "x"}')
    await environments.check(spec(input=given))


async def test_other_contents_are_refused(environments: Environments) -> None:
    error = await refusal(environments, spec(input=payload_pb2.Payload(content_type="text/plain", data=b"x")))
    assert isinstance(error, InvalidArgument)
    assert error.field == "spec.input.content_type"
    assert "'text/plain'" in error.problem


# Behaviours -----------------------------------------------------------------------------------------------------------


async def test_a_near_name_is_suggested(environments: Environments) -> None:
    error = await refusal(environments, spec(behaviour="ecko"))
    assert isinstance(error, UnknownBehaviour)
    assert (error.known, error.hint) == ("echo, count", "Did you mean 'echo'?")


async def test_without_a_near_name_the_way_to_all_names_is_shown(environments: Environments) -> None:
    error = await refusal(environments, spec(behaviour="summarise"))
    assert "it has: echo, count" in str(error)
    assert "hundredfold plugins" in str(error)


async def test_broken_plugins_are_listed_where_a_behaviour_is_missing(environments: Environments) -> None:
    environments.report(manifest(behaviours=[], plugins=[BROKEN]))
    error = await refusal(environments, spec())
    assert isinstance(error, UnknownBehaviour)
    assert (error.known, "These plugins are broken: shop" in error.hint) == ("none", True)


def test_a_broken_plugin_is_found_by_name_and_by_file() -> None:
    sound = behaviour_pb2.Plugin(name="sound", origin="/srv/sound.py")
    environment = manifest(plugins=[sound, BROKEN])
    for name in ("shop", "/srv/shop.py"):
        error = broken_plugin(environment, name)
        assert error
        assert (error.plugin, error.problem) == ("shop", BROKEN.error)
    assert broken_plugin(environment, "sound") is None
    assert broken_plugin(environment, "unknown") is None


# Embedders ------------------------------------------------------------------------------------------------------------


async def test_an_embedder_of_any_environment_is_let_through(environments: Environments) -> None:
    environments.report(manifest(embedders=["wordllama"]))
    environments.add("env-1", behaviour_pb2.EnvironmentSpec())
    await asyncio.wait_for(environments.check_embedder("wordllama"), 1)  # no other one is waited for
    environments.report(manifest(name="env-1", embedders=["letters"]))
    await environments.check_embedder("letters")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (
            "wordlama",
            "is 'wordlama', which no environment has; there are: {}. Did you mean 'wordllama'?",
        ),
        ("x", "is 'x', which no environment has; there are: {}; a plugin can bring others"),
    ],
)
async def test_an_embedder_that_no_environment_has_is_refused(
    environments: Environments, name: str, problem: str
) -> None:
    environments.report(manifest(embedders=["wordllama", "letters"]))
    with pytest.raises(InvalidArgument) as caught:
        await environments.check_embedder(name)
    assert (caught.value.field, caught.value.problem) == ("collection.embedder", problem.format("letters, wordllama"))


async def test_an_embedder_waits_for_the_reports_that_may_have_it(environments: Environments) -> None:
    environments.add("env-1", behaviour_pb2.EnvironmentSpec())
    check = asyncio.ensure_future(environments.check_embedder("letters"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not check.done()
    environments.report(manifest(name="env-1", embedders=["letters"]))
    await check


async def test_an_environment_that_failed_may_have_had_an_embedder(environments: Environments) -> None:
    environments.report(manifest(state=behaviour_pb2.ENVIRONMENT_STATE_FAILED, error="no"))
    with pytest.raises(BrokenEnvironment):
        await environments.check_embedder("letters")


# Environments ---------------------------------------------------------------------------------------------------------


async def test_an_unknown_environment_is_refused(environments: Environments) -> None:
    error = await refusal(environments, spec(environment="env-1"))
    assert isinstance(error, UnknownEnvironment)
    assert error.environment == "env-1"


async def test_a_submission_waits_for_the_first_report() -> None:
    environments = Environments(idle_seconds=60)
    environments.add(DEFAULT, behaviour_pb2.EnvironmentSpec())
    check = asyncio.ensure_future(environments.check(spec()))
    environments.report(manifest(state=behaviour_pb2.ENVIRONMENT_STATE_STARTING, behaviours=[]))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not check.done()
    environments.report(manifest())
    await check


async def test_an_environment_that_failed_says_why(environments: Environments) -> None:
    failed = manifest(state=behaviour_pb2.ENVIRONMENT_STATE_FAILED, error="exit code 1\n" + "x" * 1000)
    environments.report(failed)
    error = await refusal(environments, spec())
    assert isinstance(error, BrokenEnvironment)
    assert "exit code 1" in str(error)
    assert len(error.problem) <= 300


async def test_a_restart_leaves_behaviours_known(environments: Environments) -> None:
    environments.report(manifest(state=behaviour_pb2.ENVIRONMENT_STATE_STARTING, behaviours=[]))
    await environments.check(spec())
    assert environments.all()[0].state == behaviour_pb2.ENVIRONMENT_STATE_STARTING
    environments.report(manifest(state=behaviour_pb2.ENVIRONMENT_STATE_FAILED, error="no"))
    await refusal(environments, spec())
    environments.report(manifest())
    await environments.check(spec())


async def test_a_new_report_brings_its_own_schemas(environments: Environments) -> None:
    await environments.check(spec({"text": "x"}))
    looser = behaviour_pb2.Behaviour(name="echo", input_schema="{}")
    environments.report(manifest(behaviours=[looser]))
    await environments.check(spec({"anything": 1}))


async def test_a_report_about_something_else_is_let_be(environments: Environments) -> None:
    environments.report(manifest(name="unknown"))
    assert [environment.name for environment in environments.all()] == [DEFAULT]


async def test_adding_twice_changes_nothing(environments: Environments) -> None:
    again = environments.add(DEFAULT, behaviour_pb2.EnvironmentSpec(python="/other"))
    assert (again.state, again.spec.python) == (behaviour_pb2.ENVIRONMENT_STATE_READY, "")


async def test_the_default_environment_comes_first(environments: Environments) -> None:
    for name in ("z", "a"):
        environments.add(name, behaviour_pb2.EnvironmentSpec())
    assert [environment.name for environment in environments.all()] == [DEFAULT, "a", "z"]


# Names ----------------------------------------------------------------------------------------------------------------


def test_a_name_follows_from_what_is_in_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "agents.py"
    file.write_text("a = 1")
    wanted = behaviour_pb2.EnvironmentSpec(plugin_files=[str(file)])
    first = name_for(wanted)
    assert first == name_for(wanted)
    assert first.startswith("env-")
    other = behaviour_pb2.Command(name="jq", argv=["jq"])
    assert name_for(behaviour_pb2.EnvironmentSpec(plugin_files=[str(file)], commands=[other])) != first
    before = file.stat()
    file.write_text("a = 2")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert name_for(wanted) != first, "the content counts, not only its date"


def test_what_a_plugin_can_import_is_in_the_name_too(tmp_path: Path) -> None:
    (tmp_path / "agents.py").touch()
    wanted = behaviour_pb2.EnvironmentSpec(plugin_files=[str(tmp_path / "agents.py")])
    first = name_for(wanted)
    (tmp_path / "notes.txt").write_text("not imported")
    assert name_for(wanted) == first
    (tmp_path / "helper.py").write_text("a = 1")
    assert name_for(wanted) != first


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"plugin_files": ["/nowhere/a.py"]}, "spec.plugin_files[0]"),
        ({"plugin_files": ["/usr"]}, "spec.plugin_files[0]"),
        ({"python": "/nowhere/python"}, "spec.python"),
    ],
)
def test_what_is_not_there_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        name_for(behaviour_pb2.EnvironmentSpec(**fields))
    assert caught.value.field == field
