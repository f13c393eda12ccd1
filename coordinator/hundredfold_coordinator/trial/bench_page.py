"""The page of a bench."""

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from hundredfold_coordinator.trial.bench_rows import AGENTS, COSTS, KINDS, QUEUE, growth, guess, headline
from hundredfold_coordinator.trial.page import page, picture, surroundings
from hundredfold_coordinator.trial.rows import Row, cell, figure

_CAPTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "crowd": (
        "Until all run, and what they take",
        "A point for every number of agents; the line is what all of them together say.",
    ),
    "cpu": (
        "CPU time to start one",
        "Of the whole machine, and of the coordinator, divided by the number of agents.",
    ),
    "idle": (
        "What agents cost that only wait",
        "CPU time of coordinator and host over some seconds in which no agent does anything.",
    ),
    "limits": (
        "Where it ends",
        "How many agents each of these would let be, if every further one costs what those did that were measured.",
    ),
    "queue": (
        "What queued tasks cost others",
        "CPU time of the coordinator for each task that does nothing, while so many others are queued; least to most.",
    ),
}


def bench_page(report: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """Return the page of a bench; `pictures` are SVG, by name."""
    parts = [
        f"<h1>{escape(headline(report))}</h1>",
        f"<p>{escape(guess(report))}</p>",
        f"<p>{escape(growth(report))}</p>",
        '<p class="faint">Agents that do nothing but wait, each a process of its own.</p>',
        _table("agents", "agents", AGENTS, report["agents"]),
    ]
    for name, svg in pictures.items():
        title, caption = _CAPTIONS[name]
        parts.append(f"<h2>{escape(title)}</h2>\n{picture(name, svg, caption)}")
        if name == "limits":
            parts.append(_limits(report))
        if name == "queue":
            parts.append(_table("queue", "queued", QUEUE, report["queue"]))
    parts += [_costs(report), surroundings(report)]
    return page("hundredfold bench", "\n".join(parts), report)


def _table(name: str, first: str, rows: Sequence[Row], found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a table with a line for each number of something, and a column for each of `rows`."""
    head = "".join(f'<th scope="col" title="{escape(row.about)}">{escape(row.name)}</th>' for row in rows)
    lines = "\n".join(
        f"<tr><td>{int(count):,}</td>{''.join(_cells(f'{name}.{count}', rows, values))}</tr>"
        for count, values in found.items()
    )
    return (
        f'<div class="wide"><table class="many" id="{name}-figures">'
        f'<thead><tr><th scope="col">{first}</th>{head}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _cells(path: str, rows: Sequence[Row], values: Mapping[str, Any]) -> Iterator[str]:
    for row in rows:
        yield _cell(f"{path}.{row.key}", figure(values, row.key), cell(values, row))


def _cell(key: str, value: Any, shown: str) -> str:
    return f'<td data-key="{key}" data-value="{escape(json.dumps(value))}">{escape(shown)}</td>'


def _limits(report: Mapping[str, Any]) -> str:
    found = sorted(report["limits"].items(), key=lambda item: item[1]["agents"])
    lines = [f"<tr><td>{KINDS[kind].name}</td>{''.join(_limit(kind, limit))}</tr>" for kind, limit in found]
    return _plain_table("limits-figures", ("", "agents", "of", "there are", "each takes"), lines)


def _limit(kind: str, limit: Mapping[str, Any]) -> Iterator[str]:
    yield _cell(f"limits.{kind}.agents", limit["agents"], f"{limit['agents']:,}")
    yield f"<td>{escape(limit['of'])}</td>"
    yield _cell(f"limits.{kind}.most", limit["most"], KINDS[kind].most(limit["most"]))
    yield _cell(f"limits.{kind}.each", limit["each"], KINDS[kind].each(limit["each"]))


def _costs(report: Mapping[str, Any]) -> str:
    found = {key: report["costs"][key]["each"] for key in COSTS if key in report["costs"]}
    if not found:
        return ""
    lines = [
        f"<tr><td>{escape(COSTS[key].name)}</td>{_cell(f'costs.{key}.each', each, COSTS[key].show(each))}</tr>"
        for key, each in found.items()
    ]
    return f"<h2>What one more agent costs</h2>{_plain_table('costs', (), lines)}"


def _plain_table(name: str, columns: Sequence[str], lines: Sequence[str]) -> str:
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    return (
        f'<div class="wide"><table id="{name}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
