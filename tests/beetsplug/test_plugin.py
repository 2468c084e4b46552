"""The plugin in the real beets: its library, its importer, its command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutagen.flac
import pytest
from mutagen.id3 import ID3, TMOO
from tests.library.conftest import cut

import moodbook
from moodbook.library.catalogue import Catalogue
from moodbook.library.filetags import read_fields
from moodbook.library.scan import scan
from moodbook.library.search import search
from moodbook.model.bundle import Bundle
from moodbook.model.tagger import Tagger

pytest.importorskip("beets", reason="beets is not installed (pip install 'moodbook[beets]')")

NAMES = ("lava", "taiko", "rlyeh")
Beet = Callable[..., str]


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Three recordings with the tags that an importer wants."""
    for name in NAMES:
        file = mutagen.File(cut(name, tmp_path / "incoming" / f"{name}.flac"))
        file["title"], file["artist"], file["album"] = name, "Somebody", "Something"
        file.save()
    return tmp_path / "incoming"


@pytest.fixture
def beet(tmp_path: Path, tiny_bundle: Bundle) -> Callable[..., Beet]:
    """Configure beets; give a function that runs it, in a process of its own, and gives all that it prints."""
    environment = {
        **os.environ,
        "BEETSDIR": str(tmp_path / "beets"),
        "MOODBOOK_DATA": str(tmp_path / "data"),
        "MOODBOOK_CATALOGUE": str(tmp_path / "catalogue.sqlite"),
        "PYTHONPATH": str(Path(moodbook.__file__).parents[1]),
    }

    def configure(**options: str) -> Beet:
        lines = "".join(f"    {name}: {value}\n" for name, value in options.items())
        (tmp_path / "beets").mkdir()
        (tmp_path / "beets" / "config.yaml").write_text(
            f"directory: {tmp_path / 'library'}\nlibrary: {tmp_path / 'beets.db'}\nplugins: [moodbook]\n"
            f"import:\n    copy: yes\n    autotag: no\nmoodbook:\n    model: {tiny_bundle.folder}\n{lines}"
        )

        def call(*arguments: str, code: int = 0) -> str:
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-m", "beets", *arguments],
                capture_output=True,
                text=True,
                env=environment,
                check=False,
            )
            assert done.returncode == code, done.stderr
            return done.stdout + done.stderr

        return call

    return configure


def items(tmp_path: Path) -> list[Any]:
    from beets.library import Library

    return sorted(Library(str(tmp_path / "beets.db"), str(tmp_path / "library")).items(), key=lambda item: item.title)


def words_of(tagger: Tagger, path: Path) -> list[str]:
    return [strength.tag for strength in tagger(path).strengths if strength.decided]


def test_what_is_imported_is_heard(beet: Callable[..., Beet], music: Path, tmp_path: Path, tiny_bundle: Bundle) -> None:
    run = beet()
    run("import", "-q", str(music))

    tagger = Tagger(tiny_bundle)
    imported = items(tmp_path)
    assert [item.title for item in imported] == sorted(NAMES)
    for item in imported:
        scores = tagger(Path(os.fsdecode(item.path)))
        for strength in scores.strengths:
            assert float(item[f"moodbook_{strength.tag}"]) == pytest.approx(strength.probability)
        assert item["moodbook_model"].endswith(tiny_bundle.sha256[:12])
    # Nothing was written into a file.
    assert all("MOOD" not in read_fields(music / f"{name}.flac") for name in NAMES)
    scores = {item.title: float(item["moodbook_epic"]) for item in imported}
    middle = sorted(scores.values())[1]
    above = {title for title, score in scores.items() if score >= middle}
    listed = run("ls", "-f", "$title", f"moodbook_epic:{middle - 1e-9}..")
    assert set(listed.split()) & set(NAMES) == above
    listed = run("ls", "-f", "$title", f"feels:epic>={middle - 1e-9}, not title:lava")
    assert set(listed.split()) & set(NAMES) == above - {"lava"}
    decided = {item.title for item in imported if "calm" in words_of(tagger, Path(os.fsdecode(item.path)))}
    assert set(run("ls", "-f", "$title", "feels:calm").split()) & set(NAMES) == decided
    assert set(run("ls", "-f", "$title", "moodbook:calm").split()) & set(NAMES) == decided
    wrong = run("ls", "feels:clam", code=1)
    assert "there is no tag 'clam'. Did you mean calm?" in wrong
    assert "moodbook: 0 items: " in run("moodbook")
    assert "moodbook: 3 items: the catalogue knew 0, 3 listened to" in run("moodbook", "--force", "title:")


def test_moods_in_every_tag_of_a_file_are_found(beet: Callable[..., Beet], music: Path, tmp_path: Path) -> None:
    run = beet()
    run("import", "-q", str(music))
    (lava,) = [item for item in items(tmp_path) if item.title == "lava"]
    tag = ID3()
    tag.add(TMOO(encoding=3, text=["sunday"]))
    tag.save(os.fsdecode(lava.path), v1=0)  # In front of the flac, where beets and most players do not look.

    assert set(run("ls", "-f", "$title", "feels:mood:sunday").split()) & set(NAMES) == {"lava"}


def test_a_scanned_library_is_not_heard_again(
    beet: Callable[..., Beet], music: Path, tmp_path: Path, tiny_bundle: Bundle
) -> None:
    run = beet(auto="no")
    run("import", "-q", str(music))
    assert "moodbook_model" not in items(tmp_path)[0]
    with Catalogue(tmp_path / "catalogue.sqlite", create=True) as catalogue:
        scan(catalogue, [music], Tagger(tiny_bundle))
    # beets has copied the files: they are known by their music.
    assert "moodbook: 3 items: the catalogue knew 3, 0 listened to" in run("moodbook")
    assert all("moodbook_model" in item for item in items(tmp_path))


def test_moods_are_written_and_can_be_undone(beet: Callable[..., Beet], music: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from moodbook.cli.app import app

    run = beet(write="yes")
    before = {path.name: path.read_bytes() for path in music.iterdir()}
    run("import", "-q", str(music))
    assert {path.name: path.read_bytes() for path in music.iterdir()} == before
    imported = items(tmp_path)
    written = {item.title: read_fields(Path(os.fsdecode(item.path))).get("MOOD", []) for item in imported}
    assert any(written.values())
    # Without the plugin the field is what stands in the database: a text.
    assert all("; ".join(written[item.title]) == item["moodbook"] for item in imported)
    undone = CliRunner().invoke(app, ["undo", "--yes", "--journal", str(tmp_path / "data" / "journal")])
    assert undone.exit_code == 0, undone.output
    assert not any("MOOD" in read_fields(Path(os.fsdecode(item.path))) for item in imported)


def test_an_import_goes_on_without_moods(beet: Callable[..., Beet], music: Path, tmp_path: Path) -> None:
    run = beet()
    (tmp_path / "catalogue.sqlite").write_bytes(b"no catalogue" * 100)
    assert "imported without moods: cannot use the catalogue" in run("import", "-q", str(music))
    assert len(items(tmp_path)) == 3
    assert "cannot use the catalogue" in run("moodbook", code=1)
    (tmp_path / "catalogue.sqlite").unlink()
    run("moodbook")
    assert all("moodbook_model" in item for item in items(tmp_path))


def test_a_file_that_cannot_be_heard_is_named(beet: Callable[..., Beet], music: Path, tmp_path: Path) -> None:
    run = beet(auto="no")
    run("import", "-q", str(music))
    broken = Path(os.fsdecode(items(tmp_path)[0].path))
    broken.write_bytes(b"<html>")
    said = run("moodbook", code=1)
    assert f"cannot hear {broken}" in said
    assert "1 of 3 items could not be heard" in said
    assert [("moodbook_model" in item) for item in items(tmp_path)] == [False, True, True]


def test_a_file_that_can_neither_be_heard_nor_written_is_one(
    beet: Callable[..., Beet], music: Path, tmp_path: Path
) -> None:
    run = beet()
    run("import", "-q", str(music))
    for item in items(tmp_path)[:2]:
        Path(os.fsdecode(item.path)).unlink()
    said = run("moodbook", "-f", "-w", code=1)
    assert "moodbook: 2 of 3 items could not be heard or written" in said
    assert said.count("cannot hear") == 2
    assert "cannot write" not in said


def test_wrong_settings_are_said_in_one_line(beet: Callable[..., Beet]) -> None:
    said = beet(auto="maybe")("ls", code=1)
    assert "error: the settings of moodbook cannot be used: moodbook.auto: must be a bool, not str" in said
    assert "Traceback" not in said


def test_without_its_model_the_library_can_still_be_asked(
    beet: Callable[..., Beet], music: Path, tmp_path: Path
) -> None:
    run = beet()
    run("import", "-q", str(music))
    from beets.library import Library

    library = Library(str(tmp_path / "beets.db"), str(tmp_path / "library"))
    for item in library.items():
        item["moodbook_gone"] = 0.5  # A word of the model before this one.
        item.store()
    library._close()
    run("moodbook", "-f")
    heard = items(tmp_path)
    assert not any("moodbook_gone" in item for item in heard)
    settings = tmp_path / "beets" / "config.yaml"
    settings.write_text(settings.read_text().replace("model: ", "model: /nowhere"))
    scores = sorted(float(item["moodbook_epic"]) for item in heard)
    listed = run("ls", "-f", "$title", f"moodbook_epic:{scores[1] - 1e-9}..")
    assert len(set(listed.split()) & set(NAMES)) == 2
    assert "moodbook: the model cannot be used: there is no model" in listed
    assert "Traceback" not in listed
    assert "there is no model" in run("ls", "feels:epic", code=1).split("the model cannot be used")[1]
    assert "there is no model" in run("moodbook", code=1)


def test_what_is_linked_to_is_not_written(beet: Callable[..., Beet], music: Path, tmp_path: Path) -> None:
    run = beet(write="yes")
    settings = tmp_path / "beets" / "config.yaml"
    settings.write_text(settings.read_text().replace("copy: yes", "link: yes"))
    before = {path.name: path.read_bytes() for path in music.iterdir()}
    assert run("import", "-q", str(music)).count("is a link to the file that was imported") == len(NAMES)
    assert all("moodbook_model" in item for item in items(tmp_path))
    assert {path.name: path.read_bytes() for path in music.iterdir()} == before


def test_feels_is_the_language_of_search(tmp_path: Path, tiny_bundle: Bundle) -> None:
    from beetsplug.moodbook import FeelsQuery, score_field

    root = Path(os.path.realpath(tmp_path)) / "music"
    own = {"lava": ["Epic and old", "dark"], "taiko": ["calm"], "rlyeh": [], "geoscape": ["epic"]}
    names = {name: Path(os.fsdecode(os.fsencode(root / name) + b"\xff.flac")) for name in own}
    for name, moods in own.items():
        song = mutagen.flac.FLAC(cut(name, root / "cut", seconds=2.0 + len(moods)))
        song.update({"mood": moods, "title": name, "artist": "Jos\u00e9"})
        song.save()
        (root / "cut").rename(names[name])
    names["geoscape"].rename(tmp_path / "later")
    tagger = Tagger(tiny_bundle)
    with Catalogue(tmp_path / "c", create=True) as catalogue:
        scan(catalogue, [root], tagger)
        (tmp_path / "later").rename(names["geoscape"])  # Never heard.
        heard = {track.title: track for track in search(catalogue, "")}
        assert set(heard) == {"lava", "taiko", "rlyeh"}
        items: list[dict[str, Any]] = []
        for name, path in names.items():
            item: dict[str, Any] = {"path": os.fsencode(path), "title": name, "artist": "Jos\u00e9", "length": 0.0}
            if name in heard:
                item["length"] = heard[name].duration_seconds
                item.update({"moodbook": list(heard[name].decided), "moodbook_model": "this"})
                item.update({score_field(tag): score for tag, score in heard[name].probabilities.items()})
            items.append(item)
        items.append({**items[0], "title": "another", "moodbook_model": "another"})
        feels = type("Feels", (FeelsQuery,), {"tags": tagger.tags, "model": "this"})
        middle = sorted(track.probabilities["epic"] for track in heard.values())[1]
        queries = [*(f"{negation}{condition}" for negation in ("", "not ") for condition in (
            "calm", "dark", f"epic>={middle}", f"epic>{middle}", "mood:epic", "mood=epic", "mood=calm", "mood:EPIC",
            "length<3", "length>=3", "title:a", "title=lava", "title!=lava", 'artist:"jose\u0301"', "artist:nobody",
            "path:flac", "path:\udcff", r"path:'\\xff'", "album:a", "(title:lava or mood:calm)",
        ))]  # fmt: skip
        for query in [*queries, "", "not (epic and dark), length>0", "calm or not mood:dark"]:
            found = {item["title"] for item in items if feels("feels", query).match(item)}
            assert found == {track.title for track in search(catalogue, query)}, query


def test_fields_of_words_with_spaces() -> None:
    from beetsplug.moodbook import score_field

    assert score_field("Late Night!") == "moodbook_late_night"
    words = ("тёмный", "светлый", "暗い", "明るい", "हिन्दी", "🔥", "❄", "1", "!", "?")
    assert len({score_field(word) for word in words}) == len(words)
    assert score_field("ТЁМНЫЙ") == score_field("тёмный") == "moodbook_тёмный"
