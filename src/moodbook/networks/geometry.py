"""The sizes of the paper's layers, once, for everything that builds or counts them (no torch here).

The torch modules, the analytic cost and the inference engine read the same rows, so that none can drift. Axes are
(frequency, time) throughout. Source: the tables of `docs/method.md`.
"""

from __future__ import annotations

from dataclasses import dataclass

from moodbook.networks.config import VQVAEConfig

Size = tuple[int, int]
"""A size along (frequency, time)."""

RESIDUAL_BLOCKS = 2
"""Residual blocks of the encoder (ER) and of the decoder (DR)."""

TEMPORAL_KERNELS = (165, 128, 64, 32)
"""Steps that the temporal filters of the CNN span; they have n, 2n, 4n and 8n maps."""

BACK_END_KERNEL = 7
"""Steps that each back-end convolution of the CNN spans."""

STATISTICS = 3
"""Statistics of each latent feature that the statistical classifier reads: mean, spread, movement."""

WINDOWS = 8
"""Windows of a segment (128 frames, 2.97 s, 64 latent steps each) for each of which the semantic decoder gives one
vector."""

SEMANTIC_KERNEL = 5
"""Steps that each convolution of the semantic decoder spans."""

SEMANTIC_BLOCKS = 4
"""Residual blocks of the semantic decoder; the steps are halved between two of them, 512 to 64."""

SPREAD_EPSILON = 1e-5
"""Added to the variance before its root, so that latents that stand still have a gradient."""

VGGISH_POOLS: tuple[Size, ...] = ((2, 4), (2, 4), (2, 4), (3, 5))
"""Max-pools of the first four VGG-ish blocks; the fifth (4 x 4 of the organisers) takes whatever is left."""


@dataclass(frozen=True)
class Convolution:
    """The geometry of one convolution over (frequency, time).

    Args:
        kernel: Size of the kernel.
        stride: Step of the kernel; of the output grid where `transposed`.
        padding: Zeros added on both sides; rows and columns taken away where `transposed`.
        dilation: Distance between the taps of the kernel.
        transposed: Whether it is a transposed convolution.
    """

    kernel: Size
    stride: Size = (1, 1)
    padding: Size = (0, 0)
    dilation: Size = (1, 1)
    transposed: bool = False

    def output_size(self, size: Size) -> Size:
        """Give the size of the output for an input of `size`."""
        return self._along(0, size[0]), self._along(1, size[1])

    def _along(self, axis: int, size: int) -> int:
        extent = self.dilation[axis] * (self.kernel[axis] - 1) + 1
        if self.transposed:
            return (size - 1) * self.stride[axis] - 2 * self.padding[axis] + extent
        return (size + 2 * self.padding[axis] - extent) // self.stride[axis] + 1


RESIDUAL = Convolution((3, 3), padding=(1, 1))
"""The wider of the two convolutions of a residual block; the other is 1 x 1."""


def encoder_convolutions(config: VQVAEConfig) -> tuple[Convolution, ...]:
    """Give E1 to E5, from the 128 x 1,024 log-mel to the `bands` x 512 latents."""
    # E1..E4: kernel (4,3), stride (2,1), padding = dilation = (1,2) (1,4) (1,8) (1,16).
    halving = tuple(
        Convolution((4, 3), stride=(2, 1), padding=(1, reach), dilation=(1, reach)) for reach in (2, 4, 8, 16)
    )
    # E5: kernel (5,4), stride (1,2), padding (0,1), dilation 1; Type-2: kernel (8,4).
    last = Convolution((5, 4) if config.type == 1 else (8, 4), stride=(1, 2), padding=(0, 1))
    return (*halving, last)


def decoder_convolutions(config: VQVAEConfig) -> tuple[Convolution, ...]:
    """Give D1 to D5, from the `bands` x 512 quantised latents to the 128 x 1,024 log-mel."""
    mirror = config.type == 2 and config.type_2_decoder == "mirror"
    # D1: kernel (4,4), stride (1,2), padding (0,1); Type-2: kernel (7,4), which meets D2 at the same 7 bands, or,
    # mirroring E5, (8,4).
    bands = 4 if config.type == 1 else 8 if mirror else 7
    first = Convolution((bands, 4), stride=(1, 2), padding=(0, 1), transposed=True)
    # D2: kernel (4,3), stride (2,1), padding (0,1), 7 -> 16 bands; mirror: padding (1,1), 8 -> 16 bands.
    second = Convolution((4, 3), stride=(2, 1), padding=(1, 1) if mirror else (0, 1), transposed=True)
    # D3..D5: kernel (4,3), stride (2,1), padding (1,1).
    doubling = Convolution((4, 3), stride=(2, 1), padding=(1, 1), transposed=True)
    return (first, second, doubling, doubling, doubling)


@dataclass(frozen=True)
class TimbralFilter:
    """A filter group of the CNN's front end that spans many features and few steps.

    Args:
        steps: Latent steps that the kernel spans ("same").
        features: Features that the kernel spans ("valid").
        maps: Number of feature maps.
    """

    steps: int
    features: int
    maps: int


def timbral_filters(channels: int, features: int) -> tuple[TimbralFilter, ...]:
    """Give the six timbral filter groups of the CNN.

    Args:
        channels: n, the maps of the smallest group.
        features: F, the features of one latent step.
    """
    # 7 x .9F n; 3 x .9F 2n; 1 x .9F 4n; 7 x .4F n; 3 x .4F 2n; 1 x .4F 4n. The extents are cut to whole features, as
    # int() does; the narrowest networks keep one.
    return tuple(
        TimbralFilter(steps, max(1, features * tenths // 10), channels * factor)
        for tenths in (9, 4)
        for steps, factor in ((7, 1), (3, 2), (1, 4))
    )


def temporal_maps(channels: int) -> tuple[int, ...]:
    """Give the maps of the temporal filters of `TEMPORAL_KERNELS`: n, 2n, 4n, 8n."""
    return tuple(channels * factor for factor in (1, 2, 4, 8))


def same_padding(kernel: int) -> tuple[int, int]:
    """Give the zeros before and after a sequence that keep its length under a kernel of stride 1.

    An even kernel has no middle; the odd zero goes behind, as TensorFlow's "same" does, in which Pons et al. wrote
    their model.
    """
    before = (kernel - 1) // 2
    return before, kernel - 1 - before


def clipped_pool(pool: Size, size: Size) -> Size:
    """Cut a pool to the image it meets, so that a small image (narrow latents) keeps at least one value."""
    return min(pool[0], size[0]), min(pool[1], size[1])
