"""A file is old or new, never half."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from moodbook.files import PART_SUFFIX, place, sync_folder, whole_file


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_new_file_appears_whole_in_a_folder_that_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    with whole_file(path) as part:
        part.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert _names(path.parent) == ["b.txt"]


def test_an_error_while_writing_keeps_the_old_file_and_leaves_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half() -> None:
        with whole_file(path) as part:
            part.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_system_that_refuses_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), refuse)

    def write() -> None:
        with whole_file(path) as part:
            part.write_text("new")

    with pytest.raises(OSError, match="No space left"):
        write()
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["a.txt"]


def test_a_folder_that_cannot_be_synced_at_all_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(code: int) -> None:
        def fsync(_: int) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "fsync", fsync)

    refuse(errno.EINVAL)
    sync_folder(tmp_path)
    refuse(errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        sync_folder(tmp_path)


def test_what_a_killed_run_left_is_removed_and_the_part_of_a_living_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    script = """
import os, signal, sys
from pathlib import Path
from moodbook.files import whole_file
with whole_file(Path(sys.argv[1])) as part:
    part.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script, str(path)], timeout=60).returncode != 0
    (left,) = _names(tmp_path)
    assert left.startswith(".a.txt.")
    assert left.endswith(PART_SUFFIX)
    with whole_file(path) as living:
        assert _names(tmp_path) == [living.name]
        living.write_text("slow")
        with whole_file(path) as part:
            part.write_text("quick")
        assert sorted(_names(tmp_path)) == sorted([living.name, "a.txt"])
    assert path.read_text() == "slow"
    assert _names(tmp_path) == ["a.txt"]


def test_a_part_of_the_users_own_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    (tmp_path / "a.txt.part").write_text("a download")
    (tmp_path / ".a.txt.part").symlink_to(tmp_path / "a.txt.part")
    with whole_file(path) as part:
        part.write_text("new")
    assert (tmp_path / "a.txt.part").read_text() == "a download"
    assert (tmp_path / ".a.txt.part").is_symlink()
    assert path.read_text() == "new"


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_the_mode_of_what_is_replaced_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for mode in (0o600, 0o640, 0o444):
        path.touch()
        path.chmod(mode)
        with whole_file(path) as part:
            assert part.stat().st_mode & 0o777 == 0o600
            part.write_text("new")
        assert path.stat().st_mode & 0o777 == mode
    path.unlink()
    with whole_file(path) as part:
        part.write_text("new")
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "real.txt", tmp_path / "a.txt"
    link.symlink_to(target)
    for text in ("new", "newer"):
        with whole_file(link) as part:
            assert part.parent == target.parent
            part.write_text(text)
        assert link.is_symlink()
        assert target.read_text() == text


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 251 + ".txt")
    with whole_file(path) as part:
        part.write_text("new")
    assert path.read_text() == "new"


def test_placing_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        place(tmp_path / "missing", tmp_path / "a.txt")
