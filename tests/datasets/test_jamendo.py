from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.datasets.synthetic import MOODS, git_blob, write_bytes, write_jamendo

from moodbook.datasets import SPLITS, open_dataset
from moodbook.datasets.jamendo import SUBSETS
from moodbook.datasets.jamendo_pins import LIST_BLOBS
from moodbook.errors import DataError


def test_the_full_lists_give_the_published_counts_and_ground_truth(shared_data: Path) -> None:
    folder = shared_data / "mediaeval2019" / "official"
    dataset = open_dataset("jamendo-moodtheme", folder)
    assert [len(dataset.split(split)) for split in SPLITS] == [9949, 3802, 4231]
    listed = (folder / "moodtheme_split.txt").read_text().split()
    assert [f"mood/theme---{tag}" for tag in dataset.tags] == listed
    assert len(dataset.tags) == 56
    truth = np.load(folder / "groundtruth-test.npy", allow_pickle=False)
    np.testing.assert_array_equal(dataset.ground_truth(dataset.split("test")), truth)
    train = dataset.split("train")
    assert sum("happy" in track.tags for track in train) == 927
    groups = [{track.group for track in dataset.split(split)} for split in SPLITS]
    assert len(set.union(*groups)) == sum(map(len, groups))


def test_the_pins_are_those_of_the_real_lists(shared_data: Path) -> None:
    folder = shared_data / "mediaeval2019" / "official"
    for split in SPLITS:
        content = (folder / f"autotagging_moodtheme-split0-{split}.tsv").read_bytes()
        assert git_blob(content) == LIST_BLOBS[f"data/splits/split-0/autotagging_moodtheme-{split}.tsv"]
    content = (folder / "moodtheme_split.txt").read_bytes()
    assert git_blob(content) == LIST_BLOBS["data/tags/moodtheme_split.txt"]


@pytest.mark.parametrize("variant", ["", ":0", ":1", ":2", ":3", ":4"])
def test_every_published_split_is_read(tmp_path: Path, variant: str) -> None:
    write_jamendo(tmp_path, audio=False)
    dataset = open_dataset(f"jamendo-moodtheme{variant}", tmp_path)
    assert [len(dataset.split(split)) for split in SPLITS] == [12, 6, 6]
    assert dataset.tags.names == tuple(sorted(MOODS))
    start = int(variant[1:] or 0)
    expected = {f"track_{100 * (n % 24 + 1) + n % 24 % 3:07d}" for n in range(start, start + 12)}
    assert {track.track_id for track in dataset.split("train")} == expected
    assert {len(track.tags) for track in dataset.tracks} == {1, 2, 3}


@pytest.mark.parametrize("quality", ["audio", "audio-low"])
@pytest.mark.parametrize("beside", [False, True], ids=["own-folder", "beside-lists"])
def test_either_quality_is_found(tmp_path: Path, quality: str, beside: bool) -> None:
    paths = write_jamendo(tmp_path, quality=quality, counts=(3, 3, 3), audio=False)
    for path in paths:
        write_bytes(tmp_path / path if beside else tmp_path / quality / path, b"music")
    dataset = open_dataset("jamendo-moodtheme", tmp_path)
    assert all(track.path.is_file() for track in dataset.tracks)
    assert len({track.path for track in dataset.tracks}) == 9


@pytest.mark.parametrize("name", ["jamendo-genre", "jamendo-instrument"])
def test_a_subset_without_tag_list_has_the_tags_that_occur(tmp_path: Path, name: str) -> None:
    write_jamendo(tmp_path, name=SUBSETS[name].lists, category="genre", moods=("rock", "ambient"), audio=False)
    dataset = open_dataset(name, tmp_path)
    assert dataset.name == name
    assert dataset.tags.names == ("ambient", "rock")


def test_top50_mixes_categories_and_has_its_own_tag_list(tmp_path: Path) -> None:
    write_jamendo(tmp_path, name="autotagging_top50tags", category="genre", moods=("rock", "ambient"), audio=False)
    tag_list = tmp_path / "data" / "tags" / "top50.txt"
    tag_list.write_text("genre---rock\ninstrument---piano\ngenre---ambient\n")
    assert open_dataset("jamendo-top50", tmp_path).tags.names == ("rock", "piano", "ambient")


def change(text: str, replacement: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "data" / "splits" / "split-0" / "autotagging_moodtheme-validation.tsv"
        content = path.read_bytes().decode()
        assert text in content
        path.write_bytes(content.replace(text, replacement, 1).encode())

    return apply


def remove_list(folder: Path) -> None:
    (folder / "data" / "splits" / "split-0" / "autotagging_moodtheme-validation.tsv").unlink()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (change("TRACK_ID\t", "ID\t"), r"validation\.tsv, line 1: the header is \['ID'"),
        (change("mood/theme---happy", "mood/theme---none"), r"the tag 'none' is not in the tag list"),
        (change("00/", "../"), r"the path '\.\./1300\.mp3' is not NN/ID\.mp3"),
        (change("track_0001300", "track_0000100"), r"'track_0000100' stands in .*train\.tsv, line 2 already"),
        (change("\tartist_000012", ""), r"line 2: 5 fields, expected at least 6"),
        (remove_list, "is not in .*moodbook data fetch jamendo-moodtheme"),
    ],
)
def test_a_damaged_list_is_named(tmp_path: Path, damage: Callable[[Path], None], reason: str) -> None:
    write_jamendo(tmp_path, audio=False)
    damage(tmp_path)
    with pytest.raises(DataError, match=reason):
        open_dataset("jamendo-moodtheme", tmp_path)


def test_repeated_tags_count_once(tmp_path: Path) -> None:
    write_jamendo(tmp_path, audio=False)
    change("\tmood/theme---calm\r\n", "\tmood/theme---calm\tmood/theme---calm\r\n")(tmp_path)
    assert all(len(set(track.tags)) == len(track.tags) for track in open_dataset("jamendo-moodtheme", tmp_path).tracks)
