"""Shows that every picture can be drawn, whatever there is to draw, and in colours that the page decides."""

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hundredfold_coordinator.trial import charts
from hundredfold_coordinator.trial.outcome import Run, Try
from made_runs import dropped, lost, report, run, task
from matplotlib.colors import to_hex

NAMES = {"timeline", "timeline_each", "latency", "throughput", "use", "faults"}
STRATEGIES = ("fresh", "pool", "stateful", "sequential")


def several(count: int = 20) -> list[Run]:
    """Return two runs of each strategy, with faults."""
    again = (Try(0.5, 1.0, "SIGNALLED", 100), Try(1.5, 3.0, "COMPLETED", 101))
    tasks = [task(number) for number in range(count)] + [lost(count, "crash"), dropped(count + 1)]
    tasks += [task(count + 2, fault="crash", tries=again), lost(count + 3, outcome="RAISED")]
    return [run(*tasks, strategy=name, repeat=repeat) for repeat in (1, 2) for name in STRATEGIES]


@pytest.mark.parametrize(
    "runs",
    [
        several(),
        several(400),
        [run(task(0), task(1))],
        [run(task(0))],
        [run(task(0), strategy=name) for name in STRATEGIES],
        [run(lost(0, "crash")), run(lost(0, "crash"), strategy="pool")],
        [run(task(0, ended_s=0.0004, tries=()), samples=())],
    ],
    ids=["faults", "many tasks", "one strategy", "one task", "one task each", "no result", "no time"],
)
def test_every_picture_draws(runs: list[Run]) -> None:
    figures = charts.draw(report(*runs))
    assert figures.keys() == NAMES
    for figure in figures.values():
        svg = ET.fromstring(charts.as_svg(figure))  # noqa: S314  # it is ours
        assert svg.tag == "{http://www.w3.org/2000/svg}svg"
        assert "height" not in svg.attrib
        assert "width" not in svg.attrib


def test_colours_are_the_pages() -> None:
    figures = charts.draw(report(*several()))
    page = (Path(charts.__file__).parent / "page.html").read_text()
    for name, figure in figures.items():
        svg = charts.as_svg(figure)
        assert set(re.findall(r"var\(--(\w+)\)", svg)) <= set(re.findall(r"--(\w+):", page)), name
        assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= {"#000000"}, name
    assert {f"var(--{name})" in charts.as_svg(figures["latency"]) for name in STRATEGIES} == {True}


def test_every_colour_of_the_page_is_there_in_the_dark_and_on_paper() -> None:
    page = (Path(charts.__file__).parent / "page.html").read_text()
    light, dark, _ = (set(re.findall(r"--(\w+):", part)) for part in page.split(":root {")[1:])
    assert light == dark


def test_text_stays_text() -> None:
    svg = charts.as_svg(charts.draw(report(*several()))["faults"])
    assert "tasks without a result" in svg
    assert "stateful" in svg


def test_pictures_of_one_page_do_not_take_each_others_parts() -> None:
    """What is referred to by its id must mean the same thing in all of them."""
    found: dict[str, str] = {}
    for figure in charts.draw(report(*several())).values():
        svg = charts.as_svg(figure)
        for name in set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg)):
            parts = ET.fromstring(svg).iter()  # noqa: S314  # it is ours
            element = next(one for one in parts if one.get("id") == name)
            assert found.setdefault(name, shape(element)) == shape(element)


def shape(element: Any) -> str:
    return ET.tostring(element, encoding="unicode")


def test_a_picture_is_the_same_each_time() -> None:
    first, second = (charts.as_svg(charts.draw(report(*several()))["use"]) for _ in range(2))
    assert first == second


def test_pictures_are_saved_for_elsewhere(tmp_path: Path) -> None:
    files = charts.save(charts.draw(report(run(task(0)))), tmp_path / "new" / "charts")
    assert {file.name for file in files} == {f"{name}.{kind}" for name in NAMES for kind in ("svg", "png")}
    for file in files:
        start = file.read_bytes()[:8]
        assert start.startswith(b"\x89PNG" if file.suffix == ".png" else b"<?xml")
        assert "var(--" not in file.read_text(errors="replace")


def test_losses_are_drawn_by_their_cause() -> None:
    tasks = (lost(0, "crash"), dropped(1), dropped(2, fault="slow"), lost(3, outcome="RAISED"))
    (axis,) = charts.draw(report(run(*tasks, strategy="stateful"), run(task(0))))["faults"].axes
    bars = {bar.get_label(): [patch.get_width() for patch in bar] for bar in axis.containers}
    assert bars == {"a fault of their own": [1, 0], "taken along by another": [2, 0], "failed by themselves": [1, 0]}


def test_what_a_fault_was_injected_into_is_violet_whatever_came_of_it() -> None:
    again = (Try(1.0, 2.0, "SIGNALLED", 100), Try(2.0, 3.0, "COMPLETED", 101))
    tasks = (task(0), task(1, fault="slow"), task(2, fault="crash", tries=again), task(3, tries=again), lost(4, "hang"))
    (axis,) = charts.draw(report(run(*tasks)))["timeline"].axes
    _, lines = axis.collections
    violet, red, own = "#8a5bd0", "#d7263d", charts.COLOURS["fresh"]
    assert [to_hex(colour) for colour in lines.get_colors()] == [own, violet, violet, own, red, own, violet]


@pytest.mark.parametrize("name", ["latency", "throughput"])
def test_curves_last_until_all_has_ended_and_say_what_was_lost(name: str) -> None:
    whole, less = run(task(0, ended_s=5.0)), run(task(0, ended_s=2.0), lost(1, ended_s=4.0), strategy="stateful")
    (axis,) = charts.draw(report(whole, less))[name].axes
    curve, end, other, other_end = axis.lines
    assert (max(curve.get_xdata()), end.get_xdata(), end.get_marker()) == (5.0, [5.0], "o")
    assert (max(other.get_xdata()), other_end.get_xdata(), other_end.get_marker()) == (4.0, [4.0], "x")
    assert list(other.get_ydata())[-1] == {"latency": 50, "throughput": 1}[name]


def test_runs_that_lost_tasks_say_so_in_the_timeline() -> None:
    figure = charts.draw(report(run(task(0)), run(task(0), lost(1), strategy="pool")))["timeline"]
    assert [axis.get_title("left") for axis in figure.axes] == ["fresh  ·  3 s", "pool  ·  3 s  ·  1 of 2 tasks lost"]


def test_legends_hide_nothing() -> None:
    for name, figure in charts.draw(report(run(task(0)))).items():
        assert [axis for axis in figure.axes if axis.get_legend()] == [], name
        assert len(figure.legends) == (not name.startswith("timeline")), name
