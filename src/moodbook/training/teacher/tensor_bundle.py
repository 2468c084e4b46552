"""Read the weights of a TensorFlow checkpoint without TensorFlow.

A checkpoint ("tensor bundle") is a file of raw little-endian tensors and an index that says where each lies. The index
is a sorted string table: blocks of (key, value) pairs in which a key repeats only what differs from the one before, a
block that points to the blocks, and a footer of 48 bytes that points to that block. A value is a protocol buffer: (1)
type, (2) shape, (4) offset, (5) size.

Source:
    tensorflow/core/protobuf/tensor_bundle.proto and tensorflow/core/lib/io/table_format.txt.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from moodbook.errors import ModelError

_FOOTER_BYTES = 48
_BLOCK_TRAILER_BYTES = 5  # A byte that names the compression, and a checksum.
_FLOAT = 1  # DT_FLOAT in tensorflow/core/framework/types.proto.
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5  # Wire types of protocol buffers.


def read_tensor_bundle(index: Path, data: Path) -> dict[str, Float32[np.ndarray, "*_"]]:
    """Read every float32 tensor of a checkpoint of one shard.

    Args:
        index: The file ``*.index``.
        data: The file ``*.data-00000-of-00001``.

    Returns:
        The tensors by name; those of other types are left out.

    Raises:
        ModelError: A file cannot be read, or is not what its name says.
    """
    try:
        return dict(_tensors(index.read_bytes(), data.read_bytes()))
    except (OSError, ValueError, TypeError, IndexError, struct.error) as error:
        raise ModelError(f"cannot read the checkpoint '{index}': {error}. Get it again") from error


def _tensors(index: bytes, data: bytes) -> Iterator[tuple[str, Float32[np.ndarray, "*_"]]]:
    footer, position = index[-_FOOTER_BYTES:], 0
    handles = []
    for _ in range(4):  # Offset and size of the meta-index block, which is empty, and of the index block.
        value, position = _varint(footer, position)
        handles.append(value)
    for _, handle in _block(index, *handles[2:]):
        offset, position = _varint(handle, 0)
        size, _ = _varint(handle, position)
        for name, entry in _block(index, offset, size):
            found = dict(_fields(entry))
            if not name or found.get(1) != _FLOAT:  # The entry without a name is the header.
                continue
            shape = [_number(dict(_fields(_content(part))), 1) for _, part in _fields(_content(found.get(2, b"")))]
            start, length = _number(found, 4), _number(found, 5)
            tensor = np.frombuffer(data[start : start + length], dtype="<f4").reshape(shape)
            yield name.decode(), tensor


def _block(index: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    block = index[offset : offset + size]
    if len(index) < offset + size + _BLOCK_TRAILER_BYTES or index[offset + size] != 0:
        raise ValueError("a block is cut off, or compressed")
    restarts = struct.unpack("<I", block[-4:])[0]
    end = len(block) - 4 - 4 * restarts
    position, key = 0, b""
    while position < end:
        shared, position = _varint(block, position)
        fresh, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + fresh]
        position += fresh
        yield key, block[position : position + length]
        position += length


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Give the fields of a protocol buffer: number and content."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, position = _varint(message, position)
            yield number, value
        elif wire == _BYTES:
            length, position = _varint(message, position)
            yield number, message[position : position + length]
            position += length
        elif wire in (_FIXED_32, _FIXED_64):
            length = 4 if wire == _FIXED_32 else 8
            yield number, int.from_bytes(message[position : position + length], "little")
            position += length
        else:
            raise ValueError(f"a field has the unknown wire type {wire}")


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """Read a number of seven bits a byte, the lowest first; the last byte is below 128."""
    value = shift = 0
    while True:
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7


def _number(fields: dict[int, int | bytes], number: int) -> int:
    value = fields.get(number, 0)  # Protocol buffers leave zeros out.
    if not isinstance(value, int):
        raise TypeError(f"field {number} is no number")
    return value


def _content(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError("a shape is a number")
    return value
