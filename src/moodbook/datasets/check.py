"""Look a data set over before hours are spent on it."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from moodbook import audio
from moodbook.datasets.dataset import SPLITS, Dataset, Split, Track
from moodbook.errors import AudioError, MoodbookError
from moodbook.features import SAMPLE_RATE, SEGMENT_SAMPLES
from moodbook.files import is_there
from moodbook.processors import usable_processors

Level = Literal["error", "warning"]

COMPARED_SECONDS = 10.0
"""How much of the start of each file is decoded to find the same recording twice."""

_MISSING = "no such file"
_TRUNCATED = "truncated: its header promises more audio than the file holds. Copy or download it again."

Progress = Callable[[int, int], None]
"""Told how many files were looked at, and how many there are."""


@dataclass(frozen=True)
class Finding:
    """Something about a data set that its user should know.

    Args:
        level: error: tracks cannot be used as they are. warning: they can, but results may not mean what they seem to.
        kind: A short name of what was found, such as ``missing``.
        track_ids: The tracks that it concerns.
        message: What, where, and what to do.
    """

    level: Level
    kind: str
    track_ids: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class _Heard:
    """What one file told.

    Args:
        problem: Why it cannot be used; empty where it can.
        seconds: Its length.
        fingerprint: Hash of its first decoded samples; empty where it is silent or was not compared.
        silent: Whether those samples are all zero.
    """

    problem: str = ""
    seconds: float = 0.0
    fingerprint: str = ""
    silent: bool = False


def check(
    dataset: Dataset,
    *,
    decode: bool = False,
    compare: bool = True,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Finding]:
    """Find what is wrong with a data set.

    Errors: ``missing`` and ``unreadable`` files, ``duplicate-id``, ``unknown-tag``. Warnings: ``short`` tracks (below
    one segment of 23.78 s), ``silent`` ones, ``group-leak`` (a group, such as an artist, on two sides of a split),
    ``duplicate-audio`` (the same samples under two ids), ``no-tags`` (no track has one) and ``tag-without-tracks`` (a
    tag that a split lacks).

    Args:
        dataset: The data set.
        decode: Decode every file to its end, to find all that break off; else only their headers are read, which tell
            it of wav, aiff, au, caf, w64 and Ogg files.
        compare: Decode the first ten seconds of every file, to find the same recording twice.
        workers: Threads; default: one a core.
        progress: Called after every file.

    Returns:
        The findings, errors first; empty when all is well.
    """
    heard = list(_listen_to_all(dataset.tracks, decode, compare, workers, progress))
    findings = [
        *_duplicate_ids(dataset),
        *_unknown_tags(dataset),
        *_problems(dataset.tracks, heard),
        *_group_leaks(dataset),
        *_duplicate_audio(dataset.tracks, heard),
        *_no_tags(dataset),
        *_absent_tags(dataset),
        *_short(dataset.tracks, heard),
        *_silent(dataset.tracks, heard),
    ]
    return sorted(findings, key=lambda finding: finding.level != "error")


def _listen_to_all(
    tracks: Sequence[Track], decode: bool, compare: bool, workers: int | None, progress: Progress | None
) -> Iterator[_Heard]:
    with ThreadPoolExecutor(workers or usable_processors(), thread_name_prefix="check") as pool:
        results = pool.map(lambda track: _listen_to(track.path, decode, compare), tracks)
        for done, heard in enumerate(results, start=1):
            if progress:
                progress(done, len(tracks))
            yield heard


def _listen_to(path: Path, decode: bool, compare: bool) -> _Heard:
    if not is_there(path):
        return _Heard(problem=_MISSING)
    try:
        fingerprint, silent, samples = "", False, 0
        if decode or compare:
            limit = None if decode else COMPARED_SECONDS
            compared = hashlib.sha256()
            left, silent = int(COMPARED_SECONDS * SAMPLE_RATE), True
            for chunk in audio.stream(path, duration_seconds=limit):
                samples += len(chunk)
                start = np.ascontiguousarray(chunk[:left])
                compared.update(start.data)
                silent = silent and not start.any()
                left -= len(start)
            fingerprint = "" if silent or not compare else compared.hexdigest()
        if decode:
            return _Heard("", samples / SAMPLE_RATE, fingerprint, silent)
        info = audio.probe(path)
        if info.is_truncated:
            return _Heard(problem=_TRUNCATED)
        # Decoded where the header does not tell.
        seconds = info.duration_seconds or sum(map(len, audio.stream(path))) / SAMPLE_RATE
    except AudioError as error:
        return _Heard(problem=error.reason)
    except (MoodbookError, OSError, RuntimeError, ValueError) as error:
        return _Heard(problem=f"{type(error).__name__}: {error}")
    return _Heard(seconds=seconds, fingerprint=fingerprint, silent=silent)


def _duplicate_ids(dataset: Dataset) -> Iterator[Finding]:
    counts = Counter(track.track_id for track in dataset.tracks)
    repeated = tuple(track_id for track_id, count in counts.items() if count > 1)
    if repeated:
        yield Finding("error", "duplicate-id", repeated, "the same id names several tracks; give each its own")


def _unknown_tags(dataset: Dataset) -> Iterator[Finding]:
    known = frozenset(dataset.tags)
    tracks_of: dict[str, list[str]] = defaultdict(list)
    for track in dataset.tracks:
        for tag in track.tags:
            if tag not in known:
                tracks_of[tag].append(track.track_id)
    for tag, ids in sorted(tracks_of.items()):
        yield Finding("error", "unknown-tag", tuple(ids), f"the tag {tag!r} is not in the tag list; add or remove it")


def _problems(tracks: Sequence[Track], heard: Sequence[_Heard]) -> Iterator[Finding]:
    missing = []
    for track, result in zip(tracks, heard, strict=True):
        if result.problem == _MISSING:
            missing.append(track)
        elif result.problem:
            yield Finding("error", "unreadable", (track.track_id,), f"'{track.path}': {result.problem}")
    if missing:
        yield Finding(
            "error",
            "missing",
            tuple(track.track_id for track in missing),
            f"{len(missing)} of {len(tracks)} files are missing, the first is '{missing[0].path}'; "
            "fetch them, or name the folder that holds them (--audio DIR)",
        )


def _group_leaks(dataset: Dataset) -> Iterator[Finding]:
    members: dict[str, list[Track]] = defaultdict(list)
    for track in dataset.tracks:
        if track.group is not None and track.split is not None:
            members[track.group].append(track)
    for group, tracks in sorted(members.items()):
        sides = _sides(tracks)
        if len(sides) > 1:
            ids = tuple(track.track_id for track in tracks)
            yield Finding(
                "warning",
                "group-leak",
                ids,
                f"the group {group!r} stands in {' and '.join(sides)}; scores will be too good: keep it on one side",
            )


def _duplicate_audio(tracks: Sequence[Track], heard: Sequence[_Heard]) -> Iterator[Finding]:
    alike: dict[str, list[Track]] = defaultdict(list)
    for track, result in zip(tracks, heard, strict=True):
        if result.fingerprint:
            alike[result.fingerprint].append(track)
    for copies in alike.values():
        if len(copies) > 1:
            sides = _sides(copies)
            where = f", in {' and '.join(sides)}: scores will be too good" if len(sides) > 1 else ""
            yield Finding(
                "warning",
                "duplicate-audio",
                tuple(track.track_id for track in copies),
                f"the same recording {len(copies)} times (first {COMPARED_SECONDS:g} s alike){where}; keep one",
            )


def _no_tags(dataset: Dataset) -> Iterator[Finding]:
    if dataset.tracks and not any(track.tags for track in dataset.tracks):
        yield Finding(
            "warning",
            "no-tags",
            (),
            "no track has a tag: good for step 1 only; to train or score a tagger, name tags in the index",
        )


def _absent_tags(dataset: Dataset) -> Iterator[Finding]:
    present = frozenset(track.split for track in dataset.tracks)
    having: dict[str, set[Split | None]] = defaultdict(set)
    for track in dataset.tracks:
        for tag in track.tags:
            having[tag].add(track.split)
    for split in SPLITS:
        absent = [tag for tag in dataset.tags if split in present and split not in having[tag]]
        if absent:
            yield Finding(
                "warning",
                "tag-without-tracks",
                (),
                f"no track of {split} has {', '.join(absent)}: they cannot be learned, decided or scored there; "
                "leave rare tags out (min_tracks)",
            )


def _short(tracks: Sequence[Track], heard: Sequence[_Heard]) -> Iterator[Finding]:
    ids = _ids(tracks, (not result.problem and result.seconds * SAMPLE_RATE < SEGMENT_SAMPLES for result in heard))
    if ids:
        seconds = SEGMENT_SAMPLES / SAMPLE_RATE
        yield Finding(
            "warning",
            "short",
            ids,
            f"shorter than one segment ({seconds:.2f} s); they are padded with silence, or dropped",
        )


def _silent(tracks: Sequence[Track], heard: Sequence[_Heard]) -> Iterator[Finding]:
    ids = _ids(tracks, (result.silent for result in heard))
    if ids:
        yield Finding("warning", "silent", ids, f"the first {COMPARED_SECONDS:g} s are digital silence; listen to them")


def _ids(tracks: Sequence[Track], chosen: Iterable[bool]) -> tuple[str, ...]:
    return tuple(track.track_id for track in itertools.compress(tracks, chosen))


def _sides(tracks: Sequence[Track]) -> list[Split]:
    return [split for split in SPLITS if any(track.split == split for track in tracks)]
