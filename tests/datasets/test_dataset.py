from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.datasets.synthetic import sha256

from moodbook.datasets import Dataset, Track
from moodbook.errors import DataError
from moodbook.tags import TagSet


def track(name: str, tags: tuple[str, ...] = ("a",), split: str | None = "train", group: str | None = None) -> Track:
    return Track(name, Path(f"/music/{name}.mp3"), tags, split, group)  # type: ignore[arg-type]


@pytest.fixture
def dataset() -> Dataset:
    tracks = (track("1", ("b", "a")), track("2", ("c",), "test"), track("3", ("a",), "validation"), track("4", ()))
    return Dataset("some", tracks, TagSet(("c", "b", "a")))


def test_a_split_keeps_the_order(dataset: Dataset) -> None:
    assert [track.track_id for track in dataset.split("train")] == ["1", "4"]
    assert [track.track_id for track in dataset.split("test")] == ["2"]


def test_an_unknown_split_lists_those_there_are(dataset: Dataset) -> None:
    with pytest.raises(DataError, match=r"'dev'.*train, validation, test"):
        dataset.split("dev")


def test_tracks_without_split_are_counted(dataset: Dataset) -> None:
    without = replace(dataset, tracks=(*dataset.tracks, track("5", split=None)))
    with pytest.raises(DataError, match="1 of 5 tracks have no split"):
        without.split("train")


def test_ground_truth_follows_the_tag_axis(dataset: Dataset) -> None:
    truth = dataset.ground_truth(dataset.tracks)
    expected = [[False, True, True], [True, False, False], [False, False, True], [False, False, False]]
    np.testing.assert_array_equal(truth, expected)
    assert dataset.ground_truth(()).shape == (0, 3)


def test_ground_truth_refuses_an_unknown_tag(dataset: Dataset) -> None:
    with pytest.raises(DataError, match=r"track 'x'.*unknown tag 'z'.*c, b, a"):
        dataset.ground_truth([track("x", ("z",))])


def test_the_hash_is_of_the_content(dataset: Dataset) -> None:
    tracks = dataset.tracks
    moved = replace(dataset, tracks=tuple(replace(track, path=Path("/elsewhere")) for track in tracks))
    turned = replace(dataset, tracks=(replace(tracks[0], tags=("a", "b")), *tracks[1:]))
    assert dataset.sha256 == moved.sha256 == turned.sha256 == replace(dataset, name="other").sha256
    changed = [
        replace(dataset, tags=TagSet(("a", "b", "c"))),
        replace(dataset, tracks=tracks[::-1]),
        replace(dataset, tracks=(replace(tracks[0], tags=("a",)), *tracks[1:])),
        replace(dataset, tracks=(replace(tracks[0], split="test"), *tracks[1:])),
        replace(dataset, tracks=(replace(tracks[0], group="x"), *tracks[1:])),
        replace(dataset, tracks=(replace(tracks[0], track_id="9"), *tracks[1:])),
    ]
    assert len({dataset.sha256, *(other.sha256 for other in changed)}) == 7


def test_the_hash_is_the_same_on_every_machine() -> None:
    dataset = Dataset("x", (track("1", ("ü", "a"), "train", "g"),), TagSet(("a", "ü")))
    assert dataset.sha256 == sha256(b'["a","\\u00fc"]\n["1",["a","\\u00fc"],"train","g"]\n')


def test_rare_tags_are_left_out_and_named(dataset: Dataset) -> None:
    kept = dataset.with_min_tracks(2)
    assert kept.tags.names == ("a",)
    assert kept.dropped_tags == ("c", "b")
    assert kept.dropped_tracks == ("2",)
    assert [(track.track_id, track.tags) for track in kept.tracks] == [("1", ("a",)), ("3", ("a",)), ("4", ())]
    assert dataset.with_min_tracks(1) is dataset


def test_leaving_every_tag_out_is_refused(dataset: Dataset) -> None:
    with pytest.raises(DataError, match=r"no tag has 3 tracks \(the largest, 'a', has 2\)"):
        dataset.with_min_tracks(3)
