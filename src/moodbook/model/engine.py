"""The engine that tags by default: runs a bundle's network on the processor, without torch."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Int16

from moodbook.errors import ModelError
from moodbook.model.graph import encoder_graph, head_graph
from moodbook.model.network_engine import NetworkEngine, System, sigmoid
from moodbook.model.precision import PrecisionChoice, processor_capabilities, resolve_precision
from moodbook.model.runtime import load_openvino
from moodbook.networks.config import LATENT_FRAMES, PopularityConfig
from moodbook.processors import usable_processors

Part = Literal["encoder", "head"]

_MOST_STREAMS = 4
"""Segments that are computed at the same time. Each takes memory of its own: 25 MB in f32 at the width of the bundled
model, four times that at the paper's."""


_UNSHARED_PRODUCT = 1 << 18
"""So many multiplications numpy's matrix library computes in the thread that asks for them (OpenBLAS,
`interface/gemm.c`). For more it wakes others, which then spin for tens of milliseconds beside the engine: tagging took
half as much processor time again."""


_FEW_SEGMENTS = 3
"""A batch of so many is no reason to build the encoder for several at a time; building takes as long as one segment."""


class Engine(NetworkEngine):
    """A network ready to run on the processor, by OpenVINO.

    Every segment goes through the encoder and the head on its own, so a result does not depend, to the last bit, on
    what else is in the batch. Segments of a batch are computed side by side, each on a share of the threads: threads
    that work on different segments need not wait for each other at every layer. One engine may be used from several
    threads; they take turns.

    Args:
        system: A bundle, or anything else that has its network and weights.
        precision: Of the convolutions and the recurrence; ``auto`` is bf16 where the processor multiplies it, else f32.
            The codebook look-up is float32 whatever it says: products in bfloat16 would change almost half of the
            codes.
        threads: Processor threads; None takes all that this process may use.

    Raises:
        ModelError: The processor cannot compute in this precision, or the runtime refuses the network.
    """

    def __init__(
        self,
        system: System,
        precision: PrecisionChoice = "f32",
        threads: int | None = None,
    ) -> None:
        self._core = load_openvino().Core()
        capabilities = processor_capabilities()
        super().__init__(system, resolve_precision(precision, capabilities, system.network))
        self._coarsest_float = resolve_precision("auto", capabilities, system.network)
        self._threads = usable_processors() if threads is None else threads
        self._lock = threading.RLock()
        self._requests: dict[tuple[Part, int], list[Any]] = {}
        if self.network.vqvae is not None:
            self._codebook_columns = np.ascontiguousarray(self.codebook.T)
            # |c|^2 / 2, the part of |x - c|^2 / 2 that differs between codes beside -x.c.
            self._half_squares = (np.square(self.codebook, dtype=np.float64).sum(axis=1) / 2).astype(np.float32)

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
            for index, latents in enumerate(self._infer("encoder", log_mel)):
                distances = self._distances(latents)
                best_two = np.partition(distances, 1, axis=1)
                leads[index] = (best_two[:, 1] - best_two[:, 0]).reshape(leads.shape[1:])
        return leads

    def prepare(self) -> None:
        """Build what tagging a file needs, rather than when its first segment comes.

        Raises:
            ModelError: The runtime refuses the network.
        """
        with self._lock:
            if self.network.vqvae is not None:
                self._compiled("encoder", 1)
            if not isinstance(self.network.classifier, PopularityConfig):
                self._compiled("head", self._streams)

    def _encode_into(
        self, codes: Int16[np.ndarray, "segments bands steps"], log_mel: Float32[np.ndarray, "segments 128 1024"]
    ) -> None:
        with self._lock:
            for index, latents in enumerate(self._infer("encoder", log_mel)):
                codes[index] = self._nearest(latents)

    def _classify_into(self, probabilities: Float32[np.ndarray, "segments tags"], inputs: np.ndarray) -> None:
        """Run the classifier, segment by segment.

        Blocks of eight would save a recurrent head 0.6 of its time, a tenth of the whole, on a long track; but then the
        rounding depends on the block, or a single segment pays for eight.
        """
        with self._lock:
            for index, logits in enumerate(self._infer("head", inputs)):
                probabilities[index] = sigmoid(logits[0])

    def _nearest(self, latents: Float32[np.ndarray, "bands steps width"]) -> Int16[np.ndarray, "bands steps"]:
        """Choose argmin_c |x - c|^2 for every latent vector x; the lowest number wins a tie."""
        codes: np.ndarray = self._distances(latents).argmin(axis=1).astype(np.int16)
        return codes.reshape(latents.shape[:2])

    def _distances(self, latents: Float32[np.ndarray, "bands steps width"]) -> Float32[np.ndarray, "vectors codes"]:
        """Give |x - c|^2 / 2 less the constant |x|^2 / 2."""
        width, codes = self._codebook_columns.shape
        blocks = latents.reshape(-1, _rows_a_product(width * codes), width)
        products: np.ndarray = (blocks @ self._codebook_columns).reshape(-1, codes)
        np.subtract(self._half_squares, products, out=products)
        return products

    def _infer(self, part: Part, inputs: np.ndarray) -> Iterator[Float32[np.ndarray, "*_"]]:
        """Run a part on every segment, in order, as many at a time as there are streams."""
        streams = self._streams
        if part == "encoder" and (len(inputs) == 1 or self._are_few(len(inputs))):
            # A segment has all threads to itself. Not in the head, whose sums could then be in another order; that of
            # the encoder's rounding is too small for a code to follow.
            streams = 1
        idle, running = self._compiled(part, streams), deque[Any]()
        held = np.ascontiguousarray(inputs)
        try:
            for index in range(len(held)):
                if not idle:
                    yield _result(running, idle)
                request = idle.pop()
                request.start_async([held[index : index + 1]], share_inputs=True)
                running.append(request)
            while running:
                yield _result(running, idle)
        finally:
            # Whoever asked has stopped: what is running must not be given work.
            for request in running:
                request.wait()

    def _are_few(self, segments: int) -> bool:
        """Whether computing segments one after the other takes less time than building a second graph for them."""
        return segments <= _FEW_SEGMENTS and ("encoder", self._streams) not in self._requests

    def _compiled(self, part: Part, streams: int) -> list[Any]:
        """Give idle requests of a part, one a stream."""
        if (part, streams) not in self._requests:
            self._requests[part, streams] = self._compile(part, streams)
        return list(self._requests[part, streams])

    def _compile(self, part: Part, streams: int) -> list[Any]:
        if part == "encoder":
            graph = encoder_graph(self._vqvae(), self._weights, int8=self.precision == "int8")
        else:
            graph = head_graph(self.network, self._weights, batch=1)
        settings = {
            # Of what the graph does not quantise.
            "INFERENCE_PRECISION_HINT": "f32" if self.precision == "f32" else self._coarsest_float,
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": streams,
            # A thread that may not leave its processor waits there for the decoders, and for other programs.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            compiled = self._core.compile_model(graph, "CPU", settings)
            return [compiled.create_infer_request() for _ in range(streams)]
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot run the network on this processor: {error}") from error

    @property
    def _streams(self) -> int:
        return min(self._threads, _MOST_STREAMS)


def _result(running: deque[Any], idle: list[Any]) -> Float32[np.ndarray, "*_"]:
    """Wait for the oldest request and take its output."""
    request = running[0]
    request.wait()
    running.popleft()
    # A copy: the next inference writes over the request's own memory.
    result: np.ndarray = request.get_output_tensor(0).data.copy()
    idle.append(request)
    return result


def _rows_a_product(multiplications: int) -> int:
    """Give how many latent vectors a product takes: a power of two that divides those of a segment."""
    return min(LATENT_FRAMES, 1 << max(0, (_UNSHARED_PRODUCT // multiplications).bit_length() - 1))
