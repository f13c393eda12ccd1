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

_Memory = Mapping[str, Any]


def reply(module: str, question: str, memory: _Memory) -> str:
    """Return the answer to a question about a module."""
    if "facts" not in memory:
        return f"I do not know: nobody has reviewed {module} in this session."
    for words, topic in _TOPICS.items():
        if any(word in question.lower() for word in words):
            return topic(module, memory)
    return f"I do not know. I can tell what {module} is for, who imports it, what to read first, what did not work."


def _first(module: str, memory: _Memory) -> str:
    if memory["findings"]:
        return f"This: {memory['findings'][0]['text']}."
    return f"Anything: the review of {module} found nothing to warn of."


def _importers(module: str, memory: _Memory) -> str:
    if "importers" not in memory["facts"]:
        return "I do not know: the tool that knows was broken during the review."
    names = memory["facts"]["importers"]
    if not names:
        return f"No other module of the standard library imports {module}."
    others = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004  # three are enough to name
    return f"{', '.join(names[:3])}{others}."


def _purpose(module: str, memory: _Memory) -> str:
    outline = memory["outline"]
    said = (outline and outline["docstring"]) or memory["facts"].get("documentation")
    return said or f"{module} does not say."


def _broken(_module: str, memory: _Memory) -> str:
    missing = memory["missing"]
    return f"{', '.join(missing)}: asked three times in vain." if missing else "In the end, all of them worked."


_TOPICS: Final[dict[tuple[str, ...], Callable[[str, _Memory], str]]] = {
    ("first", "start", "worst"): _first,
    ("notice", "import", "depend"): _importers,
    ("what is", "for", "purpose"): _purpose,
    ("tool", "broken", "work"): _broken,
}
