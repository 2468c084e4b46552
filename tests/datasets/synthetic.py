"""Small copies of published data sets: their real layout and list format, with generated music."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

SPLIT_NAMES = ("train", "validation", "test")
MOODS = ("calm", "dark", "energetic", "happy", "sad", "space")
ARCHIVE_FOLDERS = 3
"""Tracks are spread over folders 00, 01 and 02, as the real ones are over 00 to 99 (track number modulo 100)."""


def write_music(path: Path, seconds: float, moods: Sequence[str], seed: int, sample_rate: int = 22_050) -> None:
    """Write a file whose sound depends on its moods: each mood is a chord of its own, over a little noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * sample_rate), dtype=np.float32) / np.float32(sample_rate)
    waveform = np.float32(0.01) * rng.standard_normal(len(time), dtype=np.float32)
    for mood in moods:
        # A stable pitch for each name, between 110 and 1,760 Hz; the beat differs from mood to mood too.
        number = int.from_bytes(hashlib.sha256(mood.encode()).digest()[:4], "big")
        pitch = 110.0 * 2 ** (4 * (number % 997) / 997)
        beat = 1.0 + np.sin(np.float32(2 * np.pi * (0.5 + number % 7)) * time + np.float32(rng.uniform(0, 6)))
        for harmonic in (1, 2):
            angle = np.float32(2 * np.pi * pitch * harmonic) * time + np.float32(rng.uniform(0, 6))
            waveform += np.float32(0.08 / harmonic) * beat * np.sin(angle)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, sample_rate)


def write_jamendo(
    folder: Path,
    *,
    counts: tuple[int, int, int] = (12, 6, 6),
    moods: Sequence[str] = MOODS,
    seconds: float = 25.0,
    quality: str = "audio-low",
    name: str = "autotagging_moodtheme",
    category: str = "mood/theme",
    audio: bool = True,
) -> list[str]:
    """Write a copy of MTG-Jamendo's layout: five splits, CRLF lists with one to three tags a track, and the audio.

    Every mood is in every split. In published split ``n`` the tracks are dealt out from another start, by artist.

    Args:
        folder: Where ``data/`` and the audio go.
        counts: Tracks of train, validation and test.
        moods: The tag axis.
        seconds: Length of a track.
        quality: ``audio`` (``NN/ID.mp3``) or ``audio-low`` (``NN/ID.low.mp3``).
        name: How the list files begin.
        category: What stands before ``---`` in front of a tag.
        audio: Whether to write audio files at all.

    Returns:
        The audio paths below the quality's folder.
    """
    total = sum(counts)
    lines, paths = [], []
    for index in range(total):
        number = 100 * (index + 1) + index % ARCHIVE_FOLDERS
        chosen = [moods[(index + step) % len(moods)] for step in range(1 + index % min(3, len(moods)))]
        listed = f"{number % 100:02d}/{number}.mp3"
        path = listed if quality == "audio" else listed.replace(".mp3", ".low.mp3")
        if audio:
            write_music(folder / quality / path, seconds, chosen, seed=index)
        paths.append(path)
        tags = [f"{category}---{mood}" for mood in sorted(chosen)]
        fields = [f"track_{number:07d}", f"artist_{index:06d}", f"album_{index:06d}", listed, f"{seconds:.1f}", *tags]
        lines.append("\t".join(fields))
    header = "\t".join(("TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS"))
    for variant in range(5):
        rotated = lines[variant:] + lines[:variant]
        start = 0
        for split, count in zip(SPLIT_NAMES, counts, strict=True):
            rows = sorted(rotated[start : start + count])
            start += count
            write_text(
                folder / "data" / "splits" / f"split-{variant}" / f"{name}-{split}.tsv",
                "".join(f"{row}\r\n" for row in (header, *rows)),
            )
    write_text(
        folder / "data" / "tags" / "moodtheme_split.txt", "".join(f"{category}---{mood}\n" for mood in sorted(moods))
    )
    return paths


def write_jamendo_release(served: Path, source: Path, *, quality: str = "audio-low") -> dict[str, str]:
    """Lay a copy written by `write_jamendo` out as its servers do: lists, and one tar a folder with checksum lists.

    Args:
        served: The folder that is served.
        source: The copy.
        quality: As in `write_jamendo`.

    Returns:
        The git blob id of each list.
    """
    for path in sorted((source / "data").rglob("*")):
        if path.is_file():
            write_bytes(served / path.relative_to(source), path.read_bytes())
    tars, tracks = [], []
    for folder in sorted((source / quality).iterdir()):
        archive = served / "autotagging_moodtheme" / quality / f"autotagging_moodtheme_{quality}-{folder.name}.tar"
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive, "w") as tar:
            tar.add(folder, folder.name)
        tars.append(f"{sha256(archive.read_bytes())} {archive.name}\n")
        tracks += [f"{sha256(path.read_bytes())} {folder.name}/{path.name}\n" for path in sorted(folder.iterdir())]
    for kind, lines in (("tars", tars), ("tracks", tracks)):
        write_text(served / "data" / "download" / f"autotagging_moodtheme_{quality}_sha256_{kind}.txt", "".join(lines))
    return {
        path.relative_to(served).as_posix(): git_blob(path.read_bytes())
        for path in sorted((served / "data").rglob("*"))
        if path.is_file()
    }


def write_magnatagatune(folder: Path, *, clips_per_folder: int = 6, audio: bool = True) -> list[str]:
    """Write a copy of MagnaTagATune's layout: quoted, tab-separated annotations of 60 tags, and clips in 0 to f.

    Tag ``t00`` is the most frequent, ``t50`` to ``t59`` are rare; in each folder the last clip has a rare tag only, and
    one clip of folder 6 is one of the three that are empty in the real set.

    Returns:
        The clips' paths.
    """
    tags = [f"t{number:02d}" for number in range(60)]
    rows = ["\t".join(f'"{name}"' for name in ("clip_id", *tags, "mp3_path"))]
    clips = []
    for number in range(16 * clips_per_folder):
        letter, position = f"{number // clips_per_folder:x}", number % clips_per_folder
        clip = f"{letter}/artist_{number % 7}-album-{position:02d}-piece_{number}-0-29.mp3"
        regular = number - number // clips_per_folder
        marked = {tag for k, tag in enumerate(tags[:50]) if regular % (k + 1) == 0 or (regular - k) % 16 < 2}
        if position == clips_per_folder - 1:
            marked = {tags[50 + number // clips_per_folder % 10]}
        if (letter, position) == ("6", 0):
            clip = "6/norine_braun-now_and_zen-08-gently-117-146.mp3"
        clips.append(clip)
        rows.append("\t".join(f'"{value}"' for value in (number, *(int(tag in marked) for tag in tags), clip)))
        if audio:
            write_music(folder / clip, 1.0, sorted(marked)[:2], seed=number)
    write_text(folder / "annotations_final.csv", "".join(f"{row}\n" for row in rows))
    return clips


def write_magnatagatune_release(served: Path, source: Path, clips: Sequence[str]) -> None:
    """Lay a copy written by `write_magnatagatune` out as its server does: one zip, cut into three parts."""
    write_bytes(served / "annotations_final.csv", (source / "annotations_final.csv").read_bytes())
    whole = served / "whole.zip"
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for clip in clips:
            archive.write(source / clip, clip)
    content = whole.read_bytes()
    third = len(content) // 3 + 1
    for part in range(3):
        write_bytes(served / f"mp3.zip.00{part + 1}", content[part * third : (part + 1) * third])
    whole.unlink()


def write_text(path: Path, text: str) -> Path:
    """Write a text as it is, line ends included."""
    return write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def sha256(content: bytes) -> str:
    """Give the SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def git_blob(content: bytes) -> str:
    """Give git's id of a content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
