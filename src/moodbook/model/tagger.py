"""A trained tagger: files in, tags out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from moodbook.features import SEGMENT_SECONDS
from moodbook.model import DEFAULT_MODEL
from moodbook.model.bundle import Bundle, read_bundle
from moodbook.model.embedding import segment_statistics
from moodbook.model.engine import Engine, Precision
from moodbook.model.listening import Heard, Hearing, listen, listen_ahead, reason
from moodbook.model.presence import MUSIC
from moodbook.model.scores import TagFailure, TagScores, pool


class Tagger:
    """A model, ready to tag: ``Tagger.load()("song.mp3")`` is the whole thing.

    Args:
        bundle: The model.
        precision: Of the network: f32, or bf16 where the processor computes in it.
        threads: Processor threads; None takes what the runtime finds best.

    Raises:
        ModelError: The processor cannot run the model in this precision.
    """

    def __init__(self, bundle: Bundle, precision: Precision = "f32", threads: int | None = None) -> None:
        self.bundle = bundle
        self.tags = bundle.tags
        self.engine = Engine(bundle, precision, threads)
        self.thresholds = self.tags.vector(bundle.thresholds)
        self.embedding, self.presence = bundle.embedding, bundle.presence

    @classmethod
    def load(
        cls, name_or_folder: str | Path = DEFAULT_MODEL, *, precision: Precision = "f32", threads: int | None = None
    ) -> Tagger:
        """Load a model by the name of one that comes with Moodbook, or from a folder.

        Raises:
            ModelError: There is no such model, it is damaged, or the processor cannot run it.
        """
        return cls(read_bundle(name_or_folder), precision, threads)

    def __call__(self, path: str | Path, *, first_segment: bool = False, allow_partial: bool = False) -> TagScores:
        """Tag one file, however long, in constant memory.

        Args:
            path: The file.
            first_segment: Hear only the first 23.8 s, as the paper does; otherwise the whole track.
            allow_partial: Take what a damaged file gives up to the damage.

        Raises:
            AudioError: The file cannot be read.
            DataError: Its samples are no music.
        """
        track = _Track(self)
        for heard in listen(path, Hearing(self.bundle.features, first_segment, allow_partial)):
            track.hear(heard)
        return track.scores(heard)

    def tag_files(
        self, paths: Iterable[str | Path], *, first_segment: bool = False, allow_partial: bool = False
    ) -> Iterator[TagScores | TagFailure]:
        """Tag files in order, each as soon as it is done; the next are decoded while the engine works.

        A file that cannot be tagged gives a `TagFailure` and stops nothing. The scores are those of calling the tagger
        on each file alone.

        Args:
            paths: The files; a generator is read as it is needed.
            first_segment: Hear only the first 23.8 s of each.
            allow_partial: Take what damaged files give up to the damage.

        Yields:
            One result a file, in the order of `paths`.
        """
        hearing = Hearing(self.bundle.features, first_segment, allow_partial)
        with closing(listen_ahead(paths, hearing)) as pieces:
            yield from self.tag_heard(pieces)

    def tag_heard(self, pieces: Iterable[Heard]) -> Iterator[TagScores | TagFailure]:
        """Tag files that are decoded somewhere else.

        Args:
            pieces: Of any number of files; those of one file in order, closed by its end.

        Yields:
            One result a file, at its end.
        """
        tracks: dict[Path, _Track] = {}
        for heard in pieces:
            track = tracks.setdefault(heard.path, _Track(self))
            track.hear_or_fail(heard)
            if heard.segments is None:
                del tracks[heard.path]
                yield track.result(heard)


class _Track:
    """One track while it is being tagged."""

    def __init__(self, tagger: Tagger) -> None:
        self._tagger = tagger
        self._filled: list[Float32[np.ndarray, " segments"]] = []
        self._taggram: list[Float32[np.ndarray, "segments tags"]] = []
        self._statistics: list[Float32[np.ndarray, "segments statistics"]] = []
        self._failure: str | None = None

    def hear(self, heard: Heard) -> None:
        """Take the next piece of the track."""
        if heard.segments is not None:
            output = self._tagger.engine.run(heard.segments.log_mel)
            self._taggram.append(output.probabilities)
            if output.codes is not None and (self._tagger.embedding is not None or self._tagger.presence is not None):
                self._statistics.append(segment_statistics(output.codes, self._tagger.engine.codebook))
            self._filled.append(heard.segments.filled)

    def hear_or_fail(self, heard: Heard) -> None:
        """Take the next piece of the track; after a failure the rest is let pass."""
        if heard.failure is not None:
            self._failure = heard.failure
        elif self._failure is None:
            try:
                self.hear(heard)
            except Exception as error:  # noqa: BLE001 (one bad file never stops a run)
                self._failure = reason(error)

    def result(self, end: Heard) -> TagScores | TagFailure:
        """Give the result of the track at its end."""
        return self.scores(end) if self._failure is None else TagFailure(end.path, self._failure)

    def scores(self, end: Heard) -> TagScores:
        """Pool the segments and decide."""
        tagger = self._tagger
        taggram, filled = np.concatenate(self._taggram), np.concatenate(self._filled)
        probabilities = pool(taggram, filled)
        padded = bool(filled[0] < 1)
        music = self._music(filled)
        is_music = music is None or music >= MUSIC
        notes = [] if is_music else ["no music heard: silence, noise or speech, so nothing is decided"]
        if padded:
            notes.append(
                f"shorter than the {SEGMENT_SECONDS:.1f} s that the model hears at a time; the rest was silence"
            )
        return TagScores(
            path=end.path,
            tags=tagger.tags,
            probabilities=probabilities,
            # Strictly above, as the thresholds were fitted.
            decisions=(probabilities > tagger.thresholds) & is_music,
            music=music,
            taggram=taggram,
            embedding=self._embedding(filled),
            filled=filled,
            segment_seconds=SEGMENT_SECONDS,
            duration_seconds=end.duration_seconds,
            padded=padded,
            note="; ".join(notes),
            model_name=tagger.bundle.name,
            model_sha256=tagger.bundle.sha256,
        )

    def _music(self, filled: Float32[np.ndarray, " segments"]) -> float | None:
        if self._tagger.presence is None:
            return None
        segments = self._tagger.presence(np.concatenate(self._statistics))
        return float(pool(segments[:, None], filled)[0])

    def _embedding(self, filled: Float32[np.ndarray, " segments"]) -> Float32[np.ndarray, " dimensions"] | None:
        if self._tagger.embedding is None:
            return None
        return self._tagger.embedding(pool(np.concatenate(self._statistics), filled))
