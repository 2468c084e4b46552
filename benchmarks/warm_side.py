"""One side of `warm.py`: load a model, then tag the files whenever a line comes in, and print what that took.

    python benchmarks/warm_side.py SIDE FILE ...

SIDE is f32, bf16 or int8 (Moodbook), plain, vibenet or musicnn. Runs in the environment of its side. All files are
tagged once before the first line is answered.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

Tag = Callable[[Sequence[str]], object]


def moodbook(precision: str) -> Tag:
    from moodbook.model.tagger import Tagger

    tagger = Tagger.load(precision=precision)
    return lambda paths: list(tagger.tag_files(paths, first_segment=True))


def plain() -> Tag:
    from plain_pipeline import load

    tag = load()
    return lambda paths: [tag(path) for path in paths]


def vibenet() -> Tag:
    """Give what VibeNet's command line does with a list of files, without its table."""
    from concurrent.futures import ThreadPoolExecutor

    from vibenet import load_model
    from vibenet.core import load_audio

    network, workers = load_model(), ThreadPoolExecutor(os.cpu_count())
    return lambda paths: list(workers.map(lambda path: network.predict([load_audio(path, 16_000)], 16_000), paths))


def musicnn() -> Tag:
    """Give musicnn's network in one session for all files, its log-mel in float32.

    The package builds the network anew for each file, and its log-mel in float16 overflows.
    """
    import librosa
    import musicnn
    import numpy as np
    import tensorflow
    from musicnn import configuration, models

    tf = tensorflow.compat.v1
    tf.disable_eager_execution()
    sizes = {"sr": configuration.SR, "hop_length": configuration.FFT_HOP, "n_fft": configuration.FFT_SIZE}
    frames = int(librosa.time_to_frames(3, **sizes)) + 1
    patches = tf.placeholder(tf.float32, [None, frames, configuration.N_MELS])
    training = tf.placeholder(tf.bool)
    logits = models.define_model(patches, training, "MSD_musicnn", len(configuration.MSD_LABELS))[0]
    probabilities = tf.nn.sigmoid(logits)
    session = tf.Session()
    tf.train.Saver().restore(session, f"{Path(musicnn.__file__).parent / 'MSD_musicnn'}/")

    def tag(path: str) -> np.ndarray:
        waveform, _ = librosa.load(path, sr=configuration.SR)
        log_mel = np.log10(
            1 + 10_000 * librosa.feature.melspectrogram(y=waveform, n_mels=configuration.N_MELS, **sizes).T
        )
        whole = log_mel[: len(log_mel) // frames * frames].reshape(-1, frames, configuration.N_MELS)
        return session.run(probabilities, {patches: whole, training: False}).mean(axis=0)

    return lambda paths: [tag(path) for path in paths]


def main() -> None:
    side, *paths = sys.argv[1:]
    # What a network's runtime has to say must not stand among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    loaders = {"plain": plain, "vibenet": vibenet, "musicnn": musicnn}
    tag = loaders[side]() if side in loaders else moodbook(side)
    tag(paths)
    for _ in sys.stdin:
        start, processor = time.perf_counter(), time.process_time()
        tag(paths)
        cost = {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - processor}
        print(json.dumps(cost), file=answers, flush=True)


if __name__ == "__main__":
    main()
