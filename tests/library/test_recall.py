"""Scores from the catalogue: what was heard once is never heard again, and what comes back is what was heard."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.library.conftest import cut
from typer.testing import CliRunner, Result

from moodbook.cli.app import app
from moodbook.library.catalogue import Catalogue
from moodbook.library.filetags import propose, read_fields
from moodbook.library.recall import Memory, Scores, Voice
from moodbook.library.scan import scan
from moodbook.model.bundle import Bundle
from moodbook.model.scores import TagFailure
from moodbook.model.tagger import Tagger

Tree = Callable[[dict[str, str]], Path]


@pytest.fixture
def scores(catalogue: Catalogue, tagger: Tagger) -> Callable[[], Scores]:
    voice = Voice(tagger.bundle.folder)
    return lambda: Scores(voice, Memory.of(catalogue, voice))


def test_the_scores_are_those_that_were_heard(
    tree: Tree, catalogue: Catalogue, tagger: Tagger, scores: Callable[[], Scores]
) -> None:
    root = tree({"a.flac": "lava", "b.flac": "taiko"})
    scan(catalogue, [root], tagger)
    cut("rlyeh", root / "new.flac")
    paths = sorted(root.iterdir())
    source = scores()

    said = list(source.of_files(paths))

    assert (source.recalled, source.heard) == (2, 1)
    alone = [tagger(path) for path in paths]
    assert [result.path for result in said] == paths
    assert [result.strengths for result in said] == [result.strengths for result in alone]
    assert [propose(result, top=2) for result in said] == [propose(result, top=2) for result in alone]


def test_music_is_known_whatever_its_name_and_tags_are(
    tree: Tree, catalogue: Catalogue, tagger: Tagger, scores: Callable[[], Scores]
) -> None:
    import mutagen

    root = tree({"a.flac": "lava", "b.flac": "taiko"})
    scan(catalogue, [root], tagger)
    (root / "a.flac").rename(root / "moved.flac")
    file = mutagen.File(root / "b.flac")
    file["title"] = "Another"
    file.save()
    source = scores()
    assert all(not isinstance(result, TagFailure) for result in source.of_files(sorted(root.iterdir())))
    assert (source.recalled, source.heard) == (2, 0)


def test_other_music_under_a_known_name_is_heard(
    tree: Tree, catalogue: Catalogue, tagger: Tagger, scores: Callable[[], Scores]
) -> None:
    root = tree({"a.flac": "lava"})
    scan(catalogue, [root], tagger)
    cut("taiko", root / "a.flac")
    source = scores()
    (said,) = source.of_files([root / "a.flac"])
    assert (source.recalled, source.heard) == (0, 1)
    assert said.strengths == tagger(root / "a.flac").strengths


def test_what_could_not_be_heard_is_not_tried_again_but_a_copy_is(
    tree: Tree, catalogue: Catalogue, tagger: Tagger, scores: Callable[[], Scores]
) -> None:
    root = tree({"a.flac": "lava"})
    (root / "bad.flac").write_bytes(b"<html>")
    (failure,) = scan(catalogue, [root], tagger).failures
    source = scores()
    (said,) = source.of_files([root / "bad.flac"])
    assert isinstance(said, TagFailure)
    assert (said.reason, source.recalled) == (failure.reason, 1)
    # What is damaged in one file may be whole in another one with the same music.
    shutil.copyfile(root / "bad.flac", root / "copy.flac")
    list(source.of_files([root / "copy.flac"]))
    assert (source.recalled, source.heard) == (1, 1)


def test_another_model_remembers_nothing(tree: Tree, catalogue: Catalogue, tagger: Tagger, make_bundle) -> None:
    scan(catalogue, [tree({"a.flac": "lava"})], tagger)
    other = make_bundle("other", thresholds={"calm": 0.4, "dark": 0.5, "epic": 0.5, "fast": 0.5})
    assert Memory.of(catalogue, Voice(other.folder)) is None


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle) -> Callable[..., Result]:
    monkeypatch.setenv("MOODBOOK_CATALOGUE", str(tmp_path / "catalogue.sqlite"))
    options = ["--model", str(tiny_bundle.folder)]
    return lambda verb, *arguments: CliRunner().invoke(app, [verb, *options, *map(str, arguments)])


def test_write_asks_the_catalogue_first(
    tree: Tree, call: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle
) -> None:
    root = tree({"a.flac": "lava", "b.flac": "taiko"})
    assert call("scan", root).exit_code == 0
    journal = ("--journal", tmp_path / "journal")
    heard = call("write", root, "--top", 2, "--listen")
    assert "catalogue" not in heard.stderr
    with monkeypatch.context() as patch:
        # No model is even loaded.
        patch.setattr("moodbook.model.tagger.open_engine", None)
        done = call("write", root, "--top", 2)
        assert done.stdout == heard.stdout
        assert done.stderr.startswith("moodbook: the catalogue knew 2 files, 0 listened to\n")
        written = call("write", root, "--top", 2, "--yes", *journal)
        assert written.exit_code == 0, written.stderr
    (text,) = read_fields(root / "a.flac")["MOODBOOK_SCORES"]
    assert json.loads(text)["sha256"] == tiny_bundle.sha256
    assert list(json.loads(text)["scores"]) == list(tiny_bundle.tags)
    cut("rlyeh", root / "new.flac")
    again = call("write", root, "--top", 2, "--overwrite")
    assert again.stderr.startswith("moodbook: the catalogue knew 2 files, 1 listened to\n")


def test_a_catalogue_that_cannot_be_used_is_said(tree: Tree, call: Callable[..., Result], tmp_path: Path) -> None:
    root = tree({"a.flac": "lava"})
    (tmp_path / "catalogue.sqlite").write_bytes(b"no catalogue" * 100)
    done = call("write", root, "--top", 1)
    assert done.exit_code == 0
    assert "every file is listened to: cannot use the catalogue" in done.stderr
    named = call("write", root, "--top", 1, "--catalogue", tmp_path / "nowhere.sqlite")
    assert named.exit_code == 2
    assert "there is no catalogue at" in named.stderr
    assert not (tmp_path / "nowhere.sqlite").exists()
