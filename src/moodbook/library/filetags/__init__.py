"""Moods in the tags of music files: plan, preview, apply, undo.

A plan says what would be written; applying it copies each file, lets the copy be changed, checks that nothing but the
fields of the mood is different, and puts the copy in the file's place. A journal holds what was there before.
"""

from moodbook.library.filetags.apply import (
    UndoPlan,
    Written,
    apply_tasks,
    apply_undo,
    choose_run,
    journal_folder,
    plan_undo,
)
from moodbook.library.filetags.doctor import Finding, recover
from moodbook.library.filetags.plan import (
    Plan,
    Policy,
    Proposal,
    build_plan,
    load_plan,
    propose,
    save_plan,
)
from moodbook.library.filetags.rewrite import Rewrite, read_fields

__all__ = [
    "Finding",
    "Plan",
    "Policy",
    "Proposal",
    "Rewrite",
    "UndoPlan",
    "Written",
    "apply_tasks",
    "apply_undo",
    "build_plan",
    "choose_run",
    "journal_folder",
    "load_plan",
    "plan_undo",
    "propose",
    "read_fields",
    "recover",
    "save_plan",
]
