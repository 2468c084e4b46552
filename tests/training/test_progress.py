"""What a run says while it works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moodbook.training.progress import BarDisplay, LineDisplay, display_for, epoch_line

ROW: dict[str, Any] = {
    "step": 1,
    "epoch": 3,
    "train": {"loss": 0.123456, "perplexity": 170.2, "dead_codes": 643},
    "validation": {"loss": 0.2},
    "best": True,
    "learning_rate": 2e-4,
    "seconds": 12.34,
}


def test_an_epoch_is_one_line() -> None:
    assert epoch_line(ROW) == (
        "step 1 epoch 3: loss 0.1235, perplexity 170.2, dead_codes 643 | validation loss 0.2 | 12.3 s (best)"
    )


def test_without_a_terminal_there_are_plain_lines(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+") as stream:
        display = display_for(stream)
        assert isinstance(display, LineDisplay)
        display.begin("step 1", total=10, done=4)
        display.advance(5, "loss 1.0")
        display.epoch(ROW)
        display.end()
        assert (tmp_path / "log").read_text().splitlines() == ["step 1 (4 of 10 parts done)", epoch_line(ROW)]


def test_a_terminal_shows_a_bar_with_the_figures_and_the_time_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    with (tmp_path / "log").open("w+") as stream:
        monkeypatch.setattr(stream, "isatty", lambda: True)
        display = display_for(stream)
        assert isinstance(display, BarDisplay)
        display.begin("step 1", total=10)
        display.advance(5, "epoch 3 loss 0.1 perplexity 170 dead codes 643")
        display.note("a [bracket] stays")
        display.end()
        display.end()
        stream.flush()
        shown = (tmp_path / "log").read_text()
    assert "dead codes 643" in shown
    assert "5/10" in shown
    assert "a [bracket] stays" in shown
