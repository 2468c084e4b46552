"""A trained tagger: files in, tags out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from moodbook.features import SEGMENT_SECONDS, Segments
from moodbook.model import DEFAULT_MODEL
from moodbook.model.bundle import Bundle, read_bundle
from moodbook.model.device import DeviceChoice, open_engine
from moodbook.model.embedding import segment_statistics
from moodbook.model.listening import MOST_DECODERS, Heard, Hearing, listen_ahead, reason
from moodbook.model.network_engine import EngineOutput
from moodbook.model.precision import PrecisionChoice
from moodbook.model.presence import is_music
from moodbook.model.scores import TagFailure, TagScores, pool
from moodbook.processors import usable_processors


class Tagger:
    """A model, ready to tag: ``Tagger.load()("song.mp3")`` is the whole thing.

    Args:
        bundle: The model.
        precision: Of the network: f32, bf16 or int8; ``auto`` takes bf16 where the processor multiplies it, else f32.
            The scores of f32 are the same on all processors but for rounding; `docs/performance.md` says how far those
            of the others are from them. On a GPU ``auto`` is f32, and there is no int8.
        threads: Processor threads of the network; None takes all that this process may use.
        device: What the network is computed on: ``cuda`` is a GPU, by torch (extra ``gpu``); ``auto`` and ``cpu`` are
            the processor, by OpenVINO.

    Raises:
        ModelError: The processor cannot run the model in this precision.
        DeviceError: There is no GPU, or it does not compute in this precision.
        DependencyError: A GPU is asked for and torch is not installed.
    """

    def __init__(
        self,
        bundle: Bundle,
        precision: PrecisionChoice = "auto",
        threads: int | None = None,
        device: DeviceChoice = "auto",
    ) -> None:
        self.bundle = bundle
        self.tags = bundle.tags
        self.engine = open_engine(bundle, precision, threads, device)
        self.thresholds = self.tags.vector(bundle.thresholds)
        self.embedding, self.presence = bundle.embedding, bundle.presence

    @classmethod
    def load(
        cls,
        name_or_folder: str | Path = DEFAULT_MODEL,
        *,
        precision: PrecisionChoice = "auto",
        threads: int | None = None,
        device: DeviceChoice = "auto",
    ) -> Tagger:
        """Load a model by the name of one that comes with Moodbook, or from a folder.

        Raises:
            ModelError: There is no such model, it is damaged, or the processor cannot run it.
            DeviceError: There is no such device, or it does not compute in this precision.
            DependencyError: A GPU is asked for and torch is not installed.
        """
        return cls(read_bundle(name_or_folder), precision, threads, device)

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
        hearing = Hearing(self.bundle.features, first_segment, allow_partial)
        track = _Track(self)
        with closing(listen_ahead([path], hearing, strict=True)) as groups:
            for ready in groups:
                track.hear([piece.segments for piece in ready if piece.segments is not None])
        return track.scores(ready[-1])

    def tag_files(
        self, paths: Iterable[str | Path], *, first_segment: bool = False, allow_partial: bool = False
    ) -> Iterator[TagScores | TagFailure]:
        """Tag files in order, each as soon as it is done; the next are decoded while the engine works.

        A file that cannot be tagged gives a `TagFailure` and stops nothing. The scores are those of calling the tagger
        on each file alone. Memory is bounded, whatever the files are.

        Args:
            paths: The files; a generator is read as it is needed.
            first_segment: Hear only the first 23.8 s of each.
            allow_partial: Take what damaged files give up to the damage.

        Yields:
            One result a file, in the order of `paths`.

        Raises:
            ModelError: The processor cannot run the model.
        """
        hearing = Hearing(self.bundle.features, first_segment, allow_partial)
        decoders = min(MOST_DECODERS, usable_processors())
        with closing(listen_ahead(paths, hearing, decoders)) as groups:
            yield from self.tag_heard(groups)

    def tag_heard(self, groups: Iterable[Sequence[Heard]]) -> Iterator[TagScores | TagFailure]:
        """Tag files that are decoded somewhere else.

        Args:
            groups: Pieces of any number of files, those that are ready together; the pieces of one file in order,
                closed by its end.

        Yields:
            One result a file, at its end.

        Raises:
            ModelError: The processor cannot run the model.
        """
        tracks: dict[Path, _Track] = {}
        for index, ready in enumerate(groups):
            if index == 0:
                # The decoders are at work already.
                self.engine.prepare()
            for heard, output in zip(ready, self._run(ready), strict=True):
                track = tracks.setdefault(heard.path, _Track(self))
                track.take(heard, output)
                if heard.segments is None:
                    del tracks[heard.path]
                    yield track.result(heard)

    def _run(self, ready: Sequence[Heard]) -> list[EngineOutput | Exception | None]:
        """Run the segments of several files together; give, for each piece, its output or why it has none."""
        outputs: list[EngineOutput | Exception | None] = [None] * len(ready)
        together: Sequence[EngineOutput | Exception]
        segments = {index: heard.segments for index, heard in enumerate(ready) if heard.segments is not None}
        try:
            together = self.engine.run_each([segment.log_mel for segment in segments.values()])
        except Exception as error:  # noqa: BLE001 (one bad file never stops a run)
            if len(segments) > 1:
                # Some file's fault; the others must not share it.
                return [output for heard in ready for output in self._run([heard])]
            together = [error]
        for index, output in zip(segments, together, strict=True):
            outputs[index] = output
        return outputs


class _Track:
    """One track while it is being tagged."""

    def __init__(self, tagger: Tagger) -> None:
        self._tagger = tagger
        self._filled: list[Float32[np.ndarray, " segments"]] = []
        self._taggram: list[Float32[np.ndarray, "segments tags"]] = []
        self._statistics: list[Float32[np.ndarray, "segments statistics"]] = []
        self._failure: str | None = None

    def hear(self, parts: list[Segments]) -> None:
        """Take the next pieces of the track."""
        for part, output in zip(parts, self._tagger.engine.run_each([part.log_mel for part in parts]), strict=True):
            self._add(part, output)

    def take(self, heard: Heard, output: EngineOutput | Exception | None) -> None:
        """Take a piece of the track and what the engine made of it; after a failure the rest is let pass."""
        if heard.failure is not None:
            self._failure = heard.failure
        elif isinstance(output, Exception):
            self._failure = self._failure or reason(output)
        elif output is not None and heard.segments is not None and self._failure is None:
            try:
                self._add(heard.segments, output)
            except Exception as error:  # noqa: BLE001 (one bad file never stops a run)
                self._failure = reason(error)

    def _add(self, part: Segments, output: EngineOutput) -> None:
        tagger = self._tagger
        self._taggram.append(output.probabilities)
        if output.codes is not None and (tagger.embedding is not None or tagger.presence is not None):
            self._statistics.append(segment_statistics(output.codes, tagger.engine.codebook))
        self._filled.append(part.filled)

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
        notes = [] if is_music(music) else ["no music heard: silence, noise or speech, so nothing is decided"]
        if padded:
            notes.append(
                f"shorter than the {SEGMENT_SECONDS:.1f} s that the model hears at a time; the rest was silence"
            )
        return TagScores(
            path=end.path,
            tags=tagger.tags,
            probabilities=probabilities,
            # Strictly above, as the thresholds were fitted.
            decisions=(probabilities > tagger.thresholds) & is_music(music),
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
            precision=tagger.engine.precision,
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
