"""The engine: runs a bundle's network on the processor, without torch."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int16

from moodbook.errors import DataError, ModelError
from moodbook.features import N_MELS, SEGMENT_FRAMES
from moodbook.model.graph import encoder_graph, head_graph
from moodbook.model.runtime import load_openvino
from moodbook.model.weights import POPULARITY_PROBABILITIES
from moodbook.networks.config import LATENT_FRAMES, NetworkConfig, PopularityConfig, VQVAEConfig

Precision = Literal["f32", "bf16"]

Part = Literal["encoder", "head"]


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


class Engine:
    """A network ready to run: log-mel segments to codes and probabilities.

    Every segment goes through the encoder and the head on its own, so a result does not depend, to the last bit, on
    what else is in the batch. One engine may be used from several threads; they take turns.

    Args:
        system: A bundle, or anything else that has its network and weights.
        precision: Of the convolutions and the recurrence. The codebook look-up is float32 whatever it says: products
            in bfloat16 would change almost half of the codes.
        threads: Processor threads; None takes what the runtime finds best.

    Raises:
        ModelError: The processor cannot compute in this precision, or the runtime refuses the network.
    """

    def __init__(
        self,
        system: System,
        precision: Precision = "f32",
        threads: int | None = None,
    ) -> None:
        self.network = system.network
        self.precision = precision
        self._weights = system.weights
        self._core = load_openvino().Core()
        self._settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            self._settings["INFERENCE_NUM_THREADS"] = threads
        if precision == "bf16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ModelError("this processor does not compute in bf16; use precision f32")
        self._lock = threading.RLock()
        self._requests: dict[Part, Any] = {}
        if self.network.vqvae is not None:
            self.codebook = self._weights["vqvae.quantizer.codebook"]
            self._codebook_columns = np.ascontiguousarray(self.codebook.T)
            # |c|^2 / 2, the part of |x - c|^2 / 2 that differs between codes beside -x.c.
            self._half_squares = (np.square(self.codebook, dtype=np.float64).sum(axis=1) / 2).astype(np.float32)

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

    def encode(self, log_mel: Float32[np.ndarray, "segments 128 1024"]) -> Int16[np.ndarray, "segments bands steps"]:
        """Turn log-mel segments into codes.

        Raises:
            DataError: The segments are not 128 x 1,024.
            ModelError: The system has no VQ-VAE.
        """
        self._check_log_mel(log_mel)
        codes = np.empty((len(log_mel), self._vqvae().bands, LATENT_FRAMES), dtype=np.int16)
        with self._lock:
            for index in range(len(log_mel)):
                latents = self._infer("encoder", log_mel[index : index + 1])
                codes[index] = self._nearest(latents)
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
        size = len(self._half_squares)
        if codes.size and not 0 <= codes.min() <= codes.max() < size:
            raise DataError(
                f"expected codes from 0 to {size - 1}, got {codes.min()} to {codes.max()}; use the model that made them"
            )
        return self._head(codes.astype(np.int32))

    def margins(self, log_mel: Float32[np.ndarray, "segments 128 1024"]) -> Float32[np.ndarray, "segments bands steps"]:
        """Measure how clearly each code wins: its lead over the runner-up in |x - c|^2 / 2.

        A lead within the rounding of the encoder means that another processor may choose the runner-up.

        Raises:
            DataError: The segments are not 128 x 1,024.
            ModelError: The system has no VQ-VAE.
        """
        self._check_log_mel(log_mel)
        leads = np.empty((len(log_mel), self._vqvae().bands, LATENT_FRAMES), dtype=np.float32)
        with self._lock:
            for index in range(len(log_mel)):
                distances = self._distances(self._infer("encoder", log_mel[index : index + 1]))
                best_two = np.partition(distances, 1, axis=1)
                leads[index] = (best_two[:, 1] - best_two[:, 0]).reshape(leads.shape[1:])
        return leads

    def _head(self, inputs: np.ndarray) -> Float32[np.ndarray, "segments tags"]:
        """Run the classifier, segment by segment.

        Blocks of eight would save a recurrent head 0.6 of its time, a tenth of the whole, on a long track; but then the
        rounding depends on the block, or a single segment pays for eight.
        """
        if isinstance(self.network.classifier, PopularityConfig):
            return np.tile(self._weights[POPULARITY_PROBABILITIES], (len(inputs), 1))
        probabilities = np.empty((len(inputs), self._weights["classifier.output.bias"].shape[0]), dtype=np.float32)
        with self._lock:
            for index in range(len(inputs)):
                probabilities[index] = _sigmoid(self._infer("head", inputs[index : index + 1])[0])
        return probabilities

    def _nearest(self, latents: Float32[np.ndarray, "bands steps width"]) -> Int16[np.ndarray, "bands steps"]:
        """Choose argmin_c |x - c|^2 for every latent vector x; the lowest number wins a tie."""
        codes: np.ndarray = self._distances(latents).argmin(axis=1).astype(np.int16)
        return codes.reshape(latents.shape[:2])

    def _distances(self, latents: Float32[np.ndarray, "bands steps width"]) -> Float32[np.ndarray, "vectors codes"]:
        """Give |x - c|^2 / 2 less the constant |x|^2 / 2."""
        products: np.ndarray = latents.reshape(-1, latents.shape[2]) @ self._codebook_columns
        np.subtract(self._half_squares, products, out=products)
        return products

    def _infer(self, part: Part, inputs: np.ndarray) -> Float32[np.ndarray, "*_"]:
        if part not in self._requests:
            self._requests[part] = self._compile(part)
        request = self._requests[part]
        request.infer([np.ascontiguousarray(inputs)], share_inputs=True)
        # A copy: the next inference writes over the request's own memory.
        result: np.ndarray = request.get_output_tensor(0).data.copy()
        return result

    def _compile(self, part: Part) -> Any:
        if part == "encoder":
            graph = encoder_graph(self._vqvae(), self._weights)
        else:
            graph = head_graph(self.network, self._weights, batch=1)
        try:
            return self._core.compile_model(graph, "CPU", self._settings).create_infer_request()
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot run the network on this processor: {error}") from error

    def _vqvae(self) -> VQVAEConfig:
        if self.network.vqvae is None:
            raise ModelError(f"a {self.network.classifier.kind!r} classifier on log-mel has no VQ-VAE and no codes")
        return self.network.vqvae

    def _check_log_mel(self, log_mel: np.ndarray) -> None:
        if log_mel.ndim != 3 or log_mel.shape[1:] != (N_MELS, SEGMENT_FRAMES):
            raise DataError(f"expected log-mel of segments x {N_MELS} x {SEGMENT_FRAMES}, got shape {log_mel.shape}")


def _sigmoid(logits: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Compute 1 / (1 + exp(-x)) without overflow, in float64."""
    probabilities: np.ndarray = np.exp(-np.logaddexp(0.0, -logits.astype(np.float64)))
    return probabilities.astype(np.float32)
