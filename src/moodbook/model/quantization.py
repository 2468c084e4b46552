"""Convolutions in whole numbers of 8 bits, with ranges that the weights themselves tell.

A convolution in int8 needs to know how large its inputs get. Elsewhere one runs example data through the network and
writes the largest values down; here batch norm already has: before its ReLU a channel has mean ``beta`` and standard
deviation ``|gamma|`` over the training data, so that hardly a value exceeds ``beta + 6 |gamma|``. Every model can thus
be quantised when it is loaded, without examples and without another file in the bundle.

Only E2 to E4, four fifths of the arithmetic, are quantised. Their inputs come from a batch norm and a ReLU; E1 reads
the log-mel itself, and the layers from E5 on decide between close codes, where rounding costs most.

Source:
    Ranges from batch norm: M. Nagel, M. van Baalen, T. Blankevoort and M. Welling, Data-Free Quantization Through
    Weight Equalization and Bias Correction, ICCV 2019, section 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32

from moodbook.model.runtime import load_openvino

load_openvino()
from openvino import opset15 as ops  # noqa: E402

_DEVIATIONS = 6.0
"""Standard deviations above the mean that an input keeps; what lies beyond is clipped. On music 4 clips too much (11 %
of the codes change if every layer is quantised), 8 rounds too coarsely (6 %); 6 changes 5 %."""
_ACTIVATION_LEVELS = 256  # Inputs are not negative: 0 to 255.
_WEIGHT_LEVELS = 255  # -127 to 127, so that zero stays zero.
_SMALLEST_RANGE = np.float32(1e-6)  # Of a map whose weights, or whose inputs, are all zero.


def ceiling_after_norm(weights: Mapping[str, Float32[np.ndarray, "*_"]], norm: str) -> np.float32:
    """Bound what comes out of a batch norm and a ReLU: the largest ``beta + 6 |gamma|`` of its channels.

    Args:
        weights: The weights by name.
        norm: Name of the batch norm.
    """
    highest = (weights[f"{norm}.bias"] + _DEVIATIONS * np.abs(weights[f"{norm}.weight"])).max()
    return np.float32(max(highest, _SMALLEST_RANGE))


def quantized_input(image: Any, ceiling: np.float32) -> Any:
    """Round a node to 256 levels from 0 to `ceiling`; the runtime then computes what reads it in int8."""
    low, high = _range(np.zeros((1, 1, 1, 1))), _range(np.full((1, 1, 1, 1), ceiling))
    return ops.fake_quantize(image, low, high, low, high, _ACTIVATION_LEVELS)


def quantized_kernel(kernel: Float32[np.ndarray, "outputs inputs height width"]) -> Any:
    """Round a kernel to 255 levels, whose range is each output's own: plus or minus its largest weight."""
    largest = np.maximum(np.abs(kernel).max(axis=(1, 2, 3), keepdims=True), _SMALLEST_RANGE)
    low, high = _range(-largest), _range(largest)
    return ops.fake_quantize(ops.constant(kernel), low, high, low, high, _WEIGHT_LEVELS)


def _range(values: np.ndarray) -> Any:
    return ops.constant(values.astype(np.float32))
