import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_figures", BENCH / "figures.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (0.991, 100.0), (1.0, 100.0)])
def test_percentile_is_a_value_that_occurred(figures: ModuleType, share: float, value: float) -> None:
    assert figures.percentile([float(number) for number in range(100, 0, -1)], share) == value


def test_percentile_of_one_value_is_that_value(figures: ModuleType) -> None:
    assert figures.percentile([7.0], 0.5) == figures.percentile([7.0], 0.99) == 7.0


def test_nothing_can_be_said_about_no_values(figures: ModuleType) -> None:
    assert figures.percentile([], 0.5) is None


def test_ratio_has_no_value_without_a_base(figures: ModuleType) -> None:
    assert figures.ratio(3.0, 2.0) == 1.5
    assert figures.ratio(3.0, 0.0) is None


def test_a_run_without_tasks_is_subtracted(figures: ModuleType) -> None:
    assert figures.per_task_ms(3.5, 100, 1.5) == pytest.approx(20.0)
    assert figures.per_task_ms(3.5, 100) == pytest.approx(35.0)


@pytest.mark.parametrize(("fork_ms", "valid"), [(0.5, True), (6.0, True), (6.1, False)])
def test_a_dear_fork_makes_a_run_invalid(figures: ModuleType, fork_ms: float, valid: bool) -> None:  # noqa: FBT001
    assert figures.is_valid(fork_ms) is valid


def test_others_are_what_is_not_our_own(figures: ModuleType) -> None:
    assert figures.others(5.0, 2.0, 2.0) == 1.5
    assert figures.others(1.9, 2.0, 2.0) == 0.0


def test_mebibytes(figures: ModuleType) -> None:
    assert figures.mebibytes(3 << 20) == 3.0


def test_line_is_json_with_every_key_the_issue_names(figures: ModuleType) -> None:
    fields = dict.fromkeys(figures.Line.__dataclass_fields__, 1.23456789) | {"workload": "churn", "n": 3, "p50_s": None}
    line = json.loads(figures.Line(**fields).json())
    asked = """workload n done failed makespan_s p50_s p99_s tasks_per_s cpu_ms_per_task peak_pss_mb pss_per_agent_mb
        distinct_pids cold_start_s bare_fork_makespan_s bare_fork_tasks_per_s bare_fork_cpu_ms valid"""
    assert set(asked.split()) <= set(line)
    assert (line["workload"], line["n"], line["p50_s"], line["makespan_s"]) == ("churn", 3, None, 1.2346)
