"""Moodbook: mood and theme tags from discrete codes of music.

``Tagger.load()("song.mp3")`` gives the tags of a file. Everything heavy is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moodbook.errors import (
        AudioError,
        DataError,
        DependencyError,
        DeviceError,
        EmptyAudioError,
        FetchError,
        InvalidSamplesError,
        ModelError,
        MoodbookError,
        RecipeError,
        TrainingError,
        UnreadableAudioError,
    )
    from moodbook.model.bundle import list_models
    from moodbook.model.scores import TagFailure, TagScores
    from moodbook.model.tagger import Tagger
    from moodbook.tags import TagSet

__version__ = "0.1.0"

__all__ = [
    "AudioError",
    "DataError",
    "DependencyError",
    "DeviceError",
    "EmptyAudioError",
    "FetchError",
    "InvalidSamplesError",
    "ModelError",
    "MoodbookError",
    "RecipeError",
    "TagFailure",
    "TagScores",
    "TagSet",
    "Tagger",
    "TrainingError",
    "UnreadableAudioError",
    "__version__",
    "list_models",
]

_HOMES = {
    "TagFailure": "moodbook.model.scores",
    "TagScores": "moodbook.model.scores",
    "TagSet": "moodbook.tags",
    "Tagger": "moodbook.model.tagger",
    "list_models": "moodbook.model.bundle",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES.get(name, "moodbook.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
