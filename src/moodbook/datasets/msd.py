"""Previews of the Million Song Dataset, for step 1 only: music without labels.

The 2019 system learned its VQ-VAE from 557,315 previews and watched 37,008. Which ones is not published; here a hash of
the file name decides, in the same proportion, so that 594,323 files give exactly those numbers. Moodbook fetches no
previews (they cannot be had legally in bulk): the user names a folder that holds them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from moodbook import audio
from moodbook.datasets.dataset import Dataset, Track
from moodbook.datasets.source import Source
from moodbook.errors import DataError
from moodbook.tags import TagSet

TRAIN_PREVIEWS = 557_315
VALIDATION_PREVIEWS = 37_008


def open_msd(folder: Path, variant: str = "") -> Dataset:
    """Read a folder of previews, at any depth; a preview's id is its file name without the suffix.

    Raises:
        DataError: Two files share a name, or there are too few to watch any.
    """
    del variant
    paths: dict[str, Path] = {}
    for path in audio.find([folder]):
        if path.stem in paths:
            raise DataError(f"'{path}' and '{paths[path.stem]}' have one name; previews need distinct names")
        paths[path.stem] = path
    watched = round(len(paths) * VALIDATION_PREVIEWS / (TRAIN_PREVIEWS + VALIDATION_PREVIEWS))
    if not watched:
        raise DataError(f"'{folder}' holds {len(paths)} previews; at least 9 are needed to keep one for validation")
    ranked = sorted(paths, key=lambda name: hashlib.sha256(name.encode()).digest())
    validation = frozenset(ranked[:watched])
    tracks = tuple(
        Track(name, paths[name], (), "validation" if name in validation else "train") for name in sorted(paths)
    )
    return Dataset(MSD.name, tracks, TagSet(()), MSD.licence, MSD.citation)


MSD = Source(
    name="msd",
    folder="msd",
    tracks=TRAIN_PREVIEWS + VALIDATION_PREVIEWS,
    hours=4_950.0,
    licence="previews: all rights reserved by their owners",
    use="step 1 (no labels), research, where you hold the previews; never redistribute them",
    citation="Bertin-Mahieux, Ellis, Whitman, Lamere: The Million Song Dataset. ISMIR 2011.",
    variants=(),
    open=open_msd,
    present=lambda folder: folder.is_dir(),
    remedy="name the folder that holds the previews (--audio DIR); Moodbook does not fetch them",
)
