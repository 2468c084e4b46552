from __future__ import annotations

import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from moodbook.datasets.dataset import SPLITS, Dataset, Track, tag_set_of
from moodbook.datasets.splits import assign_splits, group_of
from moodbook.errors import DataError


def make(rows: list[tuple[str, tuple[str, ...], str | None]]) -> Dataset:
    tracks = tuple(Track(name, Path(name), tags, None, group) for name, tags, group in rows)
    return Dataset("made", tracks, tag_set_of(tracks))


def regular(tracks: int, groups: int) -> Dataset:
    tags = "abcdefg"
    return make(
        [
            (f"t{n}", tuple({tags[n % 7], tags[(n // 7) % 5]}), f"g{n % groups}" if groups else None)
            for n in range(tracks)
        ]
    )


def where(dataset: Dataset) -> dict[str, set[str]]:
    """Give the splits that have each tag."""
    having: dict[str, set[str]] = defaultdict(set)
    for track in dataset.tracks:
        for tag in track.tags:
            having[tag].add(str(track.split))
    return having


@given(
    groups=st.lists(
        st.lists(st.sets(st.sampled_from("abcdef"), max_size=3), min_size=1, max_size=4), min_size=6, max_size=40
    ),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_what_every_split_promises(groups: list[list[set[str]]], seed: int) -> None:
    rows = [
        (f"{group}-{number}", tuple(sorted(tags)), f"g{group}")
        for group, members in enumerate(groups)
        for number, tags in enumerate(members)
    ]
    dataset = make(rows)
    try:
        split = assign_splits(dataset, seed)
    except DataError:
        reject()
    assert [track.track_id for track in split.tracks] == [row[0] for row in rows]
    sides: dict[str, set[str]] = defaultdict(set)
    holders: dict[str, set[str]] = defaultdict(set)
    for track in split.tracks:
        sides[group_of(track)].add(str(track.split))
        for tag in track.tags:
            holders[tag].add(group_of(track))
    assert all(len(found) == 1 for found in sides.values())
    assert set(SPLITS) == set.union(*sides.values())
    having = where(split)
    assert all("train" in having[tag] for tag in holders)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("groups", [0, 60])
def test_shares_and_tags_come_out_as_asked(seed: int, groups: int) -> None:
    dataset = assign_splits(regular(420, groups), seed)
    counts = Counter(track.split for track in dataset.tracks)
    for split, share in zip(SPLITS, (0.7, 0.15, 0.15), strict=True):
        assert counts[split] / 420 == pytest.approx(share, abs=0.03)
        for tag, total in dataset.tag_counts().items():
            having = sum(tag in track.tags for track in dataset.split(split))
            assert having / total == pytest.approx(share, abs=0.07), (split, tag)


def test_a_rare_tag_goes_to_train_then_validation_then_test() -> None:
    common = [(f"c{n}", ("common",), None) for n in range(30)]
    for copies, expected in ((1, {"train"}), (2, {"train", "validation"}), (3, set(SPLITS)), (4, set(SPLITS))):
        rare = [(f"r{n}", ("rare",), None) for n in range(copies)]
        for seed in range(10):
            assert where(assign_splits(make(common + rare), seed))["rare"] == expected


def test_tags_that_share_their_groups_are_mended() -> None:
    """Dealing the pairs one by one would leave `between` in validation alone."""
    common = [(f"c{n}", ("common",), None) for n in range(30)]
    pairs = [
        ("1", ("one",), None),
        ("2", ("one", "between"), None),
        ("3", ("two", "between"), None),
        ("4", ("two",), None),
    ]
    for seed in range(20):
        having = where(assign_splits(make(common + pairs), seed))
        assert all("train" in having[tag] for tag in ("one", "two", "between"))


def test_a_group_stays_whole_and_a_track_is_no_group() -> None:
    """A track without a group is not mixed up with a group that has its name."""
    rows = [("x", ("a",), None), ("y", ("a",), "x"), ("z", ("a",), "x")]
    tracks = make(rows + [(f"n{n}", ("a",), None) for n in range(20)]).tracks
    assert len({group_of(track) for track in tracks}) == 22


def test_another_seed_gives_another_split_and_the_same_seed_the_same() -> None:
    dataset = regular(100, 0)
    hashes = [assign_splits(dataset, seed).sha256 for seed in range(5)]
    assert len(set(hashes)) == 5
    assert [assign_splits(dataset, seed).sha256 for seed in range(5)] == hashes


def test_the_split_is_the_same_in_every_process() -> None:
    """Python's own hashes differ from run to run; none may reach the result."""
    program = (
        "from tests.datasets.test_splits import regular\n"
        "from moodbook.datasets.splits import assign_splits\n"
        "print(assign_splits(regular(100, 20), 3).sha256)"
    )
    for hash_seed in ("0", "1"):
        finished = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": "."},
        )
        assert finished.stdout.strip() == assign_splits(regular(100, 20), 3).sha256


def test_splits_that_are_there_are_replaced() -> None:
    once = assign_splits(regular(100, 0), 0)
    assert assign_splits(once, 1).sha256 == assign_splits(regular(100, 0), 1).sha256


def test_music_without_tags_is_split_by_size() -> None:
    dataset = assign_splits(make([(str(n), (), None) for n in range(100)]))
    assert Counter(track.split for track in dataset.tracks) == {"train": 70, "validation": 15, "test": 15}


def test_a_share_of_nothing_leaves_a_split_empty() -> None:
    dataset = assign_splits(regular(100, 0), shares=(0.9, 0.1, 0.0))
    assert {track.split for track in dataset.tracks} == {"train", "validation"}


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.5, 0.5, 0.5), (1.2, -0.1, -0.1), (0.0, 0.5, 0.5)])
def test_shares_must_be_shares(shares: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="share"):
        assign_splits(regular(30, 0), shares=shares)


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(DataError, match="2 groups cannot fill 3 splits"):
        assign_splits(regular(100, 2))
    with pytest.raises(DataError, match="too few tracks a tag to fill the split validation, test"):
        assign_splits(make([(str(n), (str(n),), None) for n in range(10)]))
