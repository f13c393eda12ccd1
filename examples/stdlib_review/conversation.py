"""The conversation: what an agent that has only the session's memory replies to a question.

Pure: it looks for words in the question and for what the reviews have stored.

See also: `agents.py`, who stores it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

QUESTIONS: Final = (
    "What should I read first?",
    "Who would notice a change?",
    "What is it for?",
    "Which tools did not work?",
)
"""What readers ask in this example."""

_NAMED: Final = 3

_Memory = Mapping[str, Any]


def reply(module: str, question: str, memory: _Memory) -> str:
    """Return the answer to a question about a module."""
    if "facts" not in memory:
        return f"I do not know: nobody has reviewed {module} in this session."
    for words, topic in _TOPICS.items():
        if any(word in question.lower() for word in words):
            return topic(module, memory)
    return f"I do not know. I can tell what {module} is for, who imports it, what to read first and which tools failed."


def _first(module: str, memory: _Memory) -> str:
    if memory["findings"]:
        return f"This: {memory['findings'][0]['text']}."
    return f"Anything: the review of {module} found nothing to warn of."


def _dependants(module: str, memory: _Memory) -> str:
    if "importers" not in memory["facts"]:
        return "I do not know: the tool that knows was broken during the review."
    names = memory["facts"]["importers"]
    if not names:
        return "Nobody: no other module imports it."
    others = f" and {len(names) - _NAMED} more" if names[_NAMED:] else ""
    return f"Those who use {', '.join(names[:_NAMED])}{others}: they import {module}."


def _purpose(module: str, memory: _Memory) -> str:
    said = memory.get("outline", {}).get("docstring") or memory["facts"].get("documentation")
    return said or f"{module} does not say."


def _broken(_module: str, memory: _Memory) -> str:
    missing = memory["missing"]
    return f"{', '.join(missing)}: asked three times in vain." if missing else "In the end, all of them did."


_TOPICS: Final[dict[tuple[str, ...], Callable[[str, _Memory], str]]] = {
    ("first", "start", "worst"): _first,
    ("notice", "import", "depend"): _dependants,
    ("what is", "for", "purpose"): _purpose,
    ("tool", "broken", "work"): _broken,
}
