"""Shows the page of a comparison: its figures are those of the report, and nothing in it is taken for markup."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hundredfold_coordinator.trial.page import comparison_page
from hundredfold_coordinator.trial.rows import ROWS, cell, figure
from made_runs import dropped, lost, report, run, task

NASTY = """</script><script>alert(1)</script><!--<script>&amp;"'<b>\u2028"""


class Parsed(HTMLParser):
    """What is on a page: its tags, the cells with their figures, the report, and the text of everything else."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: dict[str, tuple[str, str]] = {}
        self.data, self.text = "", ""
        self._attributes: dict[str, str | None] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._attributes = dict(attrs)

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002  # the parser's own name
        self._attributes = {}

    def handle_data(self, data: str) -> None:
        if self._attributes.get("id") == "report":
            self.data += data
            return
        self.text += data
        if key := self._attributes.get("data-key"):
            self.cells[key] = str(self._attributes["data-value"]), data


@pytest.fixture
def compared() -> dict[str, Any]:
    """The report of two strategies, with names and messages that would be markup."""
    message = f"it failed: {NASTY}"
    return report(
        run(task(0), task(1, session=NASTY), lost(2, "crash", message=message)),
        run(task(0, digest=NASTY), dropped(1), lost(2, "crash", message=message), strategy="stateful"),
        behaviour=NASTY,
        input=NASTY,
        command=f"hundredfold compare '{NASTY}'",
        inject="crash=0.3",
        notes={NASTY: NASTY},
    )


def test_every_cell_has_the_figure_of_the_report(compared: dict[str, Any]) -> None:
    page = Parsed(comparison_page(compared, {}))
    wanted = {}
    for name, one in compared["strategies"].items():
        for row in ROWS:
            wanted[f"{name}.{row.key}"] = figure(one["figures"], row.key), cell(one["figures"], row)
    assert {key: (json.loads(value), text) for key, (value, text) in page.cells.items()} == wanted


def test_the_report_is_in_the_page(compared: dict[str, Any]) -> None:
    assert json.loads(Parsed(comparison_page(compared, {})).data) == compared


def test_what_comes_from_users_is_no_markup(compared: dict[str, Any]) -> None:
    page = comparison_page(compared, {})
    parsed = Parsed(page)
    assert parsed.tags.count("script") == 1
    assert "b" not in parsed.tags
    assert "<!--" not in page
    assert page.count("</script>") == 1
    assert parsed.text.count(NASTY) >= 4


def test_the_costs_of_faults_are_listed() -> None:
    tasks = (lost(0, "crash"), dropped(1), dropped(2, fault="slow"), lost(3, outcome="RAISED"))
    page = comparison_page(report(run(*tasks, strategy="stateful")), {"faults": "<svg></svg>"})
    rows = [
        re.sub("<[^>]+>", " ", row).split() for row in re.findall("<tr>(.*?)</tr>", page[page.index('id="costs"') :])
    ]
    assert rows[1:] == [
        ["stateful", "none", "injected", "-", "1", "0"],
        ["stateful", "crash", "1", "1", "2"],
        ["stateful", "slow", "1", "0", "0"],
    ]


def test_without_faults_and_losses_it_says_so() -> None:
    text = Parsed(comparison_page(report(run(task(0))), {"faults": "<svg></svg>"})).text
    assert "No task was lost, and nothing was injected." in text
    assert "nothing was injected" in text


def test_it_says_how_it_was_measured_and_how_to_do_it_again(compared: dict[str, Any]) -> None:
    compared["about"]["command"] = "hundredfold compare work -i 'my lines.jsonl' --seed 7"
    text = Parsed(comparison_page(compared, {})).text
    assert "hundredfold compare work -i 'my lines.jsonl' --seed 7" in text
    for said in (compared["about"]["versions"]["python"], compared["about"]["machine"]["kernel"], "crash=0.3, seed 0"):
        assert said in text


def test_it_needs_no_network(compared: dict[str, Any]) -> None:
    page = comparison_page({**compared, "about": {**compared["about"], "behaviour": "work"}}, {})
    for word in (' src="', ' href="http', "@import", "url(http"):
        assert word not in page


def test_each_picture_has_its_place_and_its_caption(compared: dict[str, Any]) -> None:
    names = ("timeline", "timeline_each", "latency", "throughput", "use", "faults")
    page = comparison_page(compared, {name: f"<svg id='picture-{name}'></svg>" for name in names})
    for name in names:
        assert f'<figure id="{name}"><figcaption>' in page
        assert f"<svg id='picture-{name}'>" in page
