"""docs/performance.md is what `make bench` wrote."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

from moodbook.model.bundle import read_bundle

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "performance.md").read_text()
FIGURES = json.loads((ROOT / "docs" / "performance.json").read_text())


def tables() -> dict[str, list[list[str]]]:
    """Read the tables between marks, by name: headings first, then the rows."""
    found = {}
    for name, body in re.findall(r"<!-- ([a-z-]+) -->\n(.*?)<!-- end -->", PAGE, re.DOTALL):
        lines = [line.strip("| ").split(" | ") for line in body.strip().splitlines()]
        found[name] = [lines[0], *lines[2:]] if lines else []
    return found


@pytest.fixture
def runner(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location("bench_run", ROOT / "benchmarks" / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("measuring", None)


def test_every_table_is_filled_and_stands_on_figures():
    of_figures = {name: rows for found in FIGURES.values() for name, rows in found["tables"].items()}

    shown = tables()

    assert shown.keys() == of_figures.keys()
    for name, rows in shown.items():
        assert len(rows) - 1 == len(of_figures[name]) > 0, name


def test_the_ratios_shown_are_those_of_the_figures():
    for found in FIGURES.values():
        for name, figures in found["tables"].items():
            headings, *rows = tables()[name]
            for row, figure in zip(rows, figures, strict=True):
                for heading, cell in zip(headings, row, strict=False):  # Empty cells at the end are gone.
                    for what, ratio in (("times as fast", "ratio"), ("in processor time", "processor_ratio")):
                        if heading.startswith(what):
                            assert float(cell) == pytest.approx(figure[ratio], abs=0.051), (name, row)


def test_the_card_of_the_bundled_model_says_what_precisions_cost():
    reference, *others = FIGURES["precision"]["tables"]["precision"]
    metrics = read_bundle("open").config.card.metrics

    assert reference["precision"] == "f32, by torch"
    assert metrics["test"]["roc_auc_macro"] == pytest.approx(reference["roc_auc_macro"], abs=1e-4)
    assert [row["precision"] for row in others] == ["f32", "bf16", "int8"]
    for row in others:
        said = metrics[f"test, {row['precision']}"]
        assert said["roc_auc_macro"] == pytest.approx(row["roc_auc_macro"], abs=1e-4)
        assert said["codes_changed"] == pytest.approx(row["codes_changed"], abs=1e-4)
        assert said["score_change_largest"] == pytest.approx(row["largest_change"], abs=1e-4)


def test_the_interval_that_the_page_names_is_the_cards():
    interval = read_bundle("open").config.card.metrics["test"]
    low, high = re.search(r"of that figure's 95 % interval, (\.\d+) to (\.\d+)", PAGE.replace("\n", " ")).groups()

    assert float(low) == pytest.approx(interval["roc_auc_macro_low"], abs=5e-4)
    assert float(high) == pytest.approx(interval["roc_auc_macro_high"], abs=5e-4)


def test_every_benchmark_says_how_busy_the_machine_was():
    for name, found in FIGURES.items():
        assert len(found["load_average"]["before"]) == len(found["load_average"]["after"]) == 3, name
        assert found["processors_of_others"] is not None, name


def test_the_machine_is_named_by_its_features_alone():
    for found in FIGURES.values():
        assert found["machine"].keys() == {"processor", "cores", "instructions", "matrix_units", "system", "python"}


def test_a_table_goes_between_its_marks(runner):
    page = "a\n<!-- one -->\nold\n<!-- end -->\nb\n<!-- two -->\n<!-- end -->\n"
    table = {"name": "two", "columns": ["x", "y"], "rows": [["1", "\\2"]]}

    filled = runner.fill_in(page, table)

    assert filled == page.replace("<!-- two -->\n", "<!-- two -->\n| x | y |\n|---|---|\n| 1 | \\2 |\n")
    assert runner.fill_in(filled, table) == filled
    with pytest.raises(SystemExit, match="no place for the table 'three'"):
        runner.fill_in(page, {**table, "name": "three"})
