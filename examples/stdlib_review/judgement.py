"""The judgement of an agent: which tools to ask about what it sees, and what to say about what they answer.

Pure, so that it can be read and tested without a process, a network or a clock.

See also: `outline.py`, what it sees; `library.py`, what the tools know.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from outline import Outline

_LONG_FUNCTION_LINES: Final = 60
_LONG_PATTERN: Final = 70
_LARGE_MODULE_LINES: Final = 1000
_MANY_BRANCHES: Final = 20
_MANY_IMPORTERS: Final = 15
_MANY_PUBLIC: Final = 8
_NOTABLE_RANK: Final = 10


@dataclass(frozen=True, slots=True)
class Decision:
    """A tool to ask, and why."""

    tool: str
    because: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something worth telling: of what kind, how heavy (larger is heavier), and in words."""

    kind: str
    weight: int
    text: str


def decide(outline: Outline | None) -> list[Decision]:
    """Return the tools worth asking about a module; without an outline, those that need no source."""
    decisions = [Decision("importers", "what many modules need must be changed with care")]
    if outline is None:
        decisions.append(Decision("documentation", "the source cannot be had; what is said about it can"))
        decisions.append(Decision("rank", "the source cannot be had; its size can"))
        return decisions
    if not outline.docstring:
        decisions.append(Decision("documentation", "the module does not say what it is for"))
    if outline.lines >= _LARGE_MODULE_LINES:
        decisions.append(Decision("rank", f"{outline.lines} lines are many"))
    if outline.longest_lines >= _LONG_FUNCTION_LINES:
        decisions.append(Decision("complexity", f"{outline.longest} has {outline.longest_lines} lines"))
    if outline.patterns:
        decisions.append(Decision("patterns", f"it uses regular expressions in {outline.patterns} place(s)"))
    return decisions


def judge(outline: Outline | None, facts: Mapping[str, Any]) -> list[Finding]:
    """Return what is worth telling, heaviest first. A tool that did not answer only leaves something unsaid."""
    findings = [*(_from_outline(outline) if outline else _from_hearsay()), *_from_facts(facts)]
    if outline and not outline.docstring:
        text = f"it does not say what it is for. {facts.get('documentation', '')}".strip(" .")
        findings.append(Finding("purpose", 30, text))
    return sorted(findings, key=lambda finding: -finding.weight)


def _from_outline(outline: Outline) -> Iterator[Finding]:
    if outline.bare_excepts:
        text = f"{_count(outline.bare_excepts, 'bare except clause')} would swallow even Ctrl-C"
        yield Finding("excepts", 15 * outline.bare_excepts, text)
    if outline.public >= _MANY_PUBLIC and 2 * outline.undocumented > outline.public:
        text = f"{outline.undocumented} of {outline.public} public names have no docstring"
        yield Finding("docstrings", 60 * outline.undocumented // outline.public, text)
    if outline.notes:
        yield Finding("notes", 3 * outline.notes, f"{_count(outline.notes, 'comment')} with XXX, TODO or FIXME")


def _from_hearsay() -> Iterator[Finding]:
    yield Finding("unread", 1, "the source could not be had, so this is hearsay")


def _from_facts(facts: Mapping[str, Any]) -> Iterator[Finding]:
    importers = len(facts.get("importers", ()))
    if importers >= _MANY_IMPORTERS:
        yield Finding("importers", importers, f"{importers} modules import it: a change here is felt widely")
    for function in facts.get("complexity", ())[:1]:
        if function["branches"] >= _MANY_BRANCHES:
            text = "`{name}` has {branches} branches in {lines} lines, from line {line}".format_map(function)
            also = f", and {importers} modules import this one" if importers >= _MANY_IMPORTERS else ""
            yield Finding("complexity", function["branches"] + importers, text + also)
    for pattern in facts.get("patterns", ())[:1]:
        if pattern["length"] >= _LONG_PATTERN:
            text = "the regular expression in line {line} has {length} characters".format_map(pattern)
            yield Finding("patterns", pattern["length"] // 4, text)
    rank = facts.get("rank", {"rank": _NOTABLE_RANK + 1})
    if rank["rank"] <= _NOTABLE_RANK:
        yield Finding("size", 40 - rank["rank"], "number {rank} of {of} modules by size".format_map(rank))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
