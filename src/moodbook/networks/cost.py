"""What a system costs, counted from its sizes (no torch here): parameters, and arithmetic for one clip.

A clip is one segment of 128 x 1,024. A multiply-add counts 2. Only convolutions, recurrences, dense layers and the
look-up are counted; norms, activations and pools are left out (below 1 % together). Convolutions count as the plain
sums they stand for, whichever way they are computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from moodbook.features import N_MELS, SEGMENT_FRAMES
from moodbook.networks.config import (
    LATENT_FRAMES,
    CNNConfig,
    GRUConfig,
    NetworkConfig,
    SemanticConfig,
    StatisticsConfig,
    VGGishConfig,
    VQVAEConfig,
)
from moodbook.networks.geometry import (
    BACK_END_KERNEL,
    RESIDUAL,
    RESIDUAL_BLOCKS,
    SEMANTIC_BLOCKS,
    SEMANTIC_KERNEL,
    STATISTICS,
    TEMPORAL_KERNELS,
    VGGISH_POOLS,
    WINDOWS,
    Convolution,
    Size,
    clipped_pool,
    decoder_convolutions,
    encoder_convolutions,
    temporal_maps,
    timbral_filters,
)


@dataclass(frozen=True)
class Parameters:
    """Learned numbers of a system, by part (running statistics of batch norm are not learned)."""

    encoder: int
    codebook: int
    decoder: int
    classifier: int
    semantic: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.encoder + self.codebook + self.decoder + self.classifier + self.semantic


@dataclass(frozen=True)
class Gigaflop:
    """Arithmetic for one clip in 10^9 floating-point operations, by part (multiply-add = 2)."""

    encoder: float
    lookup: float
    decoder: float
    classifier: float
    semantic: float = 0.0

    @property
    def tagging(self) -> float:
        """Log-mel to tags: everything but the decoder."""
        return self.encoder + self.lookup + self.classifier + self.semantic


@dataclass(frozen=True)
class _Cost:
    parameters: int = 0
    multiply_adds: int = 0

    def __add__(self, other: _Cost) -> _Cost:
        return _Cost(self.parameters + other.parameters, self.multiply_adds + other.multiply_adds)


def count_parameters(config: NetworkConfig, n_tags: int) -> Parameters:
    """Count the parameters of a system, by part; zero for a part it lacks."""
    vqvae = config.vqvae
    return Parameters(
        encoder=_encoder(vqvae).parameters if vqvae else 0,
        codebook=vqvae.codebook_size * vqvae.width if vqvae else 0,
        decoder=_decoder(vqvae).parameters if vqvae else 0,
        classifier=_classifier(config, n_tags).parameters,
        semantic=_semantic(vqvae).parameters if vqvae and vqvae.semantic_width else 0,
    )


def gigaflop_per_clip(config: NetworkConfig, n_tags: int) -> Gigaflop:
    """Count the arithmetic of a forward pass over one clip, by part; zero for a part that the system lacks."""
    vqvae = config.vqvae
    # Look-up: K products of length `width` for each latent vector.
    lookup = vqvae.bands * LATENT_FRAMES * vqvae.codebook_size * vqvae.width if vqvae else 0
    return Gigaflop(
        encoder=_giga(_encoder(vqvae).multiply_adds if vqvae else 0),
        lookup=_giga(lookup),
        decoder=_giga(_decoder(vqvae).multiply_adds if vqvae else 0),
        classifier=_giga(_classifier(config, n_tags).multiply_adds),
        semantic=_giga(_semantic(vqvae).multiply_adds if vqvae and vqvae.semantic_width else 0),
    )


def _giga(multiply_adds: int) -> float:
    return 2 * multiply_adds / 1e9


def _encoder(config: VQVAEConfig) -> _Cost:
    cost, size = _chain(encoder_convolutions(config), (N_MELS, SEGMENT_FRAMES), 1, config.width, config.width)
    return cost + _residuals(config.width, size)


def _decoder(config: VQVAEConfig) -> _Cost:
    latent: Size = (config.bands, LATENT_FRAMES)
    cost, _ = _chain(decoder_convolutions(config), latent, config.width, config.width, 1)
    return _residuals(config.width, latent) + cost


def _semantic(config: VQVAEConfig) -> _Cost:
    width, steps = config.semantic_width, LATENT_FRAMES
    cost = _convolution(config.features, width, (1, 1), (1, steps)) + _norm(width)
    for block in range(SEMANTIC_BLOCKS):
        cost += _convolution(width, width, (1, SEMANTIC_KERNEL), (1, steps >> block)) + _norm(width)
    for inputs, outputs in ((2 * width, width), (width, config.semantic_features)):
        cost += _convolution(inputs, outputs, (1, 1), (1, WINDOWS))
    return cost + _norm(width)


def _chain(rows: tuple[Convolution, ...], size: Size, inputs: int, hidden: int, outputs: int) -> tuple[_Cost, Size]:
    """Cost of convolutions with batch norm after all but the last, and the size they end at."""
    cost = _Cost()
    for index, row in enumerate(rows):
        last = index == len(rows) - 1
        maps = outputs if last else hidden
        after = row.output_size(size)
        # A transposed convolution multiplies its kernel with every input value, the plain one for every output value.
        cost += _convolution(inputs, maps, row.kernel, size if row.transposed else after)
        if not last:
            cost += _norm(maps)
        inputs, size = maps, after
    return cost, size


def _residuals(width: int, size: Size) -> _Cost:
    cost = _Cost()
    for _ in range(RESIDUAL_BLOCKS):
        cost += _convolution(width, width, RESIDUAL.kernel, size) + _norm(width)
        cost += _convolution(width, width, (1, 1), size) + _norm(width)
    return cost


def _convolution(inputs: int, outputs: int, kernel: Size, positions: Size) -> _Cost:
    weights = inputs * outputs * kernel[0] * kernel[1]
    return _Cost(weights + outputs, weights * positions[0] * positions[1])


def _dense(inputs: int, outputs: int) -> _Cost:
    return _convolution(inputs, outputs, (1, 1), (1, 1))


def _norm(values: int) -> _Cost:
    return _Cost(2 * values)


def _classifier(config: NetworkConfig, n_tags: int) -> _Cost:
    dials, vqvae = config.classifier, config.vqvae
    if isinstance(dials, GRUConfig) and vqvae:
        return _gru_classifier(dials, vqvae, n_tags)
    if isinstance(dials, CNNConfig) and vqvae:
        return _cnn_classifier(dials, vqvae, n_tags)
    if isinstance(dials, StatisticsConfig) and vqvae:
        return _dense(STATISTICS * vqvae.features, n_tags)
    if isinstance(dials, SemanticConfig) and vqvae:
        return _dense(vqvae.semantic_features, n_tags)
    if isinstance(dials, VGGishConfig):
        return _vggish(dials, (vqvae.features, LATENT_FRAMES) if vqvae else (N_MELS, SEGMENT_FRAMES), n_tags)
    return _Cost()


def _gru_classifier(dials: GRUConfig, vqvae: VQVAEConfig, n_tags: int) -> _Cost:
    hidden, layers = dials.hidden, dials.layers
    features = vqvae.bands * vqvae.codebook_size if dials.input == "one-hot" else vqvae.features
    fixed_length = LATENT_FRAMES if dials.layer_norm == "steps-and-features" else 1
    cost = _gru(features, hidden, layers) + _norm(fixed_length * 2 * hidden)
    cost += _gru(2 * hidden, hidden, layers) + _norm(2 * layers * hidden)
    sizes = (2 * layers * hidden, *dials.dense, n_tags)
    for inputs, outputs in pairwise(sizes):
        cost += _dense(inputs, outputs)
    return cost


def _gru(features: int, hidden: int, layers: int) -> _Cost:
    cost = _Cost()
    for layer in range(layers):
        inputs = features if layer == 0 else 2 * hidden
        # Three gates, two directions; the input and the state each have a weight and a bias.
        weights = 2 * 3 * hidden * (inputs + hidden)
        cost += _Cost(weights + 2 * 3 * hidden * 2, weights * LATENT_FRAMES)
    return cost


def _cnn_classifier(dials: CNNConfig, vqvae: VQVAEConfig, n_tags: int) -> _Cost:
    features, hidden, steps = vqvae.features, dials.hidden, LATENT_FRAMES
    cost, front_end = _Cost(), 0
    for row in timbral_filters(dials.channels, features):
        positions = (features - row.features + 1, steps)
        cost += _convolution(1, row.maps, (row.features, row.steps), positions) + _norm(row.maps)
        front_end += row.maps
    for maps, kernel in zip(temporal_maps(dials.channels), TEMPORAL_KERNELS, strict=True):
        cost += _convolution(1, maps, (1, kernel), (1, steps)) + _norm(maps)
        front_end += maps
    valid = steps - BACK_END_KERNEL + 1
    for inputs, length in ((front_end, valid), (hidden, valid), (hidden, valid // 2)):
        cost += _convolution(inputs, hidden, (1, BACK_END_KERNEL), (1, length)) + _norm(hidden)
    return cost + _dense(2 * hidden, dials.dense) + _norm(dials.dense) + _dense(dials.dense, n_tags)


def _vggish(dials: VGGishConfig, size: Size, n_tags: int) -> _Cost:
    cost, inputs = _norm(1), 1
    for index, maps in enumerate(dials.maps):
        cost += _convolution(inputs, maps, (3, 3), size) + _norm(maps)
        if index < len(VGGISH_POOLS):
            pool = clipped_pool(VGGISH_POOLS[index], size)
            size = size[0] // pool[0], size[1] // pool[1]
        inputs = maps
    return cost + _dense(inputs, n_tags)
