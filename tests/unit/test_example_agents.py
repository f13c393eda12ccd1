"""The agents of the example decide, cope and remember as they say; their tools are a fake in this very process."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest
from hundredfold import Context
from hundredfold.behaviour import Behaviour
from hundredfold.hooks import WORKER_GROUP
from hundredfold.manager import PluginManager
from hundredfold.session import AsyncSession

_PLUGIN: Final = Path(__file__).parents[2] / "examples" / "stdlib_review" / "agents.py"
_SILENCE: Final = object()

SMALL: Final = '"""A small module."""\n\ndef f():\n    """Do nothing."""\n'
LONG: Final = '"""A long one."""\n\nimport re\n\n_A = re.compile("a")\n\ndef f():\n' + "    print()\n" * 70


@pytest.fixture(scope="module")
def agents() -> Iterator[dict[str, Behaviour[..., Any]]]:
    """The behaviours, loaded as a zygote loads them."""
    path, modules = list(sys.path), set(sys.modules)
    manager = PluginManager(WORKER_GROUP)
    manager.load_file(_PLUGIN)
    yield manager.collect_behaviours({})
    sys.path[:] = path
    for name in {*sys.modules} - modules:
        if str(_PLUGIN.parent) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def modules(agents: dict[str, Behaviour[..., Any]]) -> Any:
    """Import a neighbour of the plugin."""
    assert set(agents) == {"review", "answer"}
    return import_module


@dataclass
class Tools:
    """Tools that answer what they are told to: each with its answers in turn, the last one for ever."""

    answers: dict[str, list[object]]
    address: str = ""
    calls: list[str] = field(default_factory=list)
    connections: set[asyncio.Task[None] | None] = field(default_factory=set)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(asyncio.current_task())
        tool = (await reader.readline()).split()[1].decode().split("/")[1]
        self.calls.append(tool)
        answers = self.answers.get(tool, [HTTPStatus.NOT_FOUND])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer is not _SILENCE:
            status = answer if isinstance(answer, HTTPStatus) else HTTPStatus.OK
            writer.write(f"HTTP/1.0 {status} {status.phrase}\r\n\r\n{json.dumps(answer)}".encode())
            writer.write_eof()
        while await reader.read(1000):
            pass
        writer.close()


@asynccontextmanager
async def tools(**answers: list[object]) -> AsyncIterator[Tools]:
    """Serve tools."""
    served = Tools(answers)
    server = await asyncio.start_server(served.answer, "127.0.0.1", 0)
    served.address = "{}:{}".format(*server.sockets[0].getsockname())
    async with server:
        yield served
    await asyncio.gather(*filter(None, served.connections))


class Port:
    """Takes what a context sends."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def emit(self, value: object) -> None:
        self.events.append(value)

    def save_checkpoint(self, value: object) -> None:
        raise AssertionError(value)


def context(session: AsyncSession | None = None) -> tuple[Context, Port]:
    """Return the context of a task, in a session that has gone on from another one's end."""
    before = session or AsyncSession("module:m")
    port = Port()
    after = AsyncSession(before.id, version=before.version + 1, items=before.appended, state=dict(before.state))
    return Context(port, task_id="t", attempt=1, session=after), port


def document(source: str) -> list[object]:
    return [{"module": "m", "source": source}]


# Deciding -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        (SMALL, ["importers"]),
        ("x = 1\n", ["importers", "documentation"]),
        (LONG, ["importers", "complexity", "patterns"]),
        ('"""A large one."""\n' + "x = 1\n" * 1000, ["importers", "rank"]),
    ],
    ids=["small", "undocumented", "long", "large"],
)
def test_tools_are_chosen_by_what_is_found(modules: Any, source: str, wanted: list[str]) -> None:
    decisions = modules("judgement").decide(modules("outline").read(source))
    assert [decision.tool for decision in decisions] == wanted
    assert all(decision.because for decision in decisions)


def test_without_a_source_the_others_are_asked(modules: Any) -> None:
    assert [decision.tool for decision in modules("judgement").decide(None)] == ["importers", "documentation", "rank"]


def test_findings_are_sorted_by_weight(modules: Any) -> None:
    source = '"""A doc."""\n# TODO: all\ntry:\n    pass\nexcept:\n    pass\n'
    facts = {"importers": ["a"] * 50, "complexity": [{"name": "f", "branches": 30, "lines": 99, "line": 1}]}
    findings = modules("judgement").judge(modules("outline").read(source), facts)
    assert [finding.kind for finding in findings] == ["complexity", "importers", "excepts", "notes"]
    assert findings[0].text == "`f` has 30 branches in 99 lines, from line 1, and 50 modules import this one"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Do a thing.", "Do a thing."),
        ("ast\n~~~\n\nThe `ast` module helps. Much.", "The `ast` module helps."),
        ("Heaps (a.k.a. priority queues)\nare here.\n\nMore.", "Heaps (a.k.a. priority queues) are here."),
        ("title", ""),
        ("", ""),
    ],
)
def test_the_first_sentence_is_more_than_a_title(modules: Any, text: str, sentence: str) -> None:
    assert modules("outline").first_sentence(text) == sentence


# Asking ---------------------------------------------------------------------------------------------------------------


async def test_a_tool_that_is_busy_once_is_asked_again(modules: Any) -> None:
    async with tools(rank=[HTTPStatus.SERVICE_UNAVAILABLE, 7]) as served:
        faults: list[Any] = []
        box = modules("toolbox").Toolbox(served.address, "m", on_fault=faults.append, pause_seconds=0)
        assert await box.ask("rank") == 7
    assert (box.used, box.calls, served.calls) == (["rank"], 2, ["rank", "rank"])
    assert faults == box.faults == [modules("toolbox").ToolFault("rank", "answered 503", 2, recovered=True)]


async def test_a_tool_that_never_answers_is_given_up_and_delays_no_other(modules: Any) -> None:
    async with tools(rank=[_SILENCE], importers=[["a"]]) as served:
        box = modules("toolbox").Toolbox(
            served.address, "m", on_fault=lambda _fault: None, timeout_seconds=0.05, pause_seconds=0
        )
        assert await box.ask_all(["rank", "importers"]) == {"importers": ["a"]}
    assert box.faults == [modules("toolbox").ToolFault("rank", "no answer within 0.05 s", 3, recovered=False)]


async def test_nobody_at_the_address_is_a_fault_like_others(modules: Any) -> None:
    async with tools() as served:
        pass
    box = modules("toolbox").Toolbox(served.address, "m", on_fault=lambda _fault: None, pause_seconds=0)
    assert await box.ask("rank") is None
    assert [(fault.tries, fault.recovered) for fault in box.faults] == [(3, False)]


# Reviewing and answering ----------------------------------------------------------------------------------------------


async def test_a_review_tells_finds_and_remembers(agents: dict[str, Behaviour[..., Any]]) -> None:
    ctx, port = context()
    async with tools(document=document(LONG), importers=[["a", "b"]], complexity=[[]], patterns=[[]]) as served:
        digest = await agents["review"](ctx, "m", served.address)
    assert (digest.module, digest.lines, digest.functions, digest.classes) == ("m", 77, 1, 0)
    assert sorted(digest.tools_used) == sorted(served.calls) == ["complexity", "document", "importers", "patterns"]
    assert (digest.tool_faults, digest.remembered) == ([], [])
    assert [event["decision"]["tool"] for event in port.events] == ["importers", "complexity", "patterns"]
    assert ctx.session.state["facts"] == {"importers": ["a", "b"], "complexity": [], "patterns": []}
    assert [item.role for item in ctx.session.appended] == ["reviewer"]
    assert json.loads(agents["review"].dump(digest))["module"] == "m"


async def test_a_tool_that_stays_broken_is_reported_and_asked_by_the_next_review(
    agents: dict[str, Behaviour[..., Any]],
) -> None:
    first, port = context()
    broken: list[object] = [HTTPStatus.SERVICE_UNAVAILABLE] * 3 + [["a"]]
    async with tools(document=document("x = 1\n"), importers=broken, documentation=["It offers x."]) as served:
        digest = await agents["review"](first, "m", served.address)
        assert [(fault.tool, fault.tries, fault.recovered) for fault in digest.tool_faults] == [("importers", 3, False)]
        assert [event["tool_fault"]["tool"] for event in port.events if "tool_fault" in event] == ["importers"]
        assert [finding.text for finding in digest.findings] == ["it does not say what it is for. It offers x"]
        served.calls.clear()
        second, _ = context(first.session)
        digest = await agents["review"](second, "m", served.address)
    assert served.calls == ["document", "importers"]
    assert (digest.tool_faults, digest.remembered) == ([], ["documentation"])
    assert second.session.state["missing"] == []


async def test_a_source_that_has_changed_is_looked_at_anew(agents: dict[str, Behaviour[..., Any]]) -> None:
    first, _ = context()
    async with tools(document=[*document(SMALL), *document(SMALL + "x = 1\n")], importers=[[]]) as served:
        await agents["review"](first, "m", served.address)
        second, _ = context(first.session)
        digest = await agents["review"](second, "m", served.address)
    assert digest.remembered == []
    assert served.calls == ["document", "importers"] * 2


async def test_without_its_document_a_review_is_hearsay(agents: dict[str, Behaviour[..., Any]]) -> None:
    ctx, _ = context()
    answers: dict[str, list[object]] = {
        "importers": [[]],
        "documentation": ["It is old."],
        "rank": [{"rank": 3, "of": 9}],
    }
    async with tools(**answers) as served:
        digest = await agents["review"](ctx, "m", served.address)
    assert (digest.lines, [finding.kind for finding in digest.findings]) == (0, ["size", "unread"])
    after, _ = context(ctx.session)
    assert (await agents["answer"](after, "m", "What is it for?")).answer == "It is old."


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What should I read first?", "This: `f` has 30 branches in 70 lines, from line 7."),
        ("Who would notice a change?", "Those who use a, b, c and 1 more: they import m."),
        ("What is it for?", "A long one."),
        ("Which tools did not work?", "patterns: asked three times in vain."),
        ("Why?", "I do not know. I can tell what m is for, who imports it, what to read first and which tools failed."),
    ],
)
async def test_answers_come_from_the_session_alone(
    agents: dict[str, Behaviour[..., Any]], question: str, expected: str
) -> None:
    ctx, _ = context()
    complexity: list[object] = [[{"name": "f", "branches": 30, "lines": 70, "line": 7}]]
    async with tools(document=document(LONG), importers=[["a", "b", "c", "d"]], complexity=complexity) as served:
        await agents["review"](ctx, "m", served.address)
    after, _ = context(ctx.session)
    answer = await agents["answer"](after, "m", question)
    assert (answer.answer, answer.reviews) == (expected, 1)
    assert [item.content for item in after.session.appended] == [question, expected]


async def test_an_empty_session_is_admitted(agents: dict[str, Behaviour[..., Any]]) -> None:
    ctx, _ = context()
    answer = await agents["answer"](ctx, "m", "What is it for?")
    assert answer.answer == "I do not know: nobody has reviewed m in this session."
    assert answer.reviews == 0
