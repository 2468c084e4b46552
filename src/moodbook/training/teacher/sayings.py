"""What the teacher says of each window, computed once a track and kept on disk: step 1 does not ask it again.

Half of what an epoch of step 1 costs is the teacher, and of the same music it says the same. So a stretch that begins
anywhere in a track begins with a window here, every 2.97 s. Music that is changed before it is learned from
(`moodbook.training.augment`) has to be heard each time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float16

from moodbook.datasets.cache import FeatureCache
from moodbook.datasets.rowstore import Layout, stored_rows, write_rows
from moodbook.features import SEGMENT_FRAMES
from moodbook.networks.geometry import WINDOWS
from moodbook.training.machine import Machine, Precision, reduced
from moodbook.training.teacher.hearing import TeacherHearing, hearing_key
from moodbook.training.teacher.names import TeacherName, features_said
from moodbook.training.teacher.teacher import Teacher

_BATCH_SIZE = 8
_VERSION = 1
"""Goes up when the same hearing gives other sayings."""


@dataclass(frozen=True)
class TeacherSayings:
    """What a teacher says of every segment of a feature cache, row for row.

    Attributes:
        folder: Where it lies.
        windows: A read-only memory map; NaN where a window holds no music.
    """

    grid: ClassVar[int] = SEGMENT_FRAMES // WINDOWS

    folder: Path
    windows: Float16[np.ndarray, "rows windows embedding"]

    @classmethod
    def build(
        cls,
        features: FeatureCache,
        hear: Callable[[], TeacherHearing],
        teacher: TeacherName,
        folder: str | Path,
        machine: Machine,
        precision: Precision,
        progress: Callable[[int, int], None] | None = None,
    ) -> TeacherSayings:
        """Open what a teacher says of a feature cache, computing what is missing; stopped at any time, it goes on.

        Args:
            features: The segments.
            hear: Gives what it hears of them; called where something is missing.
            teacher: Which one.
            folder: Where caches are kept.
            machine: The device on which it computes.
            precision: In which it computes.
            progress: Told of segments done and to do.

        Raises:
            AudioError, TrainingError: As `TeacherHearing.build`, where something is missing.
            ModelError: The teacher is not here, and something is missing.
            DataError: The disk has no room.
        """
        key = hashlib.sha256(
            json.dumps(["sayings", _VERSION, teacher, precision, hearing_key(features)]).encode()
        ).hexdigest()
        place = Path(folder) / f"sayings-{key[:16]}"
        layout = Layout(key, (WINDOWS, features_said(teacher)), np.dtype("<f2"))
        stored = stored_rows(
            place, key, lambda: _compute(hear(), teacher, place, layout, machine.device, precision, progress)
        )
        return cls(place, stored.rows)

    def stretch(self, first_frame: int) -> Float16[np.ndarray, "windows embedding"]:
        """Give what the teacher says of a stretch of music as long as a segment.

        Args:
            first_frame: Frame of the features with which the stretch begins, counted from the first row: the first of a
                window.
        """
        row, offset = divmod(first_frame // self.grid, WINDOWS)
        if not offset:
            return np.asarray(self.windows[row])
        return np.concatenate([self.windows[row, offset:], self.windows[row + 1, :offset]])


def _compute(
    hearing: TeacherHearing,
    teacher: TeacherName,
    place: Path,
    layout: Layout,
    device: torch.device,
    precision: Precision,
    progress: Callable[[int, int], None] | None,
) -> None:
    speaker = Teacher.load(teacher).to(device)

    def said_from(row: int) -> Float16[np.ndarray, "batch windows embedding"]:
        heard = torch.from_numpy(np.array(hearing.log_mel[row : row + _BATCH_SIZE])).to(device)
        with reduced(precision, device):
            said = speaker(heard).cpu().numpy()
        return np.asarray(said, dtype=np.float16)

    total, about = len(hearing.log_mel), {"kind": "sayings", "teacher": teacher, "precision": precision}
    write_rows(place, layout, total, f"what the teacher says of {total} segments", said_from, about, progress)
