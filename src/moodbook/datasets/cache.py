"""Features and codes on disk, computed once.

Decoding and the spectrogram are done once a track (`FeatureCache`, float16, 256 KiB a segment); for a fixed VQ-VAE the
encoder runs once a segment too (`CodeCache`, int16, 4 KiB a segment of Type-1), so that step 2 of Runs 2 and 4 never
runs it again. Both can be stopped at any time, kill -9 included, and go on where they stopped; the result is the same
bit by bit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float16, Float32, Int16, Int32, Integer

from moodbook.datasets.dataset import Track, require_distinct
from moodbook.datasets.rowstore import (
    Layout,
    RowWriter,
    StoredRows,
    open_rows,
    require_space,
    stored_rows,
    write_rows,
)
from moodbook.datasets.segmenting import SegmentRules, compute_in_order, expected_segments
from moodbook.errors import DataError
from moodbook.features import N_MELS, SEGMENT_FRAMES, FeatureConfig

Progress = Callable[[int, int], None]
"""Told what is done and what there is to do: tracks (features) or segments (codes)."""

LATENT_FRAMES = SEGMENT_FRAMES // 2
"""Time steps of the codes of one segment. The networks have a constant of the same name; data sets may not import
networks, so a test holds the two together."""
_KEY_DIGITS = 16
_FEATURES_VERSION = 1
"""Goes up when the same audio gives other features, so that caches of the old ones are not taken for the new."""


class SkippedTrack(NamedTuple):
    """A track that has no row, and why."""

    track_id: str
    reason: str


@dataclass(frozen=True)
class _Cache:
    """What both caches share.

    Attributes:
        folder: Where the cache lies.
        key: Hash of everything the rows were computed from.
        track_ids: The track of each row; the rows of a track follow one another, tracks in the order given.
        segment_index: The segment of its track that each row holds, from 0.
        filled: Share of real frames in each row's segment, in (0, 1].
        skipped: Tracks without a row, with the reason.
    """

    folder: Path
    key: str
    track_ids: tuple[str, ...]
    segment_index: Int32[np.ndarray, " rows"]
    filled: Float32[np.ndarray, " rows"]
    skipped: tuple[SkippedTrack, ...]

    def __len__(self) -> int:
        return len(self.track_ids)


@dataclass(frozen=True)
class FeatureCache(_Cache):
    """The log-mel segments of tracks, as a read-only memory map.

    Attributes:
        log_mel: The scaled log-mel of each row.
    """

    log_mel: Float16[np.ndarray, "rows 128 1024"]

    @classmethod
    def build(
        cls,
        tracks: Sequence[Track],
        folder: str | Path,
        feature_config: FeatureConfig,
        *,
        segments: Literal["first", "all"] = "first",
        short_tracks: Literal["pad", "drop"] = "pad",
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> FeatureCache:
        """Open the cache of these tracks, computing what is missing of it.

        It lies in a sub-folder named by its key: track ids, size and time of each audio file, and the options below.
        Changed files or options thus make a new cache and leave the old one alone. A damaged one is built anew.
        Several processes may ask for the same cache: one builds, the others wait.

        Args:
            tracks: The tracks, with distinct ids.
            folder: Where caches are kept.
            feature_config: The dials of the features.
            segments: first: the paper's 1,024 frames. all: every segment of the track.
            short_tracks: pad: a track shorter than one segment is padded with silence. drop: it is skipped.
            workers: Threads that decode; default: one a core. The result does not depend on it.
            progress: Called after every track.

        Raises:
            DataError: Two tracks share an id, or the disk has no room. A bad audio file raises nothing; it is in
                `skipped`.
        """
        require_distinct(tracks)
        rules = SegmentRules(feature_config, segments, short_tracks)
        key = _features_key(tracks, rules)
        place = Path(folder) / f"log-mel-{key[:_KEY_DIGITS]}"
        layout = Layout(key, (N_MELS, SEGMENT_FRAMES), np.dtype("<f2"))
        cached = stored_rows(place, key, lambda: _build_features(tracks, place, layout, rules, workers, progress))
        return cls._from_rows(place, cached)

    @classmethod
    def open(cls, folder: str | Path, *, verify: bool = True) -> FeatureCache:
        """Open a finished cache by its own folder.

        Args:
            folder: The folder that `build` made (`FeatureCache.folder`).
            verify: Compare the checksum of every row.

        Raises:
            DataError: It is missing, unfinished, damaged, or holds something else.
        """
        return cls._from_rows(Path(folder), _open_kind(Path(folder), "log-mel", verify))

    @classmethod
    def _from_rows(cls, folder: Path, stored: StoredRows) -> FeatureCache:
        return cls(**_shared(folder, stored), log_mel=stored.rows)


@dataclass(frozen=True)
class CodeCache(_Cache):
    """The codes of segments under one fixed VQ-VAE, as a read-only memory map.

    Attributes:
        codes: The codes of each row.
    """

    codes: Int16[np.ndarray, "rows bands 512"]

    @classmethod
    def build(
        cls,
        features: FeatureCache,
        folder: str | Path,
        encode: Callable[[Float32[np.ndarray, "batch 128 1024"]], Integer[np.ndarray, "batch bands 512"]],
        *,
        weights_sha256: str,
        bands: int,
        batch_size: int = 12,
        progress: Progress | None = None,
    ) -> CodeCache:
        """Open the codes of a feature cache, computing what is missing of them.

        Args:
            features: The segments.
            folder: Where caches are kept.
            encode: Turns log-mel segments into codes; it must depend on nothing but them and the weights.
            weights_sha256: Hash of the VQ-VAE's weights; part of the key.
            bands: Latent bands: 4 (Type-1) or 1 (Type-2).
            batch_size: Segments given to `encode` at once.
            progress: Called after every batch.

        Raises:
            DataError: `encode` gives another shape than (batch, bands, 512) or codes outside [0, 32767], or the disk
                has no room.
        """
        key = _hash_json(["codes", 1, features.key, weights_sha256, bands])
        place = Path(folder) / f"codes-{key[:_KEY_DIGITS]}"
        layout = Layout(key, (bands, LATENT_FRAMES), np.dtype("<i2"))
        cached = stored_rows(
            place,
            key,
            lambda: _build_codes(features, place, layout, encode, weights_sha256, batch_size, progress),
        )
        return cls._from_rows(place, cached)

    @classmethod
    def open(cls, folder: str | Path, *, verify: bool = True) -> CodeCache:
        """Open a finished cache by its own folder.

        Args:
            folder: The folder that `build` made (`CodeCache.folder`).
            verify: Compare the checksum of every row.

        Raises:
            DataError: It is missing, unfinished, damaged, or holds something else.
        """
        return cls._from_rows(Path(folder), _open_kind(Path(folder), "codes", verify))

    @classmethod
    def _from_rows(cls, folder: Path, stored: StoredRows) -> CodeCache:
        return cls(**_shared(folder, stored), codes=stored.rows)


def _build_features(
    tracks: Sequence[Track],
    place: Path,
    layout: Layout,
    rules: SegmentRules,
    workers: int | None,
    progress: Progress | None,
) -> None:
    with RowWriter(place, layout) as writer:
        done = len(writer.notes)
        left = tracks[done:]
        expected_rows = len(left) if rules.which == "first" else sum(map(expected_segments, left))
        require_space(place, expected_rows * layout.row_bytes, f"the feature cache of {len(left)} tracks")
        if progress:
            progress(done, len(tracks))
        for track, computed in zip(left, compute_in_order(left, rules, workers), strict=True):
            note: dict[str, Any] = {"track_id": track.track_id, "filled": computed.filled.tolist()}
            if computed.reason is not None:
                note["skipped"] = computed.reason
            writer.append(computed.log_mel, note)
            done += 1
            if progress:
                progress(done, len(tracks))
        rows = [(note["track_id"], index, share) for note in writer.notes for index, share in enumerate(note["filled"])]
        writer.finish(
            {
                "kind": "log-mel",
                "features": rules.config.model_dump(mode="json"),
                "segments": rules.which,
                "short_tracks": rules.short_tracks,
                "track_ids": [row[0] for row in rows],
                "segment_index": [row[1] for row in rows],
                "filled": [row[2] for row in rows],
                "skipped": [[note["track_id"], note["skipped"]] for note in writer.notes if "skipped" in note],
            }
        )


def _build_codes(
    features: FeatureCache,
    place: Path,
    layout: Layout,
    encode: Callable[[Float32[np.ndarray, "batch 128 1024"]], Integer[np.ndarray, "batch bands 512"]],
    weights_sha256: str,
    batch_size: int,
    progress: Progress | None,
) -> None:
    def codes_from(row: int) -> Int16[np.ndarray, "batch bands 512"]:
        batch = np.asarray(features.log_mel[row : row + batch_size], dtype=np.float32)
        codes = np.asarray(encode(batch))
        if codes.shape != (len(batch), *layout.row_shape) or codes.dtype.kind not in "iu":
            raise DataError(
                f"the encoder gave {codes.dtype} of shape {codes.shape} for {len(batch)} segments, expected "
                f"integers of shape {(len(batch), *layout.row_shape)}"
            )
        if codes.min() < 0 or codes.max() > np.iinfo(np.int16).max:
            raise DataError(f"the encoder gave codes from {codes.min()} to {codes.max()}, expected 0 to 32767")
        return codes.astype(layout.dtype)

    total = len(features)
    about = {
        "kind": "codes",
        "features_key": features.key,
        "weights_sha256": weights_sha256,
        "track_ids": list(features.track_ids),
        "segment_index": features.segment_index.tolist(),
        "filled": features.filled.tolist(),
        "skipped": [list(skipped) for skipped in features.skipped],
    }
    write_rows(place, layout, total, f"the code cache of {total} segments", codes_from, about, progress)


def _features_key(tracks: Sequence[Track], rules: SegmentRules) -> str:
    files = []
    for track in tracks:
        # The place too: files of one size and one time, as an archive unpacks them, may be exchanged in the index.
        place = str(track.path.absolute())
        try:
            status = track.path.stat()
            files.append([track.track_id, place, status.st_size, status.st_mtime_ns])
        except OSError:
            files.append([track.track_id, place, None, None])
    options = [rules.config.model_dump(mode="json"), rules.which, rules.short_tracks]
    return _hash_json(["log-mel", _FEATURES_VERSION, *options, files])


def _open_kind(folder: Path, kind: str, verify: bool) -> StoredRows:
    stored = open_rows(folder, verify=verify)
    if stored.manifest.get("kind") != kind:
        raise DataError(f"'{folder}' holds {stored.manifest.get('kind')!r}, expected {kind!r}; name another folder")
    return stored


def _shared(folder: Path, stored: StoredRows) -> dict[str, Any]:
    manifest = stored.manifest
    return {
        "folder": folder,
        "key": manifest["key"],
        "track_ids": tuple(manifest["track_ids"]),
        "segment_index": np.array(manifest["segment_index"], dtype=np.int32),
        "filled": np.array(manifest["filled"], dtype=np.float32),
        "skipped": tuple(SkippedTrack(*entry) for entry in manifest["skipped"]),
    }


def _hash_json(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
