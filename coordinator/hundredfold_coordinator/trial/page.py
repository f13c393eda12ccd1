"""The page of a report: one file that needs nothing else, for a browser, a phone or a printer."""

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, Final

from hundredfold.wording import size

from hundredfold_coordinator.trial.rows import ROWS, Row, cell, figure, headline, losses, shortened

_CAPTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "timeline": (
        "Every task, on one clock",
        (
            "Grey while a task waits, in its strategy's colour while it runs. Violet: an attempt that a fault was "
            "injected into; red: any other attempt that failed; a cross: no result. The first run of each strategy."
        ),
    ),
    "timeline_each": (
        "Every task, each strategy on its own clock",
        "The same, stretched to the width of the page.",
    ),
    "latency": (
        "How long tasks took",
        (
            "The share of all tasks that had a result so many seconds after their submission; all runs together. "
            "A dot: all tasks had one by then; a cross: all had ended, and some were lost."
        ),
    ),
    "throughput": (
        "Results over time",
        (
            "Tasks with a result since the first submission; the first run of each strategy. "
            "A dot: it was over; a cross: it was over, and tasks were lost."
        ),
    ),
    "use": (
        "Memory and CPUs",
        (
            "Memory of the machine less what was used just before; CPUs less what all else did on average. "
            "The first run of each strategy."
        ),
    ),
    "faults": (
        "What each fault cost",
        "Tasks without a result, by why they have none; the table says which fault it was.",
    ),
}

_STDIN: Final = ("-", "<stdin>")
"""What a command calls the file with its input if there is none."""


def page(title: str, body: str, report: Mapping[str, Any]) -> str:
    """Return a page with a body; the report is in it, for programs."""
    template = Template(files("hundredfold_coordinator.trial").joinpath("page.html").read_text())
    data = json.dumps(report, ensure_ascii=False).replace("<", "\\u003c")  # nothing in it may end the element
    return template.substitute(title=escape(title), body=body, report=data)


def comparison_page(report: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """Return the page of a comparison; `pictures` are SVG, by name."""
    parts = [
        f"<h1>{escape(headline(report))}</h1>",
        f"<p>{escape(losses(report))}</p>",
        f'<p class="faint">{escape(_subtitle(report))}</p>',
        _table(report),
        f'<p class="faint">{escape(shortened(report))}</p>',
    ]
    for name, svg in pictures.items():
        title, caption = _CAPTIONS[name]
        parts.append(f"<h2>{escape(title)}</h2>\n{picture(name, svg, caption)}")
        if name == "faults":
            parts.append(_costs(report))
    parts.append(surroundings(report))
    return page(f"hundredfold compare {report['about']['behaviour']}", "\n".join(parts), report)


def picture(name: str, svg: str, caption: str) -> str:
    """Return a picture with what it shows."""
    return f'<figure id="{name}"><figcaption>{escape(caption)}</figcaption><div class="wide">{svg}</div></figure>'


def surroundings(report: Mapping[str, Any]) -> str:
    """Return how it was measured, and how to do it again."""
    about, machine = report["about"], report["about"]["machine"]
    entries = {
        "machine": f"{machine['cpus']} CPUs ({machine['processor']}), {size(machine['memory_bytes'])} of memory, "
        f"Linux {machine['kernel']}",
        "versions": ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
        "time": about["time"],
        "everything else": f"kept up to {report['others_cores']:.2f} CPUs busy meanwhile",
        **about.get("notes", {}),
        **dict(_circumstances(about)),
    }
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in entries.items())
    return f"<h2>How this was measured</h2><dl>{listed}</dl><p>Again:</p><pre>{escape(about['command'])}</pre>"


def _circumstances(about: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what the command alone does not say."""
    yield "directory", about["directory"]
    if about["settings"]:
        found = (f"{one['of']}: {one['setting']} is {one['value']} ({one['origin']})" for one in about["settings"])
        yield "settings", "; ".join(found)
    if about.get("input") in _STDIN:
        yield "input", "was read from stdin: the command needs the same lines there again"


def _subtitle(report: Mapping[str, Any]) -> str:
    about = report["about"]
    runs = f"{about['repeat']} runs of each strategy, in turn" if about["repeat"] > 1 else "one run of each strategy"
    faults = f"; injected: {about['inject']}, seed {about['seed']}" if about["inject"] else "; nothing was injected"
    return f"{about['behaviour']}, {runs}{faults}."


def _table(report: Mapping[str, Any]) -> str:
    names = list(report["strategies"])
    head = "".join(
        f'<th scope="col"><span class="key" style="background:var(--{name})"></span>{name}</th>' for name in names
    )
    rows = "\n".join(_row(row, report, names) for row in ROWS)
    return (
        f'<div class="wide"><table id="figures"><thead><tr><th scope="col"></th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row(row: Row, report: Mapping[str, Any], names: Sequence[str]) -> str:
    cells = "".join(_cells(row, report, names))
    return f'<tr><td title="{escape(row.about)}">{escape(row.name)}</td>{cells}</tr>'


def _cells(row: Row, report: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    for name in names:
        figures = report["strategies"][name]["figures"]
        value = figure(figures, row.key)
        key, exact = f"{name}.{row.key}", escape(json.dumps(value))
        yield f'<td data-key="{key}" data-value="{exact}">{escape(cell(figures, row))}</td>'


def _costs(report: Mapping[str, Any]) -> str:
    lines = [
        f"<tr><td>{name}</td><td>{escape(fault or 'none injected')}</td>{_cost(cost, injected=bool(fault))}</tr>"
        for name, one in report["strategies"].items()
        for fault, cost in one["faults"].items()
    ]
    if not lines:
        return '<p class="faint">No task was lost, and nothing was injected.</p>'
    head = "<th></th><th>fault</th><th>tasks with it</th><th>lost to it</th><th>taken along by it</th>"
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f'<div class="wide"><table id="costs">{body}</table></div>'


def _cost(cost: Mapping[str, int], *, injected: bool) -> str:
    """Return the cells of what a fault cost; what failed by itself stands where there is none."""
    own = cost["lost_to_own_fault"] if injected else cost["failed_by_itself"]
    return f"<td>{cost['tasks'] if injected else '-'}</td><td>{own}</td><td>{cost['taken_along']}</td>"
