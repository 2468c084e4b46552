"""Music to measure with: the example recordings, cut and repeated to any length, in any format that libsndfile writes.

The recordings come with the project (examples/recordings); nothing is fetched.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import soundfile
import soxr

RECORDINGS = Path(__file__).parents[1] / "examples" / "recordings"
RATE = 44_100
FORMATS = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
    "flac": ("FLAC", "PCM_16"),
}
_BLOCK = 1 << 14  # libsndfile's Vorbis encoder needs a stack as large as what it is given.


@functools.cache
def recordings() -> tuple[np.ndarray, ...]:
    """Read the example recordings: stereo at 44.1 kHz, in the order of their names."""
    found = []
    for path in sorted(RECORDINGS.glob("*.opus")):
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        stereo = np.repeat(samples, 2, axis=1)[:, :2] if samples.shape[1] == 1 else samples[:, :2]
        found.append(soxr.resample(stereo, rate, RATE).astype(np.float32))
    return tuple(found)


def write_music(path: Path, seconds: float, start: int = 0) -> Path:
    """Write a track: the recordings one after the other, again and again, from recording number `start` on.

    Args:
        path: Where to; its ending, one of `FORMATS`, says how.
        seconds: How long.
        start: Tracks with different numbers are different music; each ten a second later than the ten before.
    """
    container, subtype = FORMATS[path.suffix[1:]]
    pieces = recordings()
    left = round(seconds * RATE)
    number, skipped = start, start // len(pieces) * RATE
    with soundfile.SoundFile(path, "w", RATE, 2, subtype=subtype, format=container) as sound:
        while left:
            part = pieces[number % len(pieces)][skipped : skipped + left]
            skipped = 0
            for first in range(0, len(part), _BLOCK):
                sound.write(part[first : first + _BLOCK])
            left -= len(part)
            number += 1
    return path
