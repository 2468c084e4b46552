"""The scores of files, heard once: what the catalogue knows of their music is taken from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from moodbook.errors import AudioError, ModelError
from moodbook.library.catalogue import Catalogue
from moodbook.library.filetags.plan import Said
from moodbook.library.known_model import Model
from moodbook.library.lookup import find_payload, find_unchanged
from moodbook.library.personal.head import Head, find_head, read_head
from moodbook.library.stored import read_vectors
from moodbook.model.bundle import Bundle, list_models, read_bundle
from moodbook.model.scores import TagFailure, TagScores, TagStrength
from moodbook.model.tagger import Tagger


@dataclass(frozen=True)
class Recalled:
    """What was said about the music in a file, in words alone.

    Attributes:
        path: The file, as it was named.
        strengths: Every word with its strength, in the order of the voice.
        is_music: Whether it is taken for music.
        model_name: Whose words they are.
        model_sha256: Its hash.
    """

    path: Path
    strengths: tuple[TagStrength, ...]
    is_music: bool
    model_name: str
    model_sha256: str


class Voice:
    """Who gives words to files: a model, or the owner's words on what a model hears.

    Args:
        name_or_folder: A model or a head by its name, the models first, or its folder.

    Attributes:
        head: The owner's words; None where the words are the model's.
        words: The words, in order.
        sha256: Hash of the model that hears.

    Raises:
        ModelError: There is none, or it is damaged.
    """

    def __init__(self, name_or_folder: str | Path) -> None:
        self._bundle: Bundle | None = None
        self.head: Head | None = None
        if find_head(name_or_folder) is None or str(name_or_folder) in list_models():
            self._bundle = read_bundle(name_or_folder)
            self.words, self.sha256 = self._bundle.tags, self._bundle.sha256
        else:
            self.head = read_head(name_or_folder)
            self.words, self.sha256 = self.head.words, self.head.config.base_sha256

    def hear(self, paths: Iterable[Path]) -> Iterator[Said | TagFailure]:
        """Let the model listen to files, in order; it is loaded for the first of them.

        Raises:
            ModelError: The model that the owner's words stand on is not at hand.
        """
        for result in Tagger(self._bundle or self._base()).tag_files(paths):
            yield self._own_words(result) if isinstance(result, TagScores) else result

    def _base(self) -> Bundle:
        assert self.head is not None  # noqa: S101 (there is a bundle or a head)
        facts = self.head.config
        try:
            bundle = read_bundle(facts.base_name)
        except ModelError as error:
            raise ModelError(
                f"the words '{facts.name}' stand on the model {facts.base_name}, which is not at hand to listen to "
                "what the catalogue does not know; scan these files first"
            ) from error
        if bundle.sha256 != facts.base_sha256:
            raise ModelError(
                f"the words '{facts.name}' stand on another {facts.base_name} ({facts.base_sha256[:8]}) than the one "
                f"at hand ({bundle.sha256[:8]}); scan with this one and fit them again"
            )
        return bundle

    def _own_words(self, scores: TagScores) -> Said | TagFailure:
        if self.head is None:
            return scores
        if scores.embedding is None:
            return TagFailure(scores.path, "the model gives it no embedding, which words of your own stand on.")
        strengths = self.head.strengths(scores.embedding, scores.music)
        return Recalled(scores.path, strengths, scores.is_music, self.head.name, self.head.sha256)


class Memory:
    """What a catalogue has kept of what a model heard.

    Args:
        catalogue: Where.
        model: Who heard it.
        head: The owner's words, where they are asked for.
    """

    def __init__(self, catalogue: Catalogue, model: Model, head: Head | None = None) -> None:
        self._catalogue = catalogue
        self._model = model
        self._head = head
        self._heard = catalogue.heard_payloads(model)
        self._failed = set(catalogue.failed_payloads(model))

    @classmethod
    def of(cls, catalogue: Catalogue, voice: Voice) -> Memory | None:
        """Give what a catalogue remembers of a voice; None where its very model has never scanned into it.

        Raises:
            CatalogueError: The catalogue cannot be read.
        """
        for model in catalogue.models():
            if model.sha256 == voice.sha256:
                return cls(catalogue, model, voice.head)
        return None

    def find(self, path: Path) -> int | None:
        """Give the row of the music in a file; None where the model has not tried to hear it, or it cannot be told.

        That it could not be heard is said of the very file that was tried: another one with that music may be whole.

        Raises:
            CatalogueError: The catalogue cannot be read.
        """
        unchanged = find_unchanged(self._catalogue, path)
        if unchanged in self._failed:
            return unchanged
        try:
            payload_id = find_payload(self._catalogue, path)
        except (AudioError, OSError):
            return None  # Whoever listens to it says why.
        return payload_id if payload_id in self._heard else None

    def recall(self, path: Path, payload_id: int) -> Said | TagFailure:
        """Give what was said, or why the music could not be heard.

        Args:
            path: The file that it is told of.
            payload_id: What `find` found.

        Raises:
            CatalogueError: The catalogue cannot be read.
        """
        key = (payload_id, self._model.id)
        with self._catalogue.reading() as connection:
            heard = connection.execute(
                "SELECT probabilities, embedding, music FROM analysis WHERE payload_id = ? AND model_id = ?", key
            ).fetchone()
            if heard is None:
                (why,) = connection.execute(
                    "SELECT reason FROM failure WHERE payload_id = ? AND model_id = ?", key
                ).fetchone()
                return TagFailure(path, why)
        probabilities, embedding, music = heard
        is_music = self._model.is_music(music)
        if self._head is None:
            strengths = self._model.strengths(probabilities, music)
            return Recalled(path, strengths, is_music, self._model.name, self._model.sha256)
        if embedding is None:
            return TagFailure(path, "the model gave it no embedding, which words of your own stand on.")
        what = f"the embedding of a recording by {self._model.name!r}"
        (vector,) = read_vectors(self._catalogue.path, [embedding], what)
        strengths = self._head.strengths(vector, music)
        return Recalled(path, strengths, is_music, self._head.name, self._head.sha256)


class Scores:
    """The scores of files: from the catalogue where it has them, else from the model.

    Args:
        voice: Who gives the words; it listens only to what is not remembered.
        memory: What is remembered; None remembers nothing.

    Attributes:
        recalled: Files whose scores came from the catalogue.
        heard: Files that the model listened to.
    """

    def __init__(self, voice: Voice, memory: Memory | None = None) -> None:
        self._voice = voice
        self._memory = memory
        self.recalled = 0
        self.heard = 0

    def of_files(self, paths: Sequence[Path]) -> Iterator[Said | TagFailure]:
        """Give the scores of each file, or why it has none, in order.

        Raises:
            CatalogueError: The catalogue cannot be read.
        """
        memory = self._memory
        known = {} if memory is None else {path: row for path in paths if (row := memory.find(path)) is not None}
        heard = self._voice.hear([path for path in paths if path not in known])
        for path in paths:
            if memory is not None and path in known:
                self.recalled += 1
                yield memory.recall(path, known[path])
            else:
                self.heard += 1
                yield next(heard)
