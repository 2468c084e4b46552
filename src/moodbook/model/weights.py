"""The names and shapes of a system's weights, worked out from its configuration (no torch here).

They are those of the training network's state, so a bundle can be checked tensor by tensor before any of it is used.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32

from moodbook.errors import ModelError
from moodbook.model.embedding import embedding_shapes
from moodbook.model.presence import presence_shapes
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
    Convolution,
    decoder_convolutions,
    encoder_convolutions,
    temporal_maps,
    timbral_filters,
)

Shape = tuple[int, ...]

MAX_TENSORS = 2000
"""Tensors of the largest system that a bundle may hold; the paper's have 100 to 150."""
MAX_PARAMETERS = 2**27
"""Numbers of the largest system that a bundle may hold (512 MiB in float32); the paper's have 12 to 17 million."""

POPULARITY_PROBABILITIES = "classifier.probabilities"
"""The one tensor of the popularity baseline: its constant probability of each tag."""
BATCH_COUNTER = "num_batches_tracked"
"""Last part of the name of batch norm's step counters, which training keeps and a bundle leaves out."""


def weight_shapes(
    network: NetworkConfig, n_tags: int, decoder: bool = True, embedding: int | None = None, presence: bool = False
) -> dict[str, Shape]:
    """Give the shape of every weight by name.

    Args:
        network: The whole system.
        n_tags: Number of tags.
        decoder: Whether the VQ-VAE's decoder belongs to it; tagging does not need one.
        embedding: Numbers of a track's embedding; None where the system gives none.
        presence: Whether the system tells music from what is none.

    Raises:
        ModelError: The system lacks the VQ-VAE it reads or has one it does not read, or is absurdly large.
    """
    if network.needs_vqvae != (network.vqvae is not None):
        wants = "reads latents: give a VQ-VAE" if network.needs_vqvae else "reads no latents: leave the VQ-VAE out"
        raise ModelError(f"a {network.classifier.kind!r} classifier {wants}")
    shapes: dict[str, Shape] = {}
    parameters = 0
    for name, shape in _weights(network, n_tags, decoder, embedding, presence):
        shapes[name] = shape
        parameters += _size(shape)
        if len(shapes) > MAX_TENSORS or parameters > MAX_PARAMETERS:
            raise ModelError(
                f"its network configuration asks for more than {MAX_TENSORS} tensors or {MAX_PARAMETERS} numbers; "
                "that is no system of Moodbook"
            )
    return shapes


def check_numbers(name: str, weight: Float32[np.ndarray, "*_"]) -> None:
    """Check that the numbers of a weight can be what its name says.

    Raises:
        ModelError: One is not finite, is a negative variance or a probability outside of [0, 1].
    """
    if not np.isfinite(weight).all():
        raise ModelError(f"weight {name!r} holds NaN or infinite numbers")
    if name.endswith(".running_var") and (weight < 0).any():
        raise ModelError(f"weight {name!r} holds a negative variance")
    if name == POPULARITY_PROBABILITIES and not ((weight >= 0) & (weight <= 1)).all():
        raise ModelError(f"weight {name!r} holds a probability outside of [0, 1]")


def _size(shape: Shape) -> int:
    size = 1
    for extent in shape:
        size *= extent
    return size


def _weights(
    network: NetworkConfig, n_tags: int, decoder: bool, embedding: int | None, presence: bool
) -> Iterator[tuple[str, Shape]]:
    dials, vqvae = network.classifier, network.vqvae
    if vqvae is not None:
        yield from _vqvae(vqvae, decoder)
        if embedding is not None:
            yield from embedding_shapes(vqvae, embedding).items()
        if presence:
            yield from presence_shapes(vqvae).items()
    if isinstance(dials, GRUConfig) and vqvae is not None:
        yield from _gru_classifier(dials, vqvae, n_tags)
    elif isinstance(dials, CNNConfig) and vqvae is not None:
        yield from _cnn_classifier(dials, vqvae, n_tags)
    elif isinstance(dials, StatisticsConfig) and vqvae is not None:
        yield from _normed_line(STATISTICS * vqvae.features, n_tags)
    elif isinstance(dials, SemanticConfig) and vqvae is not None:
        yield from _normed_line(vqvae.semantic_features, n_tags)
    elif isinstance(dials, VGGishConfig):
        yield from _vggish(dials, n_tags)
    else:
        yield POPULARITY_PROBABILITIES, (n_tags,)


def _vqvae(config: VQVAEConfig, decoder: bool) -> Iterator[tuple[str, Shape]]:
    yield from _chain("vqvae.encoder", encoder_convolutions(config), (1, config.width, config.width))
    yield from _residuals("vqvae.encoder", config.width)
    yield "vqvae.quantizer.codebook", (config.codebook_size, config.width)
    if config.semantic_width:
        yield from _semantic_decoder(config)
    if decoder:
        yield from _residuals("vqvae.decoder", config.width)
        yield from _chain("vqvae.decoder", decoder_convolutions(config), (config.width, config.width, 1))


def _semantic_decoder(config: VQVAEConfig) -> Iterator[tuple[str, Shape]]:
    part, width = "vqvae.semantic", config.semantic_width
    yield from _affine(f"{part}.input", (width, config.features, 1))
    yield from _norm(f"{part}.input_norm", width)
    for index in range(SEMANTIC_BLOCKS):
        yield from _affine(f"{part}.convolutions.{index}", (width, width, SEMANTIC_KERNEL))
        yield from _norm(f"{part}.norms.{index}", width)
    yield from _affine(f"{part}.hidden", (width, 2 * width))
    yield from _norm(f"{part}.hidden_norm", width)
    yield from _affine(f"{part}.output", (config.semantic_features, width))


def _chain(part: str, rows: tuple[Convolution, ...], maps: tuple[int, int, int]) -> Iterator[tuple[str, Shape]]:
    """Convolutions from the first through the second to the last number of maps, batch norm after all but the last."""
    first, hidden, last = maps
    for index, row in enumerate(rows):
        inputs = first if index == 0 else hidden
        outputs = last if index == len(rows) - 1 else hidden
        channels = (inputs, outputs) if row.transposed else (outputs, inputs)
        yield f"{part}.convolutions.{index}.weight", (*channels, *row.kernel)
        yield f"{part}.convolutions.{index}.bias", (outputs,)
        if index < len(rows) - 1:
            yield from _norm(f"{part}.norms.{index}", hidden)


def _residuals(part: str, width: int) -> Iterator[tuple[str, Shape]]:
    for index in range(RESIDUAL_BLOCKS):
        block = f"{part}.residuals.{index}"
        yield from _affine(f"{block}.convolution", (width, width, *RESIDUAL.kernel))
        yield from _norm(f"{block}.norm", width)
        yield from _affine(f"{block}.projection", (width, width, 1, 1))
        yield from _norm(f"{block}.projection_norm", width)


def _affine(name: str, weight: Shape) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", weight
    yield f"{name}.bias", weight[:1]


def _norm(name: str, channels: int) -> Iterator[tuple[str, Shape]]:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (channels,)


def _gru_classifier(dials: GRUConfig, vqvae: VQVAEConfig, n_tags: int) -> Iterator[tuple[str, Shape]]:
    hidden, layers = dials.hidden, dials.layers
    features = vqvae.bands * vqvae.codebook_size if dials.input == "one-hot" else vqvae.features
    yield from _gru("classifier.recurrent", features, hidden, layers)
    steps: Shape = (LATENT_FRAMES,) if dials.layer_norm == "steps-and-features" else ()
    for part in ("weight", "bias"):
        yield f"classifier.norm.{part}", (*steps, 2 * hidden)
    yield from _gru("classifier.summary", 2 * hidden, hidden, layers)
    for part in ("weight", "bias"):
        yield f"classifier.state_norm.{part}", (2 * layers, hidden)
    inputs = 2 * layers * hidden
    for index, outputs in enumerate(dials.dense):
        yield from _affine(f"classifier.dense.{index}", (outputs, inputs))
        inputs = outputs
    yield from _affine("classifier.output", (n_tags, inputs))


def _gru(name: str, features: int, hidden: int, layers: int) -> Iterator[tuple[str, Shape]]:
    for layer in range(layers):
        inputs = features if layer == 0 else 2 * hidden
        for direction in ("", "_reverse"):
            yield f"{name}.weight_ih_l{layer}{direction}", (3 * hidden, inputs)
            yield f"{name}.weight_hh_l{layer}{direction}", (3 * hidden, hidden)
            yield f"{name}.bias_ih_l{layer}{direction}", (3 * hidden,)
            yield f"{name}.bias_hh_l{layer}{direction}", (3 * hidden,)


def _cnn_classifier(dials: CNNConfig, vqvae: VQVAEConfig, n_tags: int) -> Iterator[tuple[str, Shape]]:
    filters = timbral_filters(dials.channels, vqvae.features)
    maps = temporal_maps(dials.channels)
    for index, row in enumerate(filters):
        yield from _affine(f"classifier.timbral.{index}", (row.maps, 1, row.steps, row.features))
        yield from _norm(f"classifier.timbral_norms.{index}", row.maps)
    for index, (count, kernel) in enumerate(zip(maps, TEMPORAL_KERNELS, strict=True)):
        yield from _affine(f"classifier.temporal.{index}", (count, 1, kernel))
        yield from _norm(f"classifier.temporal_norms.{index}", count)
    inputs = sum(row.maps for row in filters) + sum(maps)
    for index in range(3):
        yield from _affine(f"classifier.back_end.{index}", (dials.hidden, inputs, BACK_END_KERNEL))
        yield from _norm(f"classifier.back_end_norms.{index}", dials.hidden)
        inputs = dials.hidden
    yield from _affine("classifier.dense", (dials.dense, 2 * dials.hidden))
    yield from _norm("classifier.dense_norm", dials.dense)
    yield from _affine("classifier.output", (n_tags, dials.dense))


def _normed_line(inputs: int, n_tags: int) -> Iterator[tuple[str, Shape]]:
    """Batch norm without a scale of its own, and the output layer."""
    for part in ("running_mean", "running_var"):
        yield f"classifier.norm.{part}", (inputs,)
    yield from _affine("classifier.output", (n_tags, inputs))


def _vggish(dials: VGGishConfig, n_tags: int) -> Iterator[tuple[str, Shape]]:
    yield from _norm("classifier.input_norm", 1)
    inputs = 1
    for index, maps in enumerate(dials.maps):
        yield from _affine(f"classifier.convolutions.{index}", (maps, inputs, 3, 3))
        yield from _norm(f"classifier.norms.{index}", maps)
        inputs = maps
    yield from _affine("classifier.output", (n_tags, inputs))
