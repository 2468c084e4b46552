"""Tag files as one would write it down from the paper: librosa, then torch, eager, float32.

    python benchmarks/plain_pipeline.py FILE ...

What Moodbook is timed against. The bundled model's weights in the plain torch modules, all segments of a file in one
batch, the mean over them. The scores are Moodbook's to 1e-4, but where rounding decides a code. Prints the three
strongest tags of each file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import librosa
import numpy as np
import torch

from moodbook.features import SAMPLE_RATE, SEGMENT_FRAMES, SILENCE
from moodbook.model.bundle import read_bundle
from moodbook.networks.tagger import build_network


def load() -> Callable[[str], np.ndarray]:
    """Give what turns a file into the probabilities of the bundled model's tags."""
    bundle = read_bundle("open")
    network = build_network(bundle.network, len(bundle.tags))
    network.load_state_dict({name: torch.from_numpy(np.array(w)) for name, w in bundle.weights.items()}, strict=False)
    network.eval()
    network.fix_vqvae()

    def tag(path: str) -> np.ndarray:
        waveform, _ = librosa.load(path, sr=SAMPLE_RATE, res_type="soxr_hq")
        power = librosa.feature.melspectrogram(y=waveform, sr=SAMPLE_RATE)
        log_mel = np.log(1 + 10_000 * power) * (1.8 / 19.0114) - 0.9
        frames = log_mel.shape[1]
        count = -(-frames // SEGMENT_FRAMES)
        padded = np.pad(log_mel, ((0, 0), (0, count * SEGMENT_FRAMES - frames)), constant_values=SILENCE)
        segments = padded.reshape(len(log_mel), count, SEGMENT_FRAMES).transpose(1, 0, 2).astype(np.float32)
        weights = np.minimum(frames - SEGMENT_FRAMES * np.arange(count), SEGMENT_FRAMES) / SEGMENT_FRAMES
        with torch.inference_mode():
            taggram = network(torch.from_numpy(np.ascontiguousarray(segments))).logits.sigmoid().numpy()
        scores: np.ndarray = np.average(taggram, axis=0, weights=weights)
        return scores

    return tag


def main() -> None:
    tag, tags = load(), read_bundle("open").tags.names
    for path in sys.argv[1:]:
        scores = tag(path)
        best = ", ".join(f"{tags[number]} {scores[number]:.4f}" for number in np.argsort(-scores)[:3])
        print(f"{path}: {best}")


if __name__ == "__main__":
    main()
