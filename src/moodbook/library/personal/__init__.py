"""The owner's own words: learned from the owner's own examples, on what a model already hears.

Examples (playlists, folders, a CSV file, moods that stand in files) say which recordings have a word. For each word a
small head, a logistic regression on the embeddings that the catalogue keeps, learns to tell such recordings from the
others. Nothing is heard again, so fitting takes seconds.
"""

from moodbook.library.personal.apply import apply_head, refresh_heads
from moodbook.library.personal.examples import Examples, gather, resolve
from moodbook.library.personal.fit import FittedWords, TooFew, fit_words
from moodbook.library.personal.head import (
    Figure,
    Head,
    Losses,
    WordFacts,
    find_head,
    find_losses,
    head_folder,
    heads_folder,
    list_heads,
    read_head,
    set_aside,
    write_head,
)
from moodbook.library.personal.sources import MoodsFound, Statement, read_moods, read_source
from moodbook.library.personal.suggest import Suggestion, suggest

__all__ = [
    "Examples",
    "Figure",
    "FittedWords",
    "Head",
    "Losses",
    "MoodsFound",
    "Statement",
    "Suggestion",
    "TooFew",
    "WordFacts",
    "apply_head",
    "find_head",
    "find_losses",
    "fit_words",
    "gather",
    "head_folder",
    "heads_folder",
    "list_heads",
    "read_head",
    "read_moods",
    "read_source",
    "refresh_heads",
    "resolve",
    "set_aside",
    "suggest",
    "write_head",
]
