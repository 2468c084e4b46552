"""A bundle's self-test: a synthetic input that any machine makes alike, and what the weights answer to it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int16

from moodbook.errors import ModelError
from moodbook.features import N_MELS, SEGMENT_FRAMES
from moodbook.model.card import SelfTest
from moodbook.model.engine import Engine
from moodbook.model.network_engine import NetworkEngine
from moodbook.tags import TagSet

TOLERANCE = 1e-3
"""Largest difference of a probability that another processor's rounding may make."""
_SEEDS = 8  # Inputs among which `record` chooses.
_BANDS, _FRAMES = 8, 16  # Size of one even patch of the synthetic log-mel.


@dataclass(frozen=True)
class SelfTestResult:
    """How a replayed self-test went.

    Attributes:
        same_codes: Whether every code is as recorded; True where the system has no codes.
        largest_difference: Of any probability, to the recorded one.
    """

    same_codes: bool
    largest_difference: float

    @property
    def passed(self) -> bool:
        """Whether the weights answer as they did when the bundle was written."""
        return self.same_codes and self.largest_difference <= TOLERANCE


def synthetic_log_mel(seed: int) -> Float32[np.ndarray, "1 128 1024"]:
    """Make a log-mel segment of even patches with a little noise, the same to the last bit on every machine.

    It takes the generator's raw integers, whose stream numpy promises to keep, and turns 24 bits of each into a float32
    without rounding.
    """
    patches = (N_MELS // _BANDS, SEGMENT_FRAMES // _FRAMES)
    raw = np.random.PCG64(seed).random_raw(patches[0] * patches[1] + N_MELS * SEGMENT_FRAMES)
    unit = (raw >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    levels = unit[: patches[0] * patches[1]].reshape(patches)
    noise = unit[patches[0] * patches[1] :].reshape(N_MELS, SEGMENT_FRAMES)
    coarse = np.repeat(np.repeat(levels, _BANDS, axis=0), _FRAMES, axis=1)
    segment: np.ndarray = np.float32(1.5) * coarse + np.float32(0.25) * noise - np.float32(0.9)
    return segment[None]


def record_self_test(engine: Engine, tags: TagSet) -> SelfTest:
    """Run a synthetic input through an engine and write down what comes out.

    Of the first seeds it takes the one whose closest call between two codes is least close, so that the rounding of
    another processor changes no code.

    Raises:
        ModelError: The weights give probabilities that are not numbers in [0, 1].
    """
    seed = 0
    if engine.network.vqvae is not None:
        seed = max(range(_SEEDS), key=lambda candidate: float(engine.margins(synthetic_log_mel(candidate)).min()))
    output = engine.run(synthetic_log_mel(seed))
    probabilities = output.probabilities[0]
    if not (np.isfinite(probabilities).all() and (probabilities >= 0).all() and (probabilities <= 1).all()):
        raise ModelError("the weights give probabilities that are not numbers in [0, 1]; the training went wrong")
    return SelfTest(
        seed=seed,
        codes_sha256=_hash(output.codes),
        probabilities={tag: round(float(value), 6) for tag, value in zip(tags, probabilities, strict=True)},
    )


def replay_self_test(engine: NetworkEngine, tags: TagSet, expected: SelfTest) -> SelfTestResult:
    """Run a recorded self-test again.

    Args:
        engine: In f32 precision; bf16 changes codes.
        tags: The tags of the bundle.
        expected: What the bundle recorded.
    """
    output = engine.run(synthetic_log_mel(expected.seed))
    difference = np.abs(output.probabilities[0] - tags.vector(expected.probabilities))
    return SelfTestResult(_hash(output.codes) == expected.codes_sha256, float(difference.max()))


def _hash(codes: Int16[np.ndarray, "1 bands steps"] | None) -> str | None:
    return None if codes is None else hashlib.sha256(codes.astype("<i2").tobytes()).hexdigest()
