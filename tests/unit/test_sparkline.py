"""Shows figures as a picture one line high."""

from hundredfold_coordinator.cli.sparkline import sparkline


def test_each_bar_is_as_high_as_its_share() -> None:
    assert sparkline([0, 50, 100], 100) == "▁▅█"


def test_what_is_beyond_the_scale_stays_within_it() -> None:
    assert sparkline([-5, 200], 100) == "▁█"


def test_of_nothing_there_is_nothing() -> None:
    assert sparkline([0, 0], 0) == "▁▁"
    assert sparkline([], 1) == ""
