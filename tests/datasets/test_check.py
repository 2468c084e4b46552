from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.datasets.synthetic import write_bytes, write_music

from moodbook.datasets import Dataset, Track
from moodbook.datasets.check import Finding, check
from moodbook.datasets.dataset import tag_set_of
from moodbook.tags import TagSet


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("music")
    for number, name in enumerate("abc"):
        write_music(folder / f"{name}.flac", 25.0, [name], seed=number)
    return folder


@pytest.fixture
def dataset(music: Path) -> Dataset:
    """Three sound tracks, one a split."""
    rows = (("a", "train", "x"), ("b", "validation", "y"), ("c", "test", "z"))
    tracks = tuple(Track(name, music / f"{name}.flac", ("calm",), split, group) for name, split, group in rows)  # type: ignore[arg-type]
    return Dataset("sound", tracks, tag_set_of(tracks))


def plus(dataset: Dataset, *tracks: Track) -> Dataset:
    return replace(dataset, tracks=dataset.tracks + tracks)


def kinds(findings: list[Finding]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(finding.level, finding.kind, finding.track_ids) for finding in findings]


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("compare", [False, True])
def test_a_sound_data_set_has_no_findings(dataset: Dataset, decode: bool, compare: bool) -> None:
    assert check(dataset, decode=decode, compare=compare) == []


@pytest.mark.parametrize("compare", [False, True])
def test_missing_and_unreadable_files(dataset: Dataset, tmp_path: Path, compare: bool) -> None:
    tracks = [
        Track("gone", tmp_path / "gone.mp3"),
        Track("away", tmp_path / "away.mp3"),
        Track("html", write_bytes(tmp_path / "html.mp3", b"<html>not found</html>" * 50)),
        Track("empty", write_bytes(tmp_path / "empty.mp3", b"")),
    ]
    findings = check(plus(dataset, *tracks), compare=compare)
    assert kinds(findings) == [
        ("error", "unreadable", ("html",)),
        ("error", "unreadable", ("empty",)),
        ("error", "missing", ("gone", "away")),
    ]
    assert str(tmp_path / "html.mp3") in findings[0].message
    assert f"2 of 7 files are missing, the first is '{tmp_path / 'gone.mp3'}'" in findings[2].message


def test_a_file_that_breaks_off_is_found_by_decoding(dataset: Dataset, music: Path, tmp_path: Path) -> None:
    content = (music / "a.flac").read_bytes()
    cut = write_bytes(tmp_path / "cut.flac", content[: len(content) * 3 // 4])
    broken = plus(dataset, Track("cut", cut, ("calm",), "train"))
    assert ("error", "unreadable", ("cut",)) in kinds(check(broken, decode=True))


@pytest.mark.parametrize("compare", [True, False])
@pytest.mark.parametrize("kind", ["WAV", "AIFF", "AU", "CAF", "W64", "OGG"])
def test_a_file_that_is_half_there_is_found_by_its_header(
    dataset: Dataset, music: Path, tmp_path: Path, kind: str, compare: bool
) -> None:
    samples, rate = soundfile.read(music / "a.flac", dtype="int16")
    path = tmp_path / f"half.{kind.lower()}"
    soundfile.write(path, samples, rate, format=kind)
    assert check(plus(dataset, Track("whole", path, ("calm",), "train")), compare=False) == []
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    findings = check(plus(dataset, Track("half", path, ("calm",), "train")), compare=compare)
    assert kinds(findings) == [("error", "unreadable", ("half",))]


def test_the_same_recording_in_another_file_is_found(dataset: Dataset, music: Path, tmp_path: Path) -> None:
    """Another container of the same samples, so another file; its split is told, since scores suffer."""
    samples, rate = soundfile.read(music / "a.flac", dtype="int16")
    soundfile.write(tmp_path / "copy.wav", samples, rate, subtype="PCM_16")
    shutil.copy(music / "b.flac", tmp_path / "again.flac")
    findings = check(
        plus(
            dataset,
            Track("copy", tmp_path / "copy.wav", ("calm",), "test"),
            Track("again", tmp_path / "again.flac", ("calm",), "validation"),
        )
    )
    assert kinds(findings) == [
        ("warning", "duplicate-audio", ("a", "copy")),
        ("warning", "duplicate-audio", ("b", "again")),
    ]
    assert "in train and test: scores will be too good" in findings[0].message
    assert "scores" not in findings[1].message
    assert check(plus(dataset, Track("copy", tmp_path / "copy.wav", ("calm",), "test")), compare=False) == []


def test_a_group_on_two_sides_is_found(dataset: Dataset, music: Path) -> None:
    leaky = replace(dataset, tracks=(*dataset.tracks[:2], replace(dataset.tracks[2], group="x")))
    (finding,) = check(leaky, compare=False)
    assert (finding.level, finding.kind, finding.track_ids) == ("warning", "group-leak", ("a", "c"))
    assert "'x' stands in train and test" in finding.message


def test_unknown_tags_and_repeated_ids(dataset: Dataset) -> None:
    wrong = replace(
        dataset,
        tracks=(dataset.tracks[0], replace(dataset.tracks[1], track_id="a", tags=("calm", "loud")), dataset.tracks[2]),
    )
    findings = check(wrong, compare=False)
    assert kinds(findings) == [("error", "duplicate-id", ("a",)), ("error", "unknown-tag", ("a",))]
    assert "'loud'" in findings[1].message


def test_a_tag_that_a_split_lacks(dataset: Dataset) -> None:
    wide = replace(dataset, tags=TagSet(("calm", "dark")))
    findings = check(wide, compare=False)
    assert [finding.kind for finding in findings] == ["tag-without-tracks"] * 3
    assert findings[0].message.startswith("no track of train has dark")
    unsplit = replace(dataset, tracks=tuple(replace(track, split=None) for track in dataset.tracks))
    assert check(unsplit, compare=False) == []


def test_a_data_set_without_any_tag(dataset: Dataset) -> None:
    bare = replace(dataset, tracks=tuple(replace(track, tags=()) for track in dataset.tracks), tags=TagSet(()))
    (finding,) = check(bare, compare=False)
    assert (finding.level, finding.kind, finding.track_ids) == ("warning", "no-tags", ())
    assert finding.message.startswith("no track has a tag: good for step 1 only")


def test_a_name_that_the_system_refuses_is_a_missing_file(dataset: Dataset, tmp_path: Path) -> None:
    findings = check(plus(dataset, Track("long", tmp_path / ("x" * 300), ("calm",), "train")), compare=False)
    assert kinds(findings) == [("error", "missing", ("long",))]


def test_short_and_silent_tracks(dataset: Dataset, tmp_path: Path) -> None:
    write_music(tmp_path / "short.wav", 20.0, ["calm"], seed=9)
    soundfile.write(tmp_path / "silent.wav", np.zeros(25 * 22_050, np.float32), 22_050)
    shutil.copy(tmp_path / "silent.wav", tmp_path / "quiet.wav")
    names = ("short", "silent", "quiet")
    findings = check(plus(dataset, *(Track(name, tmp_path / f"{name}.wav", ("calm",), "train") for name in names)))
    assert kinds(findings) == [("warning", "short", ("short",)), ("warning", "silent", ("silent", "quiet"))]
    assert "23.75 s" in findings[0].message


def test_errors_come_first_and_progress_is_told(dataset: Dataset, tmp_path: Path) -> None:
    write_music(tmp_path / "short.wav", 2.0, ["calm"], seed=9)
    seen: list[tuple[int, int]] = []
    findings = check(
        plus(dataset, Track("short", tmp_path / "short.wav"), Track("gone", tmp_path / "gone.wav")),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert [finding.level for finding in findings] == ["error", "warning"]
    assert seen == [(done, 5) for done in range(1, 6)]
