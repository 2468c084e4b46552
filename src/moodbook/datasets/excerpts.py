"""A small copy of a data set, to be carried to another machine: an excerpt of each track, mono, in Opus.

The copy is an index (`moodbook.datasets.index`) beside its audio, so every command takes it. Excerpts are lossy: at
20 kb/s the log-mel of game music moves by .056 (root mean square, on its scale of 1.8), so they are for training, not
for measuring.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import soxr
from jaxtyping import Float32

from moodbook import audio
from moodbook.datasets.cache import SkippedTrack
from moodbook.datasets.dataset import Dataset, Track
from moodbook.datasets.index import TAG_SEPARATOR
from moodbook.errors import DataError, MoodbookError
from moodbook.features import SAMPLE_RATE
from moodbook.files import whole_file

INDEX = "index.csv"
CODED_RATE = 24_000
"""Samples a second of the copies: the rate of Opus next above that of the features."""


def write_excerpts(
    dataset: Dataset,
    folder: Path,
    *,
    seconds: float,
    kilobits: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[SkippedTrack, ...]:
    """Write an excerpt of each track and the index of them all; what is there already is kept.

    Args:
        dataset: The tracks; their ids, tags, splits and groups go with them.
        folder: Where to.
        seconds: Length of an excerpt; shorter tracks are copied whole. It begins anywhere, always at the same place.
        kilobits: Thousand bits a second.
        progress: Told of tracks done and to do.

    Returns:
        The tracks that cannot be read, with the reason; they are left out of the index.

    Raises:
        DataError: The folder cannot be written.
    """
    written: list[Track] = []
    skipped: list[SkippedTrack] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(thread_name_prefix="excerpts") as pool:
            copies = pool.map(lambda track: _copy(track, folder, seconds, kilobits), dataset.tracks)
            for number, (track, reason) in enumerate(zip(dataset.tracks, copies, strict=True), start=1):
                if reason is None:
                    written.append(track)
                else:
                    skipped.append(SkippedTrack(track.track_id, reason))
                if progress:
                    progress(number, len(dataset.tracks))
        with whole_file(folder / INDEX) as part, part.open("w", encoding="utf-8", newline="") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow(["track_id", "path", "tags", "split", "group"])
            for track in written:
                tags = TAG_SEPARATOR.join(track.tags)
                lines.writerow([track.track_id, _name(track), tags, track.split or "", track.group or ""])
    except OSError as error:
        raise DataError(f"cannot write excerpts into '{folder}': {error.strerror or error}; choose another") from error
    return tuple(skipped)


def _copy(track: Track, folder: Path, seconds: float, kilobits: int) -> str | None:
    """Write the excerpt of a track; give the reason where it cannot be read."""
    place = folder / _name(track)
    if place.is_file():
        return None
    try:
        duration = audio.probe(track.path).duration_seconds or 0.0
        waveform = _excerpt(track, max(0.0, duration - seconds), seconds)
    except MoodbookError as error:
        return str(error)
    if not len(waveform):
        return "it holds no sound where its header says that it does"
    with whole_file(place) as part:
        _write_opus(part, soxr.resample(waveform, SAMPLE_RATE, CODED_RATE, quality="HQ"), kilobits)
    return None


def _excerpt(track: Track, latest: float, seconds: float) -> Float32[np.ndarray, " samples"]:
    """Read no further into a track than the excerpt goes.

    Args:
        track: The track.
        latest: The latest second at which the excerpt may begin.
        seconds: Its length.
    """
    chance = int.from_bytes(hashlib.sha256(track.track_id.encode()).digest()[:4]) / 2**32
    start = round(chance * latest * SAMPLE_RATE)
    end = start + round(seconds * SAMPLE_RATE)
    parts, position = [np.zeros(0, dtype=np.float32)], 0
    for chunk in audio.stream(track.path):
        parts.append(chunk[max(0, start - position) : max(0, end - position)])
        position += len(chunk)
        if position >= end:
            break
    return np.concatenate(parts)


def _write_opus(place: Path, waveform: Float32[np.ndarray, " samples"], kilobits: int) -> None:
    samples = (np.clip(waveform, -1.0, 1.0) * 32767).round().astype(np.int16)
    with av.open(str(place), "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=CODED_RATE, layout="mono")
        stream.bit_rate = 1000 * kilobits
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = CODED_RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _name(track: Track) -> str:
    """Name the file of an excerpt: a track's id may hold what a file system refuses."""
    return hashlib.sha256(track.track_id.encode()).hexdigest()[:16] + ".opus"
