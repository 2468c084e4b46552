"""Moods in the tags of music files: plan, preview, apply, undo.

A plan says what would be written; applying it copies each file, lets the copy be changed, checks that nothing but the
fields of the mood is different, and puts the copy in the file's place. A journal holds what was there before.
"""

from moodbook.library.filetags.apply import (
    UndoPlan,
    Written,
    apply_tasks,
    choose_run,
    journal_folder,
    plan_undo,
    read_runs,
    undone_files,
)
from moodbook.library.filetags.doctor import Finding, recover
from moodbook.library.filetags.fields import moods
from moodbook.library.filetags.journal import open_journal
from moodbook.library.filetags.plan import (
    Plan,
    Policy,
    Proposal,
    Skipped,
    build_plan,
    check_early,
    load_plan,
    look_again,
    propose,
    save_plan,
)
from moodbook.library.filetags.rewrite import Rewrite, read_fields
from moodbook.library.filetags.words import read_words

__all__ = [
    "Finding",
    "Plan",
    "Policy",
    "Proposal",
    "Rewrite",
    "Skipped",
    "UndoPlan",
    "Written",
    "apply_tasks",
    "build_plan",
    "check_early",
    "choose_run",
    "journal_folder",
    "load_plan",
    "look_again",
    "moods",
    "open_journal",
    "plan_undo",
    "propose",
    "read_fields",
    "read_runs",
    "read_words",
    "recover",
    "save_plan",
    "undone_files",
]
