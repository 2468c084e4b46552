from __future__ import annotations

import io
import re
import tarfile
import threading
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.datasets.bad_server import BadServer, Behaviour
from tests.datasets.synthetic import sha256, write_bytes, write_music

from moodbook.datasets import collection, fetching, open_dataset
from moodbook.datasets.collection import (
    SIZES,
    Package,
    read_manifest,
    read_packages,
    write_manifest,
)
from moodbook.datasets.debian_copyright import NOT_STATED, Terms, find_terms, matches, parse_copyright
from moodbook.datasets.debian_package import unpack_deb
from moodbook.datasets.fetch import fetch
from moodbook.datasets.fetch_collection import fetch_collection
from moodbook.datasets.fetching import FetchOptions, FetchResult, Quiet
from moodbook.datasets.index import read_rows
from moodbook.datasets.open_collection import OPEN
from moodbook.datasets.speech import SPEECH
from moodbook.datasets.web import Patience
from moodbook.errors import DataError, FetchError

COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: game

Files: *
Copyright: 2001 The Team
License: GPL-2+

Files: data/music/*
Copyright: 2002 Ann Composer
           2003 Bob "Bass" Player, of the band
# a comment
License: CC-BY-SA-3.0 or GPL-3+
 The text of the licence, which is
 .
 no short name.

Files: debian/* src/*.c
Copyright: 2004 Packager
License: MIT

License: GPL-2+
 On Debian systems ...
"""
TRAIN, VALIDATION = "wesnoth-1.16-music", "hyperrogue-music"
OGG = "usr/share/games/game/music/one.ogg"
WAV = "usr/share/games/game/two loud.wav"
INNER = "_unz_music.pk3/music/three.ogg"


def write_ar(path: Path, members: Mapping[str, bytes]) -> Path:
    content = b"!<arch>\n"
    for name, data in members.items():
        content += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
        )
    return write_bytes(path, content)


def tar_of(files: Mapping[str, bytes], compression: str = "xz", links: Mapping[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as tar:  # type: ignore[call-overload]
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return buffer.getvalue()


def zip_of(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def write_deb(path: Path, files: Mapping[str, bytes], compression: str = "xz") -> Path:
    """Write a package as dpkg-deb does: two odd-sized members before the data, names that begin with ./."""
    data = tar_of({f"./{name}": content for name, content in files.items()}, compression)
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", f"data.tar.{compression}".rstrip("."): data}
    return write_ar(path, members)


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the two packages hold, by name in the package."""
    folder = tmp_path_factory.mktemp("music")
    contents = {}
    for seed, name in enumerate((OGG, WAV, INNER)):
        path = folder / f"{seed}{Path(name).suffix}"
        write_music(path, 0.5, ["calm"], seed=seed)
        contents[name] = path.read_bytes()
    return contents


@dataclass
class Mirror:
    """Two packages on a server, and where they are fetched to."""

    server: BadServer
    packages: tuple[Package, ...]
    music: dict[str, bytes]
    options: FetchOptions
    folder: Path

    def file(self, number: int) -> str:
        return self.packages[number].file

    def fetch(self, **options: object) -> FetchResult:
        return fetch_collection(
            "open",
            self.folder,
            replace(self.options, **options),
            Quiet(),
            self.packages,  # type: ignore[arg-type]
        )

    def replace_package(self, number: int, files: Mapping[str, bytes]) -> None:
        package = self.packages[number]
        content = write_deb(self.server.root / package.file, files).read_bytes()
        renewed = replace(package, sha256=sha256(content), size_bytes=len(content))
        self.packages = (*self.packages[:number], renewed, *self.packages[number + 1 :])

    def assert_complete(self) -> None:
        for package in self.packages:
            for track in package.tracks:
                assert (self.folder / package.name / track).read_bytes() == self.music[track]
        assert not [path for path in self.folder.rglob("*") if path.name.endswith((".part", ".etag"))]
        rows = read_manifest(self.folder)
        assert [row.path for row in rows] == sorted(f"{p.name}/{track}" for p in self.packages for track in p.tracks)
        assert all(row.sha256 == sha256((self.folder / row.path).read_bytes()) for row in rows)


def contents_of(name: str, music: Mapping[str, bytes], copyright_text: str = COPYRIGHT) -> dict[str, bytes]:
    return {
        f"usr/share/doc/{name}/changelog.gz": b"not wanted",
        f"usr/share/doc/{name}/copyright": copyright_text.encode(),
        OGG: music[OGG],
        "usr/share/games/game/music/effect.ogg": b"not wanted",
        "usr/share/games/game/music.pk3": zip_of({"music/three.ogg": music[INNER], "../evil.ogg": b"not wanted"}),
        WAV: music[WAV],
    }


@pytest.fixture
def mirror(server: BadServer, tmp_path: Path, music: dict[str, bytes], impatient: Patience) -> Mirror:
    packages = []
    for name, text in ((VALIDATION, "Music by somebody.\n\nAll of it is free."), (TRAIN, COPYRIGHT)):
        file = f"pool/main/{name[0]}/{name}_1+2~3_all.deb"
        content = write_deb(server.root / file, contents_of(name, music, text)).read_bytes()
        known = next(package for package in read_packages() if package.name == name)
        packages.append(
            replace(
                known, version="1:1+2~3", file=file, size_bytes=len(content), sha256=sha256(content),
                tracks={OGG: 0.5, WAV: 0.5, INNER: 0.5},
            )
        )  # fmt: skip
    options = FetchOptions(mirror=server.url, patience=impatient, parallel=1)
    return Mirror(server, tuple(packages), music, options, tmp_path / "here")


@pytest.mark.parametrize("parallel", [1, 4])
def test_music_and_copyright_are_fetched_and_nothing_else(mirror: Mirror, parallel: int, tmp_path: Path) -> None:
    assert mirror.fetch(parallel=parallel) == FetchResult(mirror.folder, placed=6, present=0)
    mirror.assert_complete()
    written = {path.relative_to(mirror.folder).as_posix() for path in mirror.folder.rglob("*") if path.is_file()}
    assert written == {
        "manifest.csv",
        *(f"archives/{Path(package.file).name}" for package in mirror.packages),
        *(f"{package.name}/{name}" for package in mirror.packages for name in ("copyright", *package.tracks)),
    }
    assert not list(tmp_path.rglob("evil*"))


def test_the_manifest_says_what_the_copyright_file_says(mirror: Mirror) -> None:
    mirror.fetch()
    rows = {(row.package, row.path.partition("/")[2]): row for row in read_manifest(mirror.folder)}
    row = rows[TRAIN, OGG]
    assert (row.licence, row.credits) == (
        "CC-BY-SA-3.0 or GPL-3+",
        '2002 Ann Composer; 2003 Bob "Bass" Player, of the band',
    )
    assert (row.version, row.seconds, row.track_id) == ("1:1+2~3", "0.5", f"{TRAIN}/{OGG}")
    assert rows[TRAIN, WAV].licence == "GPL-2+"
    assert rows[TRAIN, INNER].licence == "CC-BY-SA-3.0 or GPL-3+"
    free_form = f"see {VALIDATION}/copyright"
    assert {(row.licence, row.credits) for (name, _), row in rows.items() if name == VALIDATION} == {
        (free_form, free_form)
    }


def test_what_was_fetched_opens(mirror: Mirror) -> None:
    mirror.fetch()
    dataset = open_dataset("open", mirror.folder)
    assert [len(dataset.split(split)) for split in ("train", "validation", "test")] == [3, 3, 0]
    assert {(track.group, track.split) for track in dataset.tracks} == {(TRAIN, "train"), (VALIDATION, "validation")}
    assert {track.tags for track in dataset.tracks} == {()}


def test_a_second_run_asks_for_nothing(mirror: Mirror) -> None:
    mirror.fetch()
    before = len(mirror.server.requests)
    assert mirror.fetch() == FetchResult(mirror.folder, placed=0, present=6)
    assert len(mirror.server.requests) == before


def test_a_larger_size_only_adds(mirror: Mirror) -> None:
    both = mirror.packages
    mirror.packages = both[:1]
    mirror.fetch()
    before = read_manifest(mirror.folder)
    mirror.packages = both
    assert mirror.fetch() == FetchResult(mirror.folder, placed=3, present=3)
    assert set(before) < set(read_manifest(mirror.folder))
    mirror.packages = both[:1]
    assert mirror.fetch() == FetchResult(mirror.folder, placed=0, present=3)
    assert len(read_manifest(mirror.folder)) == 6


@pytest.mark.parametrize("damage", ["lost", "altered", "copyright", "version"])
def test_what_is_lost_or_wrong_is_fetched_again_and_the_rest_kept(mirror: Mirror, damage: str) -> None:
    mirror.fetch(discard_archives=True)
    assert list((mirror.folder / "archives").iterdir()) == []
    kept = mirror.folder / TRAIN / WAV
    written = kept.stat().st_mtime_ns
    if damage == "lost":
        (mirror.folder / TRAIN / INNER).unlink()
    elif damage == "altered":
        (mirror.folder / TRAIN / OGG).write_bytes(b"something else")
    elif damage == "copyright":
        (mirror.folder / TRAIN / "copyright").unlink()
    else:
        mirror.packages = (mirror.packages[0], replace(mirror.packages[1], version="2"))
    mirror.server.requests.clear()
    placed = {"lost": 1, "altered": 1, "copyright": 0, "version": 3}[damage]
    assert mirror.fetch() == FetchResult(mirror.folder, placed=placed, present=6 - placed)
    mirror.assert_complete()
    assert {path for _, path, _ in mirror.server.requests} == {f"/{mirror.file(1)}"}
    assert (kept.stat().st_mtime_ns == written) == (damage != "version")


def test_a_run_that_was_killed_goes_on(mirror: Mirror) -> None:
    """What kill -9 leaves: half a package, half a track, and a whole track that no manifest names yet."""
    content = (mirror.server.root / mirror.file(0)).read_bytes()
    write_bytes(mirror.folder / "archives" / (Path(mirror.file(0)).name + ".part"), content[:1000])
    half = mirror.folder / VALIDATION / OGG
    write_bytes(half.with_name(f".{half.name}.{'0' * 16}.part"), b"half")
    write_bytes(mirror.folder / VALIDATION / WAV, mirror.music[WAV])
    assert mirror.fetch().placed == 6
    mirror.assert_complete()
    assert mirror.server.ranges(mirror.file(0)) == ["bytes=1000-"]


def test_a_package_that_is_there_already_is_used(mirror: Mirror) -> None:
    for package in mirror.packages:
        content = (mirror.server.root / package.file).read_bytes()
        write_bytes(mirror.folder / "archives" / Path(package.file).name, content)
    mirror.fetch()
    mirror.assert_complete()
    assert mirror.server.requests == []


def test_everything_that_can_go_wrong_once_goes_wrong_at_once(mirror: Mirror) -> None:
    mirror.server.misbehave(mirror.file(0), Behaviour("cut", 900), Behaviour("wrong-range"), Behaviour("corrupt"))
    mirror.server.misbehave(mirror.file(1), Behaviour("status", 503), Behaviour("stall"), Behaviour("cut", 700))
    mirror.fetch(parallel=2)
    mirror.assert_complete()


@pytest.mark.parametrize("wrong", ["bytes", "absent"])
def test_a_package_that_cannot_be_had_does_not_keep_the_others_away(mirror: Mirror, wrong: str) -> None:
    served = mirror.server.root / mirror.file(0)
    if wrong == "bytes":
        served.write_bytes(b"another package")
    else:
        served.unlink()
    reason = "is not the pinned file" if wrong == "bytes" else r"404.*\(--mirror\)"
    with pytest.raises(FetchError, match=f"{re.escape(mirror.file(0))}.*{reason}"):
        mirror.fetch()
    assert {row.package for row in read_manifest(mirror.folder)} == {TRAIN}
    assert not (mirror.folder / VALIDATION).exists()


def test_a_package_that_lacks_a_track_is_refused(mirror: Mirror) -> None:
    files = contents_of(TRAIN, mirror.music)
    files["usr/share/games/game/music.pk3"] = zip_of({"other.ogg": b"x"})
    mirror.replace_package(1, files)
    archive = Path(mirror.file(1)).name
    with pytest.raises(FetchError, match=f"{re.escape(archive)}' lacks 1 of 4 files, first '{INNER}'"):
        mirror.fetch()
    assert {row.package for row in read_manifest(mirror.folder)} == {VALIDATION}


def test_room_is_asked_for_before_the_first_byte(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "free_bytes", lambda folder: 1000)
    with pytest.raises(FetchError, match=r"fetching needs 0\.0 GB.*fetch less \(--small\)"):
        mirror.fetch()
    assert mirror.server.requests == []


def test_a_table_that_leads_out_of_the_folder_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    files = {**contents_of(TRAIN, mirror.music), "../../evil.ogg": b"x"}
    mirror.replace_package(1, files)
    mirror.packages = (replace(mirror.packages[1], tracks={"../../evil.ogg": 1.0}),)
    with pytest.raises(DataError, match="leads out of"):
        mirror.fetch()
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("compression", ["xz", "gz", "bz2", ""])
def test_a_package_is_unpacked_however_it_is_compressed(tmp_path: Path, compression: str) -> None:
    deb = write_deb(tmp_path / "x.deb", {"usr/a.ogg": b"music", "usr/b.ogg": b"more"}, compression)
    assert unpack_deb(deb, {"usr/b.ogg": tmp_path / "out" / "b"}) == {"usr/b.ogg": sha256(b"more")}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b"]
    assert (tmp_path / "out" / "b").read_bytes() == b"more"


def test_unpacking_can_be_stopped(tmp_path: Path) -> None:
    deb = write_deb(tmp_path / "x.deb", {"usr/a.ogg": b"music"})
    stop = threading.Event()
    stop.set()
    with pytest.raises(FetchError, match="stopped unpacking"):
        unpack_deb(deb, {"usr/a.ogg": tmp_path / "a"}, stop)
    assert not (tmp_path / "a").exists()


def test_only_files_are_taken_for_music(tmp_path: Path) -> None:
    data = tar_of({"./usr/b.ogg": b"more"}, links={"./usr/a.ogg": "/etc/hostname"})
    deb = write_ar(tmp_path / "x.deb", {"data.tar.xz": data})
    with pytest.raises(FetchError, match=r"lacks 1 of 1 files, first 'usr/a\.ogg'"):
        unpack_deb(deb, {"usr/a.ogg": tmp_path / "a"})
    assert not (tmp_path / "a").exists()


def damaged(kind: str) -> bytes:
    noise = bytes(range(256)) * 4000
    data = tar_of({"usr/a.ogg": noise, "usr/m.pk3": zip_of({"b.ogg": noise})}, "gz" if kind == "flipped" else "")
    if kind == "cut":
        data = data[:5000]
    elif kind == "flipped":
        data = data[:3000] + bytes(byte ^ 0x55 for byte in data[3000:3100]) + data[3100:]
    elif kind == "zip":
        at = data.index(b"PK\x03\x04") + 200
        data = data[:at] + bytes(byte ^ 0x55 for byte in data[at : at + 50]) + data[at + 50 :]
    elif kind == "no-zip":
        data = tar_of({"usr/a.ogg": noise, "usr/m.pk3": b"no zip"}, "")
    return data


@pytest.mark.parametrize("kind", ["cut", "flipped", "zip", "no-zip"])
def test_a_damaged_package_is_refused_and_leaves_nothing_half(tmp_path: Path, kind: str) -> None:
    name = "data.tar.gz" if kind == "flipped" else "data.tar"
    deb = write_ar(tmp_path / "x.deb", {"debian-binary": b"2.0\n", name: damaged(kind)})
    wanted = {"usr/a.ogg": tmp_path / "out" / "a.ogg", "_unz_m.pk3/b.ogg": tmp_path / "out" / "b.ogg"}
    with pytest.raises(FetchError, match=r"cannot unpack '.*x\.deb': .*; make room or delete it, and fetch again"):
        unpack_deb(deb, wanted)
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(left) == (["a.ogg", "x.deb"] if kind in {"zip", "no-zip"} else ["x.deb"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is no Debian package"),
        (b"PK\x03\x04", "it is no Debian package"),
        (b"!<arch>\n", "it has none of the members data.tar"),
        (b"!<arch>\ndebian-binary", "it has none of the members data.tar"),
        (b"!<arch>\n" + b"data.tar.xz".ljust(48) + b"many      `\n", "invalid literal"),
        (b"!<arch>\n" + b"data.tar.zst".ljust(48) + b"0         `\n", "it has none of the members data.tar"),
    ],
)
def test_what_is_no_package_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    deb = write_bytes(tmp_path / "x.deb", content)
    with pytest.raises(FetchError, match=rf"x\.deb': .*{re.escape(reason)}"):
        unpack_deb(deb, {"usr/a.ogg": tmp_path / "a"})


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*", OGG, True),
        ("*.ogg", OGG, True),
        ("*.wav", OGG, False),
        ("data/music/*", OGG, True),
        ("./data/music/one.ogg", OGG, True),
        ("music/o?e.ogg", OGG, True),
        ("music/o?ne.ogg", OGG, False),
        ("data/one.ogg*", OGG, True),
        ("data/on*", OGG, True),
        ("data/us*", OGG, False),
        ("debian/*", OGG, False),
        ("src/*.ogg", OGG, False),
        ("music/*", INNER, True),
        ("data/two?loud.wav", WAV, True),
        (r"data/one\*.ogg", OGG, False),
        (r"data/one\*.ogg", "usr/share/one*.ogg", True),
        ("data/(one).ogg", "usr/(one).ogg", True),
        ("sic/one.ogg", OGG, True),
        ("ne.ogg", OGG, False),
    ],
)
def test_a_pattern_of_the_source_finds_the_installed_file(pattern: str, path: str, expected: bool) -> None:
    assert matches(pattern, path) is expected


def test_the_last_paragraph_that_matches_decides() -> None:
    header = "Format: x\n\n"
    general, special = "Files: *\nCopyright: A\nLicense: MIT\n\n", "Files: music/*\nCopyright: B\nLicense: CC0-1.0\n\n"
    assert find_terms(OGG, parse_copyright(header + general + special), "?") == Terms("CC0-1.0", "B")
    assert find_terms(OGG, parse_copyright(header + special + general), "?") == Terms("MIT", "A")


def test_folded_fields_are_joined() -> None:
    text = "FORMAT: x\n\nfiles: a.ogg\n  music/*\n\tb.ogg\nCOPYRIGHT:\n 2001  A\n 2002 B\nLicense:  GPL-2+  \n text\n"
    (stanza,) = parse_copyright(text) or ()
    assert stanza.patterns == ("a.ogg", "music/*", "b.ogg")
    assert stanza.terms == Terms("GPL-2+", "2001 A; 2002 B")


def test_what_is_not_said_is_said_so() -> None:
    stanzas = parse_copyright("Format: x\n\nFiles: music/*\n\nFiles: *.wav\nCopyright:\nLicense:\n")
    assert find_terms(OGG, stanzas, "see x") == Terms(NOT_STATED, NOT_STATED)
    assert find_terms(WAV, stanzas, "see x") == Terms(NOT_STATED, NOT_STATED)
    assert find_terms("usr/other.mp3", stanzas, "see x") == Terms("not stated for this file", "see x")
    assert find_terms(OGG, parse_copyright("Format: x\n"), "see x").credits == "see x"
    (nameless,) = parse_copyright("Format: x\n\nFiles: *\nCopyright: A\nLicense:\n You may do\n anything.\n") or ()
    assert nameless.terms == Terms("a licence without a short name", "A")


@pytest.mark.parametrize("field", ["License: Public Domain", "License:\n Public Domain", "Licence: Public Domain"])
def test_a_licence_is_found_where_real_files_have_it(field: str) -> None:
    (stanza,) = parse_copyright(f"Format: x\n\nFiles: *\nCopyright: A\n{field}\nComment: more\n") or ()
    assert stanza.terms.licence == "Public Domain"


@pytest.mark.parametrize("text", ["", "\n\n", "Music by A.\nLicense: free\n", "This package\n\nFormat: x\n"])
def test_a_free_form_text_is_known_as_such(text: str) -> None:
    assert parse_copyright(text) is None
    assert find_terms(OGG, None, "see x/copyright") == Terms("see x/copyright", "see x/copyright")


def test_an_odd_copyright_file_makes_no_odd_manifest(mirror: Mirror) -> None:
    odd = COPYRIGHT.replace("Ann Composer", 'Ann\0 \udce9, "\u00e9\u4e2d"').replace("\n", "\r\n")
    files = contents_of(TRAIN, mirror.music)
    files[f"usr/share/doc/{TRAIN}/copyright"] = odd.encode("utf-8", "surrogateescape")
    mirror.replace_package(1, files)
    mirror.fetch()
    (row,) = (row for row in read_manifest(mirror.folder) if row.path == f"{TRAIN}/{OGG}")
    assert row.credits == '2002 Ann \ufffd, "\u00e9\u4e2d"; 2003 Bob "Bass" Player, of the band'


def test_a_manifest_that_is_wrong_is_said(mirror: Mirror) -> None:
    mirror.fetch()
    rows = read_manifest(mirror.folder)
    path = mirror.folder / "manifest.csv"
    write_manifest(mirror.folder, [*rows, rows[0]])
    with pytest.raises(DataError, match=r"line 3: the track .* stands there twice"):
        open_dataset("open", mirror.folder)
    write_manifest(mirror.folder, [replace(rows[0], path="../x.ogg")])
    with pytest.raises(DataError, match="leads out of"):
        open_dataset("open", mirror.folder)
    write_manifest(mirror.folder, [replace(rows[0], package="other")])
    with pytest.raises(DataError, match="names the package 'other', which is not in the collection"):
        open_dataset("open", mirror.folder)
    path.write_text("track_id,path\n")
    with pytest.raises(DataError, match="no column 'package'"):
        mirror.fetch()


def test_too_little_is_said(mirror: Mirror) -> None:
    mirror.packages = mirror.packages[:1]
    mirror.fetch()
    with pytest.raises(
        DataError, match="holds 3 tracks and none for train; fetch the rest with: moodbook data fetch open"
    ):
        open_dataset("open", mirror.folder)


def test_a_run_that_is_stopped_before_the_manifest_goes_on(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("moodbook.datasets.fetch_collection.write_manifest", refuse)
    with pytest.raises(KeyboardInterrupt):
        mirror.fetch()
    assert read_manifest(mirror.folder) == ()
    monkeypatch.setattr("moodbook.datasets.fetch_collection.write_manifest", write_manifest)
    assert mirror.fetch().placed == 6
    mirror.assert_complete()


def hours(packages: tuple[Package, ...], split: str | None = None) -> float:
    return sum(sum(package.tracks.values()) for package in packages if split in {None, package.split}) / 3600


def test_the_tables_hold_what_they_promise() -> None:
    everything = read_packages()
    assert len({package.name for package in everything}) == len(everything) == 89
    assert sum(len(package.tracks) for package in everything) == OPEN.tracks == 918
    assert round(hours(everything), 1) == OPEN.hours == 44.3
    for package in everything:
        assert re.fullmatch("[0-9a-f]{64}", package.sha256)
        assert re.fullmatch(rf"pool/main/[a-z0-9]+/[a-z0-9.+-]+/{re.escape(package.name)}_[^/]+\.deb", package.file)
        assert package.version.rpartition(":")[2] in package.file
        assert package.size_bytes > 0
        assert package.tracks
        for path, seconds in package.tracks.items():
            assert seconds >= 20
            assert path.startswith(("usr/", "_unz_"))
            assert ".." not in path.split("/")
            assert Path(path).suffix in {".ogg", ".opus", ".mp3", ".wav"}


@pytest.mark.parametrize(
    ("size", "packages", "tracks", "least_hours", "validation_tracks", "gigabytes"),
    [("small", 9, 254, 15.9, 38, 0.98), ("standard", 57, 605, 32.0, 107, 2.25), ("full", 89, 918, 44.3, 141, 7.92)],
)
def test_each_size_is_what_it_is_called(
    size: str, packages: int, tracks: int, least_hours: float, validation_tracks: int, gigabytes: float
) -> None:
    chosen = read_packages(size)  # type: ignore[arg-type]
    assert len(chosen) == packages
    assert sum(len(package.tracks) for package in chosen) == tracks
    assert hours(chosen) >= least_hours
    assert sum(len(package.tracks) for package in chosen if package.split == "validation") == validation_tracks
    assert 0.09 < hours(chosen, "validation") / hours(chosen) <= 0.1
    assert round(sum(package.size_bytes for package in chosen) / 1e9, 2) == gigabytes
    smaller = SIZES[max(0, SIZES.index(size) - 1)]  # type: ignore[arg-type]
    assert set(map(repr, read_packages(smaller))) <= set(map(repr, chosen))


@pytest.mark.parametrize(
    "relatives",
    [
        ("supertux-data", "supertuxkart-data"),
        ("tuxmath-data", "tuxtype-data"),
        ("caveexpress-data", "cavepacker-data"),
        ("a7xpg-data", "gunroar-data", "titanion-data", "torus-trooper-data"),
    ],
)
def test_packages_that_share_music_or_a_composer_are_on_one_side(relatives: tuple[str, ...]) -> None:
    split_of = {package.name: package.split for package in read_packages()}
    assert len({split_of[name] for name in relatives}) == 1


def test_the_standard_size_is_the_default(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def read(size: str, collection: str) -> tuple[Package, ...]:
        asked.append(size)
        return mirror.packages

    monkeypatch.setattr("moodbook.datasets.fetch_collection.read_packages", read)
    assert fetch("open", mirror.folder, mirror.options).placed == 6
    fetch("open", mirror.folder, replace(mirror.options, size="small"))
    assert asked == ["standard", "small"]


def test_the_credits_name_every_package_and_all_its_tracks() -> None:
    table = Path(collection.__file__).parent / "open_credits.csv"
    tracks: Counter[tuple[str, str]] = Counter()
    for row in read_rows(table, ("package", "version", "tracks", "licence", "credits")):
        assert row.fields["licence"]
        assert row.fields["credits"]
        tracks[row.fields["package"], row.fields["version"]] += int(row.fields["tracks"])
    assert tracks == {(package.name, package.version): len(package.tracks) for package in read_packages()}


@pytest.mark.network
def test_a_real_package_is_the_pinned_one(tmp_path: Path) -> None:
    (package,) = (package for package in read_packages() if package.name == "val-and-rick-data")
    assert fetch_collection("open", tmp_path, FetchOptions(), Quiet(), [package]).placed == len(package.tracks)


def test_speech_is_pinned_by_speaker() -> None:
    packages = read_packages(collection="speech")
    assert sum(len(package.tracks) for package in packages) == SPEECH.tracks
    assert round(hours(packages), 1) == SPEECH.hours
    assert {package.name.split("-")[3]: package.split for package in packages} == {
        "en": "train", "es": "train", "fr": "train", "it": "validation", "ru": "validation",
    }  # fmt: skip
    for package in packages:
        assert re.fullmatch("[0-9a-f]{64}", package.sha256)
        assert all(seconds >= 3 and path.endswith(".wav") for path, seconds in package.tracks.items())
