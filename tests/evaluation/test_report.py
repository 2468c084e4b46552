"""The report: one well-formed file that needs nothing else and says what the verdict says."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moodbook.errors import DataError
from moodbook.evaluation.charts import precision_recall_panel
from moodbook.evaluation.errors_seen import find_confusions, rank_tracks
from moodbook.evaluation.judge import judge
from moodbook.evaluation.reference import Reference
from moodbook.evaluation.report import report_page, write_report
from moodbook.evaluation.verdict import System
from moodbook.tags import TagSet

VOID = {"meta"}


class Checked(HTMLParser):
    """Notes unbalanced elements, every address, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.addresses: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href", "action"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def case(simulated: Callable[..., Any]) -> tuple[Reference, System, System]:
    given = simulated(12, tracks=300, tags=8, skill=0.8, plain=True)
    reference = Reference(given.ground_truth, given.tags, given.track_ids, given.artists)
    return (
        reference,
        System("<b>mine</b> & more", given.probabilities, given.decisions, given.thresholds),
        System("theirs", given.probabilities**2),
    )


def page_of(reference: Reference, *systems: System) -> str:
    verdict = judge(reference.ground_truth, systems, reference.tags, artists=reference.artists, resamples=30)
    return report_page(verdict, reference, systems[0])


def test_the_page_is_well_formed_and_needs_nothing_else(case: tuple[Reference, System, System]):
    reference, mine, theirs = case
    page = page_of(reference, mine, theirs)
    checked = Checked()
    checked.feed(page)
    assert checked.open == []
    assert checked.wrong == []
    assert checked.addresses == []
    assert not re.search(r"https?://|@import|url\(|<script|<link|<img", page)
    assert "<b>mine" not in page
    assert "prefers-color-scheme:dark" in page
    assert 'name="viewport"' in page


def test_the_page_shows_every_tag_score_and_worst_track(case: tuple[Reference, System, System]):
    reference, mine, theirs = case
    verdict = judge(reference.ground_truth, [mine, theirs], reference.tags, artists=reference.artists, resamples=30)
    page = report_page(verdict, reference, mine)
    for one in verdict.systems[0].scores.per_tag:
        assert f"{one.tag}: PR-AUC {one.pr_auc:.4f}" in page
        intervals = verdict.systems[0].per_tag[one.tag]
        numbers = "".join(
            f"<span class=number>{value:.4f}<small>[{ends.low:.3f}, {ends.high:.3f}]</small></span>"
            for value, ends in ((one.roc_auc, intervals.roc_auc), (one.pr_auc, intervals.pr_auc))
        )
        assert f"{numbers}<span class=number>{one.support}</span>" in page
    assert page.count('<svg class="panel"') == len(reference.tags)
    assert page.count('<svg class="plot"') == 2
    for column in verdict.systems[0].columns:
        assert column.meaning in page
    assert "rows not keyed" in page
    assert "over artists" in page
    worst = rank_tracks(reference.ground_truth, mine.probabilities, 1)[0]
    assert reference.track_ids is not None
    assert reference.track_ids[worst.row] in page


def test_every_system_is_audited_and_compared_on_the_page_and_the_first_in_detail(
    case: tuple[Reference, System, System],
):
    reference, mine, theirs = case
    page = page_of(reference, System("first", mine.probabilities), theirs, System("third", mine.probabilities + 1))
    audit = page[page.index("<h2>Audit</h2>") : page.index("<h2>Scores</h2>")]
    parts = dict(part.split("</h3>") for part in audit.split("<h3>")[1:])
    assert list(parts) == ["first", "theirs", "third"]
    assert ["outside unit interval" in part for part in parts.values()] == [False, False, True]
    for pair in ("first minus theirs", "first minus third", "theirs minus third"):
        assert page.count(f"<h3>{pair}</h3>") == 1
    assert "What follows is about <strong>first</strong> alone" in page
    assert "What follows" not in page_of(reference, mine)


def test_scores_that_are_no_probabilities_get_no_calibration(case: tuple[Reference, System, System]):
    reference, mine, _ = case
    page = page_of(reference, System("logits", mine.probabilities * 20 - 10))
    assert "calibration is undefined" in page
    assert page.count('<svg class="plot"') == 1


def test_a_hard_case_still_gives_a_page():
    truth = np.zeros((6, 3), dtype=bool)
    truth[:2, 0] = True
    truth[:, 2] = True
    reference = Reference(truth, TagSet(("a", "b", "c")))
    page = page_of(reference, System("constant", np.full((6, 3), 0.5)))
    assert "undefined" in page
    assert "row 0" in page
    checked = Checked()
    checked.feed(page)
    assert (checked.open, checked.wrong) == ([], [])


def test_only_tracks_that_count_are_shown(case: tuple[Reference, System, System]):
    reference, mine, _ = case
    assert reference.track_ids is not None
    worst = rank_tracks(reference.ground_truth, mine.probabilities, 1)[0].row
    keep = np.ones(300, dtype=bool)
    keep[worst] = False
    verdict = judge(reference.ground_truth, [mine], reference.tags, keep=keep, resamples=0)
    assert reference.track_ids[worst] not in report_page(verdict, reference, mine, keep)


def test_the_file_is_whole_or_absent(tmp_path: Path, case: tuple[Reference, System, System]):
    reference, mine, _ = case
    verdict = judge(reference.ground_truth, [mine], reference.tags, resamples=0)
    write_report(tmp_path / "r.html", verdict, reference, mine)
    assert (tmp_path / "r.html").read_text(encoding="utf-8").endswith("</html>\n")
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]
    with pytest.raises(DataError, match="cannot write the report"):
        write_report(tmp_path / "r.html" / "r.html", verdict, reference, mine)


def test_a_drawn_curve_ends_at_the_tags_frequency():
    truth = np.array([True, False, True, False])
    panel = precision_recall_panel(truth, np.array([0.9, 0.8, 0.7, 0.1]), "0.83", "calm")
    points = [tuple(map(float, point.split(","))) for point in re.search(r'points="([^"]+)"', panel)[1].split()]
    # (recall, 1 - sqrt(precision)) in hundredths: 1/1 at recall .5, then 2/3 at recall 1.
    assert points[0] == (50.0, 0.0)
    assert points[-1] == (100.0, pytest.approx(100 * (1 - (2 / 3) ** 0.5), abs=0.1))


def test_confusions_worked_by_hand():
    #          a  b
    truth = np.array([[1, 1], [1, 0], [1, 0], [0, 0], [0, 0], [0, 1]], dtype=bool)
    truth = np.repeat(truth, 5, axis=0)
    scores = np.zeros((30, 2))
    scores[truth[:, 0], 1] = 0.9  # Whatever is a draws the score of b.
    found = find_confusions(truth, scores)
    # b is on a third of all tracks and on a third of those with a: together as often as by chance.
    assert found.lift[0, 1] == pytest.approx(1.0)
    assert found.pull[0, 1] == 1.0
    assert found.pull[1, 0] == 0.5
    assert found.tracks[0, 1] == 10
    assert np.isnan(np.diag(found.pull)).all()


def test_pairs_on_too_few_tracks_say_nothing():
    truth = np.array([[True, False]] * 3 + [[False, True]] * 20 + [[False, False]] * 7)
    found = find_confusions(truth, np.random.default_rng(0).random((30, 2)))
    assert np.isnan(found.pull[0, 1])
    assert not np.isnan(found.pull[1, 0])


def test_the_worst_track_is_the_one_whose_tags_score_lowest():
    truth = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], dtype=bool)
    scores = np.array([[0.9, 0.1], [0.01, 0.7], [0.5, 0.8], [0.2, 0.2]])
    ranks = rank_tracks(truth, scores, 10)
    assert [track.row for track in ranks] == [1, 0, 2]  # The track without tags is not ranked.
    assert ranks[0].tags == ((0, 0.125),)
    assert ranks[0].instead == ((1, 0.625),)
    assert ranks[0].mean_percentile == 0.125
