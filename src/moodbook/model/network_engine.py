"""What every engine is: checked log-mel in, codes and probabilities out, whatever it computes on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int16

from moodbook.errors import DataError, ModelError
from moodbook.features import N_MELS, SEGMENT_FRAMES
from moodbook.model.precision import Precision
from moodbook.model.weights import POPULARITY_PROBABILITIES
from moodbook.networks.config import LATENT_FRAMES, NetworkConfig, PopularityConfig, VQVAEConfig


@runtime_checkable
class System(Protocol):
    """What an engine needs of a bundle."""

    @property
    def network(self) -> NetworkConfig:
        """The whole system."""

    @property
    def weights(self) -> Mapping[str, Float32[np.ndarray, "*_"]]:
        """Its weights by name, as `moodbook.model.weights.weight_shapes` lists them."""


@dataclass(frozen=True)
class EngineOutput:
    """What the engine makes of log-mel segments.

    Attributes:
        codes: Number of the nearest codebook vector of each latent vector; None where the system has no VQ-VAE.
        probabilities: In [0, 1], columns in the order of the bundle's tags.
    """

    codes: Int16[np.ndarray, "segments bands steps"] | None
    probabilities: Float32[np.ndarray, "segments tags"]


class NetworkEngine(ABC):
    """A network ready to run: log-mel segments to codes and probabilities.

    Attributes:
        network: The whole system.
        precision: What its products are computed in; the codebook look-up is float32 in every precision.
        codebook: The codebook vectors, where the system has a VQ-VAE.

    Args:
        system: A bundle, or anything else that has its network and weights.
        precision: What it computes in.
    """

    def __init__(self, system: System, precision: Precision) -> None:
        self.network = system.network
        self.precision = precision
        self._weights = system.weights
        if self.network.vqvae is not None:
            self.codebook = self._weights["vqvae.quantizer.codebook"]

    def run(self, log_mel: Float32[np.ndarray, "segments 128 1024"]) -> EngineOutput:
        """Turn log-mel segments into codes and probabilities.

        Raises:
            DataError: The segments are not 128 x 1,024.
        """
        self._check_log_mel(log_mel)
        if self.network.vqvae is None:
            return EngineOutput(None, self._head(log_mel))
        codes = self.encode(log_mel)
        return EngineOutput(codes, self.probabilities(codes))

    def run_each(self, parts: Sequence[Float32[np.ndarray, "_ 128 1024"]]) -> list[EngineOutput]:
        """Turn the segments of several tracks into codes and probabilities, together, and hand them back apart.

        Raises:
            DataError: The segments are not 128 x 1,024.
        """
        if not parts:
            return []
        output = self.run(np.concatenate(parts))
        cuts = np.cumsum([len(part) for part in parts])[:-1]
        probabilities = np.split(output.probabilities, cuts)
        codes = [None] * len(parts) if output.codes is None else np.split(output.codes, cuts)
        return [EngineOutput(*both) for both in zip(codes, probabilities, strict=True)]

    def encode(self, log_mel: Float32[np.ndarray, "segments 128 1024"]) -> Int16[np.ndarray, "segments bands steps"]:
        """Turn log-mel segments into codes.

        Raises:
            DataError: The segments are not 128 x 1,024.
            ModelError: The system has no VQ-VAE.
        """
        self._check_log_mel(log_mel)
        codes = np.empty((len(log_mel), self._vqvae().bands, LATENT_FRAMES), dtype=np.int16)
        self._encode_into(codes, log_mel)
        return codes

    def probabilities(self, codes: Int16[np.ndarray, "segments bands steps"]) -> Float32[np.ndarray, "segments tags"]:
        """Turn codes into probabilities.

        Raises:
            DataError: The codes are not of this codebook, or have other axes.
            ModelError: The system has no VQ-VAE.
        """
        expected = (self._vqvae().bands, LATENT_FRAMES)
        if codes.ndim != 3 or codes.shape[1:] != expected:
            raise DataError(f"expected codes of segments x {expected[0]} x {expected[1]}, got shape {codes.shape}")
        size = len(self.codebook)
        if codes.size and not 0 <= codes.min() <= codes.max() < size:
            raise DataError(
                f"expected codes from 0 to {size - 1}, got {codes.min()} to {codes.max()}; use the model that made them"
            )
        return self._head(codes.astype(np.int32))

    @abstractmethod
    def prepare(self) -> None:
        """Build what tagging a file needs, rather than when its first segment comes.

        Raises:
            ModelError: The runtime refuses the network.
        """

    @abstractmethod
    def _encode_into(
        self, codes: Int16[np.ndarray, "segments bands steps"], log_mel: Float32[np.ndarray, "segments 128 1024"]
    ) -> None:
        """Write the codes of log-mel segments."""

    @abstractmethod
    def _classify_into(self, probabilities: Float32[np.ndarray, "segments tags"], inputs: np.ndarray) -> None:
        """Write the probabilities that the classifier gives to codes, or to log-mel segments."""

    def _head(self, inputs: np.ndarray) -> Float32[np.ndarray, "segments tags"]:
        if isinstance(self.network.classifier, PopularityConfig):
            return np.tile(self._weights[POPULARITY_PROBABILITIES], (len(inputs), 1))
        probabilities = np.empty((len(inputs), self._weights["classifier.output.bias"].shape[0]), dtype=np.float32)
        self._classify_into(probabilities, inputs)
        return probabilities

    def _vqvae(self) -> VQVAEConfig:
        if self.network.vqvae is None:
            raise ModelError(f"a {self.network.classifier.kind!r} classifier on log-mel has no VQ-VAE and no codes")
        return self.network.vqvae

    def _check_log_mel(self, log_mel: np.ndarray) -> None:
        if log_mel.ndim != 3 or log_mel.shape[1:] != (N_MELS, SEGMENT_FRAMES):
            raise DataError(f"expected log-mel of segments x {N_MELS} x {SEGMENT_FRAMES}, got shape {log_mel.shape}")


def sigmoid(logits: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Compute 1 / (1 + exp(-x)) without overflow, in float64."""
    probabilities: np.ndarray = np.exp(-np.logaddexp(0.0, -logits.astype(np.float64)))
    return probabilities.astype(np.float32)
