"""R9: what is written is read back by other programs, and nothing else in the file has changed."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import pytest
from mutagen.asf import ASF
from mutagen.flac import FLAC
from mutagen.id3 import ID3
from mutagen.mp4 import MP4

from moodbook import audio
from moodbook.library.filetags import Proposal, apply_tasks, build_plan, open_journal, plan_undo, read_fields
from moodbook.library.filetags.fields import is_scores, moods
from moodbook.library.filetags.journal import read_run

from .conftest import KINDS  # isort: skip

MusicFile = Callable[..., Path]
WORDS = ("calm", "dark", "film noir", "träumerisch", "静か", "rock/pop", "a; b", "wehmütig", "Ω", "x" * 300)
HELD = ((), (), ("gloomy",), ("One", "Two"))
"""Moods that a file has before: mostly none."""


def propose(path: Path, words: tuple[str, ...]) -> Proposal:
    scores = {word: 1 / (n + 2) for n, word in enumerate(WORDS)}
    return Proposal(path, words, scores, "macleod", "ab" * 32)


def set_mood(path: Path, kind: str, held: tuple[str, ...]) -> None:
    """Give a file a mood as another program would."""
    if not held:
        return
    if kind.startswith("mp3"):
        tags = ID3(path, translate=False)
        frame = mutagen.id3.TMOO if kind.endswith("4") else mutagen.id3.TXXX
        extra = {} if kind.endswith("4") else {"desc": "MOOD"}
        tags.add(frame(encoding=1, text=list(held), **extra))
        tags.save(path, v2_version=int(kind[-1]), v23_sep=None)
        return
    sound = mutagen.File(path)
    if kind in ("wav", "aiff"):
        sound.tags.add(mutagen.id3.TMOO(encoding=3, text=list(held)))
    elif kind in ("aac", "alac"):
        sound["----:com.apple.iTunes:mood"] = [word.encode() for word in held]
    else:
        sound["WM/Mood" if kind == "wma" else "Mood"] = list(held)
    sound.save()


def mutagen_view(path: Path) -> dict[str, Any]:
    """Everything but our fields, as mutagen alone reads it."""
    sound = mutagen.File(path)
    view = {}
    for key in sound.tags.keys():  # noqa: SIM118 (mutagen's tags iterate over pairs)
        if "mood" not in key.lower() and key != "TMOO":
            view[key] = repr(sound.tags[key])
    if isinstance(sound, FLAC):
        view["pictures"] = [picture.write() for picture in sound.pictures]
        view["blocks"] = [block.write() for block in sound.metadata_blocks if block.code not in (1, 4)]
    return view


def mutagen_mood(path: Path, kind: str) -> list[str]:
    if kind == "mp3-2.3":
        (frame,) = [frame for frame in ID3(path).getall("TXXX") if frame.desc.lower() == "mood"]
        return list(frame.text)
    sound = mutagen.File(path)
    if kind in ("mp3-2.4", "wav", "aiff"):
        return list(sound.tags["TMOO"].text)
    if isinstance(sound, MP4):
        (key,) = [key for key in sound.tags if key.lower() == "----:com.apple.itunes:mood"]
        return [bytes(value).decode() for value in sound[key]]
    return [str(value) for value in sound["WM/Mood" if isinstance(sound, ASF) else "mood"]]


def ffprobe_view(path: Path) -> dict[str, Any]:
    """Tags, chapters and the audio's own hash, as FFmpeg reads them."""
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_chapters", "-show_streams", str(path)]
    view = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    tags = view["format"].get("tags", {})
    for stream in view["streams"]:
        tags = {**tags, **stream.get("tags", {})}
    keep = {key: value for key, value in tags.items() if "mood" not in key.lower() and key not in ("TMOO", "encoder")}
    mood = [value for key, value in tags.items() if key.lower() in ("mood", "tmoo", "wm/mood")]
    return {
        "tags": keep,
        "mood": mood,
        "chapters": view["chapters"],
        "streams": [(stream["codec_name"], stream["index"]) for stream in view["streams"]],
        "duration": view["format"].get("duration"),
    }


def exiftool_view(folder: Path) -> dict[str, dict[str, Any]]:
    """What exiftool reads of every file of a folder, pictures too; every key says which copy of a name it is."""
    command = ["exiftool", "-json", "-b", "-a", "-G0:4", "-r", "-ext", "*", str(folder)]
    listing = subprocess.run(command, capture_output=True, check=False).stdout
    return {Path(view["SourceFile"]).name: view for view in json.loads(listing)}


def without_files(view: dict[str, Any]) -> Counter[tuple[str, str]]:
    """What exiftool says of a file but for its system data, lengths that follow from the tags, and the mood."""
    skipped = ("File:", "ExifTool:", "Composite:", "SourceFile")
    lengths = ("MovieDataOffset", "MediaDataOffset", "MovieDataSize", "PaddingLength", "MetadataLength", "Padding")
    # Where a name occurs several times, exiftool counts: our fields come first, and the others' numbers grow.
    return Counter(
        (re.sub(r"Copy\d+:", "", key), str(value))
        for key, value in view.items()
        if not key.startswith(skipped) and not is_mood(key, value) and not any(word in key for word in lengths)
    )


def is_mood(key: str, value: Any) -> bool:
    """Whether exiftool speaks of one of our fields; of a text frame of the user's it shows the name in the value."""
    return "mood" in key.lower() or str(value).lower().startswith("(mood")


def round_trip(music_file: MusicFile, tmp_path: Path, kind: str, seed: int) -> tuple[Path, Path, list[str]]:
    """Write, write again, and leave the file of before and of after; give also what the mood should be."""
    rng = random.Random(f"{kind} {seed}")
    held = rng.choice(HELD)
    words = tuple(rng.sample(WORDS, rng.randrange(1, 6)))
    name = f"{kind}-{seed}{KINDS[kind][0]}"
    path = music_file(kind, f"after/{name}", folder=tmp_path, art_bytes=rng.choice((0, 100, 60_000, 300_000)))
    set_mood(path, kind, held)
    before = tmp_path / "before" / name
    before.parent.mkdir(exist_ok=True)
    shutil.copy2(path, before)
    policy = rng.choice(("merge", "overwrite")) if held else "empty"
    expected = [*held, *words] if policy == "merge" else list(words)
    folder = tmp_path / "journal"

    plan = build_plan([propose(path, words)], policy)
    assert not plan.failures
    with open_journal(folder, "write") as journal:
        (result,) = apply_tasks(plan.tasks, journal)
    assert (result.status, result.reason) == ("written", "")
    assert (result.before, result.after) == (list(held), expected)

    # A second time there is nothing to do, and nothing is done.
    data = path.read_bytes()
    again = build_plan([propose(path, words)], policy)
    assert not again.tasks
    assert not again.failures
    assert path.read_bytes() == data
    return before, path, expected


def check(before: Path, after: Path, kind: str, expected: list[str]) -> None:
    """Compare both files with readers that are not ours, and ours."""
    assert mutagen_mood(after, kind) == expected
    assert mutagen_view(after) == mutagen_view(before)
    assert audio.payload_hash(after) == audio.payload_hash(before)
    assert np.array_equal(audio.load(after, allow_partial=True), audio.load(before, allow_partial=True))
    (scores,) = [json.loads(values[0]) for name, values in read_fields(after).items() if is_scores(name)]
    assert (scores["model"], scores["sha256"]) == ("macleod", "ab" * 32)
    assert scores["scores"]["calm"] == 0.5
    _check_bytes(before, after, kind)


def _check_bytes(before: Path, after: Path, kind: str) -> None:
    """Frames, pictures and unknown parts stand in the new file byte by byte."""
    data = after.read_bytes()
    if kind.startswith("mp3") or kind in ("wav", "aiff"):
        opener = ID3 if kind.startswith("mp3") else {"wav": mutagen.wave.WAVE, "aiff": mutagen.aiff.AIFF}[kind]
        loaded = opener(before, known_frames={}, translate=False, load_v1=False)
        frames = loaded.unknown_frames if kind.startswith("mp3") else loaded.tags.unknown_frames
        others = [frame for frame in frames if b"TMOO" not in frame[:4] and b"M\0O\0O\0D" not in frame]
        assert len(others) >= 12
        assert all(frame in data for frame in others)
    if kind.startswith("mp3"):
        assert data[-128:] == before.read_bytes()[-128:]
        assert data[-128:].startswith(b"TAG")
        assert b"XMBX" in data
    if kind == "wav":
        assert b"INFOINAM" in data
    old = before.read_bytes()
    if kind in ("aac", "alac"):
        assert data.count(b"gnre") == old.count(b"gnre")
    if kind == "wavpack":
        assert data[-128:].startswith(b"TAG") == old[-128:].startswith(b"TAG")


def undo(after: Path, folder: Path, before: Path) -> None:
    (name,) = [path.stem for path in folder.glob("*.jsonl")]
    plan = plan_undo(read_run(folder, name))
    with open_journal(folder, "undo", undoes=name) as journal:
        (result,) = apply_tasks(plan.tasks, journal)
    assert result.status == "written"
    assert read_fields(after) == read_fields(before)
    assert moods(read_fields(after)) == result.after
    assert mutagen_view(after) == mutagen_view(before)


@pytest.mark.parametrize("kind", KINDS)
def test_five_of_each_container(kind: str, music_file: MusicFile, tmp_path: Path) -> None:
    for seed in range(5):
        before, after, expected = round_trip(music_file, tmp_path / str(seed), kind, seed)
        check(before, after, kind, expected)
        undo(after, tmp_path / str(seed) / "journal", before)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_sixty_of_each_container(kind: str, music_file: MusicFile, tmp_path: Path) -> None:
    for seed in range(60):
        before, after, expected = round_trip(music_file, tmp_path / str(seed), kind, 1_000 + seed)
        check(before, after, kind, expected)
        undo(after, tmp_path / str(seed) / "journal", before)
        before.unlink()
        after.unlink()


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
@pytest.mark.parametrize("kind", KINDS)
def test_ffprobe_reads_the_mood_and_everything_else_as_before(kind: str, music_file: MusicFile, tmp_path: Path) -> None:
    before, after, expected = round_trip(music_file, tmp_path, kind, 1)
    one, other = ffprobe_view(before), ffprobe_view(after)
    one.pop("mood")
    mood = other.pop("mood")
    if kind in ("mp3-2.4", "mp3-2.3", "aac", "alac"):
        assert other["chapters"]
    assert one == other
    # FFmpeg joins several values with ";" or gives the first alone, depending on the container; of a wav file with an
    # INFO list it reads no text from the ID3 tag.
    assert (mood == []) if kind == "wav" else mood[0].startswith(expected[0])


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
def test_exiftool_reads_the_mood_and_everything_else_as_before(music_file: MusicFile, tmp_path: Path) -> None:
    expected = {}
    for kind in KINDS:
        _, after, expected[kind] = round_trip(music_file, tmp_path, kind, 2)
    before, after = exiftool_view(tmp_path / "before"), exiftool_view(tmp_path / "after")
    assert before.keys() == after.keys()
    assert len(before) == len(KINDS)
    for name in before:
        assert without_files(before[name]) == without_files(after[name]), name
        kind = name.rsplit("-2", 1)[0]
        mood = " ".join(str(value) for key, value in after[name].items() if is_mood(key, value))
        # exiftool 12 takes a wavpack file with an ID3v1 tag for an mp3, and reads of it that tag alone.
        assert kind == "wavpack" or expected[kind][0] in mood, name
