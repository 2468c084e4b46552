"""The front end, file to the log-mel of the first segment, beside librosa's load and melspectrogram on the same files.

python benchmarks/front_end.py [--rounds N]

Moodbook decodes the part that it needs, librosa's `load` all of the file. Both on one thread.
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import librosa
import numpy as np
from measuring import Table, hand_over, interleave, median, ratio, timed
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
    columns = ("file", "Moodbook, ms", "librosa, ms", "times as fast", "Moodbook, ms of processor time")
    columns += ("librosa, ms of processor time", "in processor time", "largest difference of the log-mel")
    table = Table("front-end", columns).begin()
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("mp3", "ogg", "flac"):
            for length, duration in LENGTHS.items():
                path = write_music(Path(folder) / f"{duration}.{suffix}", duration)
                difference = float(np.abs(ours(path)[0] - librosas(path)).max())
                sides = {
                    "ours": timed(functools.partial(ours, path)),
                    "librosa": timed(functools.partial(librosas, path)),
                }
                found = interleave(sides, options.rounds)
                faster = ratio(found["librosa"], found["ours"])
                cost = {side: median(costs) for side, costs in found.items()}
                table.add(
                    (
                        f"{suffix}, {length}",
                        f"{1e3 * cost['ours'].seconds:.0f}",
                        f"{1e3 * cost['librosa'].seconds:.0f}",
                        f"{faster.seconds:.1f}",
                        f"{1e3 * cost['ours'].processor_seconds:.0f}",
                        f"{1e3 * cost['librosa'].processor_seconds:.0f}",
                        f"{faster.processor_seconds:.1f}",
                        f"{difference:.0e}",
                    ),
                    file=suffix,
                    duration_seconds=duration,
                    ours_ms=1e3 * cost["ours"].seconds,
                    librosa_ms=1e3 * cost["librosa"].seconds,
                    ratio=faster.seconds,
                    ours_processor_ms=1e3 * cost["ours"].processor_seconds,
                    librosa_processor_ms=1e3 * cost["librosa"].processor_seconds,
                    processor_ratio=faster.processor_seconds,
                    largest_difference=difference,
                )
    hand_over(table)


if __name__ == "__main__":
    main()
