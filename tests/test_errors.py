"""The exception tree, and the page that draws it."""

from __future__ import annotations

import inspect

from moodbook import errors


def test_the_drawn_tree_names_every_error_and_nothing_else() -> None:
    defined = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    drawing = (errors.__doc__ or "").split("MoodbookError\n", 1)[1].split("\n\n", 1)[0]
    drawn = {word for word in drawing.replace("─", " ").split() if word.endswith("Error")} | {"MoodbookError"}
    assert drawn == defined


def test_every_error_is_a_moodbook_error() -> None:
    for value in vars(errors).values():
        if inspect.isclass(value) and issubclass(value, Exception):
            assert issubclass(value, errors.MoodbookError)


def test_an_audio_error_says_which_file_and_why() -> None:
    error = errors.UnreadableAudioError("a.m4a", "truncated after 3.2 s")
    assert str(error) == "cannot read 'a.m4a': truncated after 3.2 s"
    assert (error.path, error.reason) == ("a.m4a", "truncated after 3.2 s")


def test_a_missing_package_names_the_extra_that_brings_it() -> None:
    assert "pip install 'moodbook[train]'" in str(errors.DependencyError("torch", "train"))
