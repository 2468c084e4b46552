"""R5: names and shapes that a tree may hold; the scan ends, each is reported once, and nothing outside is followed."""

from __future__ import annotations

import json
import os
import socket
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.library.conftest import dump
from typer.testing import CliRunner

from moodbook.cli.app import app
from moodbook.library.catalogue import Catalogue
from moodbook.library.scan import scan
from moodbook.model.bundle import Bundle
from moodbook.model.tagger import Tagger

NAMES: tuple[bytes, ...] = (
    *(b"-rf.flac", b"--help.flac", b" .flac", b"  spaces  .flac", b"new\nline.flac", b"tab\t.flac", b"\r.flac"),
    *(b"\x1b[31mred.flac", b"\x07bell.flac", b"\x7f.flac", b"\xff\xfe.flac", b"caf\xe9.flac", b"\xc0\xaf.flac"),
    *(b"\xed\xa0\x80.flac", b"half\xe2\x82.flac", b"'quote.flac", b'"double".flac', b"`ls`.flac", b"$(ls).flac"),
    *(b"; rm x.flac", b"a|b.flac", b"a&b.flac", b"<x>.flac", b"*.flac", b"?.flac", b"[a].flac", b"{a,b}.flac"),
    *(b"~.flac", b"#comment.flac", b"%41.flac", b"%n.flac", b"back\\slash.flac", b"c:.flac", b"http:..flac"),
    *(b"CON.flac", b"NUL.flac", b"aux.flac", b"dots...flac", b"d...flac.flac", b"UPPER.FLAC", b"a.flac.flac"),
    *("ünïcødé.flac".encode(), "日本語.flac".encode(), "😀.flac".encode(), "\u202egnp.flac".encode()),
    *("\u200b.flac".encode(), "\ufeffbom.flac".encode(), "\u2028line.flac".encode(), "ﬁ.flac".encode()),
    *("é.flac".encode(), unicodedata.normalize("NFD", "é.flac").encode(), b"x" * 250 + b".flac"),
    *("ß.flac".encode(), b"SS.flac", "İ.flac".encode(), b"'; DROP TABLE file; --.flac", b"\x01\x02\x03.flac"),
)


@pytest.fixture
def hostile(tree: Callable[[dict[str, str]], Path], tmp_path: Path) -> tuple[Path, int]:
    """A tree of them, and how many files of it can be heard."""
    root = tree({"good.flac": "lava", "deep/" * 60 + "deep.flac": "taiko"})
    music = (root / "good.flac").read_bytes()
    for name in NAMES:
        (root / os.fsdecode(name)).write_bytes(music)
    folder = root / os.fsdecode(b"folder\xff\n.flac")
    folder.mkdir()
    (folder / "in it.flac").write_bytes(music)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.flac").write_bytes(music)
    (root / "loop").symlink_to(root)
    (root / "out").symlink_to(outside)
    (root / "link.flac").symlink_to(outside / "secret.flac")
    (root / "dangling.flac").symlink_to(root / "nowhere.flac")
    (root / "self.flac").symlink_to(root / "self.flac")
    os.mkfifo(root / "pipe.flac")
    # The name of a socket is short, so it is bound from inside.
    here = Path.cwd()
    os.chdir(root)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket.flac")
    finally:
        os.chdir(here)
    if os.geteuid() == 0:
        os.mknod(root / "device.flac", stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero
    (root / "empty.flac").write_bytes(b"")
    (root / "readonly.flac").write_bytes(music)
    (root / "readonly.flac").chmod(0o444)
    (root / ".hidden.flac").write_bytes(music)
    return root, len(NAMES) + 4


def test_a_hostile_tree(hostile: tuple[Path, int], catalogue: Catalogue, tagger: Tagger, tmp_path: Path) -> None:
    root, good = hostile

    summary = scan(catalogue, [root], tagger)

    contents = dump(catalogue.path)
    assert summary.new == good == len(contents["files"])
    assert summary.heard == len(contents["analyses"]) == 2
    reasons = {failure.path.name: failure.reason for failure in summary.failures}
    assert "named pipe" in reasons.pop("pipe.flac")
    assert "socket" in reasons.pop("socket.flac")
    assert "empty" in reasons.pop("empty.flac")
    if os.geteuid() == 0:
        assert "device" in reasons.pop("device.flac")
    assert reasons == {}
    # Each is reported once.
    assert max(Counter(failure.path for failure in summary.failures).values()) == 1
    assert {link.name for link in summary.links} == {"loop", "out", "link.flac", "dangling.flac", "self.flac"}
    paths = [os.fsdecode(row[0]) for row in contents["files"]]
    assert all(Path(path).is_relative_to(os.path.realpath(root)) for path in paths)
    assert not any("outside" in path or "hidden" in path for path in paths)
    again = scan(catalogue, [root], tagger)
    assert (again.unchanged, again.heard, again.failed) == (good, 0, summary.failed)


def test_every_output_stays_text(hostile: tuple[Path, int], tiny_bundle: Bundle, tmp_path: Path) -> None:
    root, good = hostile
    place = ["--catalogue", str(tmp_path / "c.sqlite")]

    def call(*arguments: str) -> bytes:
        done = CliRunner().invoke(app, [*arguments, *place])
        assert done.exit_code in (0, 1), done.output
        assert b"\x1b" not in done.stderr_bytes
        done.stderr_bytes.decode()
        return done.stdout_bytes

    summary = json.loads(call("scan", str(root), "--model", str(tiny_bundle.folder), "--json").decode())
    assert summary["new"] == good
    assert sum(map(len, summary["duplicates"])) == good - 1
    for line in call("export").decode().splitlines():
        json.loads(line)
    names = call("search", "path:.flac", "-0").split(b"\0")[:-1]
    # The exact bytes, for xargs -0; one for each of the two pieces of music.
    assert len(names) == 2
    assert all(Path(os.fsdecode(name)).exists() for name in names)
    exact = call("search", "path:caf\\xe9", "-0").split(b"\0")[:-1]
    assert exact == [os.fsencode(os.path.realpath(root)) + b"/caf\xe9.flac"]
    for ending in ("m3u8", "xspf"):
        call("playlist", 'path:newline or path:"new"', "-o", str(tmp_path / f"p.{ending}"))
        (tmp_path / f"p.{ending}").read_bytes().decode()
    call("export", "-o", str(tmp_path / "t.csv"))
    (tmp_path / "t.csv").read_bytes().decode()
