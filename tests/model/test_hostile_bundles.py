"""Model files that lie: each is refused with a reason, at once, in little memory, and nothing of it is executed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import pickle
import shutil
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from moodbook.errors import ModelError
from moodbook.model.bundle import CONFIG_HASH, config_sha256, read_bundle

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"


class Forgery:
    """A copy of a good model, to be spoilt by somebody who knows the format and mends the hashes."""

    def __init__(self, folder: Path, rng: np.random.Generator) -> None:
        self.folder = folder
        self.rng = rng

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def config(self, change: Callable[[dict], object]) -> None:
        config = json.loads(self.read(CONFIG))
        change(config)
        self.put_config(config)

    def put_config(self, config: dict) -> None:
        with contextlib.suppress(UnicodeEncodeError):  # Half a character has no hash, and is refused for itself.
            config[CONFIG_HASH] = config_sha256(config)
        (self.folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")

    def put(self, name: str, content: bytes) -> None:
        (self.folder / name).write_bytes(content)
        record = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        self.config(lambda config: config["files"].update({name: record}))

    def header(self, change: Callable[[dict], object]) -> None:
        content = self.read(WEIGHTS)
        (length,) = struct.unpack_from("<Q", content)
        header = json.loads(content[8 : 8 + length])
        change(header)
        self.raw_header(json.dumps(header).encode())

    def raw_header(self, header: bytes, length: int | None = None) -> None:
        content = self.read(WEIGHTS)
        (old,) = struct.unpack_from("<Q", content)
        self.put(WEIGHTS, struct.pack("<Q", len(header) if length is None else length) + header + content[8 + old :])

    def some_tensor(self, header: dict) -> dict:
        return header[self.rng.choice(sorted(header))]


class Bomb:
    """A pickle that would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def truncated(f: Forgery) -> None:
    content = f.read(WEIGHTS)
    f.put(WEIGHTS, content[: f.rng.integers(len(content))])


def truncated_unmended(f: Forgery) -> None:
    name = f.rng.choice([WEIGHTS, CONFIG, CARD])
    content = f.read(name)
    (f.folder / name).write_bytes(content[: f.rng.integers(len(content))])


def flipped_bit(f: Forgery) -> None:
    name = f.rng.choice([WEIGHTS, CARD])
    content = bytearray(f.read(name))
    content[f.rng.integers(len(content))] ^= 1 << f.rng.integers(8)
    (f.folder / name).write_bytes(content)


def longer(f: Forgery) -> None:
    f.put(WEIGHTS, f.read(WEIGHTS) + bytes(f.rng.integers(1, 10_000)))


def pickled(f: Forgery) -> None:
    f.put(WEIGHTS, pickle.dumps(Bomb(f.folder.parent / "executed"), protocol=int(f.rng.integers(0, 6))))


def zipped(f: Forgery) -> None:
    f.put(WEIGHTS, b"PK\x03\x04" + f.rng.bytes(5000))


def header_over_cap(f: Forgery) -> None:
    f.raw_header(
        b"{}", length=int(f.rng.choice(np.array([2**19 + 1, 2**31, 2**40, 2**63, 2**64 - 1], dtype=np.uint64)))
    )


def header_behind_the_end(f: Forgery) -> None:
    f.raw_header(b"{}", length=len(f.read(WEIGHTS)) + int(f.rng.integers(1, 1000)))


def header_of_other_json(f: Forgery) -> None:
    f.raw_header(f.rng.choice([b"[]", b"null", b'"x"', b"{", b"{]", b"\xff\xfe", b"", b"[" * 50_000, b'{"a":1,"a":1}']))


def overlapping(f: Forgery) -> None:
    def change(header: dict) -> None:
        entry, shift = f.some_tensor(header), int(f.rng.integers(1, 64))
        entry["data_offsets"] = [entry["data_offsets"][0] - shift, entry["data_offsets"][1] - shift]

    f.header(change)


def swapped_ranges(f: Forgery) -> None:
    def change(header: dict) -> None:
        one, two = header["classifier.dense_norm.weight"], header["classifier.dense_norm.running_var"]
        one["data_offsets"], two["data_offsets"] = two["data_offsets"], one["data_offsets"]
        one["shape"] = [one["shape"][0], 1]

    f.header(change)


def same_range_twice(f: Forgery) -> None:
    def change(header: dict) -> None:
        header["classifier.dense_norm.weight"]["data_offsets"] = header["classifier.dense_norm.bias"]["data_offsets"]

    f.header(change)


def absurd_offsets(f: Forgery) -> None:
    choices = ([0, 2**62], [-8, 0], [2**70, 2**70 + 4], [0.0, 4.0], ["0", "4"], [0], None, [True, False], {"a": 1})
    f.header(lambda header: f.some_tensor(header).update(data_offsets=choices[f.rng.integers(len(choices))]))


def lying_dtype(f: Forgery) -> None:
    f.header(
        lambda header: f.some_tensor(header).update(dtype=str(f.rng.choice(["F64", "F16", "I8", "BOOL", "", "PY"])))
    )


def lying_shape(f: Forgery) -> None:
    choices = ([], [1], [-1], [2**40, 2**40], ["8"], [8.5], None, [[8]], [10**30])
    f.header(lambda header: f.some_tensor(header).update(shape=choices[f.rng.integers(len(choices))]))


def entry_of_other_kind(f: Forgery) -> None:
    choices = (None, 7, [], "F32", {}, {"dtype": "F32"})
    f.header(lambda h: h.update({str(f.rng.choice(sorted(h))): choices[f.rng.integers(len(choices))]}))


def more_in_an_entry(f: Forgery) -> None:
    f.header(lambda header: f.some_tensor(header).update(hook="os.system"))


def missing_tensor(f: Forgery) -> None:
    f.header(lambda header: header.pop(str(f.rng.choice(sorted(header)))))


def renamed_tensor(f: Forgery) -> None:
    f.header(lambda h: h.update({"../../" + name: h.pop(name) for name in [str(f.rng.choice(sorted(h)))]}))


@functools.cache
def _hundred_thousand() -> bytes:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    return json.dumps(dict.fromkeys(map(str, range(10**5)), entry)).encode()


def hundred_thousand_tensors(f: Forgery) -> None:
    f.raw_header(_hundred_thousand())


def many_tensors_below_the_cap(f: Forgery) -> None:
    f.raw_header(json.dumps({f"t{i}": 0 for i in range(45_000)}, separators=(",", ":")).encode())


def metadata(f: Forgery) -> None:
    f.header(lambda header: header.update(__metadata__={"format": "pt"}))


def not_numbers(f: Forgery) -> None:
    content = bytearray(f.read(WEIGHTS))
    content[-4:] = struct.pack("<f", f.rng.choice([np.nan, np.inf, -np.inf]))
    f.put(WEIGHTS, bytes(content))


def config_key(f: Forgery) -> None:
    where = f.rng.choice(["", "card", "network", "features", "self_test"])
    f.config(lambda config: (config[where] if where else config).update(trust_remote_code=True))


def config_version(f: Forgery) -> None:
    choices = (0, 2, -1, "1", 1.5, None, [1], True, 10**400)
    f.config(lambda config: config.update(format_version=choices[f.rng.integers(len(choices))]))


def config_text(f: Forgery) -> None:
    choices = [b"", b"[]", b"\xff", b"{" * 10_000, b"[" * 100_000, b'{"format_version": 1}', b'{"a": NaN}', b"\0" * 99]
    (f.folder / CONFIG).write_bytes(f.rng.choice(choices))


def config_key_twice(f: Forgery) -> None:
    text = f.read(CONFIG).decode()
    (f.folder / CONFIG).write_text(text.replace('"tags"', '"tags": ["x"], "tags"', 1))


def config_huge(f: Forgery) -> None:
    with (f.folder / CONFIG).open("r+b") as file:
        file.truncate(2**33)


def weights_huge(f: Forgery) -> None:
    with (f.folder / WEIGHTS).open("r+b") as file:
        file.truncate(2**33)
    f.config(lambda config: config["files"][WEIGHTS].update(bytes=2**33))


def absurd_network(f: Forgery) -> None:
    choices = (
        {"width": 10**9},
        {"width": 10**18},
        {"codebook_size": 32768, "width": 10**6},
        {"width": 0},
        {"width": -8},
        {"type": 3},
        {"skip": "x" * 10**6},
    )
    f.config(lambda config: config["network"]["vqvae"].update(choices[f.rng.integers(len(choices))]))


def endless_layers(f: Forgery) -> None:
    gru = {"kind": "gru", "layers": 10**15, "dense": [1] * int(f.rng.integers(3, 10**5))}
    f.config(lambda config: config["network"].update(classifier=gru))


def other_network(f: Forgery) -> None:
    choices = ({"width": 9}, {"codebook_size": 17}, {"type": 2})
    f.config(lambda config: config["network"]["vqvae"].update(choices[f.rng.integers(len(choices))]))


def no_vqvae(f: Forgery) -> None:
    f.config(lambda config: config["network"].update(vqvae=None))


def thresholds(f: Forgery) -> None:
    choices = ({"calm": 0.5}, {}, None, dict.fromkeys(("calm", "dark", "epic", "fast"), 2.0), {"calm": "x"}, [0.5] * 4)
    f.config(lambda config: config.update(thresholds=choices[f.rng.integers(len(choices))]))


def tag_names(f: Forgery) -> None:
    bad = f.rng.choice(["", " ", "\x1b[31mred", "a\nb", "calm", "x" * 1000, "\u202eevil", "\ud800"])

    def change(config: dict) -> None:
        config["tags"][3] = str(bad)
        for by_name in (config["thresholds"], config["self_test"]["probabilities"]):
            by_name[str(bad)] = by_name.pop("fast")

    f.config(change)


def listed_files(f: Forgery) -> None:
    record = {"bytes": 1, "sha256": "0" * 64}
    name = str(f.rng.choice(["../../etc/passwd", "/etc/passwd", "x/../README.md", "code.py", "README.md\0", "..\\x"]))
    f.config(lambda config: config["files"].update({name: record}))


def listed_hash(f: Forgery) -> None:
    choices = ("0" * 64, "0" * 63, "", None, "z" * 64, 5)
    f.config(lambda config: config["files"][WEIGHTS].update(sha256=choices[f.rng.integers(len(choices))]))


def card_name(f: Forgery) -> None:
    f.config(
        lambda config: config["card"].update(name=str(f.rng.choice(["../x", "/x", ".x", "", "a/b", "x" * 200, "a\n"])))
    )


def missing_file(f: Forgery) -> None:
    (f.folder / f.rng.choice([WEIGHTS, CONFIG, CARD])).unlink()


def extra_file(f: Forgery) -> None:
    (f.folder / f.rng.choice(["modeling.py", "pytorch_model.bin", "__init__.py", "Model.safetensors.bak"])).write_bytes(
        b"x"
    )


def folder_for_a_file(f: Forgery) -> None:
    name = f.rng.choice([WEIGHTS, CONFIG, CARD])
    (f.folder / name).unlink()
    (f.folder / name).mkdir()


def pipe_for_a_file(f: Forgery) -> None:
    name = f.rng.choice([WEIGHTS, CONFIG, CARD])
    (f.folder / name).unlink()
    os.mkfifo(f.folder / name)


def device_for_a_file(f: Forgery) -> None:
    name = f.rng.choice([WEIGHTS, CONFIG, CARD])
    (f.folder / name).unlink()
    (f.folder / name).symlink_to("/dev/zero")


def link_to_nothing(f: Forgery) -> None:
    name = f.rng.choice([WEIGHTS, CONFIG, CARD])
    (f.folder / name).unlink()
    (f.folder / name).symlink_to("nowhere")


FORGERIES = [
    truncated,
    truncated_unmended,
    flipped_bit,
    longer,
    pickled,
    zipped,
    header_over_cap,
    header_behind_the_end,
    header_of_other_json,
    overlapping,
    swapped_ranges,
    same_range_twice,
    absurd_offsets,
    lying_dtype,
    lying_shape,
    entry_of_other_kind,
    more_in_an_entry,
    missing_tensor,
    renamed_tensor,
    hundred_thousand_tensors,
    many_tensors_below_the_cap,
    metadata,
    not_numbers,
    config_key,
    config_version,
    config_text,
    config_key_twice,
    config_huge,
    weights_huge,
    absurd_network,
    endless_layers,
    other_network,
    no_vqvae,
    thresholds,
    tag_names,
    listed_files,
    listed_hash,
    card_name,
    missing_file,
    extra_file,
    folder_for_a_file,
    pipe_for_a_file,
    device_for_a_file,
    link_to_nothing,
]
UNIX_ONLY = {pipe_for_a_file, device_for_a_file, link_to_nothing}


def refused(folder: Path) -> str:
    with pytest.raises(ModelError, match=r"^(cannot load the model|'.*' is no model)") as caught:
        read_bundle(folder)
    return str(caught.value)


def refuse(forge: Callable[[Forgery], None], seed: int, good: Path, tmp_path: Path) -> None:
    folder = tmp_path / f"{forge.__name__}-{seed}"
    shutil.copytree(good, folder)
    forge(Forgery(folder, np.random.default_rng(seed)))
    started = time.process_time()
    message = refused(folder)
    seconds = time.process_time() - started
    if seed % 3 == 0:
        tracemalloc.start()  # Slows everything down, so the time was taken before.
        try:
            refused(folder)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 200e6
    assert seconds < 1
    assert len(message) < 1500
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
def test_a_forged_model_is_refused(forge, tiny_bundle, tmp_path):
    if forge in UNIX_ONLY and os.name != "posix":
        pytest.skip("needs a POSIX file system")
    for seed in range(3):  # 132 forgeries.
        refuse(forge, seed, tiny_bundle.folder, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
def test_more_forged_models_are_refused(forge, tiny_bundle, tmp_path):
    if forge in UNIX_ONLY and os.name != "posix":
        pytest.skip("needs a POSIX file system")
    for seed in range(3, 12):  # 396 more.
        refuse(forge, seed, tiny_bundle.folder, tmp_path)


def test_the_pickle_would_have_exploded(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "executed")))

    assert (tmp_path / "executed").exists()
