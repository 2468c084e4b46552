"""A checkpoint is read as it was written, and a damaged one is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from moodbook.errors import ModelError, MoodbookError
from moodbook.training.teacher.tensor_bundle import read_tensor_bundle

DT_FLOAT, DT_INT64 = 1, 9


def varint(value: int) -> bytes:
    content = bytearray()
    while value > 127:
        content.append(value & 127 | 128)
        value >>= 7
    return bytes([*content, value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """A block whose keys repeat only what differs, with one restart point and its trailer."""
    content, before = b"", b""
    for key, value in pairs:
        shared = 0
        while shared < min(len(key), len(before)) and key[shared] == before[shared]:
            shared += 1
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return content + struct.pack("<II", 0, 1)


def bundle(tensors: dict[str, np.ndarray]) -> tuple[bytes, bytes]:
    """Index and data of a checkpoint, by its published format."""
    data, entries = b"", [(b"", field(1, 1))]  # The header: one shard.
    for name in sorted(tensors):
        array = tensors[name]
        shape = b"".join(field(2, field(1, extent)) for extent in array.shape)
        kind = DT_FLOAT if array.dtype == np.float32 else DT_INT64
        entry = field(1, kind) + field(2, shape) + field(4, len(data)) + field(5, array.nbytes)
        entries.append((name.encode(), entry + varint(6 << 3 | 5) + struct.pack("<I", 7)))
        data += array.tobytes()
    index, handles = b"", []
    for part in (entries[:2], entries[2:]):
        content = block(part)
        handles.append((part[-1][0], varint(len(index)) + varint(len(content))))
        index += content + bytes(5)
    top = block(handles)
    footer = varint(0) + varint(0) + varint(len(index)) + varint(len(top))
    return index + top + bytes(5) + footer.ljust(48, b"\0"), data


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "conv2d/kernel": random.normal(size=(3, 2, 1, 200)).astype(np.float32),
        "conv2d/bias": random.normal(size=300).astype(np.float32),
        "conv2d_1/bias": random.normal(size=2).astype(np.float32),
        "power": np.array(0.5, dtype=np.float32),
        "step": np.array([3], dtype=np.int64),
    }


def write(folder: Path, index: bytes, data: bytes) -> tuple[Path, Path]:
    (folder / "x.index").write_bytes(index)
    (folder / "x.data").write_bytes(data)
    return folder / "x.index", folder / "x.data"


def test_tensors_come_back_by_name(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    read = read_tensor_bundle(*write(tmp_path, *bundle(tensors)))
    assert sorted(read) == ["conv2d/bias", "conv2d/kernel", "conv2d_1/bias", "power"]
    for name, array in read.items():
        np.testing.assert_array_equal(array, tensors[name])
        assert array.shape == tensors[name].shape


def test_a_missing_file_and_a_short_one_are_refused(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    index, data = bundle(tensors)
    with pytest.raises(ModelError, match=r"cannot read the checkpoint '.*nowhere.index'.*Get it again"):
        read_tensor_bundle(tmp_path / "nowhere.index", tmp_path / "x.data")
    with pytest.raises(ModelError, match="cannot read the checkpoint"):
        read_tensor_bundle(*write(tmp_path, index, data[:100]))
    with pytest.raises(ModelError, match="cannot read the checkpoint"):
        read_tensor_bundle(*write(tmp_path, b"", data))


def test_a_damaged_index_raises_nothing_undeclared(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    index, data = bundle(tensors)
    random = np.random.default_rng(1)
    refused = 0
    for _ in range(300):
        hurt = bytearray(index)
        for place in random.integers(0, len(hurt), 3):
            hurt[place] = random.integers(0, 256)
        try:
            read_tensor_bundle(*write(tmp_path, bytes(hurt[: random.integers(1, len(hurt) + 1)]), data))
        except MoodbookError:
            refused += 1
    assert refused > 200
