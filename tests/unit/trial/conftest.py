"""What pictures need and keep: the fonts, which stay open as long as the process lives."""

import pytest
from hundredfold_coordinator.trial import charts
from made_runs import report, run, task


@pytest.fixture(autouse=True, scope="session")
def _fonts_are_open() -> None:
    """Draw once before anybody looks at descriptors."""
    for figure in charts.draw(report(run(task(0)))).values():
        charts.as_svg(figure)
