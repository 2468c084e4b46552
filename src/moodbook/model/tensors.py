"""Weights on disk: the safetensors format, read with every claim of the file checked before it is believed.

A safetensors file is eight bytes with the length of a header (little-endian), the header (JSON: name -> dtype, shape,
start and end of its bytes) and the bytes. The reader knows from the configuration which tensors must be there, so a
file may not choose a single name, shape or type of its own.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32

from moodbook.errors import ModelError
from moodbook.model.weights import Shape, check_numbers

Storage = Literal["float32", "float16"]

MAX_HEADER_BYTES = 2**19
"""Largest header that is parsed; 150 tensors need 20 kB."""

_LENGTH_BYTES = 8
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2")}


def parse_object(content: bytes, what: str) -> dict[str, Any]:
    """Parse a JSON object strictly: UTF-8 through and through, no key twice, no NaN.

    Args:
        content: The text; its size must have been capped.
        what: What it is, for the error message.

    Raises:
        ModelError: It is none.
    """
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=_without_repeats, parse_constant=_refuse)
        # Escapes such as \ud800 smuggle halves of characters in, which no output could be written with.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{what} is not valid JSON: {str(error)[:200]}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{what} is a JSON {type(value).__name__}, expected an object")
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("a key stands twice")
    return mapping


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON number")


def largest_packed_bytes(shapes: Mapping[str, Shape], storage: Storage) -> int:
    """Give the most bytes that a safetensors file of these tensors can have."""
    data = sum(
        math.prod(shape) * _DTYPES[storage_dtype(name, shape, storage)].itemsize for name, shape in shapes.items()
    )
    return _LENGTH_BYTES + MAX_HEADER_BYTES + data


def storage_dtype(name: str, shape: Shape, storage: Storage) -> str:
    """Give the safetensors dtype in which a weight is stored.

    float16 storage halves the matrices and kernels. Vectors (biases, batch norm) and the codebook stay in float32: they
    are small, running variances can leave the range of float16, and the codebook decides what the codes are.
    """
    half = storage == "float16" and len(shape) > 1 and not name.endswith(".codebook")
    return "F16" if half else "F32"


def round_to_storage(
    weights: Mapping[str, Float32[np.ndarray, "*_"]], storage: Storage
) -> dict[str, Float32[np.ndarray, "*_"]]:
    """Give the weights as they will be read back.

    Raises:
        ModelError: A weight is not finite, leaves the range of float16 or cannot be what its name says.
    """
    rounded: dict[str, np.ndarray] = {}
    for name, array in weights.items():
        dtype = _DTYPES[storage_dtype(name, array.shape, storage)]
        with np.errstate(over="ignore"):
            rounded[name] = array.astype(dtype).astype(np.float32)
        if not np.isfinite(rounded[name]).all():
            raise ModelError(f"weight {name!r} holds NaN or values outside the range of {dtype.name}")
        check_numbers(name, rounded[name])
    return rounded


def pack_tensors(weights: Mapping[str, Float32[np.ndarray, "*_"]], storage: Storage) -> bytes:
    """Write weights as the content of a safetensors file, in the order of their names."""
    from safetensors.numpy import save

    stored = {
        name: np.ascontiguousarray(array, dtype=_DTYPES[storage_dtype(name, array.shape, storage)])
        for name, array in sorted(weights.items())
    }
    content: bytes = save(stored)
    return content


def unpack_tensors(
    content: bytes, shapes: Mapping[str, Shape], storage: Storage
) -> dict[str, Float32[np.ndarray, "*_"]]:
    """Read the content of a safetensors file that must hold exactly the given tensors.

    Nothing in the file is executed, and nothing is allocated by its say-so: the header is capped, and the arrays are
    views of `content` (float16 ones are widened).

    Raises:
        ModelError: The content is no safetensors file, or holds other names, types, shapes or byte ranges, or numbers
            that cannot be weights.
    """
    header = _parse_header(content)
    missing, extra = sorted(shapes.keys() - header.keys()), sorted(header.keys() - shapes.keys())
    if missing or extra:
        raise ModelError(f"its tensors do not fit its network: missing {_some(missing)}, unexpected {_some(extra)}")
    data_start = _LENGTH_BYTES + _header_bytes(content)
    expected_end = 0
    weights: dict[str, np.ndarray] = {}
    for name, entry in sorted(header.items(), key=lambda item: _start(*item)):
        shape = shapes[name]
        dtype_name = storage_dtype(name, shape, storage)
        dtype = _DTYPES[dtype_name]
        start, expected_end = expected_end, expected_end + math.prod(shape) * dtype.itemsize
        expected = {"dtype": dtype_name, "shape": list(shape), "data_offsets": [start, expected_end]}
        if entry != expected:
            raise ModelError(f"tensor {name!r} claims {_short(entry)}, its network has {expected}")
        if data_start + expected_end > len(content):
            raise ModelError(f"tensor {name!r} ends behind the end of the file")
        stored = np.frombuffer(content, dtype, math.prod(shape), data_start + start).reshape(shape)
        array = stored.astype(np.float32, copy=False)
        check_numbers(name, array)
        weights[name] = array
    if data_start + expected_end != len(content):
        raise ModelError(f"{len(content) - data_start - expected_end} bytes follow its last tensor")
    return weights


def _header_bytes(content: bytes) -> int:
    """Read the length of the header, which must fit under the cap and into the file."""
    if len(content) < _LENGTH_BYTES:
        raise ModelError(f"it ends after {len(content)} bytes, before its header")
    (length,) = struct.unpack_from("<Q", content)
    if length > MAX_HEADER_BYTES:
        raise ModelError(f"its header claims {length} bytes, the most is {MAX_HEADER_BYTES}; this is no weight file")
    if length > len(content) - _LENGTH_BYTES:
        raise ModelError(f"its header claims {length} bytes, {len(content) - _LENGTH_BYTES} are there")
    return int(length)


def _parse_header(content: bytes) -> dict[str, Any]:
    return parse_object(content[_LENGTH_BYTES : _LENGTH_BYTES + _header_bytes(content)], "its header")


def _start(name: str, entry: Any) -> int:
    """Give where a tensor says that its bytes start."""
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(offset) is int for offset in offsets):
        raise ModelError(f"tensor {name!r} does not say where its bytes are: {_short(entry)}")
    start: int = offsets[0]
    return start


def _some(names: list[str]) -> str:
    if not names:
        return "none"
    listed = ", ".join(_short(name) for name in names[:3])
    return listed if len(names) <= 3 else f"{listed} and {len(names) - 3} more"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."
