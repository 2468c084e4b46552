"""A trained model on disk: a folder that holds everything tagging needs, and shows whether any of it was altered.

    config.json         card, network, features, tags, thresholds by tag name, self-test, size and hash of the other
                        two, and a hash of all that
    model.safetensors   every weight once
    README.md           the model card, generated from the facts in config.json

`read_bundle` believes nothing it has not checked: names, sizes, hashes, the shape and type of every tensor. Hidden
files (names that begin with a dot, as file managers and version control leave them) are no part of a bundle and are
never read.

The hashes lie in the folder that they are about. They find damage, half-copied folders and careless edits (a threshold,
the order of the tags, the licence); they do not stop a forger, who can compute them anew. To know that a model is the
one that somebody published, compare its sha256 (``moodbook info``) with the one that they publish: it stands for the
answers, not for what the card says of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from pydantic import ValidationError

from moodbook.errors import ModelError
from moodbook.features import DEFAULT_FEATURES, FeatureConfig
from moodbook.files import is_folder, is_there, sync_folder
from moodbook.model.card import (
    CARD_FILE,
    FORMAT_VERSION,
    WEIGHTS_FILE,
    BundleConfig,
    Card,
    FileRecord,
    render_card,
)
from moodbook.model.embedding import CENTRE, PROJECTION, Embedding
from moodbook.model.presence import BIAS, WEIGHT, Presence
from moodbook.model.tensors import (
    Storage,
    largest_packed_bytes,
    pack_tensors,
    parse_object,
    round_to_storage,
    unpack_tensors,
)
from moodbook.model.weights import (
    BATCH_COUNTER,
    POPULARITY_PROBABILITIES,
    weight_shapes,
)
from moodbook.networks.config import NetworkConfig
from moodbook.tags import TagSet

_DECODER = "vqvae.decoder."
CONFIG_FILE = "config.json"
CONFIG_HASH = "config_sha256"
"""Key of config.json under which the hash of all its other keys stands."""
MAX_TEXT_BYTES = 4 * 2**20
"""Largest config.json or README.md that is read; 10,000 tags with thresholds need half of it."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """A model, read and checked.

    Attributes:
        folder: Where it was read from.
        config: Everything but the weights.
        weights: Every weight by name.
        sha256: Names the model: hash of its name and all that its answers come from, to the last bit of every weight.
            A card written anew leaves it as it is, so nothing that was heard must be heard again.
    """

    folder: Path
    config: BundleConfig
    weights: Mapping[str, Float32[np.ndarray, "*_"]]
    sha256: str

    @property
    def name(self) -> str:
        """The name on its card."""
        return self.config.card.name

    @property
    def network(self) -> NetworkConfig:
        """The whole system."""
        return self.config.network

    @property
    def features(self) -> FeatureConfig:
        """The features it was trained on."""
        return self.config.features

    @property
    def tags(self) -> TagSet:
        """Names of its outputs, in order."""
        return TagSet(self.config.tags)

    @property
    def embedding(self) -> Embedding | None:
        """What turns a track's codes into its embedding; None where the model gives none."""
        if self.config.embedding is None:
            return None
        return Embedding(self.weights[CENTRE], self.weights[PROJECTION])

    @property
    def presence(self) -> Presence | None:
        """What tells music from noise and speech; None where the model takes everything for music."""
        return Presence(self.weights[WEIGHT], self.weights[BIAS]) if self.config.presence else None

    @property
    def thresholds(self) -> dict[str, float]:
        """Threshold by tag name."""
        return dict(self.config.thresholds)


def models_folder() -> Path:
    """Give the folder of the models that come with Moodbook."""
    return Path(__file__).parents[1] / "models"


def list_models() -> list[str]:
    """Name the models that come with Moodbook."""
    return sorted(path.parent.name for path in models_folder().glob(f"*/{CONFIG_FILE}"))


def popularity_weights(tags: TagSet, most_frequent: str) -> dict[str, Float32[np.ndarray, " tags"]]:
    """Give the weights of the popularity baseline: 1 for the tag with most training tracks, 0 for the others.

    Raises:
        DataError: The tag is not in the set.
    """
    return {POPULARITY_PROBABILITIES: tags.one_hot([most_frequent]).astype(np.float32)}


def read_bundle(name_or_folder: str | Path) -> Bundle:
    """Read a model by the name of one that comes with Moodbook, or from a folder.

    A bare name means a bundled model first; write ``./name`` for a folder of the same name.

    Raises:
        ModelError: There is no such model, or it is damaged, altered or of another format.
    """
    folder = _find(name_or_folder)
    try:
        return _read(folder)
    except (OSError, ModelError) as error:
        raise ModelError(
            f"cannot load the model '{folder}': {error}. Get the model again, or a Moodbook that reads it"
        ) from error


def write_bundle(
    folder: str | Path,
    *,
    network: NetworkConfig,
    weights: Mapping[str, np.ndarray],
    tags: TagSet,
    thresholds: Mapping[str, float],
    card: Card,
    features: FeatureConfig = DEFAULT_FEATURES,
    storage: Storage = "float32",
    decoder: bool = True,
    embedding: Embedding | None = None,
    presence: Presence | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Write a model, all of it or nothing: the folder appears complete under its name, or not at all.

    Args:
        folder: Where to; its parents are made.
        network: The whole system.
        weights: Every weight by its name in the training network's state (batch norm's step counters are left out).
        tags: Names of the outputs, in order.
        thresholds: Threshold by tag name.
        card: What a person must know.
        features: The features it was trained on.
        storage: float16 halves the file: its matrices are rounded, and the self-test is that of the rounded weights.
        decoder: Whether to keep the VQ-VAE's decoder, which tagging does not need.
        embedding: What turns a track's codes into its embedding; None: the model gives none.
        presence: What tells music from noise and speech; None: the model takes everything for music.
        overwrite: Whether a folder that is there already may be replaced.

    Returns:
        The bundle as it is read back.

    Raises:
        ModelError: The weights do not fit the network, are not finite, or the folder exists or cannot be written.
        DataError: The thresholds do not name the tags of the set.
    """
    from moodbook.model.engine import Engine
    from moodbook.model.selftest import record_self_test

    target = Path(folder)
    if is_there(target) and not overwrite:
        raise ModelError(f"'{target}' exists; choose another folder, or ask to overwrite it")
    by_name = dict(zip(tags, map(float, tags.vector(thresholds)), strict=True))
    decoder = decoder and network.vqvae is not None
    dimensions = None if embedding is None else embedding.projection.shape[1]
    if embedding is not None:
        weights = {**weights, CENTRE: embedding.centre, PROJECTION: embedding.projection}
    if presence is not None:
        weights = {**weights, WEIGHT: presence.weight, BIAS: presence.bias}
    shapes = weight_shapes(network, len(tags), decoder, dimensions, presence is not None)
    rounded = round_to_storage(_chosen(weights, shapes), storage)
    card_text = render_card(card, network, features, by_name, decoder).encode()
    content = pack_tensors(rounded, storage)
    config = BundleConfig(
        card=card,
        network=network,
        features=features,
        tags=tags.names,
        thresholds=by_name,
        storage=storage,
        decoder=decoder,
        embedding=dimensions,
        presence=presence is not None,
        self_test=record_self_test(Engine(_Draft(network, rounded)), tags),
        files={WEIGHTS_FILE: record_of(content), CARD_FILE: record_of(card_text)},
    )
    facts = config.model_dump(mode="json")
    facts[CONFIG_HASH] = config_sha256(facts)
    settings = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    files = {CONFIG_FILE: settings.encode(), WEIGHTS_FILE: content, CARD_FILE: card_text}
    try:
        write_folder(target, files)
    except OSError as error:
        raise ModelError(f"cannot write the model '{target}': {error}") from error
    return read_bundle(target)


def config_sha256(facts: Mapping[str, Any]) -> str:
    """Hash what a config.json says: every key but `CONFIG_HASH`, as compact JSON with sorted keys in UTF-8."""
    hashed = {key: value for key, value in facts.items() if key != CONFIG_HASH}
    return hashlib.sha256(
        json.dumps(hashed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    ).hexdigest()


def _answers_sha256(facts: Mapping[str, Any]) -> str:
    """Hash what a config.json says but for what follows from the rest, and of the card the name alone."""
    files = {name: record for name, record in facts["files"].items() if name != CARD_FILE}
    return config_sha256({**facts, "card": {"name": facts["card"]["name"]}, "self_test": None, "files": files})


@dataclass(frozen=True, eq=False)
class _Draft:
    """Network and weights before they are a bundle."""

    network: NetworkConfig
    weights: Mapping[str, np.ndarray]


def _find(name_or_folder: str | Path) -> Path:
    path = Path(name_or_folder)
    if str(name_or_folder) in list_models():
        return models_folder() / path
    if not str(name_or_folder) or not is_folder(path):
        listed = ", ".join(list_models()) or "(none came with this installation)"
        wrong = f"there is no model '{name_or_folder}'" if str(name_or_folder) else "the name is empty"
        raise ModelError(f"{wrong}; name one of: {listed}, or give a model folder")
    if not is_there(path / CONFIG_FILE):
        raise ModelError(f"'{path}' is no model: it holds no {CONFIG_FILE}")
    return path


def _read(folder: Path) -> Bundle:
    expected = {CONFIG_FILE, WEIGHTS_FILE, CARD_FILE}
    # A hostile folder may hold any number of files; one more than belongs there is enough to refuse it.
    with os.scandir(folder) as entries:
        unexpected = next((e.name for e in entries if e.name not in expected and e.name[:1] != "."), None)
    if unexpected is not None:
        raise ModelError(f"it holds {unexpected!r}; a model is {', '.join(sorted(expected))} and nothing else")
    settings = read_regular_file(folder / CONFIG_FILE, MAX_TEXT_BYTES)
    config, sha256 = _parse_config(settings)
    shapes = weight_shapes(config.network, len(config.tags), config.decoder, config.embedding, config.presence)
    largest = largest_packed_bytes(shapes, config.storage)
    content = read_recorded(folder / WEIGHTS_FILE, config.files[WEIGHTS_FILE], largest)
    read_recorded(folder / CARD_FILE, config.files[CARD_FILE], MAX_TEXT_BYTES)
    weights = unpack_tensors(content, shapes, config.storage)
    return Bundle(folder, config, weights, sha256)


def _parse_config(settings: bytes) -> tuple[BundleConfig, str]:
    """Give what a config.json says, and the hash that names the model."""
    raw = parse_object(settings, CONFIG_FILE)
    version = raw.get("format_version")
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise ModelError(
            f"{CONFIG_FILE} has format_version {version!r:.40}, this Moodbook reads {FORMAT_VERSION}; "
            "a newer model needs a newer Moodbook"
        )
    stated = raw.pop(CONFIG_HASH, None)
    try:
        config = BundleConfig.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{CONFIG_FILE}: {where[:200]}: {first['msg']}, got {first['input']!r:.60}") from error
    # Last, because what is said above names the very key that is wrong.
    if stated != config_sha256(raw):
        raise ModelError(
            f"{CONFIG_FILE} does not have the sha256 that it states ({CONFIG_HASH}): a threshold, the tags, the "
            "licence or something else in it was changed or damaged since the model was written. Undo the change"
        )
    return config, _answers_sha256(raw)


def read_regular_file(path: Path, cap: int, size: int | None = None) -> bytes:
    """Read a regular file of at most `cap` bytes (exactly `size`, where known); what is none is not even opened.

    Raises:
        ModelError: It is missing, no regular file, or of another size.
        OSError: The system refuses.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise ModelError(f"{path.name} is missing") from None
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{path.name} is not a regular file")
    if size is not None and status.st_size != size:
        raise ModelError(f"{path.name} has {status.st_size} bytes, expected {size}")
    if status.st_size > cap:
        raise ModelError(f"{path.name} has {status.st_size} bytes, the most is {cap}")
    with path.open("rb") as file:
        return file.read(cap)


def read_recorded(path: Path, record: FileRecord, cap: int) -> bytes:
    """Read a file whose size and hash are known.

    Raises:
        ModelError: It is missing, larger than `cap`, or not the one that was recorded.
        OSError: The system refuses.
    """
    content = read_regular_file(path, cap, record.bytes)
    if hashlib.sha256(content).hexdigest() != record.sha256:
        raise ModelError(f"{path.name} does not have the sha256 that {CONFIG_FILE} lists")
    return content


def _chosen(
    weights: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Float32[np.ndarray, "*_"]]:
    """Take exactly the weights that the bundle has, in float32."""
    decoder = any(name.startswith(_DECODER) for name in shapes)
    offered = {
        name: array
        for name, array in weights.items()
        if name.rpartition(".")[2] != BATCH_COUNTER and (decoder or not name.startswith(_DECODER))
    }
    missing, extra = sorted(shapes.keys() - offered.keys()), sorted(offered.keys() - shapes.keys())
    if missing or extra:
        raise ModelError(
            f"the weights do not fit the network: missing {missing or 'none'}, unexpected {extra or 'none'}"
        )
    for name, shape in shapes.items():
        if offered[name].shape != shape or offered[name].dtype.kind != "f":
            raise ModelError(
                f"weight {name!r} has shape {offered[name].shape}, {offered[name].dtype}; expected {shape}, float"
            )
    return {name: offered[name].astype(np.float32) for name in shapes}


def record_of(content: bytes) -> FileRecord:
    """Give size and hash of what a file holds."""
    return FileRecord(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def write_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Write files to a folder beside the target, make them durable and move the folder to its name.

    Raises:
        OSError: The system refuses; what was there is still there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    mark = secrets.token_hex(4)
    draft = target.with_name(f".{target.name}.{mark}.new")
    old = target.with_name(f".{target.name}.{mark}.old")
    try:
        draft.mkdir()
        for name, content in files.items():
            with (draft / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if target.exists():
            target.rename(old)
        try:
            draft.rename(target)
        except OSError:
            with suppress(OSError):
                old.rename(target)
            raise
        sync_folder(target.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
