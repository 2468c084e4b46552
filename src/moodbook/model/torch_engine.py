"""The engine for a GPU: runs a bundle's network with torch, many segments at a time.

It computes with the networks that training uses (`moodbook.networks`), so it needs torch (extra `gpu`), which nothing
imports until a GPU is asked for.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float32, Int16

from moodbook.errors import DeviceError, ModelError
from moodbook.features import N_MELS, SEGMENT_FRAMES, SILENCE
from moodbook.model.network_engine import NetworkEngine, System, sigmoid
from moodbook.model.precision import Precision, PrecisionChoice
from moodbook.model.weights import BATCH_COUNTER
from moodbook.networks.config import PopularityConfig
from moodbook.networks.tagger import TaggingNetwork, build_network

TorchDevice = Literal["cuda", "cpu"]
"""Where torch computes. cpu is slower than OpenVINO there; it is what the GPU's results are compared with."""

_BATCH = 16
"""Segments that are computed at a time: their largest layer takes 1 GiB at the paper's width (16 x 256 x 64 x 1,024
numbers in float32)."""
_DECODER = "vqvae.decoder."
_BF16_CAPABILITY = (8, 0)  # Compute capability from which CUDA devices multiply bfloat16 themselves.


class TorchEngine(NetworkEngine):
    """A network ready to run by torch.

    Scores are within 1e-4 of those of `Engine` in f32, unless a latent stands between two codes and rounding decides.
    Other than there, the last bits may depend on how many segments are computed together. One engine may be used from
    several threads; they take turns.

    Args:
        system: A bundle, or anything else that has its network and weights.
        precision: Of the network; ``auto`` is f32. In f32 no product is rounded to TensorFloat-32: torch's own setting
            is put aside while the engine computes, for the whole process. The codebook look-up is float32 in bf16 too.
        device: Where torch computes.

    Raises:
        DeviceError: There is no GPU, or it does not compute in this precision.
        ModelError: The weights do not fit the network.
    """

    def __init__(self, system: System, precision: PrecisionChoice = "auto", device: TorchDevice = "cuda") -> None:
        super().__init__(system, _resolve(precision, device))
        self.device = torch.device(device)
        self._lock = threading.RLock()
        self._module = None if isinstance(self.network.classifier, PopularityConfig) else self._load()

    def prepare(self) -> None:
        """Run a full batch of silence on a GPU: the first batch chooses its kernels, and shows whether it has room.

        Raises:
            DeviceError: The GPU has too little memory.
        """
        if self.device.type == "cuda" and self._module is not None:
            self.run(np.full((_BATCH, N_MELS, SEGMENT_FRAMES), SILENCE, dtype=np.float32))

    def _encode_into(
        self, codes: Int16[np.ndarray, "segments bands steps"], log_mel: Float32[np.ndarray, "segments 128 1024"]
    ) -> None:
        vqvae = self._network().vqvae
        if vqvae is None:
            raise ModelError("there is no VQ-VAE and there are no codes")
        with self._computing():
            for part in _batches(len(log_mel)):
                codes[part] = vqvae.codes(self._put(log_mel[part])).cpu().numpy()

    def _classify_into(self, probabilities: Float32[np.ndarray, "segments tags"], inputs: np.ndarray) -> None:
        network = self._network()
        with self._computing():
            for part in _batches(len(inputs)):
                given = self._put(inputs[part])
                logits = network(given).logits if network.vqvae is None else network.logits_from_codes(given)
                probabilities[part] = sigmoid(logits.float().cpu().numpy())

    def _put(self, array: np.ndarray) -> torch.Tensor:
        """Copy an array to the device."""
        return torch.tensor(array, device=self.device)

    def _network(self) -> TaggingNetwork:
        if self._module is None:
            raise ModelError("the popularity baseline has no network")
        return self._module

    def _load(self) -> TaggingNetwork:
        """Build the network with the weights of the system, all of them and no others."""
        # Fresh weights are drawn, and thrown away: the random numbers of the program must not notice.
        with torch.random.fork_rng(devices=[]):
            module = build_network(self.network, self._weights["classifier.output.bias"].shape[0])
        # Tagging decodes nothing, and a bundle may have left the decoder out.
        fresh = module.state_dict()
        state = {
            name: fresh[name] if name.startswith(_DECODER) or _is_counter(name) else self._weight(name)
            for name in fresh
        }
        try:
            module.load_state_dict(state)
            return module.to(self.device).eval().requires_grad_(False)
        except RuntimeError as error:
            raise ModelError(f"torch cannot load the network on {self.device.type}: {error}") from error

    def _weight(self, name: str) -> torch.Tensor:
        if name not in self._weights:
            raise ModelError(f"the weights do not fit the network: missing {name!r}")
        return torch.tensor(self._weights[name])

    @contextlib.contextmanager
    def _computing(self) -> Iterator[None]:
        """Compute in the precision of the engine, without gradients, in one thread at a time."""
        reduced = torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")
        with self._lock, torch.inference_mode(), _whole_float32(), reduced:
            try:
                yield
            except torch.OutOfMemoryError as error:
                raise DeviceError("the GPU has too little free memory for this model; use device cpu") from error


def device_name(device: TorchDevice) -> str:
    """Give the name that a device gives itself.

    Raises:
        DeviceError: It is not there.
    """
    _check_device(device)
    return torch.cuda.get_device_name() if device == "cuda" else "processor"


def torch_precisions(device: TorchDevice) -> list[Precision]:
    """List the precisions in which torch computes on a device.

    Raises:
        DeviceError: It is not there.
    """
    _check_device(device)
    return ["f32", "bf16"] if _multiplies_bf16(device) else ["f32"]


def _check_device(device: TorchDevice) -> None:
    if device == "cpu" or torch.cuda.is_available():
        return
    if torch.version.cuda is None and torch.version.hip is None:
        raise DeviceError(
            f"this torch ({torch.__version__}) is built for the processor alone; install one for your GPU "
            "(https://pytorch.org), or use device cpu"
        )
    raise DeviceError("torch finds no GPU that it can use: see whether nvidia-smi lists one, or use device cpu")


def _resolve(choice: PrecisionChoice, device: TorchDevice) -> Precision:
    """Turn a choice into the precision that is computed in; say what to do where there is none."""
    if choice == "int8":
        raise DeviceError("int8 is for the processor; on a GPU use precision f32 or bf16, or int8 with device cpu")
    _check_device(device)
    if choice == "bf16" and not _multiplies_bf16(device):
        raise DeviceError("this GPU does not multiply in bf16; use precision f32")
    return "f32" if choice == "auto" else choice


def _multiplies_bf16(device: TorchDevice) -> bool:
    return device == "cpu" or torch.cuda.get_device_capability() >= _BF16_CAPABILITY


def _is_counter(name: str) -> bool:
    return name.rpartition(".")[2] == BATCH_COUNTER


def _batches(count: int) -> Iterator[slice]:
    return (slice(start, start + _BATCH) for start in range(0, count, _BATCH))


@contextlib.contextmanager
def _whole_float32() -> Iterator[None]:
    """Let no float32 product be rounded to TensorFloat-32, which keeps 10 of a factor's 23 bits.

    By torch's default cuDNN's convolutions and recurrences are. The settings are the process's, and are put back.
    """
    settings = _precision_settings()
    before = [getattr(place, name) for place, name, _ in settings]
    try:
        for place, name, exact in settings:
            setattr(place, name, exact)
        yield
    finally:
        for (place, name, _), value in zip(settings, before, strict=True):
            setattr(place, name, value)


def _precision_settings() -> list[tuple[Any, str, object]]:
    """List the settings about TensorFloat-32, each with the value that forbids it."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if hasattr(cudnn, "conv"):  # From torch 2.9 on; the older names may not be mixed with these.
        return [(place, "fp32_precision", "ieee") for place in (matmul, cudnn.conv, cudnn.rnn)]
    return [(place, "allow_tf32", False) for place in (matmul, cudnn)]
