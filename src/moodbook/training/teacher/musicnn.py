"""musicnn, as it was trained on one of two data sets: three seconds of music to what 50 tags need to know of it.

Every max over frequency comes before what stands between it and its convolution: ReLU and batch norm are monotone in
each channel, so ``max BN(ReLU(conv(x) + b)) = BN(ReLU(max(+-conv(x)) +- b))`` with the sign of batch norm's scale. That
saves passes over maps of 50 MB a batch and changes no more than rounding.

The five convolutions of the front see one channel. Each is a product of matrices: a block of neighbouring places on the
axis along which its kernel moves, all at once, by a banded matrix that holds the kernel once for each place. That costs
a fifth more products in all, and in bfloat16 less time (`benchmarks/teacher.py`).

Source:
    J. Pons and X. Serra: musicnn: Pre-trained convolutional neural networks for music audio tagging, 2019. Weights of
    the Python package musicnn 0.1.0 (ISC licence).
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn import functional

from moodbook.errors import ModelError
from moodbook.features import mel_filters
from moodbook.training.teacher.tensor_bundle import read_tensor_bundle

REQUIREMENT = "musicnn==0.1.0"
SAMPLE_RATE = 16_000
"""Samples a second of what it hears."""
N_FFT = 512
HOP_LENGTH = 256
N_MELS = 96
PATCH_FRAMES = 187
"""Frames of one patch, 2.99 s: the length it was trained on."""

_WEIGHTS_SHA256 = {
    "MSD_musicnn": "8579734ee6388f799ed0def4bbd0d1fdcbeaf213ef2a9dc860917bd76a303de6",
    "MTT_musicnn": "041f3935e981a65cea739842d30c188d3a7d2adf4410955c8668eb3de4a5acab",
}
_NORM_EPSILON = 1e-3  # TensorFlow's default, with which it was trained.
_LOG_GAIN = 10_000.0
_TIMBRAL, _TEMPORAL, _MIDDLE = (0, 1), (2, 3, 4), (5, 6, 7)
"""Numbers of its convolutions, in the order in which they were made; batch norm has the next number each."""
_TIMBRAL_FRAMES = 7
_BANDS_A_BLOCK, _FRAMES_A_BLOCK = 10, 16
"""Places that the timbral and the temporal convolutions compute at once: the fastest of those tried in bfloat16."""


def find_weights(model: str) -> Path:
    """Find the folder of the weights in the installed package, without importing it.

    Args:
        model: Name of the network in the package: "MSD_musicnn" or "MTT_musicnn".

    Raises:
        ModelError: The package is not installed, or its weights are not the pinned ones.
    """
    package = importlib.util.find_spec("musicnn")
    if package is None or not package.submodule_search_locations:
        raise ModelError(
            f"the teacher's weights are not here. Run: pip install --no-deps {REQUIREMENT} "
            "(29 MB; Moodbook reads its weights and runs none of its code)"
        )
    folder = Path(package.submodule_search_locations[0]) / model
    data = folder / ".data-00000-of-00001"
    found = hashlib.sha256(data.read_bytes()).hexdigest() if data.is_file() else "no file"
    if found != _WEIGHTS_SHA256[model]:
        raise ModelError(
            f"'{data}' is not the pinned file: SHA-256 {found}, expected {_WEIGHTS_SHA256[model]}. "
            f"Run: pip install --no-deps --force-reinstall {REQUIREMENT}"
        )
    return folder


def load_musicnn(model: str) -> MusiCNN:
    """Load a network from the installed package.

    Args:
        model: As `find_weights`.

    Raises:
        ModelError: As `find_weights`, or the checkpoint is damaged.
    """
    folder = find_weights(model)
    return MusiCNN(read_tensor_bundle(folder / ".index", folder / ".data-00000-of-00001"))


def musicnn_log_mel(waveform: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, "frames 96"]:
    """Compute ``log10(1 + 10000 mel)`` of a whole waveform: ``1 + samples // 256`` centred frames.

    The package multiplies in float16 and overflows where music is loud; this does not.

    Args:
        waveform: Mono, 16,000 Hz, full scale 1.
    """
    padded = np.pad(waveform.astype(np.float64), N_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP_LENGTH]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    power = np.square(np.abs(np.fft.rfft(frames * window, axis=1)))
    mel = power @ mel_filters(SAMPLE_RATE, N_FFT, N_MELS).T
    logarithm: np.ndarray = np.log10(1.0 + _LOG_GAIN * mel)
    return logarithm.astype(np.float32)


class MusiCNN(nn.Module):
    """The network, fixed.

    Args:
        weights: The tensors of its checkpoint by name.

    Raises:
        ModelError: One is missing or has another shape.
    """

    def __init__(self, weights: dict[str, Float32[np.ndarray, "*_"]]) -> None:
        super().__init__()
        try:
            kernels = [torch.from_numpy(weights[f"{_numbered('conv2d', n)}/kernel"].copy()) for n in range(8)]
            biases = [torch.from_numpy(weights[f"{_numbered('conv2d', n)}/bias"].copy()) for n in range(8)]
            norms = [_scale_and_shift(weights, _numbered("batch_normalization", n)) for n in range(11)]
            learned = _numbered("batch_normalization", 10)
            gamma, beta = (torch.from_numpy(weights[f"{learned}/{part}"].copy()) for part in ("gamma", "beta"))
            dense = [torch.from_numpy(weights[f"dense/{part}"].copy()) for part in ("kernel", "bias")]
        except KeyError as error:
            raise ModelError(f"the teacher's checkpoint lacks {error}; get {REQUIREMENT} again") from error
        for number in (*_TIMBRAL, *_TEMPORAL):
            # The sign of batch norm's scale goes into the kernel, so that the largest value stays the largest.
            signs = torch.where(norms[number + 1][0] < 0, -1.0, 1.0)
            kernels[number] = kernels[number][:, :, 0] * signs
            self.register_buffer(f"signs_{number}", signs, persistent=False)
        for number in _TIMBRAL:
            kernels[number] = _banded(kernels[number], _BANDS_A_BLOCK)
        for number in _TEMPORAL:
            kernels[number] = _banded(kernels[number].transpose(0, 1), _FRAMES_A_BLOCK)
        for number in _MIDDLE:  # outputs, features, frames
            kernels[number] = kernels[number][:, :, 0].permute(2, 1, 0).contiguous()
        for number in range(8):
            self.register_buffer(f"kernel_{number}", kernels[number], persistent=False)
            self.register_buffer(f"bias_{number}", biases[number], persistent=False)
        for number, (scale, shift) in enumerate(norms):
            self.register_buffer(f"scale_{number}", scale, persistent=False)
            self.register_buffer(f"shift_{number}", shift, persistent=False)
        self.register_buffer("gamma", gamma, persistent=False)
        self.register_buffer("beta", beta, persistent=False)
        self.register_buffer("dense_kernel", dense[0], persistent=False)
        self.register_buffer("dense_bias", dense[1], persistent=False)

    @torch.no_grad()
    def forward(self, log_mel: Float[Tensor, "batch frames n_mels"]) -> Float[Tensor, "batch embedding"]:
        """Give the embedding of patches, each number at mean 0 and variance 1 over the songs that it learned from.

        Its last layer is a batch norm; without the scale and the shift that it learned, that is what it gives.
        """
        standard: Tensor = (self.embedding(log_mel) - self.get_buffer("beta")) / self.get_buffer("gamma")
        return standard

    @torch.no_grad()
    def embedding(self, log_mel: Float[Tensor, "batch frames n_mels"]) -> Float[Tensor, "batch embedding"]:
        """Give the last hidden layer of patches as it is published: 200 numbers each."""
        hidden = log_mel * self.get_buffer("scale_0") + self.get_buffer("shift_0")
        features = [self._timbral(hidden, number) for number in _TIMBRAL]
        features += [self._temporal(hidden, number) for number in _TEMPORAL]
        front = torch.cat(features, dim=1)  # batch, 561, frames
        first = self._middle(front, 5)
        second = self._middle(first, 6) + first
        third = self._middle(second, 7) + second
        everything = torch.cat([front, first, second, third], dim=1)
        # The maximum and the mean of each feature stand side by side.
        pooled = torch.stack([everything.amax(dim=2), everything.mean(dim=2)], dim=2).flatten(1)
        pooled = pooled * self.get_buffer("scale_9") + self.get_buffer("shift_9")
        embedding: Tensor = functional.relu(pooled @ self.get_buffer("dense_kernel") + self.get_buffer("dense_bias"))
        return embedding * self.get_buffer("scale_10") + self.get_buffer("shift_10")

    def _timbral(self, hidden: Float[Tensor, "batch frames n_mels"], number: int) -> Float[Tensor, "batch maps frames"]:
        """Convolve 7 frames by 38 or 67 bands, and keep the best place on the frequency axis."""
        kernel = self.get_buffer(f"kernel_{number}")
        height = len(kernel) // _TIMBRAL_FRAMES
        batch, frames, n_mels = hidden.shape
        around = functional.pad(hidden, (0, 0, 3, 3)).unfold(1, _TIMBRAL_FRAMES, 1)  # batch, frames, n_mels, 7
        # The last block ends with the last place; that some are computed twice does not change the largest.
        lasts = n_mels - height
        starts = [*range(0, lasts, _BANDS_A_BLOCK), lasts]
        blocks = torch.stack([around[:, :, start : start + height] for start in starts], dim=2)
        convolved = blocks.transpose(3, 4).reshape(-1, len(kernel)) @ kernel
        largest = convolved.reshape(batch, frames, len(starts) * _BANDS_A_BLOCK, -1).amax(dim=2)
        return self._rectified(largest.transpose(1, 2), number)

    def _temporal(
        self, hidden: Float[Tensor, "batch frames n_mels"], number: int
    ) -> Float[Tensor, "batch maps frames"]:
        """Convolve 128, 64 or 32 frames of one band, and keep the best band."""
        kernel = self.get_buffer(f"kernel_{number}")
        batch, frames, n_mels = hidden.shape
        length = len(kernel) - _FRAMES_A_BLOCK + 1
        blocks = -(-frames // _FRAMES_A_BLOCK)
        behind = length // 2 + blocks * _FRAMES_A_BLOCK - frames
        padded = functional.pad(hidden, (0, 0, (length - 1) // 2, behind))
        windows = padded.unfold(1, len(kernel), _FRAMES_A_BLOCK)  # batch, blocks, n_mels, kernel
        convolved = windows.reshape(-1, len(kernel)) @ kernel
        largest = convolved.reshape(batch, blocks, n_mels, -1).amax(dim=2)
        return self._rectified(largest.reshape(batch, blocks * _FRAMES_A_BLOCK, -1)[:, :frames].transpose(1, 2), number)

    def _rectified(
        self, largest: Float[Tensor, "batch maps frames"], number: int
    ) -> Float[Tensor, "batch maps frames"]:
        signed = largest * self.get_buffer(f"signs_{number}")[:, None] + self.get_buffer(f"bias_{number}")[:, None]
        return self._normed(functional.relu(signed), number)

    def _middle(self, hidden: Float[Tensor, "batch inputs frames"], number: int) -> Float[Tensor, "batch 64 frames"]:
        padded = functional.pad(hidden, (3, 3))
        convolved = functional.conv1d(padded, self.get_buffer(f"kernel_{number}"), self.get_buffer(f"bias_{number}"))
        return self._normed(functional.relu(convolved), number)

    def _normed(self, hidden: Float[Tensor, "batch maps frames"], number: int) -> Float[Tensor, "batch maps frames"]:
        scale, shift = self.get_buffer(f"scale_{number + 1}"), self.get_buffer(f"shift_{number + 1}")
        return hidden * scale[:, None] + shift[:, None]


def _banded(kernel: Float[Tensor, "across along maps"], places: int) -> Float[Tensor, "inputs outputs"]:
    """Give the matrix that convolves with a kernel at so many neighbouring places, each one further along."""
    across, along, maps = kernel.shape
    banded = torch.zeros(across, along + places - 1, places, maps)
    for place in range(places):
        banded[:, place : place + along, place] = kernel
    return banded.reshape(-1, places * maps)


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def _scale_and_shift(weights: dict[str, Float32[np.ndarray, "*_"]], norm: str) -> tuple[Tensor, Tensor]:
    """Give batch norm in eval mode as one product and one sum."""
    scale = weights[f"{norm}/gamma"] / np.sqrt(weights[f"{norm}/moving_variance"] + np.float32(_NORM_EPSILON))
    shift = weights[f"{norm}/beta"] - weights[f"{norm}/moving_mean"] * scale
    return torch.from_numpy(scale), torch.from_numpy(shift)
