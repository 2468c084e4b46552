"""Measure the front end, file to first segment, against librosa on the same files.

    python benchmarks/front_end.py [RECORDING]

RECORDING is any music; it is repeated to 30 s and 5 min. Without it, noise and notes are made. Both sides run
interleaved, so that a busy machine slows both; the ratio is what counts. Prints a table and, last, the figures as JSON.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import soundfile

from moodbook import audio
from moodbook.features import SAMPLE_RATE, segments

ROUNDS = 15
RATE = 44_100
FORMATS = {"mp3": ("MP3", "MPEG_LAYER_III"), "ogg": ("OGG", "VORBIS"), "flac": ("FLAC", "PCM_16")}
LENGTHS = {"30 s": 30, "5 min": 300}


def read_music(path: str | None) -> np.ndarray:
    """Give stereo music at 44.1 kHz."""
    if path is not None:
        mono = librosa.resample(audio.load(path, allow_partial=True), orig_sr=SAMPLE_RATE, target_sr=RATE)
        return np.stack([mono, 0.7 * np.roll(mono, 300)], axis=1).astype(np.float32)
    t = np.arange(30 * RATE) / RATE
    phase = 2 * np.pi * np.cumsum(220 * 2 ** (np.floor(4 * t) % 12 / 12)) / RATE
    breath = np.random.default_rng(0).standard_normal((len(t), 2))
    notes = np.stack([np.sin(phase), np.sin(3 * phase)], axis=1)
    return (0.3 * np.exp(-4 * (4 * t % 1))[:, None] * (notes + 0.2 * breath)).astype(np.float32)


def write(path: Path, music: np.ndarray, seconds: int, container: str, subtype: str) -> None:
    with soundfile.SoundFile(path, "w", RATE, 2, subtype=subtype, format=container) as sound:
        left = seconds * RATE
        while left:
            part = music[:left]
            for start in range(0, len(part), 1 << 14):
                sound.write(part[start : start + (1 << 14)])
            left -= len(part)


def ours(path: Path) -> np.ndarray:
    return segments(audio.load_first_segment(path), first_only=True).log_mel


def librosas(path: Path) -> np.ndarray:
    waveform, _ = librosa.load(path, sr=SAMPLE_RATE, res_type="soxr_hq")
    power = librosa.feature.melspectrogram(y=waveform, sr=SAMPLE_RATE)[:, :1024]
    return np.log(1 + 10_000 * power) * (1.8 / 19.0114) - 0.9


def milliseconds(call: Callable[[Path], object], path: Path) -> float:
    start = time.perf_counter()
    call(path)
    return 1e3 * (time.perf_counter() - start)


def main() -> None:
    music = read_music(sys.argv[1] if len(sys.argv) > 1 else None)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (container, subtype) in FORMATS.items():
            for length, seconds in LENGTHS.items():
                path = Path(folder) / f"{name}-{seconds}"
                write(path, music, seconds, container, subtype)
                difference = float(np.abs(ours(path)[0] - librosas(path)).max())
                times: dict[str, list[float]] = {"ours": [], "librosa": []}
                for _ in range(ROUNDS):
                    times["ours"].append(milliseconds(ours, path))
                    times["librosa"].append(milliseconds(librosas, path))
                medians = {side: statistics.median(values) for side, values in times.items()}
                rows.append(
                    {
                        "format": name,
                        "length": length,
                        "ours_ms": round(medians["ours"], 1),
                        "librosa_ms": round(medians["librosa"], 1),
                        "fastest_ours_ms": round(min(times["ours"]), 1),
                        "ratio": round(medians["librosa"] / medians["ours"], 2),
                        "largest_difference": difference,
                    }
                )
    print("| format | length | Moodbook, ms | librosa, ms | times as fast | largest difference |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['format']} | {row['length']} | {row['ours_ms']:.0f} | {row['librosa_ms']:.0f} "
            f"| {row['ratio']:.1f} | {row['largest_difference']:.1e} |"
        )
    print(json.dumps({"machine": platform.machine(), "cores": os.cpu_count(), "rounds": ROUNDS, "rows": rows}))


if __name__ == "__main__":
    main()
