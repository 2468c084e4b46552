"""The features of a data set, computed once before anything is learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from moodbook.datasets.cache import FeatureCache, SkippedTrack
from moodbook.datasets.dataset import SPLITS, Dataset, Split, Track, require_distinct
from moodbook.datasets.segmenting import TOO_SHORT
from moodbook.errors import TrainingError
from moodbook.training.progress import Display
from moodbook.training.recipe import Recipe


@dataclass(frozen=True)
class Prepared:
    """The features of a data set.

    Args:
        features: The segments of every track.
        tracks: The tracks of each split that have a segment.
        dropped: Tracks left out because the recipe drops short ones.
        unreadable: Tracks whose audio cannot be read.
    """

    features: FeatureCache
    tracks: dict[Split, tuple[Track, ...]]
    dropped: tuple[SkippedTrack, ...]
    unreadable: tuple[SkippedTrack, ...]


def split_up(dataset: Dataset, splits: Sequence[Split]) -> dict[Split, tuple[Track, ...]]:
    """Give the tracks of some splits.

    Args:
        dataset: Every track has a split.
        splits: The splits that the run needs.

    Raises:
        TrainingError: One has no track.
        DataError: Two tracks share an id.
    """
    tracks = {split: dataset.split(split) for split in splits}
    require_distinct(track for of_split in tracks.values() for track in of_split)
    if empty := [split for split, of_split in tracks.items() if not of_split]:
        raise TrainingError(
            f"data set '{dataset.name}' has no {' and no '.join(empty)} track. Name the split of every track in the "
            f"column 'split' of its index ({', '.join(SPLITS)}), or leave the column out to have splits made"
        )
    return tracks


def prepare(dataset: Dataset, splits: Sequence[Split], recipe: Recipe, cache: Path, display: Display) -> Prepared:
    """Compute the features of some splits; a track that cannot be read is noted and left out.

    Args:
        dataset: Every track has a split.
        splits: The splits that the run needs.
        recipe: Says which segments, and what becomes of short tracks.
        cache: Where features are kept.
        display: Shows the progress.

    Raises:
        DataError: Two tracks share an id, or the disk has no room.
        TrainingError: A split has no track, or none that can be used.
    """
    by_split = split_up(dataset, splits)
    tracks = [track for split in splits for track in by_split[split]]
    display.begin(f"features of {len(tracks)} tracks", total=len(tracks))
    features = FeatureCache.build(
        tracks,
        cache,
        recipe.features,
        segments=recipe.data.segments,
        short_tracks=recipe.data.short_tracks,
        progress=lambda done, _: display.advance(done),
    )
    display.end()
    dropped = tuple(skipped for skipped in features.skipped if skipped.reason.startswith(TOO_SHORT))
    unreadable = tuple(skipped for skipped in features.skipped if skipped not in dropped)
    for skipped in unreadable:
        display.note(f"left out, cannot be read: {skipped.track_id}: {skipped.reason}")
    present = set(features.track_ids)
    usable = {
        split: tuple(track for track in of_split if track.track_id in present) for split, of_split in by_split.items()
    }
    for split, kept in usable.items():
        if not kept:
            raise TrainingError(
                f"data set '{dataset.name}': none of the {len(by_split[split])} {split} tracks can be used; "
                "see what `moodbook data check` says"
            )
    return Prepared(features, usable, dropped, unreadable)
