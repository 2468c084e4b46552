"""The CNN's timbral filters, laid out so that a processor multiplies them at full speed.

A timbral filter spans hundreds of features of an image with a single channel, a shape that convolution kernels are slow
at: the six groups of the full network take three times as long as needed. Cutting the features into lanes gives the
same sums a common shape. With L lanes, write feature ``L j + i`` (block j, lane i) and position ``L q + r`` (block q,
phase r). The response ``y[L q + r] = sum_k w[k] x[L q + r + k]`` then is

    y[q, r] = sum_(j, i) W[r, i, j] x[q + j, i]      with W[r, i, j] = w[L j + i - r], zero outside of the filter

which is a plain convolution over blocks with L input channels and L outputs a map. It adds L - 1 taps of zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float32

from moodbook.model.runtime import load_openvino

load_openvino()
from openvino import opset15 as ops  # noqa: E402

_LANES = 8
_NOWHERE = np.float32(-3e38)  # Added to positions past the last valid one, so that no maximum finds them.


def blocks_of_lanes(image: Any, shape: tuple[int, int, int], lanes: int = _LANES) -> Any:
    """Cut the features of an image into blocks of lanes, filled up with zeros.

    Args:
        image: A node "batch steps features".
        shape: Its shape.
        lanes: L.

    Returns:
        A node "batch lanes steps blocks".
    """
    batch, steps, features = shape
    # One block more than the features fill: the last block of positions reaches into it.
    blocks = -(-features // lanes) + 1
    behind = ops.constant(np.array([0, 0, blocks * lanes - features]))
    zeros = ops.constant(np.zeros(3, dtype=np.int64))
    filled = ops.pad(image, zeros, behind, "constant", ops.constant(np.float32(0.0)))
    cut = ops.reshape(filled, ops.constant(np.array([batch, steps, blocks, lanes])), False)
    return ops.transpose(cut, ops.constant(np.array([0, 3, 1, 2])))


def timbral_maximum(
    blocks: Any,
    shape: tuple[int, int, int],
    kernel: Float32[np.ndarray, "maps 1 width features"],
    bias: Float32[np.ndarray, " maps"],
    norm_line: tuple[np.ndarray, np.ndarray],
    lanes: int = _LANES,
) -> Any:
    """Apply one group of timbral filters: same in time, valid in features; ReLU, batch norm; maximum over features.

    Args:
        blocks: What `blocks_of_lanes` gives.
        shape: "batch steps features" of the image.
        kernel: The filters; `width` steps are odd.
        bias: Of each map.
        norm_line: Scale and shift of each map's batch norm.
        lanes: L.

    Returns:
        A node "batch maps steps".
    """
    batch, steps, features = shape
    maps, _, width, extent = kernel.shape
    taps = -(-(extent + lanes - 1) // lanes)
    phases = _phases(kernel[:, 0], taps, lanes).reshape(maps * lanes, lanes, width, taps)
    padding = [width // 2, 0]
    response = ops.convolution(blocks, ops.constant(phases), [1, 1], padding, padding, [1, 1])
    response = ops.relu(ops.add(response, _per_phase(bias, lanes)))
    scale, shift = norm_line
    response = ops.add(ops.multiply(response, _per_phase(scale, lanes)), _per_phase(shift, lanes))
    # Position L q + r is valid up to features - extent.
    width_out = response.get_output_shape(0)[3]
    positions = lanes * np.arange(width_out)[None, :] + np.arange(lanes)[:, None]
    valid = np.where(positions <= features - extent, np.float32(0.0), _NOWHERE)
    response = ops.add(response, ops.constant(np.tile(valid, (maps, 1)).reshape(1, maps * lanes, 1, width_out)))
    best = ops.reduce_max(response, ops.constant(np.array([3])))
    best = ops.reshape(best, ops.constant(np.array([batch, maps, lanes, steps])), False)
    return ops.reduce_max(best, ops.constant(np.array([2])))


def _phases(
    kernel: Float32[np.ndarray, "maps width features"], taps: int, lanes: int
) -> Float32[np.ndarray, "maps lanes lanes width taps"]:
    """Lay filters out by phase r and lane i: W[r, i, j] = w[L j + i - r]."""
    phase, lane, tap = np.ogrid[:lanes, :lanes, :taps]
    index = lanes * tap + lane - phase
    inside = (index >= 0) & (index < kernel.shape[2])
    # maps width phase lane tap -> maps phase lane width tap
    spread = np.where(inside, kernel[:, :, np.clip(index, 0, kernel.shape[2] - 1)], np.float32(0.0))
    phases: np.ndarray = np.ascontiguousarray(spread.transpose(0, 2, 3, 1, 4))
    return phases


def _per_phase(values: np.ndarray, lanes: int) -> Any:
    return ops.constant(np.repeat(values, lanes).astype(np.float32).reshape(1, -1, 1, 1))
