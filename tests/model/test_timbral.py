from __future__ import annotations

import numpy as np
import pytest

from moodbook.model.runtime import load_openvino
from moodbook.model.timbral import blocks_of_lanes, timbral_maximum


def by_definition(image, kernel, bias, scale, shift):
    """The same filters, one product at a time, in float64."""
    width, extent = kernel.shape[2:]
    padded = np.pad(image.astype(np.float64), ((0, 0), (width // 2, width // 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (width, extent), axis=(1, 2))
    response = np.einsum("btpwf,mwf->bmtp", windows, kernel[:, 0].astype(np.float64)) + bias[:, None, None]
    normed = np.maximum(response, 0) * scale[:, None, None] + shift[:, None, None]
    return normed.max(axis=3)


@pytest.mark.parametrize("lanes", [1, 4, 8])
@pytest.mark.parametrize(
    ("features", "extent", "width"), [(1, 1, 1), (7, 6, 3), (8, 1, 7), (9, 9, 1), (16, 14, 3), (25, 10, 7), (32, 28, 7)]
)
def test_lanes_change_nothing(features, extent, width, lanes):
    rng = np.random.default_rng(features)
    image = rng.normal(size=(2, 20, features)).astype(np.float32)
    kernel = rng.normal(size=(3, 1, width, extent)).astype(np.float32)
    bias, shift = rng.normal(size=(2, 3)).astype(np.float32)
    scale = np.array([1.5, -2.0, 0.5])  # A negative scale turns the maximum around.
    openvino = load_openvino()
    node = openvino.opset15.parameter(list(image.shape), openvino.Type.f32)
    result = timbral_maximum(
        blocks_of_lanes(node, image.shape, lanes), image.shape, kernel, bias, (scale, shift.astype(np.float64)), lanes
    )
    compiled = openvino.Core().compile_model(
        openvino.Model([result], [node], "timbral"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )

    found = compiled(image)[0]

    np.testing.assert_allclose(found, by_definition(image, kernel, bias, scale, shift), atol=1e-4)
