"""Make splits: no group on two sides, every tag on each side where that can be, the same result on every machine."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from moodbook.datasets.dataset import SPLITS, Dataset, Split, Track
from moodbook.errors import DataError

DEFAULT_SHARES = (0.7, 0.15, 0.15)
"""Shares of train, validation and test."""

_COVERAGE_ORDER: tuple[Split, ...] = ("train", "validation", "test")
"""Where a tag with too few groups goes first: without train it cannot be learned, without validation not decided."""


def assign_splits(dataset: Dataset, seed: int = 0, shares: Sequence[float] = DEFAULT_SHARES) -> Dataset:
    """Give every track a split, replacing any it has.

    Whole groups are dealt out by iterative stratification: the tag with the fewest groups left is dealt first, each of
    its groups to the split that lacks most of that tag. A tag in one group only is in train; in two, also in
    validation; in three or more, in test too, as far as tags that share their groups allow. Ties are broken by a hash
    of seed and group, so the result depends on nothing but the data set, the seed and the shares.

    Args:
        dataset: The data set; tracks without a group are groups of their own.
        seed: Another seed gives another split.
        shares: Shares of train, validation and test of the tracks; they sum to 1, train is not 0.

    Raises:
        DataError: The shares are not shares, there are fewer groups than splits, or a split would stay empty.

    Source:
        Sechidis, Tsoumakas, Vlahavas: On the stratification of multi-label data, ECML PKDD 2011; here over groups.
    """
    wanted = _wanted(dataset, shares)
    groups = _groups(dataset.tracks, seed)
    if len(groups) < len(wanted):
        raise DataError(
            f"data set '{dataset.name}': {len(groups)} groups cannot fill {len(wanted)} splits; "
            "add tracks of other groups (artists), or name the splits in the index"
        )
    deal = _Deal(groups, wanted, dataset.tracks)
    deal.all()
    split_of = deal.split_of
    empty = [split for split in wanted if split not in split_of.values()]
    if empty:
        raise DataError(
            f"data set '{dataset.name}': too few tracks a tag to fill the split {', '.join(empty)}; "
            "leave rare tags out (min_tracks), or name the splits in the index"
        )
    return replace(dataset, tracks=tuple(replace(track, split=split_of[group_of(track)]) for track in dataset.tracks))


def group_of(track: Track) -> str:
    """Name the group of a track: its own where it has none (told apart from a group of the same name)."""
    return f"group {track.group}" if track.group is not None else f"track {track.track_id}"


@dataclass(frozen=True)
class _Group:
    name: str
    size: int
    tags: Counter[str]


@dataclass
class _Deal:
    groups: list[_Group]
    wanted: dict[Split, float]
    tracks: Sequence[Track]
    split_of: dict[str, Split] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._room: dict[Split, float] = {split: share * len(self.tracks) for split, share in self.wanted.items()}
        totals = Counter(tag for track in self.tracks for tag in track.tags)
        self._tag_room = {
            split: {tag: share * total for tag, total in totals.items()} for split, share in self.wanted.items()
        }
        self._holders: dict[str, list[_Group]] = defaultdict(list)
        for group in self.groups:
            for tag in group.tags:
                self._holders[tag].append(group)
        self._covered: dict[str, Counter[Split]] = {tag: Counter() for tag in self._holders}

    def all(self) -> None:
        """Deal every group, then mend the tags that missed train."""
        left = {tag: len(holders) for tag, holders in self._holders.items()}
        while left:
            tag = min(left, key=lambda name: (left[name], name))
            waiting = [group for group in self._holders[tag] if group.name not in self.split_of]
            for position, group in enumerate(waiting):
                self._place(group, self._split_for(tag, remaining=len(waiting) - position))
                for other in group.tags:
                    if other in left:
                        left[other] -= 1
            del left[tag]
        for group in self.groups:
            if group.name not in self.split_of:
                self._place(group, max(self.wanted, key=lambda split: self._room[split]))
        self._mend()

    def _split_for(self, tag: str, remaining: int) -> Split:
        lacking = [split for split in _COVERAGE_ORDER if split in self.wanted and not self._covered[tag][split]]
        if lacking and remaining <= len(lacking):
            return lacking[0]
        return max(self.wanted, key=lambda split: (self._tag_room[split][tag], self._room[split]))

    def _place(self, group: _Group, split: Split) -> None:
        self.split_of[group.name] = split
        self._room[split] -= group.size
        for tag, count in group.tags.items():
            self._tag_room[split][tag] -= count
            self._covered[tag][split] += 1

    def _mend(self) -> None:
        """Move groups where a tag misses a split: always into train, elsewhere only where no other tag loses."""
        for split in _COVERAGE_ORDER:
            for tag in sorted(self._holders):
                if split not in self.wanted or self._covered[tag][split]:
                    continue
                movable = [group for group in self._holders[tag] if split == "train" or not self._losses(group)]
                if movable:
                    group = min(movable, key=lambda group: (self._losses(group), group.size, group.name))
                    self._take_back(group)
                    self._place(group, split)

    def _take_back(self, group: _Group) -> None:
        split = self.split_of.pop(group.name)
        self._room[split] += group.size
        for tag, count in group.tags.items():
            self._tag_room[split][tag] += count
            self._covered[tag][split] -= 1

    def _losses(self, group: _Group) -> int:
        """Count the tags that would miss a group's split if the group left it."""
        return sum(self._covered[tag][self.split_of[group.name]] == 1 for tag in group.tags)


def _wanted(dataset: Dataset, shares: Sequence[float]) -> dict[Split, float]:
    if len(shares) != len(SPLITS) or any(not 0 <= share <= 1 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise DataError(f"shares {tuple(shares)}: give three shares (train, validation, test) that sum to 1")
    if shares[0] == 0:
        raise DataError(f"data set '{dataset.name}': the share of train is 0; something must be learned from")
    return {split: share for split, share in zip(SPLITS, shares, strict=True) if share > 0}


def _groups(tracks: Sequence[Track], seed: int) -> list[_Group]:
    """Gather the groups, the largest first, ties in an order that the seed gives."""
    sizes: Counter[str] = Counter()
    tags: dict[str, Counter[str]] = defaultdict(Counter)
    for track in tracks:
        sizes[group_of(track)] += 1
        tags[group_of(track)].update(track.tags)
    groups = [_Group(name, size, tags[name]) for name, size in sizes.items()]
    return sorted(groups, key=lambda group: (-group.size, _seeded(seed, group.name), group.name))


def _seeded(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{name}".encode()).digest()
