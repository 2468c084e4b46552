"""What a teacher has to tell of any stretch of music: what it hears of it, or what it has said of it already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from moodbook.datasets.cache import FeatureCache
from moodbook.datasets.dataset import Track
from moodbook.training.machine import Machine, Precision
from moodbook.training.progress import Display
from moodbook.training.teacher.hearing import TeacherHearing
from moodbook.training.teacher.names import TeacherName
from moodbook.training.teacher.sayings import TeacherSayings

Lesson = TeacherHearing | TeacherSayings
"""What goes with the music to the loss, cut as the music is: `stretch` gives what belongs to one that begins at a frame
of the features, which has to be a multiple of `grid`."""


def prepare_lesson(
    teacher: TeacherName,
    features: FeatureCache,
    tracks: Sequence[Track],
    cache: Path,
    machine: Machine,
    precision: Precision,
    display: Display,
    *,
    once: bool,
) -> Lesson:
    """Prepare what a teacher has to tell of the segments of a feature cache, computing what is missing.

    Args:
        teacher: Which one.
        features: The segments.
        tracks: The tracks that they come from.
        cache: Where caches are kept.
        machine: The device on which the teacher computes.
        precision: In which it computes.
        display: Shows the progress.
        once: Whether it says once what each window is like; otherwise it has to hear each batch, for the music is
            changed before it is learned from.

    Raises:
        AudioError: A file cannot be read that could when the features were made.
        TrainingError: A track gives other segments than it did then.
        ModelError: The teacher is not here.
        DataError: The disk has no room.
    """

    def hear() -> TeacherHearing:
        display.begin(f"the teacher hears {len(features)} segments", total=len(features))
        hearing = TeacherHearing.build(features, tracks, cache, lambda done, _: display.advance(done))
        display.end()
        return hearing

    def hear_to_tell() -> TeacherHearing:
        hearing = hear()
        display.begin(f"the teacher tells of {len(features)} segments", total=len(features))
        return hearing

    if not once:
        return hear()
    sayings = TeacherSayings.build(
        features, hear_to_tell, teacher, cache, machine, precision, lambda done, _: display.advance(done)
    )
    display.end()
    return sayings
