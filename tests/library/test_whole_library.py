"""Everything together: a library of real music, malformed files and hostile names is scanned, searched, made into
playlists, written and undone, by the commands that a user types; then every byte is as it was."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import soxr
from tests.library.conftest import RECORDINGS, dump
from tests.library.filetags.conftest import KINDS, art, encode, tag_richly
from tests.library.test_hostile_tree import NAMES
from tests.library.test_malformed_files import KINDS as MALFORMED_KINDS
from tests.library.test_malformed_files import OTHERS, SUFFIXES, damage, sound_files
from typer.testing import CliRunner, Result

from moodbook import audio
from moodbook.cli.app import app
from moodbook.errors import MoodbookError
from moodbook.features import SAMPLE_RATE
from moodbook.library.filetags import moods, read_fields
from moodbook.library.metadata import read_metadata
from moodbook.library.playlist import read_m3u8
from moodbook.model import DEFAULT_MODEL
from moodbook.model.bundle import Bundle
from moodbook.model.presence import is_music

__all__ = ["sound_files"]  # A fixture of the test of malformed files.

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs names of any bytes")

SHARED = Path(os.environ.get("MOODBOOK_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "macleod" / "audio"
MORE_NAMES = (b"-.flac", b"--.flac", b"\xf0\x9f.flac")


def real_music(folder: Path, count: int, seconds: float) -> Iterator[Path]:
    """Write so many real tracks: those that are at hand as they are, then cuts of them in every container."""
    sources = sorted(SHARED.glob("*.opus")) or sorted(RECORDINGS.glob("*.opus"))
    folder.mkdir(parents=True)
    whole = sources[: count // 2 if count < len(sources) else len(sources)] if SHARED.is_dir() and count > 100 else []
    for source in whole:
        yield Path(shutil.copyfile(source, folder / source.name))
    sources = [*sorted(RECORDINGS.glob("*.opus")), *sources]
    for n in range(count - len(whole)):
        kind = list(KINDS)[n % len(KINDS)]
        waveform = audio.load(sources[n % len(sources)], start_seconds=3.0 + n % 7, duration_seconds=seconds)
        path = folder / f"cut {n:03} {kind}{KINDS[kind][0]}"
        encode(path, kind, soxr.resample(waveform, SAMPLE_RATE, 48_000))
        if n // len(KINDS) % 2 == 0:  # The others have no tags at all.
            # Of a wma of a few seconds FFmpeg takes the picture for music that should follow.
            tag_richly(path, kind, art(0 if kind == "wma" else 20_000))
        yield path


def malformed(folder: Path, count: int, sounds: dict[str, bytes]) -> Iterator[Path]:
    rng = random.Random(2019)
    folder.mkdir(parents=True)
    for n in range(count):
        path = folder / f"bad {n}{rng.choice(SUFFIXES)}"
        is_other = n % 3 == 0 and n // 3 < len(OTHERS)
        path.write_bytes(OTHERS[n // 3] if is_other else damage(rng, sounds[rng.choice(MALFORMED_KINDS)]))
        yield path


def hostile_names(folder: Path, count: int, music: bytes) -> Iterator[Path]:
    folder.mkdir(parents=True)
    names = (*NAMES, *MORE_NAMES)
    for name in names[:: len(names) // count]:
        path = folder / os.fsdecode(name)
        path.write_bytes(music)
        yield path


def snapshot(root: Path) -> dict[bytes, tuple[str, int, int]]:
    """Every byte of a tree, and the times and rights of its files."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            status = path.stat()
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            found[os.fsencode(path)] = (content, status.st_mtime_ns, stat.S_IMODE(status.st_mode))
    return found


def records(done: Result) -> list[dict]:
    # Not splitlines(): a name may hold what Unicode takes for the end of a line.
    return [json.loads(line) for line in done.stdout_bytes.decode("utf-8").split("\n") if line]


def name_of(record: dict) -> Path:
    from moodbook.library.filetags.paths import decode_path

    return decode_path({key: record[key] for key in ("path", "path_bytes") if key in record}, "a record")


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("MOODBOOK_CATALOGUE", str(tmp_path / "catalogue.sqlite"))
    monkeypatch.setenv("MOODBOOK_DATA", str(tmp_path / "data"))

    def run(*arguments: object, code: int = 0) -> Result:
        done = CliRunner().invoke(app, [*map(str, arguments)])
        assert done.exit_code == code, done.stderr
        assert "unexpected" not in done.stderr
        return done

    return run


@pytest.mark.parametrize(
    ("real", "bad", "odd", "seconds"),
    [(12, 30, 12, 2.0), pytest.param(300, 300, 60, 26.0, marks=pytest.mark.slow)],
)
def test_a_whole_library(
    sound_files: dict[str, bytes],
    call: Callable[..., Result],
    tmp_path: Path,
    tiny_bundle: Bundle,
    real: int,
    bad: int,
    odd: int,
    seconds: float,
) -> None:
    model = DEFAULT_MODEL if real > 100 else tiny_bundle.folder
    root = tmp_path / "music"
    good = set(real_music(root / "real", real, seconds))
    music = tmp_path / "music.flac"  # Of its own: a search gives one name of several with the same music.
    waveform = audio.load(RECORDINGS / "taiko.opus", start_seconds=20.0, duration_seconds=seconds)
    encode(music, "flac", soxr.resample(waveform, SAMPLE_RATE, 48_000))
    good |= set(hostile_names(root / "odd", odd, music.read_bytes()))
    damaged = set(malformed(root / "bad", bad, sound_files))
    assert len(good) == real + odd
    before = snapshot(root)
    assert len(before) == real + bad + odd

    # Scanned: what fails is malformed.
    (summary,) = records(call("scan", root, "--model", model, "--json", code=1))
    assert summary["found"] == real + bad + odd
    failures = {name_of(failure) for failure in summary["failures"]}
    assert len(failures) == summary["failed"] == summary["found"] - summary["new"]
    assert failures <= damaged
    assert len(failures) > bad / 3

    # Searched: every good file is found, under its very bytes.
    paths = call("search", "", "-0").stdout_bytes.split(b"\0")[:-1]
    assert {os.fsencode(path) for path in good if path.parent.name == "real"} <= set(paths) <= set(before)
    held = {row[0] for row in dump(tmp_path / "catalogue.sqlite")["files"]}
    assert {os.fsencode(path) for path in good} <= held <= set(before)
    tags = records(call("stats", "--json"))[0]["tags"]
    assert len(tags) == len(records(call("search", "", "--limit", 1))[0]["probabilities"])
    loudest = max(tags, key=lambda tag: tag["mean"])["tag"]
    assert records(call("search", f"{loudest}>0.01", "--sort", loudest))
    records(call("similar", sorted(good)[0]))

    # Playlists: what is named exists.
    call("playlist", "path:odd or path:real", "-o", tmp_path / "lists" / "all.m3u8", "--limit", real + odd)
    listed = [Path(os.path.normpath(path)) for path in read_m3u8(tmp_path / "lists" / "all.m3u8")]
    assert {os.fsencode(path) for path in listed} == {path for path in paths if b"/bad/" not in path}
    call("playlist", "", "-o", tmp_path / "lists" / "all.xspf")

    # Written: nothing is heard again; what fails is malformed.
    done = call("write", root, "--model", model, "--top", 3, "--yes", code=1)
    # A damaged file may fail to be heard and to be written: then it is not even asked for.
    assert ", 0 listened to\n" in done.stderr
    written = {name_of(record) for record in records(done) if record["status"] == "written"}
    not_written = {name_of(record) for record in records(done)} - written
    # In a cut of a quiet place there may be no music.
    heard = records(call("search", "", "--limit", len(before)))
    silent = {name_of(record) for record in heard if record["music"] is not None and not is_music(record["music"])}
    assert good - written <= silent
    assert len(good - written) <= real // 50
    assert not_written <= damaged | silent
    after = snapshot(root)
    assert {path for path in before if after[path] != before[path]} == {os.fsencode(path) for path in written}
    wanted = {name_of(record): record["after"] for record in records(done) if record["status"] == "written"}
    assert_readers_agree(wanted, root)
    again = call("write", root, "--model", model, "--top", 3, "--yes", code=1)
    assert not [record for record in records(again) if record["status"] == "written"]

    # Undone: every byte is as it was, nothing is left lying about, and there is nothing more to undo.
    undone = call("undo", "--yes")
    assert {name_of(record) for record in records(undone)} == written
    assert {record["status"] for record in records(undone)} == {"written"}
    assert snapshot(root) == before
    assert "there is nothing to undo" in call("undo", "--yes", code=2).stderr
    assert call("doctor").stdout == ""
    counts = (len(before), len(failures), len(written), len(written & damaged))
    logging.info("%d files: %d cannot be heard, %d written and undone, %d of these malformed", *counts)


def assert_readers_agree(wanted: dict[Path, list[str]], root: Path) -> None:
    """Compare the moods with what mutagen, ffprobe and exiftool read."""
    for path, words in wanted.items():
        assert moods(read_fields(path)) == words
        if path.parent.name == "bad":
            continue  # What a damaged file is, every program guesses for itself.
        assert list(read_metadata(path).moods) == words, path
    real = {path: words for path, words in wanted.items() if path.parent.name == "real"}
    if shutil.which("ffprobe"):
        for path, words in real.items():
            command = ["ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams", path]
            view = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
            spoken = [view["format"].get("tags", {}), *(stream.get("tags", {}) for stream in view["streams"])]
            text = " ".join(str(value) for tags in spoken for key, value in tags.items() if is_mood(key))
            # It shows the first value or joins them. Of a wav file with an INFO list it reads nothing from the ID3 tag,
            # of a wavpack file with an ID3v1 tag nothing from the APE tag in front of it.
            assert words[0] in text or path.suffix in (".wav", ".wv"), (path, text)
    if shutil.which("exiftool"):
        command = ["exiftool", "-json", "-a", "-G0:4", "-r", "-ext", "*", root / "real"]
        listing = json.loads(subprocess.run(command, capture_output=True, check=False).stdout)
        seen = {Path(view["SourceFile"]): view for view in listing}
        for path, words in real.items():
            text = " ".join(str(value) for key, value in seen[path].items() if "mood" in f"{key} {value}".lower())
            # exiftool 12 takes a wavpack file with an ID3v1 tag for an mp3, and reads of it that tag alone; Ogg FLAC
            # with a picture it cannot read at all, whoever wrote it.
            is_beyond_it = path.suffix == ".wv" or "Format error" in seen[path].get("ExifTool:Warning", "")
            assert words[0] in text or is_beyond_it, (path, text)


def is_mood(key: str) -> bool:
    return key.lower() in ("mood", "tmoo", "wm/mood")


def test_the_names_are_as_many_as_they_should_be() -> None:
    assert len({*NAMES, *MORE_NAMES}) == 60


def test_a_damaged_file_is_refused_or_left_whole(
    sound_files: dict[str, bytes],
    tmp_path: Path,
) -> None:
    """The generator makes both files that can be read and files that cannot."""
    paths = list(malformed(tmp_path / "bad", 40, sound_files))
    readable = 0
    for path in paths:
        try:
            read_fields(path)
        except MoodbookError:
            continue
        readable += 1
    assert 0 < readable < len(paths)
