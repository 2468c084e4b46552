from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load

from moodbook.errors import ModelError
from moodbook.model.tensors import (
    largest_packed_bytes,
    pack_tensors,
    parse_object,
    round_to_storage,
    unpack_tensors,
)

SHAPES = {"a.weight": (3, 2), "a.bias": (3,), "quantizer.codebook": (4, 2), "scalar.weight": (1, 1)}


@pytest.fixture
def weights():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_what_is_packed_is_unpacked(weights, storage):
    content = pack_tensors(weights, storage)

    found = unpack_tensors(content, SHAPES, storage)

    expected = round_to_storage(weights, storage)
    assert found.keys() == expected.keys()
    for name in SHAPES:
        np.testing.assert_array_equal(found[name], expected[name])
        assert found[name].dtype == np.float32
    assert len(content) <= largest_packed_bytes(SHAPES, storage)


def test_the_same_weights_are_the_same_bytes_in_any_order(weights):
    assert pack_tensors(weights, "float32") == pack_tensors(dict(reversed(weights.items())), "float32")


def test_other_programs_read_it(weights):
    found = load(pack_tensors(weights, "float16"))

    assert found["a.weight"].dtype == np.float16
    np.testing.assert_array_equal(found["quantizer.codebook"], weights["quantizer.codebook"])


def test_float16_rounds_matrices_alone(weights):
    rounded = round_to_storage(weights, "float16")

    assert not np.array_equal(rounded["a.weight"], weights["a.weight"])
    np.testing.assert_allclose(rounded["a.weight"], weights["a.weight"], rtol=1e-3)
    for name in ("a.bias", "quantizer.codebook"):
        np.testing.assert_array_equal(rounded[name], weights[name])


@pytest.mark.parametrize(("value", "storage"), [(np.nan, "float32"), (np.inf, "float32"), (1e6, "float16")])
def test_numbers_that_cannot_be_stored_are_refused(weights, value, storage):
    weights["a.weight"][0, 0] = value

    with pytest.raises(ModelError, match=r"weight 'a\.weight' holds NaN or values outside the range"):
        round_to_storage(weights, storage)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xff", "not valid JSON"),
        (b"[1]", "is a JSON list, expected an object"),
        (b'{"a": 1, "a": 2}', "a key stands twice"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": "\\ud800"}', "not valid JSON"),
        (b'{"a":' * 100_000, "not valid JSON"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "not valid JSON"),
    ],
)
def test_json_is_read_strictly(content, problem):
    with pytest.raises(ModelError, match=problem):
        parse_object(content, "the file")


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("classifier.dense_norm.running_var", -0.5, "holds a negative variance"),
        ("classifier.probabilities", 1.5, r"holds a probability outside of \[0, 1\]"),
        ("classifier.probabilities", -0.5, r"holds a probability outside of \[0, 1\]"),
        ("classifier.output.bias", np.inf, "holds NaN or infinite numbers"),
    ],
)
def test_numbers_that_cannot_be_are_refused_when_read(name, value, problem):
    content = pack_tensors({name: np.array([0.5, value], dtype=np.float32)}, "float32")

    with pytest.raises(ModelError, match=problem):
        unpack_tensors(content, {name: (2,)}, "float32")
