"""The convolutional classifier: the spectrogram model of Pons et al. 2018 with halved channels, on the latents."""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torch.nn import functional

from moodbook.errors import DataError
from moodbook.networks.config import CNNConfig, VQVAEConfig
from moodbook.networks.geometry import (
    BACK_END_KERNEL,
    TEMPORAL_KERNELS,
    same_padding,
    temporal_maps,
    timbral_filters,
)
from moodbook.networks.quantizer import latent_sequence


class CNNClassifier(nn.Module):
    """Timbral and temporal filters over the latents as an image of steps x features, and a residual back end.

    Args:
        config: The dials of the classifier.
        vqvae: The VQ-VAE whose quantised latents it reads.
        n_tags: Number of tags.

    Source:
        Pons, Nieto, Prockup, Schmidt, Ehmann, Serra: End-to-end learning for music audio tagging at scale, ISMIR 2018,
        the spectrogram front end and the back end; n = 8 instead of 16.
    """

    def __init__(self, config: CNNConfig, vqvae: VQVAEConfig, n_tags: int) -> None:
        super().__init__()
        self.config = config
        self.vqvae_config = vqvae
        # Timbral: Conv (time x freq) 7 x .9F n; 3 x .9F 2n; 1 x .9F 4n; 7 x .4F n; 3 x .4F 2n; 1 x .4F 4n.
        filters = timbral_filters(config.channels, vqvae.features)
        self.timbral = nn.ModuleList(
            nn.Conv2d(1, row.maps, (row.steps, row.features), padding=(row.steps // 2, 0)) for row in filters
        )
        self.timbral_norms = nn.ModuleList(nn.BatchNorm2d(row.maps) for row in filters)
        # Temporal: Conv1d 165 n; 128 2n; 64 4n; 32 8n.
        maps = temporal_maps(config.channels)
        self.temporal = nn.ModuleList(nn.Conv1d(1, m, k) for m, k in zip(maps, TEMPORAL_KERNELS, strict=True))
        self.temporal_norms = nn.ModuleList(nn.BatchNorm1d(m) for m in maps)
        # Back end: Conv1d 7 -> 256 valid, then twice Conv1d 7 -> 256 same; each ReLU, BN.
        front_end = sum(row.maps for row in filters) + sum(maps)
        hidden = config.hidden
        self.back_end = nn.ModuleList(
            nn.Conv1d(inputs, hidden, BACK_END_KERNEL, padding=padding)
            for inputs, padding in ((front_end, 0), (hidden, BACK_END_KERNEL // 2), (hidden, BACK_END_KERNEL // 2))
        )
        self.back_end_norms = nn.ModuleList(nn.BatchNorm1d(hidden) for _ in self.back_end)
        self.dropout = nn.Dropout(config.dropout)
        self.dense = nn.Linear(2 * hidden, config.dense)
        self.dense_norm = nn.BatchNorm1d(config.dense)
        self.output = nn.Linear(config.dense, n_tags)
        # He init.
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, latents: Float[Tensor, "batch width bands steps"]) -> Float[Tensor, "batch tags"]:
        """Classify quantised latents.

        Raises:
            DataError: The latents do not fit the VQ-VAE, are too short, or a training batch holds one clip.
        """
        sequence = latent_sequence(latents, self.vqvae_config)
        if sequence.shape[1] <= BACK_END_KERNEL:
            raise DataError(f"expected more than {BACK_END_KERNEL} latent steps, got {sequence.shape[1]}")
        if self.training and len(sequence) == 1:
            raise DataError("the CNN's batch norm cannot learn from a batch of one clip; give at least two")
        # Concatenate: 29n = 232.
        maps = torch.cat([*self._timbral_maps(sequence), *self._temporal_maps(sequence)], dim=1)
        return self._back_end(maps)

    def _timbral_maps(self, sequence: Float[Tensor, "batch steps features"]) -> list[Float[Tensor, "batch _ steps"]]:
        maps = []
        with torch.autocast(sequence.device.type, enabled=False):
            image = sequence.to(self.output.weight.dtype)
            spectrum = torch.fft.rfft(image, dim=2)
            for convolution, norm in zip(self.timbral, self.timbral_norms, strict=True):
                weight, bias = convolution.get_parameter("weight"), convolution.get_parameter("bias")
                # Same in time, valid in freq; ReLU, BN; max over freq.
                filtered = _correlate(spectrum, weight, image.shape[2]) + bias[:, None, None]
                maps.append(norm(functional.relu(filtered)).amax(dim=3))
        return maps

    def _temporal_maps(self, sequence: Float[Tensor, "batch steps features"]) -> list[Float[Tensor, "batch _ steps"]]:
        # Mean over freq, Conv1d, same; ReLU, BN.
        energy = sequence.mean(dim=2).unsqueeze(1)
        return [
            norm(functional.relu(convolution(functional.pad(energy, same_padding(kernel)))))
            for convolution, norm, kernel in zip(self.temporal, self.temporal_norms, TEMPORAL_KERNELS, strict=True)
        ]

    def _back_end(self, maps: Float[Tensor, "batch maps steps"]) -> Float[Tensor, "batch tags"]:
        blocks = list(zip(self.back_end, self.back_end_norms, strict=True))
        # Conv1d 7 -> 256 valid, ReLU, BN.
        hidden: Tensor = _rectify_and_norm(blocks[0], maps)
        # Conv1d 7 -> 256 same, ReLU, BN, + residual; max-pool 2.
        hidden = functional.max_pool1d(hidden + _rectify_and_norm(blocks[1], hidden), 2)
        # Conv1d 7 -> 256 same, ReLU, BN, + residual.
        hidden = hidden + _rectify_and_norm(blocks[2], hidden)
        # [max, mean] over time = 512; dropout .5; dense 250 ReLU BN; dropout .5; dense tags.
        pooled = torch.cat([hidden.amax(dim=2), hidden.mean(dim=2)], dim=1)
        dense = self.dense_norm(functional.relu(self.dense(self.dropout(pooled))))
        logits: Tensor = self.output(self.dropout(dense))
        return logits.float()


def _correlate(
    spectrum: Complex[Tensor, "batch steps frequencies"], weight: Float[Tensor, "maps 1 kernel extent"], features: int
) -> Float[Tensor, "batch maps steps positions"]:
    """Slide timbral filters over the image of steps x features, "same" in time and "valid" in features.

    It is what a plain convolution gives, by way of the Fourier transform along the features: with one input map and
    kernels of up to 921 features, plain convolutions cost four times the processor time in float32 and seventy times
    in bfloat16, forward and backward.

    Args:
        spectrum: Fourier transform of the image along its features.
        weight: The filters, an odd number of steps wide.
        features: Features of the image.

    Source:
        The correlation theorem, y = F^-1(F(x) conj F(w)). It is circular, but where the kernel lies inside the image
        nothing wraps around.
    """
    _, _, kernel, extent = weight.shape
    windows = functional.pad(spectrum, (0, 0, kernel // 2, kernel // 2)).unfold(1, kernel, 1)
    filters = torch.fft.rfft(weight[:, 0], n=features, dim=2).conj()
    # Y(map, t, f) = sum_s X(t + s, f) conj W(map, s, f), for every frequency f.
    product = torch.einsum("btfs,msf->bmtf", windows, filters)
    filtered: Tensor = torch.fft.irfft(product, n=features, dim=3)[..., : features - extent + 1]
    return filtered


def _rectify_and_norm(block: tuple[nn.Module, nn.Module], hidden: Tensor) -> Tensor:
    convolution, norm = block
    normed: Tensor = norm(functional.relu(convolution(hidden)))
    return normed
