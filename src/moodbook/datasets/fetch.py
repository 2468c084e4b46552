"""Fetch a data set by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path

from moodbook.datasets.fetch_collection import fetch_collection
from moodbook.datasets.fetch_immich import fetch_immich
from moodbook.datasets.fetch_jamendo import fetch_jamendo
from moodbook.datasets.fetch_magnatagatune import fetch_magnatagatune
from moodbook.datasets.fetching import FetchOptions, FetchResult, Progress, Quiet
from moodbook.datasets.jamendo import SUBSETS
from moodbook.datasets.registry import SOURCES, find_source, folder_of
from moodbook.errors import FetchError

FETCHERS: Mapping[str, Callable[[str, Path, FetchOptions, Progress], FetchResult]] = {
    "immich": fetch_immich,
    **dict.fromkeys(SUBSETS, fetch_jamendo),
    "magnatagatune": fetch_magnatagatune,
    "open": fetch_collection,
    "speech": fetch_collection,
}
"""The data sets that can be fetched."""
_ARCHIVED = frozenset({"mirror", "lists_only", "discard_archives", "parallel"})
_USED: Mapping[str, frozenset[str]] = {
    "immich": frozenset({"mirror", "archive"}),
    **dict.fromkeys(SUBSETS, _ARCHIVED | {"lists", "quality", "parts"}),
    "magnatagatune": _ARCHIVED | {"lists"},
    "open": _ARCHIVED | {"size"},
    "speech": _ARCHIVED | {"size"},
}
"""The options that mean something for each data set, beside `patience`."""


def fetch(
    name: str,
    folder: str | Path | None = None,
    options: FetchOptions | None = None,
    progress: Progress | None = None,
) -> FetchResult:
    """Fetch a data set, or what is still missing of it.

    Args:
        name: Its name.
        folder: Where to put it; default: the place where `open_dataset` looks for it.
        options: Mirror, quality and the like.
        progress: Told of stages and bytes.

    Raises:
        FetchError: There is no such data set, it cannot be fetched by Moodbook, an option means nothing for it, or
            fetching failed.
    """
    named = find_source(name)
    if named is None:
        raise FetchError(f"there is no data set {name!r}; those that can be fetched: {', '.join(FETCHERS)}")
    source = named.source
    place = folder_of(source, folder)
    if source.name not in FETCHERS:
        raise FetchError(f"data set '{name}': {source.remedy.format(name=source.name, folder=place)}")
    options = FetchOptions() if options is None else options
    for option in fields(FetchOptions):
        is_given = getattr(options, option.name) != getattr(FetchOptions(), option.name)
        if is_given and option.name not in {*_USED[source.name], "patience"}:
            raise FetchError(
                f"the option {option.name} means nothing for the data set '{name}', which takes "
                f"{', '.join(sorted(_USED[source.name]))}; leave it out"
            )
    return FETCHERS[source.name](source.name, place, options, progress or Quiet())


def fetchable() -> tuple[str, ...]:
    """Name the data sets that can be fetched, in the order of the registry."""
    return tuple(name for name in SOURCES if name in FETCHERS)
