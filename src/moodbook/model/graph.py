"""The paper's networks as OpenVINO graphs, built straight from the configuration and the weights.

No exported file stands between training and inference: every layer reads the same geometry as the torch modules, and
tests hold both to the same numbers. Axes are (frequency, time) as in `moodbook.networks.geometry`. Batch norm is folded
into the convolution before it, in float64, where nothing stands between the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32

from moodbook.errors import ModelError
from moodbook.features import N_MELS, SEGMENT_FRAMES
from moodbook.model.quantization import ceiling_after_norm, quantized_input, quantized_kernel
from moodbook.model.runtime import load_openvino
from moodbook.model.timbral import blocks_of_lanes, timbral_maximum
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
    RESIDUAL,
    RESIDUAL_BLOCKS,
    SEMANTIC_BLOCKS,
    SEMANTIC_KERNEL,
    SPREAD_EPSILON,
    TEMPORAL_KERNELS,
    VGGISH_POOLS,
    WINDOWS,
    Convolution,
    clipped_pool,
    encoder_convolutions,
    same_padding,
)

load_openvino()
from openvino import Model, Type  # noqa: E402
from openvino import opset15 as ops  # noqa: E402

Weights = Mapping[str, Float32[np.ndarray, "*_"]]
Node = Any
"""A node or an output of an OpenVINO graph; its Python bindings carry no types."""

_NORM_EPSILON = 1e-5
"""Added to every variance: torch's default for batch norm and layer norm, with which the weights were trained."""


def encoder_graph(config: VQVAEConfig, weights: Weights, int8: bool = False) -> Model:
    """Build the encoder, E1 to E5 and the two residual blocks: one log-mel segment to its latents.

    Args:
        config: The VQ-VAE.
        weights: Its weights by name.
        int8: Whether E2 to E4 multiply whole numbers of 8 bits.

    Returns:
        A graph from log_mel "1 128 1024" to latents "bands 512 width", each latent vector in one piece.
    """
    segment = ops.parameter([1, N_MELS, SEGMENT_FRAMES], Type.f32, name="log_mel")
    part = "vqvae.encoder"
    hidden = _reshape(segment, (1, 1, N_MELS, SEGMENT_FRAMES))
    rows = encoder_convolutions(config)
    # E1..E4: Conv; BN; ReLU. E5: Conv alone.
    for index, row in enumerate(rows[:-1]):
        ceiling = ceiling_after_norm(weights, f"{part}.norms.{index - 1}") if int8 and index else None
        name, norm = f"{part}.convolutions.{index}", f"{part}.norms.{index}"
        hidden = ops.relu(_convolution(hidden, weights, name, row, norm, ceiling))
    hidden = _convolution(hidden, weights, f"{part}.convolutions.{len(rows) - 1}", rows[-1])
    for index in range(RESIDUAL_BLOCKS):
        block = f"{part}.residuals.{index}"
        # ReLU, Conv 3x3, BN, ReLU, Conv 1x1, BN; the skip carries relu(x), or x itself.
        rectified = ops.relu(hidden)
        inner = ops.relu(_convolution(rectified, weights, f"{block}.convolution", RESIDUAL, f"{block}.norm"))
        inner = _convolution(inner, weights, f"{block}.projection", Convolution((1, 1)), f"{block}.projection_norm")
        hidden = ops.add(rectified if config.skip == "relu" else hidden, inner)
    latents = ops.transpose(_reshape(hidden, (config.width, config.bands, LATENT_FRAMES)), _integers(1, 2, 0))
    return Model([latents], [segment], "encoder")


def head_graph(network: NetworkConfig, weights: Weights, batch: int) -> Model:
    """Build the classifier: what the network hands it to logits "batch tags".

    Args:
        network: The whole system.
        weights: Its weights by name.
        batch: Segments that the graph takes at a time.

    Returns:
        A graph from codes int32 "batch bands 512", or from log_mel "batch 128 1024" where there is no VQ-VAE.

    Raises:
        ModelError: The classifier has no graph (the popularity baseline).
    """
    dials, vqvae = network.classifier, network.vqvae
    if isinstance(dials, VGGishConfig) and vqvae is None:
        log_mel = ops.parameter([batch, N_MELS, SEGMENT_FRAMES], Type.f32, name="log_mel")
        return Model([_vggish(log_mel, (N_MELS, SEGMENT_FRAMES), weights, batch)], [log_mel], "vggish")
    if vqvae is None:
        raise ModelError(f"a {dials.kind!r} classifier has no graph")
    codes = ops.parameter([batch, vqvae.bands, LATENT_FRAMES], Type.i32, name="codes")
    if isinstance(dials, GRUConfig):
        logits = _gru_classifier(codes, dials, vqvae, weights, batch)
    elif isinstance(dials, CNNConfig):
        logits = _cnn_classifier(_latent_sequence(codes, vqvae, weights, batch), dials, vqvae, weights, batch)
    elif isinstance(dials, StatisticsConfig):
        logits = _statistics_classifier(_latent_sequence(codes, vqvae, weights, batch), vqvae, weights, batch)
    elif isinstance(dials, SemanticConfig):
        read = _semantic_decoder(_latent_sequence(codes, vqvae, weights, batch), weights, batch)
        logits = _normed_line(ops.reduce_mean(read, _integers(1)), weights)
    else:
        # The latents as an image: features x steps.
        image = ops.transpose(_latent_sequence(codes, vqvae, weights, batch), _integers(0, 2, 1))
        logits = _vggish(image, (vqvae.features, LATENT_FRAMES), weights, batch)
    return Model([logits], [codes], dials.kind)


def _latent_sequence(codes: Node, config: VQVAEConfig, weights: Weights, batch: int) -> Node:
    """Look the codes up and flatten the bands: "batch steps features", feature = channel * bands + band."""
    codebook = ops.constant(weights["vqvae.quantizer.codebook"])
    quantized = ops.gather(codebook, codes, _integers(0))  # batch bands steps width
    features_last = ops.transpose(quantized, _integers(0, 2, 3, 1))
    return _reshape(features_last, (batch, LATENT_FRAMES, config.features))


def _one_hot_sequence(codes: Node, config: VQVAEConfig, batch: int) -> Node:
    """Write codes as one-hot vectors: "batch steps features", feature = code * bands + band."""
    on, off = ops.constant(np.float32(1.0)), ops.constant(np.float32(0.0))
    one_hot = ops.one_hot(codes, ops.constant(np.int64(config.codebook_size)), on, off, -1)
    features_last = ops.transpose(one_hot, _integers(0, 2, 3, 1))
    return _reshape(features_last, (batch, LATENT_FRAMES, config.bands * config.codebook_size))


def _gru_classifier(codes: Node, dials: GRUConfig, vqvae: VQVAEConfig, weights: Weights, batch: int) -> Node:
    if dials.input == "one-hot":
        sequence = _one_hot_sequence(codes, vqvae, batch)
    else:
        sequence = _latent_sequence(codes, vqvae, weights, batch)
    hidden, _ = _gru(sequence, weights, "classifier.recurrent", dials, batch)
    # LayerNorm over (steps, features), or over the features of each step.
    axes = (1, 2) if dials.layer_norm == "steps-and-features" else (2,)
    hidden = _layer_norm(hidden, weights, "classifier.norm", axes)
    _, states = _gru(hidden, weights, "classifier.summary", dials, batch)
    hidden = _layer_norm(states, weights, "classifier.state_norm", (1, 2))
    hidden = _reshape(hidden, (batch, 2 * dials.layers * dials.hidden))
    for index in range(len(dials.dense)):
        hidden = ops.relu(_dense(hidden, weights, f"classifier.dense.{index}"))
    return _dense(hidden, weights, "classifier.output")


def _gru(sequence: Node, weights: Weights, name: str, dials: GRUConfig, batch: int) -> tuple[Node, Node]:
    """Run the layers of a bidirectional GRU.

    ``n = tanh(W_in x + b_in + r * (W_hn h + b_hn))`` and ``h' = (1 - z) n + z h``: the reset gate acts on the product,
    which OpenVINO calls linear before reset. torch stores the gates as r, z, n, OpenVINO takes them as z, r, n.

    Returns:
        The outputs "batch steps 2*hidden" of the last layer, and the final states "batch 2*layers hidden" of all.
    """
    size = dials.hidden
    states = []
    for layer in range(dials.layers):
        ways = [f"l{layer}", f"l{layer}_reverse"]
        inputs = np.stack([_gates_z_r_n(weights[f"{name}.weight_ih_{way}"]) for way in ways])
        recurrences = np.stack([_gates_z_r_n(weights[f"{name}.weight_hh_{way}"]) for way in ways])
        biases = np.stack(
            [_gru_bias(weights[f"{name}.bias_ih_{way}"], weights[f"{name}.bias_hh_{way}"]) for way in ways]
        )
        layer_outputs = ops.gru_sequence(
            sequence,
            ops.constant(np.zeros((batch, 2, size), dtype=np.float32)),
            ops.constant(np.full(batch, LATENT_FRAMES, dtype=np.int32)),
            ops.constant(inputs),
            ops.constant(recurrences),
            ops.constant(biases),
            size,
            "bidirectional",
            linear_before_reset=True,
        )
        # batch ways steps hidden -> batch steps ways*hidden
        sequence = ops.transpose(layer_outputs.output(0), _integers(0, 2, 1, 3))
        sequence = _reshape(sequence, (batch, LATENT_FRAMES, 2 * size))
        states.append(layer_outputs.output(1))
    return sequence, states[0] if len(states) == 1 else ops.concat(states, 1)


def _gates_z_r_n(array: np.ndarray) -> np.ndarray:
    reset, update, new = np.split(array, 3)
    return np.concatenate([update, reset, new])


def _gru_bias(inputs: np.ndarray, recurrences: np.ndarray) -> np.ndarray:
    """Join torch's two biases: z and r add up; n keeps both, since the reset gate acts on one of them alone."""
    reset_i, update_i, new_i = np.split(inputs, 3)
    reset_h, update_h, new_h = np.split(recurrences, 3)
    return np.concatenate([update_i + update_h, reset_i + reset_h, new_i, new_h])


def _cnn_classifier(sequence: Node, dials: CNNConfig, vqvae: VQVAEConfig, weights: Weights, batch: int) -> Node:
    maps = [*_timbral_maps(sequence, vqvae, weights, batch), *_temporal_maps(sequence, weights, batch)]
    hidden = _back_end_block(ops.concat(maps, 1), weights, 0, padding=0)
    same = weights["classifier.back_end.1.weight"].shape[2] // 2
    # 1: + residual; max-pool 2. 2: + residual.
    hidden = ops.add(hidden, _back_end_block(hidden, weights, 1, same))
    hidden = ops.max_pool(hidden, [2], [1], [0], [0], [2], "floor").output(0)
    hidden = ops.add(hidden, _back_end_block(hidden, weights, 2, same))
    # [max, mean] over time; dense ReLU BN; dense tags.
    time = _integers(2)
    pooled = ops.concat([ops.reduce_max(hidden, time), ops.reduce_mean(hidden, time)], 1)
    dense = ops.relu(_dense(pooled, weights, "classifier.dense"))
    return _dense(_batch_norm(dense, weights, "classifier.dense_norm"), weights, "classifier.output")


def _timbral_maps(sequence: Node, vqvae: VQVAEConfig, weights: Weights, batch: int) -> list[Node]:
    """Same in time, valid in features; ReLU, BN; max over features: "batch maps steps" of each group."""
    shape = (batch, LATENT_FRAMES, vqvae.features)
    blocks = blocks_of_lanes(sequence, shape)
    return [
        timbral_maximum(
            blocks,
            shape,
            weights[f"{name}.weight"],
            weights[f"{name}.bias"],
            _norm_line(weights, name.replace("timbral", "timbral_norms")),
        )
        for name in _members(weights, "classifier.timbral")
    ]


def _temporal_maps(sequence: Node, weights: Weights, batch: int) -> list[Node]:
    """Mean over the features; Conv1d, same; ReLU, BN: "batch maps steps" of each group."""
    energy = _reshape(ops.reduce_mean(sequence, _integers(2)), (batch, 1, LATENT_FRAMES))
    maps = []
    for name, kernel in zip(_members(weights, "classifier.temporal"), TEMPORAL_KERNELS, strict=True):
        before, after = same_padding(kernel)
        rectified = ops.relu(_convolution_1d(energy, weights, name, before, after))
        maps.append(_batch_norm(rectified, weights, name.replace("temporal", "temporal_norms")))
    return maps


def _back_end_block(hidden: Node, weights: Weights, index: int, padding: int) -> Node:
    rectified = ops.relu(_convolution_1d(hidden, weights, f"classifier.back_end.{index}", padding, padding))
    return _batch_norm(rectified, weights, f"classifier.back_end_norms.{index}")


def _statistics_classifier(sequence: Node, vqvae: VQVAEConfig, weights: Weights, batch: int) -> Node:
    """Mean, spread and movement over the steps; batch norm and the output layer."""
    time = _integers(1)
    mean = ops.reduce_mean(sequence, time, True)
    variance = ops.reduce_mean(ops.power(ops.subtract(sequence, mean), ops.constant(np.float32(2.0))), time)
    spread = ops.sqrt(ops.add(variance, ops.constant(np.float32(SPREAD_EPSILON))))
    first, last = _integers(0), _integers(LATENT_FRAMES)
    one, before_last = _integers(1), _integers(LATENT_FRAMES - 1)
    step = ops.subtract(ops.slice(sequence, one, last, one, one), ops.slice(sequence, first, before_last, one, one))
    movement = ops.reduce_mean(ops.abs(step), time)
    return _normed_line(ops.concat([_reshape(mean, (batch, vqvae.features)), spread, movement], 1), weights)


def _normed_line(features: Node, weights: Weights) -> Node:
    """Apply batch norm and the output layer as one line: w' = w a, b' = b - w' mean."""
    variance_seen = weights["classifier.norm.running_var"].astype(np.float64)
    kernel = weights["classifier.output.weight"] / np.sqrt(variance_seen + _NORM_EPSILON)
    bias = weights["classifier.output.bias"] - kernel @ weights["classifier.norm.running_mean"].astype(np.float64)
    product = ops.matmul(features, ops.constant(kernel.astype(np.float32)), False, True)
    return ops.add(product, ops.constant(bias.astype(np.float32)))


def _semantic_decoder(sequence: Node, weights: Weights, batch: int) -> Node:
    """Read the latents: "batch windows semantic_features"."""
    part = "vqvae.semantic"
    hidden = ops.transpose(sequence, _integers(0, 2, 1))
    hidden = ops.relu(_convolution_1d(hidden, weights, f"{part}.input", 0, 0, f"{part}.input_norm"))
    around = SEMANTIC_KERNEL // 2
    for index in range(SEMANTIC_BLOCKS):
        if index:
            hidden = ops.avg_pool(hidden, [2], [0], [0], [2], True)
        name, norm = f"{part}.convolutions.{index}", f"{part}.norms.{index}"
        hidden = ops.add(hidden, ops.relu(_convolution_1d(hidden, weights, name, around, around, norm)))
    width = weights[f"{part}.input.weight"].shape[0]
    windows = _reshape(hidden, (batch, width, WINDOWS, -1))
    within = _integers(3)
    pooled = ops.concat([ops.reduce_max(windows, within), ops.reduce_mean(windows, within)], 1)
    pooled = _reshape(ops.transpose(pooled, _integers(0, 2, 1)), (batch * WINDOWS, 2 * width))
    dense = ops.relu(_batch_norm(_dense(pooled, weights, f"{part}.hidden"), weights, f"{part}.hidden_norm"))
    return _reshape(_dense(dense, weights, f"{part}.output"), (batch, WINDOWS, -1))


def _vggish(image: Node, size: tuple[int, int], weights: Weights, batch: int) -> Node:
    hidden = _batch_norm(_reshape(image, (batch, 1, *size)), weights, "classifier.input_norm")
    for index, name in enumerate(_members(weights, "classifier.convolutions")):
        # Conv 3x3, BN, ELU, max-pool; the last pool takes all that is left.
        row = Convolution((3, 3), padding=(1, 1))
        hidden = ops.elu(_convolution(hidden, weights, name, row, f"classifier.norms.{index}"), 1.0)
        pool = clipped_pool(VGGISH_POOLS[index], size) if index < len(VGGISH_POOLS) else size
        hidden = ops.max_pool(hidden, list(pool), [1, 1], [0, 0], [0, 0], list(pool), "floor").output(0)
        size = size[0] // pool[0], size[1] // pool[1]
    maps = weights["classifier.output.weight"].shape[1]
    return _dense(_reshape(hidden, (batch, maps)), weights, "classifier.output")


def _members(weights: Weights, part: str) -> list[str]:
    """Name the members of a module list: ``part.0``, ``part.1`` and so on."""
    names: list[str] = []
    while f"{part}.{len(names)}.weight" in weights:
        names.append(f"{part}.{len(names)}")
    return names


def _convolution(
    image: Node,
    weights: Weights,
    name: str,
    row: Convolution,
    norm: str | None = None,
    ceiling: np.float32 | None = None,
) -> Node:
    """Convolve with a bias; where `norm` names a batch norm, it is folded in: w' = a w, b' = a (b - mean) + beta.

    Where there is a `ceiling`, in int8: the image lies between 0 and it.
    """
    kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    if norm is not None:
        scale, shift = _norm_line(weights, norm)
        kernel = (kernel * scale[:, None, None, None]).astype(np.float32)
        bias = (bias * scale + shift).astype(np.float32)
    factor = ops.constant(kernel)
    if ceiling is not None:
        image, factor = quantized_input(image, ceiling), quantized_kernel(kernel)
    padding = list(row.padding)
    convolved = ops.convolution(image, factor, list(row.stride), padding, padding, list(row.dilation))
    return ops.add(convolved, ops.constant(bias.reshape(1, -1, 1, 1)))


def _convolution_1d(
    sequence: Node, weights: Weights, name: str, before: int, after: int, norm: str | None = None
) -> Node:
    """Convolve over time with a bias; where `norm` names a batch norm, it is folded in."""
    kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    if norm is not None:
        scale, shift = _norm_line(weights, norm)
        kernel = (kernel * scale[:, None, None]).astype(np.float32)
        bias = (bias * scale + shift).astype(np.float32)
    convolved = ops.convolution(sequence, ops.constant(kernel), [1], [before], [after], [1])
    return ops.add(convolved, ops.constant(bias.reshape(1, -1, 1)))


def _norm_line(weights: Weights, norm: str) -> tuple[np.ndarray, np.ndarray]:
    """Give the line ``scale * x + shift`` that a batch norm is at inference, in float64."""
    scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"].astype(np.float64) + _NORM_EPSILON)
    return scale, weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale


def _batch_norm(hidden: Node, weights: Weights, norm: str) -> Node:
    """Apply a batch norm that cannot be folded (a ReLU stands before it); its channels are the second axis."""
    scale, shift = _norm_line(weights, norm)
    axes = (1, -1) + (1,) * (len(hidden.get_output_shape(0)) - 2)
    scaled = ops.multiply(hidden, ops.constant(scale.astype(np.float32).reshape(axes)))
    return ops.add(scaled, ops.constant(shift.astype(np.float32).reshape(axes)))


def _layer_norm(hidden: Node, weights: Weights, name: str, axes: tuple[int, ...]) -> Node:
    normed = ops.mvn(hidden, _integers(*axes), True, _NORM_EPSILON, "inside_sqrt")
    scaled = ops.multiply(normed, ops.constant(weights[f"{name}.weight"]))
    return ops.add(scaled, ops.constant(weights[f"{name}.bias"]))


def _dense(hidden: Node, weights: Weights, name: str) -> Node:
    product = ops.matmul(hidden, ops.constant(weights[f"{name}.weight"]), False, True)
    return ops.add(product, ops.constant(weights[f"{name}.bias"]))


def _reshape(node: Node, shape: tuple[int, ...]) -> Node:
    return ops.reshape(node, _integers(*shape), False)


def _integers(*values: int) -> Node:
    return ops.constant(np.array(values, dtype=np.int64))
