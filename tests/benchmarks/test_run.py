"""`make bench` keeps what it finds, and what it had where something to measure is missing."""

from __future__ import annotations

import json

import pytest

PAGE = "# Page\n\n<!-- speed -->\n| x |\n|---|\n| old |\n<!-- end -->\n"
BENCHMARK = """
import sys
from measuring import Table, hand_over
table = Table("speed", ("x",)).begin()
table.add(("new",), x=1)
hand_over(table, missing={missing})
print("called with", *sys.argv[1:])
"""


@pytest.fixture
def bench(benchmark, tmp_path, monkeypatch):
    runner = benchmark("run")
    (tmp_path / "performance.md").write_text(PAGE)
    (tmp_path / "performance.json").write_text("{}")
    monkeypatch.setenv("PYTHONPATH", str(runner.HERE))
    for name, value in (("PAGE", "performance.md"), ("FIGURES", "performance.json"), ("HERE", "programs/.")):
        monkeypatch.setattr(runner, name, tmp_path / value)
    monkeypatch.setattr(runner, "BENCHMARKS", ("speed",))
    (tmp_path / "programs").mkdir()

    def run(missing: list[str], *arguments: str) -> int:
        monkeypatch.setattr(runner.sys, "argv", ["run.py", *arguments])
        (tmp_path / "programs" / "speed.py").write_text(BENCHMARK.format(missing=missing))
        return runner.main()

    return run


def test_tables_and_figures_are_kept_with_the_load_of_the_machine(bench, tmp_path):
    assert bench([]) == 0

    assert "| new |" in (tmp_path / "performance.md").read_text()
    figures = json.loads((tmp_path / "performance.json").read_text())["speed"]
    assert figures["tables"] == {"speed": [{"x": 1}]}
    assert figures["load_average"].keys() == {"before", "after"}
    assert all(len(loads) == 3 for loads in figures["load_average"].values())
    assert figures["processors_of_others"] >= 0


def test_what_others_do_is_told_from_what_was_started_here(benchmark, tmp_path, monkeypatch):
    runner = benchmark("run")
    stat, clock, own = tmp_path / "stat", iter([100.0, 110.0]), iter([7.0, 10.0])
    ticks = runner.os.sysconf("SC_CLK_TCK")
    monkeypatch.setattr(runner, "STAT", stat)
    monkeypatch.setattr(runner.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(runner, "own_seconds", lambda: next(own))

    stat.write_text("cpu  0 0 0 5 5 0 0 0 0 0\n")
    others = runner.OtherPrograms()
    stat.write_text(f"cpu  {6 * ticks} 0 {ticks} 99 99 0 0 {ticks} 0 0\n")

    assert others.processors() == 0.5  # Eight seconds, three of them ours, in ten.


def test_sizes_and_rounds_are_passed_on(bench, capsys):
    assert bench([], "--rounds", "2", "speed") == 0

    assert "called with --rounds 2\n" in capsys.readouterr().out


def test_without_all_there_is_to_measure_the_tables_stay_and_it_says_what_is_missing(bench, tmp_path, capsys):
    assert bench(["the data: set MOODBOOK_DATA to its folder"]) == 1

    assert (tmp_path / "performance.md").read_text() == PAGE
    assert json.loads((tmp_path / "performance.json").read_text()) == {}
    said = capsys.readouterr().err
    assert "the tables stay as they are: speed: the data: set MOODBOOK_DATA to its folder" in said
