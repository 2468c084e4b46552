"""The teachers by name, and how much each of them says (no torch here)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

TeacherName = Literal["musicnn", "two-musicnn"]

NETWORKS: Mapping[TeacherName, tuple[str, ...]] = {
    "musicnn": ("MSD_musicnn",),
    "two-musicnn": ("MSD_musicnn", "MTT_musicnn"),
}
"""Networks of the package musicnn, whose embeddings stand one behind the other. MSD: 50 tags of 200,000 songs of the
Million Song Dataset; MTT: 50 tags of MagnaTagATune, more of it instrumental, classical and electronic."""

EMBEDDING = 200
"""Numbers of the last hidden layer of each network."""


HARMONY_FEATURES = 28
"""Numbers that `moodbook.training.teacher.harmony` says of each window."""


def features_said(teacher: TeacherName | None, harmony: bool = False) -> int:
    """Give how many numbers a teacher says of each window, and harmony behind it."""
    networks = 0 if teacher is None else len(NETWORKS[teacher])
    return EMBEDDING * networks + HARMONY_FEATURES * harmony


def credit(teacher: TeacherName) -> str:
    """Say whose work a teacher is."""
    networks = ", ".join(NETWORKS[teacher])
    return (
        f"Teacher of step 1: musicnn ({networks}, ISC licence), J. Pons and X. Serra, 2019; none of its weights remain."
    )
