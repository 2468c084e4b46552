"""The verbs of a library, as a user types them."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from rich.console import Console
from tests.library.conftest import cut
from typer.testing import CliRunner, Result

from moodbook.audio.worker import WorkerPool
from moodbook.cli.app import app
from moodbook.cli.scan import _Run, _scan_in_turn, describe
from moodbook.cli.stats import render
from moodbook.errors import CatalogueInUseError
from moodbook.library.scan import ScanSummary
from moodbook.library.stats import LibraryStats, ModelStats, TagStats
from moodbook.model.bundle import Bundle

NAMES = ("lava", "taiko", "rlyeh", "geoscape")


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a verb with a catalogue of its own."""
    monkeypatch.setenv("MOODBOOK_CATALOGUE", str(tmp_path / "catalogue.sqlite"))
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("music")
    for name in NAMES:
        cut(name, root / f"{name}.flac")
    return root


@pytest.fixture
def scanned(call: Callable[..., Result], music: Path, tiny_bundle: Bundle) -> Callable[..., Result]:
    """The same, after a scan with the tiny model."""
    done = call("scan", music, "--model", tiny_bundle.folder)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("4 files: 4 new\nheard 4 recordings in ")
    return call


def lines(done: Result) -> list[dict]:
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_was_named_and_is_not_there_is_said_by_name(
    call: Callable[..., Result], tmp_path: Path, tiny_bundle: Bundle
) -> None:
    cut("lava", tmp_path / "m" / "a.flac")
    done = call("scan", tmp_path / "m", tmp_path / "nas", "--model", tiny_bundle.folder)
    assert done.exit_code == 1
    assert done.stdout.startswith("1 file: 1 new\n")
    assert done.stderr.endswith(
        f"moodbook: not there: 1 of what was named; connect its disk, or check the name\n  {tmp_path / 'nas'}\n"
    )
    (tmp_path / "m" / "a.flac").unlink()
    (tmp_path / "m" / "b.flac").touch()
    dropped = call("scan", tmp_path / "m" / "a.flac", "--forget", "--model", tiny_bundle.folder)
    assert (dropped.exit_code, dropped.stderr) == (0, "")
    assert "1 missing file dropped from the catalogue" in dropped.stdout


def test_a_scan_tells_what_it_found(call: Callable[..., Result], tmp_path: Path, tiny_bundle: Bundle) -> None:
    for name in ("a", "b"):
        cut("lava", tmp_path / "m" / f"{name}.flac")
    (tmp_path / "m" / "bad.flac").write_bytes(b"<html>")
    (tmp_path / "m" / "link.flac").symlink_to(tmp_path / "m" / "a.flac")

    done = call("scan", tmp_path / "m", "--model", tiny_bundle.folder, "--jobs", 2)

    assert done.exit_code == 1
    first, heard, duplicates, name, *_ = done.stdout.splitlines()
    assert first == "3 files: 2 new, 1 failed"
    assert heard.startswith("heard 1 recording in ")
    assert duplicates == "1 duplicate: the same music under 2 names, such as"
    assert name.endswith("a.flac")
    assert "1 of 3 could not be read" in done.stderr
    assert "it is a web page" in done.stderr
    assert "links below folders, not followed: 1" in done.stderr
    (tmp_path / "m" / "b.flac").unlink()
    record = json.loads(call("scan", tmp_path / "m", "--model", tiny_bundle.folder, "--json", "--forget").stdout)
    assert (record["unchanged"], record["gone"], record["forgotten"]) == (1, 1, 1)


def test_no_more_processes_decode_than_there_are_processors(
    call: Callable[..., Result], music: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    class Pool(WorkerPool):
        def __init__(self, size: int, *rest: Any) -> None:
            sizes.append(size)
            super().__init__(size, *rest)

    monkeypatch.setattr("moodbook.library.scan.WorkerPool", Pool)
    monkeypatch.setattr("moodbook.processors.usable_processors", lambda: 2)
    arguments = ("scan", music / "lava.flac", "--model", tiny_bundle.folder)
    assert call(*arguments, "--jobs", 64).stderr == (
        "moodbook: --jobs 64: as many processes decode as processors may be used here, which is 2\n"
    )
    assert [call(*arguments, *jobs).stderr for jobs in ((), ("--jobs", 1))] == ["", ""]
    monkeypatch.setattr("moodbook.processors.usable_processors", lambda: 64)
    assert call(*arguments).stderr == ""
    assert sizes == [2, 2, 1, 4]


def test_a_summary_in_words() -> None:
    assert describe(ScanSummary()) == ["0 files: no audio below these folders"]
    gone = ScanSummary(found=1, unchanged=1, gone=2)
    assert describe(gone) == ["1 file: 1 unchanged", "2 gone: marked as missing; --forget drops them"]
    gone.forgotten, gone.kept = 1, 3
    assert describe(gone, forget=True)[1:] == [
        "2 gone: marked as missing",
        "1 missing file dropped from the catalogue",
        "3 missing files not dropped: they may be on a disk that is not mounted",
    ]


def test_a_search(scanned: Callable[..., Result], music: Path) -> None:
    found = lines(scanned("search", "", "--sort", "path"))
    assert [Path(record["path"]).stem for record in found] == sorted(NAMES)
    best = lines(scanned("search", "epic>=0", "--limit", 1))[0]
    assert best["rank"] == best["probabilities"]["epic"] == max(record["probabilities"]["epic"] for record in found)
    paths = scanned("search", "path:lava or path:taiko", "--paths", "--sort", "path").stdout_bytes
    assert paths == b"".join(
        os.fsencode(os.path.realpath(music / f"{name}.flac")) + b"\n" for name in ("lava", "taiko")
    )
    assert scanned("search", "path:lava", "-0").stdout_bytes.endswith(b"lava.flac\0")
    nothing = scanned("search", "length>9:59:59")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert nothing.stderr == "moodbook: nothing in the catalogue is like this\n"


def test_the_table_of_a_terminal(scanned: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, music: Path) -> None:
    monkeypatch.setattr("moodbook.cli.catalogue.sys", Terminal())
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(music)
    table = scanned("search", "epic>=0", "--sort", "path").stdout.splitlines()
    assert [line.split()[2] for line in table] == [f"{name}.flac" for name in sorted(NAMES)]
    assert {line.split()[1] for line in table} == {"0:02"}
    assert all(0 <= float(line.split()[0]) <= 1 for line in table)


class Terminal:
    """The module sys, with a stdout that says it is a terminal."""

    stdout = type("Stdout", (), {"isatty": staticmethod(lambda: True)})()
    stderr = sys.stderr


def test_a_wrong_query_is_pointed_at(scanned: Callable[..., Result]) -> None:
    done = scanned("search", "calm and epci>0.5")
    assert done.exit_code == 2
    said, query, mark = done.stderr.splitlines()
    assert said.startswith("moodbook: there is no tag 'epci'. Did you mean epic? The tags: calm, dark, epic, fast.")
    assert (query, mark) == ("  calm and epci>0.5", "           ^")
    # Wide and odd characters do not move the mark.
    said, query, mark = scanned("search", "artist:'日本\n' sad").stderr.splitlines()
    assert query == "  artist:'日本\\x0a' sad"
    assert mark.index("^") == len("  artist:'xxxx\\x0a' ")


def test_what_is_similar(scanned: Callable[..., Result], music: Path, tmp_path: Path, tiny_bundle: Bundle) -> None:
    near = lines(scanned("similar", music / "lava.flac"))
    assert {Path(record["path"]).stem for record in near} == {"taiko", "rlyeh", "geoscape"}
    assert [record["cosine"] for record in near] == sorted((record["cosine"] for record in near), reverse=True)
    assert lines(scanned("similar", "lava", "--limit", 2)) == near[:2]
    # A copy elsewhere is the same music; music that is not in the catalogue is heard now.
    copy = tmp_path / "copy.flac"
    copy.write_bytes((music / "lava.flac").read_bytes())
    assert lines(scanned("similar", copy)) == near
    other = cut("honor-bound", tmp_path / "other.flac")
    assert len(lines(scanned("similar", other, "--model", tiny_bundle.folder))) == 4
    # By its name alone the tiny model is not at hand.
    absent = scanned("similar", other)
    assert (absent.exit_code, "there is no model 'tiny'" in absent.stderr) == (2, True)
    assert scanned("similar", "nothing like it").exit_code == 2


def test_the_model_at_hand_must_be_the_one_that_scanned(
    scanned: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_bundle: Callable[..., Bundle]
) -> None:
    other = make_bundle("other", thresholds=dict.fromkeys(("calm", "dark", "epic", "fast"), 0.25))
    monkeypatch.setattr("moodbook.model.bundle._find", lambda name: other.folder)
    done = scanned("similar", cut("honor-bound", tmp_path / "x.flac"))
    assert done.exit_code == 2
    assert "was scanned by another tiny" in done.stderr


def test_playlists(scanned: Callable[..., Result], music: Path, tmp_path: Path) -> None:
    done = scanned("playlist", "", "-o", tmp_path / "all.m3u8", "-n", 3)
    assert (done.exit_code, done.stderr) == (0, f"moodbook: wrote 3 tracks to {tmp_path / 'all.m3u8'}\n")
    assert (tmp_path / "all.m3u8").read_text(encoding="utf-8").count("#EXTINF") == 3
    scanned("playlist", "--like", music / "taiko.flac", "-o", tmp_path / "like.m3u8", "--absolute")
    names = [line for line in (tmp_path / "like.m3u8").read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    assert names[0] == os.path.realpath(music / "taiko.flac")
    assert len(names) == 4
    scanned("playlist", "not path:taiko", "--like", "taiko", "-o", tmp_path / "like.m3u8", "-n", 2, "--title", "T")
    text = (tmp_path / "like.m3u8").read_text(encoding="utf-8")
    assert "#PLAYLIST:T\n" in text
    assert text.count("#EXTINF") == 2
    assert scanned("playlist", "--from", "calm", "--to", "epic", "-o", tmp_path / "arc.xspf").exit_code == 0
    assert (tmp_path / "arc.xspf").read_text(encoding="utf-8").count("<track>") == 4
    assert scanned("playlist", "calm, length<5:00", "-o", tmp_path / "c.nsp", "--limit", 9).exit_code == 0
    assert json.loads((tmp_path / "c.nsp").read_bytes())["limit"] == 9


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "x.pls"], "use one of .m3u8, .xspf, .nsp"),
        (["--from", "calm", "-o", "x.m3u8"], "an arc needs both --from and --to"),
        (["--from", "calm", "--to", "sad", "-o", "x.m3u8"], "unknown tag 'sad'"),
        (["--from", "calm", "--to", "epic", "--like", "lava", "-o", "x.m3u8"], "choose either --like or an arc"),
        (["--like", "lava", "-o", "x.nsp"], "Navidrome's rules have no --like"),
        (["calm>0.5", "-o", "x.nsp"], "not how strong"),
        (["length>9:00:00", "-o", "x.m3u8"], "meets the query 'length>9:00:00', so there is no playlist"),
        (["calm >", "-o", "x.m3u8"], "expected a score"),
    ],
)
def test_a_playlist_that_cannot_be(
    scanned: Callable[..., Result], arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = scanned("playlist", *arguments)
    assert (done.exit_code, said in done.stderr) == (2, True), done.stderr
    assert not list(tmp_path.glob("x.*"))


def test_numbers_and_tables(scanned: Callable[..., Result], tmp_path: Path) -> None:
    assert json.loads(scanned("stats", "--json").stdout)["recordings"] == 4
    assert scanned("stats").stdout.startswith("4 recordings in 4 files, 0.0 hours\n4 heard by tiny, 0 could not")
    assert len(lines(scanned("export"))) == 4
    done = scanned("export", "path:lava", "-o", tmp_path / "t.csv")
    assert done.stderr == f"moodbook: wrote 1 recording to {tmp_path / 't.csv'}\n"
    assert len((tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()) == 2
    assert scanned("export", "-o", tmp_path / "t.doc").exit_code == 2


def test_the_picture_of_a_library() -> None:
    tags = (TagStats("calm", 3, 0.5), TagStats("dark", 0, 0.1))
    models = (ModelStats("one", "abc", 4, {"bf16": 3, "f32": 1}), ModelStats("two", "def", 3, {}))
    console = Console(width=80, highlight=False, record=True, file=io.StringIO())
    console.print(render(LibraryStats(5, 0, 4, 1, 4, 0, 2.5, models, tags, "one"), console))
    assert [line.rstrip() for line in console.export_text().splitlines()] == [
        "4 recordings in 5 files, 2.5 hours",
        "4 heard by one, 0 could not be heard, 1 duplicate, 0 missing files",
        "models: one abc (4, 3 in bf16, 1 in f32), two def (3)",
        "calm  ███████████████░░░░░  3  0.50",
        "dark  ░░░░░░░░░░░░░░░░░░░░  0  0.10",
    ]


@pytest.mark.parametrize("verb", ["search", "stats", "export"])
def test_without_a_catalogue_it_is_said_how_to_make_one(call: Callable[..., Result], verb: str) -> None:
    done = call(verb)
    assert done.exit_code == 2
    assert "there is no catalogue at" in done.stderr
    assert "make it with: moodbook scan FOLDER" in done.stderr


def test_a_scan_that_is_stopped_says_so_and_goes_on(music: Path, tiny_bundle: Bundle, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    code = "from moodbook.cli.app import main\nif __name__ == '__main__':\n    main()"
    place = ["--catalogue", str(tmp_path / "c.sqlite"), "--model", str(tiny_bundle.folder)]
    command = [sys.executable, "-c", code, "scan", str(music), *place]
    with subprocess.Popen(
        [*command, "--watch"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert process.stdout.readline() == "4 files: 4 new\n"
            assert process.stderr.readline() == "moodbook: watching; Ctrl-C ends it\n"
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, said) == (130, "moodbook: stopped by the user\n")
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "4 files: 4 unchanged\n"


def test_a_watch_waits_for_another_scan(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Run(_Run):
        scans: ClassVar[list[tuple[bool, ...]]] = []

        def __init__(self) -> None:
            pass

        def scan(self, *how: bool) -> None:
            self.scans.append(how)
            if len(self.scans) < 3:
                raise CatalogueInUseError("busy")

    # `moodbook.cli.scan` is the verb where the package is asked for it, and the module where Python is.
    monkeypatch.setattr(sys.modules["moodbook.cli.scan"], "_ASK_AGAIN_SECONDS", 0.0)
    _scan_in_turn(Run(), retry=True, forget=False, again=True)
    assert Run.scans == [(True, False, True)] * 3
    assert capsys.readouterr().err == "moodbook: another scan is writing to the catalogue; waiting for it\n"
