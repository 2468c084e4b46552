"""A head on disk: the owner's words for one model's embeddings, in a folder of its own.

    head.json           name, the model it stands on, the words with thresholds and figures, the examples by the hash of
                        their music, size and hash of the other file
    head.safetensors    the weights: a row a word, the bias last

Like a model bundle it is read with every claim checked, and nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from jaxtyping import Float, Float32
from pydantic import Field, StringConstraints, ValidationError, model_validator

from moodbook.datasets.places import data_root
from moodbook.errors import DataError, ModelError
from moodbook.files import is_folder, is_there
from moodbook.library.personal.logistic import features, probabilities
from moodbook.library.search import fold
from moodbook.model.bundle import read_recorded, read_regular_file, record_of, write_folder
from moodbook.model.card import NAME_PATTERN, FileRecord, Line, Name, Probability, Sha256
from moodbook.model.presence import is_music
from moodbook.model.scores import TagStrength
from moodbook.model.tensors import largest_packed_bytes, pack_tensors, parse_object, unpack_tensors
from moodbook.networks.config import Config
from moodbook.tags import TagSet

FORMAT_VERSION: Final = 1
HEAD_FILE: Final = "head.json"
WEIGHTS_FILE: Final = "head.safetensors"
NEVER = 1.0
"""Threshold of a word that is never decided: no probability is above it."""
_WEIGHTS = "head.weights"
_SEPARATORS = {os.sep, os.altsep or os.sep}
_MOST_STEM_CHARACTERS = 80  # A name has 100 at most.
_MOST_JSON_BYTES = 32 << 20  # Two hundred thousand examples.

Word = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class Figure(Config):
    """A cross-validated figure with its 95 % interval, bootstrap over groups of recordings."""

    value: Probability
    low: Probability
    high: Probability


class WordFacts(Config):
    """What is known of how well a word was learned."""

    word: Word
    threshold: Probability
    """The word is decided where its probability is strictly above; 1 never is."""
    penalty: float = Field(gt=0, allow_inf_nan=False)
    """Strength that cross-validation chose."""
    having: int = Field(ge=1)
    """Examples that have the word."""
    lacking: int = Field(ge=1)
    """Examples that have it not."""
    roc_auc: Figure
    """How often an example that has the word scores above one that has it not; a guess gives 0.5."""
    precision: Figure
    """Share of the recordings given the word that have it."""
    recall: Figure
    """Share of the recordings that have the word that are given it."""

    @property
    def is_decided(self) -> bool:
        """Whether the word is better than a guess beyond doubt, and so decided at all."""
        return self.threshold < NEVER


class HeadConfig(Config):
    """The content of ``head.json``."""

    format_version: Literal[1] = FORMAT_VERSION
    name: Name
    base_name: Line
    """The model whose embeddings it stands on."""
    base_sha256: Sha256
    dimensions: int = Field(ge=1, le=65_536)
    """Numbers of an embedding."""
    words: tuple[WordFacts, ...] = Field(min_length=1, max_length=1_000)
    examples: dict[Sha256, tuple[Word, ...]]
    """Words by the hash of the recording."""
    with_others: bool
    """Whether recordings without a statement stood for "none of the words"."""
    files: dict[Literal["head.safetensors"], FileRecord]

    @model_validator(mode="after")
    def _parts_fit(self) -> HeadConfig:
        if set(self.files) != {WEIGHTS_FILE}:
            raise ValueError(f"files must list {WEIGHTS_FILE}")
        if len({fold(facts.word) for facts in self.words}) != len(self.words):
            raise ValueError("a word stands twice")
        if not all(facts.word.isprintable() and facts.word.strip() for facts in self.words):
            raise ValueError("a word is empty or holds control characters")
        return self


@dataclass(frozen=True, eq=False)
class Head:
    """The owner's words for one model's embeddings.

    Attributes:
        folder: Where it was read from.
        config: Everything but the weights.
        weights: A row a word, the bias last.
        sha256: Hash of head.json, which holds the hash of the weights.
    """

    folder: Path
    config: HeadConfig
    weights: Float32[np.ndarray, "words features"]
    sha256: str

    @property
    def name(self) -> str:
        """What the owner calls it."""
        return self.config.name

    @property
    def words(self) -> TagSet:
        """The words, in the order of the weights' rows."""
        return TagSet(tuple(facts.word for facts in self.config.words))

    @property
    def thresholds(self) -> dict[str, float]:
        """Threshold by word."""
        return {facts.word: facts.threshold for facts in self.config.words}

    def probabilities(
        self, embeddings: Float[np.ndarray, "recordings dimensions"]
    ) -> Float32[np.ndarray, "recordings words"]:
        """Give the probability of every word for every recording.

        Raises:
            ModelError: The embeddings have another number of dimensions.
        """
        if embeddings.shape[1] != self.config.dimensions:
            raise ModelError(
                f"the words '{self.name}' stand on embeddings of {self.config.dimensions} numbers, these have "
                f"{embeddings.shape[1]}; fit them again"
            )
        rows = features(embeddings)
        columns = [probabilities(rows, weights.astype(np.float64)) for weights in self.weights]
        return np.stack(columns, axis=1).astype(np.float32)

    def strengths(self, embedding: Float32[np.ndarray, " dimensions"], music: float | None) -> tuple[TagStrength, ...]:
        """Give every word with its strength for one recording; where there is no music none is decided."""
        values = self.probabilities(embedding[None])[0].tolist()
        decides = is_music(music)
        return tuple(
            TagStrength(facts.word, value, value > facts.threshold and decides)
            for facts, value in zip(self.config.words, values, strict=True)
        )


def heads_folder() -> Path:
    """Give the folder of the owner's heads: ``personal`` in the user's data folder of Moodbook."""
    return data_root() / "personal"


def head_folder(name: str) -> Path:
    """Give the folder of a head of the owner's.

    Raises:
        DataError: The name cannot be that of a folder on every system.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise DataError(f"{name!r} cannot be a name; take letters, digits, '.', '_', '+' and '-', at most 100")
    return heads_folder() / name


def list_heads() -> list[str]:
    """Name the heads in the owner's folder."""
    return sorted(path.parent.name for path in heads_folder().glob(f"*/{HEAD_FILE}"))


def find_head(name_or_folder: str | Path) -> Path | None:
    """Give the folder of a head; None where there is no head.

    Args:
        name_or_folder: A bare name is that of a head in the owner's folder, whatever lies in the working folder. A
            `Path`, and a text with a separator in it (``./mine``), is a folder.
    """
    is_name = isinstance(name_or_folder, str) and not _SEPARATORS & set(name_or_folder)
    folder = heads_folder() / name_or_folder if is_name else Path(name_or_folder)
    return folder if is_folder(folder) and is_there(folder / HEAD_FILE) else None


def read_head(name_or_folder: str | Path) -> Head:
    """Read a head by its name in the owner's folder, or from a folder; `find_head` says which is which.

    Raises:
        ModelError: There is none, or it is damaged or altered.
    """
    folder = find_head(name_or_folder)
    if folder is None:
        listed = ", ".join(list_heads()) or "none yet"
        raise ModelError(
            f"there are no words of your own called '{name_or_folder}' (there are: {listed}); "
            "make them with: moodbook personal fit"
        )
    try:
        return _read(folder)
    except (OSError, ModelError) as error:
        raise ModelError(f"cannot load the words '{folder}': {error}. Fit them again") from error


@dataclass(frozen=True)
class Losses:
    """What is lost where a head is replaced.

    Attributes:
        dropped: Examples that the new one does not have.
        changed: Examples whose answer is another now: one of the old words is said of them that was not, or no more.
        words: Words that the new one has not learned.
    """

    dropped: int
    changed: int
    words: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.dropped or self.changed or self.words)


def find_losses(before: HeadConfig, examples: Mapping[str, Sequence[str]], learned: Iterable[str]) -> Losses:
    """Compare a head with the one that is to replace it.

    A word that is new changes no answer: nobody was asked for it before.

    Args:
        before: What is replaced.
        examples: The words of the new one's examples, by the hash of the recording.
        learned: The words that the new one has learned.
    """
    answers = {sha256: {fold(word) for word in words} for sha256, words in before.examples.items()}
    asked = set[str]().union(*answers.values())
    changed = sum(
        {fold(word) for word in examples[sha256]} & asked != said
        for sha256, said in answers.items()
        if sha256 in examples
    )
    still = {fold(word) for word in learned}
    words = tuple(facts.word for facts in before.words if fold(facts.word) not in still)
    return Losses(len(answers.keys() - examples.keys()), changed, words)


def set_aside(folder: Path) -> str:
    """Keep a head that is about to be replaced, under a name of its own that is free, and give that name.

    A head that cannot be read is moved there as it is.

    Raises:
        ModelError: The system refuses.
    """
    stem = f"{folder.name[:_MOST_STEM_CHARACTERS]}.before-"
    number = next(number for number in itertools.count(1) if not is_there(folder.with_name(f"{stem}{number}")))
    kept = folder.with_name(f"{stem}{number}")
    try:
        head = read_head(folder)
    except ModelError:
        try:
            folder.rename(kept)
        except OSError as error:
            raise ModelError(f"cannot move the words '{folder}' aside: {error.strerror or error}") from error
    else:
        write_head(kept, {**head.config.model_dump(exclude={"files"}), "name": kept.name}, head.weights)
    return kept.name


def write_head(folder: Path, facts: Mapping[str, object], weights: Float[np.ndarray, "words features"]) -> Head:
    """Write a head, all of it or nothing; one that is there is replaced.

    Args:
        folder: Where to.
        facts: The fields of `HeadConfig` but for `files`.
        weights: A row a word.

    Raises:
        ModelError: The folder cannot be written, or holds something else than a head.
    """
    if is_there(folder) and not is_there(folder / HEAD_FILE):
        raise ModelError(f"'{folder}' is something else than words of your own; name another place")
    content = pack_tensors({_WEIGHTS: weights.astype(np.float32)}, "float32")
    config = HeadConfig.model_validate({**facts, "files": {WEIGHTS_FILE: record_of(content)}})
    text = json.dumps(config.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        write_folder(folder, {HEAD_FILE: text.encode(), WEIGHTS_FILE: content})
    except OSError as error:
        raise ModelError(f"cannot write the words '{folder}': {error.strerror or error}") from error
    return read_head(folder)


def _read(folder: Path) -> Head:
    settings = read_regular_file(folder / HEAD_FILE, _MOST_JSON_BYTES)
    raw = parse_object(settings, HEAD_FILE)
    try:
        config = HeadConfig.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{HEAD_FILE}: {where[:200]}: {first['msg']}, got {first['input']!r:.60}") from error
    shapes = {_WEIGHTS: (len(config.words), config.dimensions + 1)}
    content = read_recorded(folder / WEIGHTS_FILE, config.files[WEIGHTS_FILE], largest_packed_bytes(shapes, "float32"))
    weights = unpack_tensors(content, shapes, "float32")[_WEIGHTS]
    return Head(folder, config, weights, hashlib.sha256(settings).hexdigest())
