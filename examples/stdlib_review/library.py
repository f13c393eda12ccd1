"""The library: a hundred documents that every machine has, the sources of standard-library modules, and facts on them.

What it tells is computed from the files of the running Python; nothing is imported and nothing is stored.

See also: `tool_api.py`, which serves it.
"""

import ast
import re
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Final

from outline import first_sentence

_LEAST_LINES: Final = 50
_TOP_COMMENT: Final = re.compile(r"(?:#!.*\n)?(?:#.*\n|\s*\n)+")
_MOST_NAMED: Final = 3
_IMPORT: Final = re.compile(r"^[ \t]*(?:import[ \t]+(\w[\w., \t]*)|from[ \t]+(\w+)[\w.]*[ \t]+import\b)", re.MULTILINE)
_BRANCHES: Final = (ast.If, ast.IfExp, ast.For, ast.While, ast.ExceptHandler, ast.BoolOp, ast.comprehension)

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Named = _Function | ast.ClassDef


class Library:
    """The sources of all public top-level modules that are written in Python, by name."""

    def __init__(self) -> None:
        self._sources = dict(_sources())
        self._imports = {name: _imported(source) for name, source in self._sources.items()}
        # One reader at a time: many that share an interpreter keep quick questions waiting, and CPython 3.11 can lose
        # count of its parser's depth between threads (gh-106905).
        self._reading = threading.Lock()
        self._tools: Mapping[str, Callable[[str], Any]] = {
            "document": self._document,
            "documentation": self._documentation,
            "importers": self._importers,
            "rank": self._rank,
            "complexity": self._complexity,
            "patterns": self._patterns,
        }

    def choose(self, count: int) -> list[str]:
        """Return the names of `count` modules, spread over the alphabet; always the same ones.

        Raises:
            ValueError: there are not as many.

        """
        names = sorted(self._sources)
        if not 0 < count <= len(names):
            message = f"this Python has 1 to {len(names)} modules to review, not {count}"
            raise ValueError(message)
        return [names[place * len(names) // count] for place in range(count)]

    def ask(self, tool: str, module: str) -> Any:
        """Return what a tool knows about a module, a JSON value.

        Raises:
            KeyError: there is no such tool or module.

        """
        if module not in self._sources:
            raise KeyError(module)
        return self._tools[tool](module)

    def _document(self, module: str) -> dict[str, str]:
        return {"module": module, "source": self._sources[module]}

    def _documentation(self, module: str) -> str:
        """Return what is known about a module's purpose beside its docstring: its first comment, or what it offers."""
        comment = _TOP_COMMENT.match(self._sources[module])
        said = first_sentence(comment[0].replace("#", "")) if comment else ""
        with self._reading:
            return said or _offers(self._tree(module))

    def _importers(self, module: str) -> list[str]:
        return sorted(name for name, imported in self._imports.items() if module in imported)

    def _rank(self, module: str) -> dict[str, int]:
        sizes = sorted(map(len, self._sources.values()), reverse=True)
        return {"rank": 1 + sizes.index(len(self._sources[module])), "of": len(sizes)}

    def _complexity(self, module: str) -> list[dict[str, Any]]:
        """Return the functions with the most branches."""
        with self._reading:
            functions = [_measured(name, node) for name, node in _functions(self._tree(module))]
        return sorted(functions, key=lambda function: -function["branches"])[:_MOST_NAMED]

    def _patterns(self, module: str) -> list[dict[str, Any]]:
        """Return the longest regular expressions."""
        with self._reading:
            found = [pattern for node in ast.walk(self._tree(module)) for pattern in _pattern(node)]
        return sorted(found, key=lambda pattern: -pattern["length"])[:_MOST_NAMED]

    def _tree(self, module: str) -> ast.Module:
        return ast.parse(self._sources[module])


def _sources() -> Iterator[tuple[str, str]]:
    for name in sorted(sys.stdlib_module_names):
        found = None if name.startswith("_") else PathFinder.find_spec(name, [sysconfig.get_path("stdlib")])
        if found and found.origin and found.origin.endswith(".py"):
            source = Path(found.origin).read_text("utf-8")
            if source.count("\n") >= _LEAST_LINES:
                yield name, source


def _imported(source: str) -> set[str]:
    """Return the top-level modules that a source imports, as far as a glance shows."""
    found = set()
    for names, origin in _IMPORT.findall(source):
        found |= {name.split()[0].partition(".")[0] for name in (names or origin).split(",") if name.strip()}
    return found


def _offers(tree: ast.Module) -> str:
    names = [node.name for node in tree.body if isinstance(node, _Named) and not node.name.startswith("_")]
    more = " and more" if names[_MOST_NAMED:] else ""
    return f"It offers {', '.join(names[:_MOST_NAMED])}{more}." if names else ""


def _functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, _Function]]:
    """Yield all functions below a node by their qualified names."""
    for child in ast.iter_child_nodes(node):
        name = f"{prefix}{child.name}" if isinstance(child, _Named) else prefix
        if isinstance(child, _Function):
            yield name, child
        yield from _functions(child, f"{name}." if isinstance(child, _Named) else prefix)


def _measured(name: str, function: _Function) -> dict[str, Any]:
    return {
        "name": name,
        "line": function.lineno,
        "lines": (function.end_lineno or function.lineno) - function.lineno + 1,
        "branches": 1 + sum(isinstance(node, _BRANCHES) for node in ast.walk(function)),
    }


def _pattern(node: ast.AST) -> Iterator[dict[str, Any]]:
    """Yield the pattern of a call such as `re.compile("...")`."""
    match node:
        case ast.Call(ast.Attribute(ast.Name("re")), [ast.Constant(str(text)), *_]):
            yield {"line": node.lineno, "length": len(text)}
