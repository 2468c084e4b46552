"""Every error that Moodbook raises on purpose.

    MoodbookError
    ├── AudioError            a file that cannot give a waveform
    │   ├── UnreadableAudioError   missing, not audio, truncated, corrupt
    │   ├── EmptyAudioError        decodes to no sample at all
    │   └── InvalidSamplesError    NaN or infinite samples
    ├── DataError             an index, a data set, an array or a submission is not what it must be
    │   ├── FetchError             a download failed, or its bytes are not the pinned ones
    │   └── UnscorableError        a submission of a wrong shape, or with scores that are no numbers
    ├── RecipeError           a recipe does not exist, or has an unknown or wrong key
    ├── ModelError            a model bundle is missing, damaged or altered
    │   └── DeviceError            the device that was asked for is not there, or does not compute so
    ├── TrainingError         a training run cannot start, resume or go on
    ├── WorkerError           a worker process cannot start
    ├── CatalogueError        a catalogue is missing, damaged, newer than this Moodbook, or cannot be written
    │   └── CatalogueInUseError    another scan writes to it
    ├── QueryError            a search query that cannot be understood
    ├── TagError              the tags of a file cannot be read or written; the file is as it was
    │   ├── UnsupportedTagsError   the file is of a kind whose tags Moodbook does not write
    │   └── FileChangedError       somebody else has changed the file meanwhile
    ├── PlanError             a plan of what to write is damaged, of another version, or asks for what is not done
    ├── JournalError          the journal of what was written cannot be read or written
    └── DependencyError       an optional package (an extra) is needed and absent

A message says what, where and what to do about it. Programs catch `MoodbookError`; the command line prints its message
and ends with exit code 2 (or 1 where single files failed).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


class MoodbookError(Exception):
    """Root of every deliberate error."""


class AudioError(MoodbookError):
    """A file cannot give a waveform.

    Args:
        path: The file, as the caller named it.
        reason: What is wrong and what to do, without the path.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        self.path = str(path)
        self.reason = reason
        super().__init__(f"cannot read {self.path!r}: {reason}")


class UnreadableAudioError(AudioError):
    """The file is missing, is no audio, is truncated or corrupt."""


class EmptyAudioError(AudioError):
    """The file holds no audio sample."""


class InvalidSamplesError(AudioError):
    """The file decodes to NaN or infinite samples."""


class DataError(MoodbookError):
    """An index, a data set, an array or a submission is not what it must be."""


class FetchError(DataError):
    """A download failed, or what arrived is not what was pinned."""


class UnscorableError(DataError):
    """Submissions cannot be scored.

    Args:
        systems: For each of them, what forbids it: the audit's findings as documents.
    """

    def __init__(self, systems: Mapping[str, Sequence[Mapping[str, object]]]) -> None:
        self.systems = systems
        super().__init__(
            "; ".join(
                f"{name}: {'; '.join(str(finding['message']) for finding in findings)}"
                for name, findings in systems.items()
            )
        )


class RecipeError(MoodbookError):
    """A recipe does not exist, or has an unknown or wrong key."""


class ModelError(MoodbookError):
    """A model bundle is missing, damaged or altered."""


class DeviceError(ModelError):
    """The device that was asked for is not there, or does not compute a model in the way that was asked for."""


class TrainingError(MoodbookError):
    """A training run cannot start, resume or go on."""


class WorkerError(MoodbookError):
    """A worker process cannot start, so no file can be read."""


class CatalogueError(MoodbookError):
    """A catalogue is missing, damaged, newer than this Moodbook, or cannot be written."""


class CatalogueInUseError(CatalogueError):
    """Another scan writes to the catalogue."""


class QueryError(MoodbookError):
    """A search query cannot be understood.

    Args:
        query: All of it.
        position: Character at which it goes wrong.
        reason: What is wrong and what to do.
    """

    def __init__(self, query: str, position: int, reason: str) -> None:
        self.query = query
        self.position = position
        self.reason = reason
        super().__init__(f"the query {query!r} is wrong at character {position + 1}: {reason}")


class TagError(MoodbookError):
    """The tags of a file cannot be read or written; the file is as it was.

    Args:
        path: The file, as the caller named it.
        reason: What is wrong and what to do, without the path.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        self.path = str(path)
        self.reason = reason
        super().__init__(f"cannot tag {self.path!r}: {reason}")


class UnsupportedTagsError(TagError):
    """The file is of a kind whose tags Moodbook does not write."""


class FileChangedError(TagError):
    """Somebody else has changed the file meanwhile."""


class PlanError(MoodbookError):
    """A plan of what to write is damaged, of another version, or asks for what is not done."""


class JournalError(MoodbookError):
    """The journal of what was written cannot be read or written."""


class DependencyError(MoodbookError):
    """An optional package is needed for this and is not installed.

    Args:
        package: What could not be imported.
        extra: The Moodbook extra that brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(f"this needs {package!r}, which is not installed. Run: pip install 'moodbook[{extra}]'")
