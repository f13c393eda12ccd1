"""The two agents: `review` looks at one module of the standard library, `answer` talks about it later.

Each runs in a fresh process and knows nothing but its input and its session. There is no language model here: an agent
looks, decides which tools to ask, copes with those that are broken, and writes down what it learnt.

See also: `judgement.py`, what they decide; `toolbox.py`, how they ask.
"""

import os
from dataclasses import asdict, dataclass
from typing import Any

from conversation import reply
from hundredfold import Context, behaviour
from judgement import Decision, Finding, decide, judge
from outline import Outline, read
from toolbox import Toolbox, ToolFault


@dataclass(frozen=True, slots=True)
class Digest:
    """What a review comes to.

    Attributes:
        pid: the process that did it, and nothing else.
        remembered: answers of tools that an earlier review of the same source had stored.

    """

    module: str
    lines: int
    functions: int
    classes: int
    findings: list[Finding]
    decisions: list[Decision]
    tools_used: list[str]
    tool_calls: int
    tool_faults: list[ToolFault]
    remembered: list[str]
    pid: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What an agent says, and how many reviews it says it from; from none, it says that it does not know."""

    module: str
    question: str
    answer: str
    reviews: int
    pid: int


@behaviour
async def review(ctx: Context, module: str, tools: str) -> Digest:
    """Review a module with the tools at an address (`127.0.0.1:8000`)."""
    toolbox = Toolbox(tools, module, on_fault=lambda fault: ctx.emit({"tool_fault": asdict(fault)}))
    document = await toolbox.ask("document")
    outline = read(document["source"]) if document else None
    known = _still_true(ctx, outline)
    decisions = _tell(ctx, [decision for decision in decide(outline) if decision.tool not in known])
    facts = known | await toolbox.ask_all([decision.tool for decision in decisions])
    findings = judge(outline, facts)
    _remember(ctx, outline, facts, findings, toolbox.faults)
    seen = outline or read("")
    return Digest(
        module=module,
        lines=seen.lines,
        functions=seen.functions,
        classes=seen.classes,
        findings=findings,
        decisions=decisions,
        tools_used=toolbox.used,
        tool_calls=toolbox.calls,
        tool_faults=toolbox.faults,
        remembered=sorted(known),
        pid=os.getpid(),
    )


@behaviour
async def answer(ctx: Context, module: str, question: str) -> Answer:
    """Answer a question about a module from what its reviews have left in the session, without looking again."""
    text = reply(module, question, ctx.session.state)
    ctx.session.append("reader", question)
    ctx.session.append("agent", text)
    return Answer(module, question, text, reviews=len(await ctx.session.items("reviewer")), pid=os.getpid())


def _still_true(ctx: Context, outline: Outline | None) -> dict[str, Any]:
    """Return what tools told an earlier review, if it was about the same source."""
    earlier = ctx.session.state.get("outline")
    if outline is None or earlier is None or earlier["digest"] != outline.digest:
        return {}
    facts: dict[str, Any] = ctx.session.state["facts"]
    return facts


def _tell(ctx: Context, decisions: list[Decision]) -> list[Decision]:
    """Show decisions to whoever watches the task."""
    for decision in decisions:
        ctx.emit({"decision": asdict(decision)})
    return decisions


def _remember(
    ctx: Context, outline: Outline | None, facts: dict[str, Any], findings: list[Finding], faults: list[ToolFault]
) -> None:
    """Leave it to whoever comes next; it is recorded together with the result, or not at all."""
    if outline:
        ctx.session.state["outline"] = asdict(outline)
    ctx.session.state["facts"] = facts
    ctx.session.state["findings"] = [asdict(finding) for finding in findings]
    ctx.session.state["missing"] = [fault.tool for fault in faults if not fault.recovered]
    ctx.session.append("reviewer", [finding.text for finding in findings])
