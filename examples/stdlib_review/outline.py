"""The outline: what a look at a module's source shows, before any tool is asked.

Pure: a text in, figures out. It judges nothing.

See also: `judgement.py`, what an agent makes of it.
"""

import ast
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

_NOTE: Final = re.compile(r"#.*\b(?:XXX|TODO|FIXME)\b")
_UNDERLINE: Final = re.compile(r"^\W+$", re.MULTILINE)
_SENTENCE_END: Final = re.compile(r"(?<=\w\w)\.\s+(?=[A-Z])")
_PATTERNS: Final = re.compile(r"\bre\.(?:compile|match|search|sub|split|findall|finditer|fullmatch)\(")

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Outline:
    """A module at a glance.

    Attributes:
        digest: of the source; the same source has the same one.
        docstring: its first sentence; empty if there is none.
        longest: name of the longest function; empty if there is none.
        longest_lines: lines of that function.
        public: functions and classes with a name for others.
        undocumented: those of them that have no docstring.
        patterns: calls of the `re` module.
        bare_excepts: clauses that catch everything, the wish to end included.
        notes: comments that say XXX, TODO or FIXME.

    """

    digest: str
    lines: int
    functions: int
    classes: int
    docstring: str
    longest: str
    longest_lines: int
    public: int
    undocumented: int
    patterns: int
    bare_excepts: int
    notes: int


def read(source: str) -> Outline:
    """Return the outline of a module; raises `SyntaxError` for what is not Python."""
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    functions = [node for node in nodes if isinstance(node, _Function)]
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    public = [node for node in (*functions, *classes) if not node.name.startswith("_")]
    longest = max(functions, key=_length, default=None)
    return Outline(
        digest=sha256(source.encode()).hexdigest()[:16],
        lines=len(source.splitlines()),
        functions=len(functions),
        classes=len(classes),
        docstring=first_sentence(ast.get_docstring(tree) or ""),
        longest=longest.name if longest else "",
        longest_lines=_length(longest) if longest else 0,
        public=len(public),
        undocumented=sum(ast.get_docstring(node) is None for node in public),
        patterns=len(_PATTERNS.findall(source)),
        bare_excepts=sum(isinstance(node, ast.ExceptHandler) and node.type is None for node in nodes),
        notes=len(_NOTE.findall(source)),
    )


def first_sentence(text: str) -> str:
    """Return the first sentence of the first paragraph that is more than one word; empty if there is none."""
    for paragraph in re.split(r"\n\s*\n", _UNDERLINE.sub("", text)):
        sentence = _SENTENCE_END.split(" ".join(paragraph.split()))[0]
        if " " in sentence:
            return sentence.rstrip(".") + "."
    return ""


def _length(function: _Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1
