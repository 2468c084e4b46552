"""The front end, file to the log-mel of the first segment, beside librosa's load and melspectrogram on the same files.

python benchmarks/front_end.py [--rounds N]

Moodbook decodes the part that it needs, librosa's `load` all of the file. Both on one thread.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import tempfile
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import librosa
import numpy as np
from measuring import Table, hand_over, interleave, ratio, seconds
from music import write_music

from moodbook import audio
from moodbook.features import SAMPLE_RATE, segments

LENGTHS = {"30 s": 30, "5 min": 300}


def ours(path: Path) -> np.ndarray:
    return segments(audio.load_first_segment(path), first_only=True).log_mel


def librosas(path: Path) -> np.ndarray:
    waveform, _ = librosa.load(path, sr=SAMPLE_RATE, res_type="soxr_hq")
    power = librosa.feature.melspectrogram(y=waveform, sr=SAMPLE_RATE)[:, :1024]
    return np.log(1 + 10_000 * power) * (1.8 / 19.0114) - 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    table = Table(
        "front-end", ("file", "Moodbook, ms", "librosa, ms", "times as fast", "largest difference of the log-mel")
    ).begin()
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("mp3", "ogg", "flac"):
            for length, duration in LENGTHS.items():
                path = write_music(Path(folder) / f"{duration}.{suffix}", duration)
                difference = float(np.abs(ours(path)[0] - librosas(path)).max())
                sides = {
                    "ours": seconds(functools.partial(ours, path)),
                    "librosa": seconds(functools.partial(librosas, path)),
                }
                found = interleave(sides, options.rounds)
                faster = ratio(found["librosa"], found["ours"])
                ms = {side: 1e3 * statistics.median(values) for side, values in found.items()}
                table.add(
                    (
                        f"{suffix}, {length}",
                        f"{ms['ours']:.0f}",
                        f"{ms['librosa']:.0f}",
                        f"{faster:.1f}",
                        f"{difference:.0e}",
                    ),
                    file=suffix,
                    duration_seconds=duration,
                    ours_ms=ms["ours"],
                    librosa_ms=ms["librosa"],
                    ratio=faster,
                    largest_difference=difference,
                )
    hand_over(table)


if __name__ == "__main__":
    main()
