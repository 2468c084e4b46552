"""What Moodbook knows of a data set that it can open by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from moodbook.datasets.dataset import Dataset


@dataclass(frozen=True)
class Source:
    """A data set with a name.

    Args:
        name: Its name in `open_dataset` and on the command line.
        folder: Its folder below the data root; data sets that share audio share it.
        tracks: Tracks with labels (or, without labels, tracks for step 1).
        hours: Hours of audio, rounded.
        licence: The licence of the audio and of the labels.
        use: What the set may be used for.
        citation: What to cite.
        variants: Its published splits, the default first; empty: it has one, or none.
        open: Reads it from its folder, in one of its variants ("" where it has none).
        remedy: What to do when it is not there; `{name}` and `{folder}` are filled in.
        present: Whether the folder holds it.
    """

    name: str
    folder: str
    tracks: int
    hours: float
    licence: str
    use: str
    citation: str
    variants: tuple[str, ...]
    open: Callable[[Path, str], Dataset]
    present: Callable[[Path], bool]
    remedy: str = "fetch it with: moodbook data fetch {name} (or name its folder, if you have it already)"
