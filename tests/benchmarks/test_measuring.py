"""What a benchmark measures with: wall and processor time of every side, ratios round by round."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def measuring(benchmark):
    return benchmark("measuring")


def test_a_side_carries_its_processor_time(measuring, monkeypatch):
    clock, processor = iter([1.0, 3.0]), iter([10.0, 13.5])
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(measuring.time, "process_time", lambda: next(processor))

    assert measuring.timed(lambda: None)() == measuring.Cost(seconds=2.0, processor_seconds=3.5)


def test_ratios_are_medians_over_the_rounds_by_the_clock_and_in_processor_time(measuring):
    slower = [measuring.Cost(4, 8), measuring.Cost(9, 6), measuring.Cost(5, 3)]
    faster = [measuring.Cost(2, 2), measuring.Cost(3, 6), measuring.Cost(5, 1)]

    assert measuring.ratio(slower, faster) == measuring.Ratio(seconds=2, processor_seconds=3)
    assert measuring.median(slower) == measuring.Cost(5, 6)


def test_every_second_round_goes_the_other_way_round(measuring):
    order = []
    sides = {name: lambda name=name: order.append(name) or len(order) for name in "abc"}

    found = measuring.interleave(sides, 2)

    assert "".join(order) == "abccba"
    assert found == {"a": [1, 6], "b": [2, 5], "c": [3, 4]}


def test_a_program_carries_the_processor_time_of_all_of_it(measuring):
    finished = measuring.run_program([measuring.sys.executable, "-S", "-c", "sum(range(3_000_000))"])

    assert finished.processor_seconds > 0
    assert finished.peak_mib > 0
    assert isinstance(finished, measuring.Cost)


def test_what_is_missing_is_handed_over(measuring, capsys):
    measuring.hand_over(measuring.Table("one", ("x",)), missing=["the data: set FOLDER"])

    found = json.loads(capsys.readouterr().out.removeprefix(measuring.RESULT_MARK))
    assert found["missing"] == ["the data: set FOLDER"]
    assert [table["name"] for table in found["tables"]] == ["one"]
