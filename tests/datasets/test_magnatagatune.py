from __future__ import annotations

from pathlib import Path

import pytest
from tests.datasets.synthetic import write_magnatagatune, write_text

from moodbook.datasets import SPLITS, open_dataset
from moodbook.datasets.magnatagatune import UNREADABLE, artist_of, read_annotations
from moodbook.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_magnatagatune(tmp_path, audio=False)
    return tmp_path


@pytest.mark.parametrize(
    ("variant", "letters", "clips"),
    [
        # Six clips a folder; the last of each has no top-50 tag, and one of folder 6 is empty in the real set.
        ("taiinn", ("0123456789abc", "d", "ef"), (64, 5, 10)),
        ("standard", ("0123456789ab", "c", "def"), (71, 6, 18)),
        ("clean", ("0123456789ab", "c", "def"), (59, 5, 15)),
    ],
)
def test_the_published_splits(folder: Path, variant: str, letters: tuple[str, ...], clips: tuple[int, ...]) -> None:
    dataset = open_dataset(f"magnatagatune:{variant}", folder)
    for split, where, count in zip(SPLITS, letters, clips, strict=True):
        tracks = dataset.split(split)
        assert {track.track_id[0] for track in tracks} == set(where)
        assert len(tracks) == count
        assert all(track.path == folder / f"{track.track_id}.mp3" for track in tracks)


def test_taiinn_is_the_default(folder: Path) -> None:
    assert open_dataset("magnatagatune", folder).sha256 == open_dataset("magnatagatune:taiinn", folder).sha256


def test_the_tags_are_the_fifty_most_frequent_first_the_most_frequent(folder: Path) -> None:
    dataset = open_dataset("magnatagatune:standard", folder)
    annotated = read_annotations(folder / "annotations_final.csv").values()
    counts = [sum(tag in tags for tags in annotated) for tag in dataset.tags]
    assert len(dataset.tags) == 50
    assert dataset.tags.names[0] == "t00"
    assert counts == sorted(counts, reverse=True)
    assert dataset.dropped_tags == tuple(f"t{number}" for number in range(50, 60))


def test_the_unreadable_clips_are_named(folder: Path) -> None:
    dataset = open_dataset("magnatagatune:standard", folder)
    assert dataset.dropped_tracks == ("6/norine_braun-now_and_zen-08-gently-117-146",)
    assert len(UNREADABLE) == 3
    assert not {track.track_id for track in dataset.tracks} & set(dataset.dropped_tracks)


def test_the_artist_is_the_group() -> None:
    assert artist_of("f/american_bach_soloists-j_s__bach-01-bwv54-30-59.mp3") == "american_bach_soloists"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1: expected the columns clip_id"),
        ("clip_id,a,mp3_path\n", "line 1: expected the columns clip_id"),
        ("clip_id\ta\tmp3_path\n", "a header and no clip"),
        ("clip_id\ta\tmp3_path\n1\t0\n", "line 2: 2 fields, expected 3"),
        ("clip_id\ta\tmp3_path\n1\t0\t../x.mp3\n", "line 2: the clip '../x.mp3' is not FOLDER/NAME.mp3"),
        ("clip_id\ta\tmp3_path\n1\t0\tg/x.mp3\n", "line 2: the clip 'g/x.mp3'"),
        ("clip_id\ta\tmp3_path\n1\t0\t0/x.mp3\n2\t1\t0/x.mp3\n", "line 3: the clip '0/x.mp3'.*stands twice"),
    ],
)
def test_wrong_annotations_are_named_with_their_line(tmp_path: Path, text: str, reason: str) -> None:
    path = write_text(tmp_path / "annotations_final.csv", text)
    with pytest.raises(DataError, match=reason):
        read_annotations(path)
