"""R4: the n-th write, sync or cut of the catalogue fails, for every n: the old state stands, and it is said."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.library.conftest import enter

from moodbook.library.catalogue import Catalogue
from moodbook.model.bundle import Bundle

HERE = Path(__file__).parent
COMPILER = shutil.which("cc") or shutil.which("gcc")


@pytest.fixture(scope="module")
def failing_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if COMPILER is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler and Linux")
    library = tmp_path_factory.mktemp("disk") / "failing_disk.so"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", library, HERE / "failing_disk.c", "-ldl"], check=True)
    return library


CASES = [(errno.ENOSPC, False), (errno.EIO, True)]
MORE = [(error, old) for error in (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES) for old in (False, True)]


@pytest.mark.parametrize(
    ("error", "old"), [*CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE if case not in CASES)]
)
def test_the_nth_write_fails(failing_disk: Path, tiny_bundle: Bundle, tmp_path: Path, error: int, old: bool) -> None:
    start = tmp_path / "start.sqlite"
    if old:
        with Catalogue(start, create=True) as catalogue:
            enter(catalogue, catalogue.use_model(tiny_bundle), "/music/kept.flac", [0.1, 0.2, 0.3, 0.4])
    work = tmp_path / "work"
    work.mkdir()
    environment = {
        **os.environ,
        "LD_PRELOAD": str(failing_disk),
        "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), *filter(None, sys.path)]),
    }
    arguments = [failing_disk, start, work, tiny_bundle.folder, str(error)]
    ended = subprocess.run(
        [sys.executable, HERE / "write_on_failing_disk.py", *arguments], capture_output=True, text=True, env=environment
    )
    assert ended.returncode == 0, ended.stderr
    *failed, whole = [json.loads(line) for line in ended.stdout.splitlines()]

    assert len(failed) > 20
    assert whole["said"] == ""
    for one in failed:
        if old:
            assert "/music/kept.flac" in one["kept"], one["n"]
        # What was said to be done is done; all else was said. Both end alike once the disk is whole.
        assert one["after"] == whole["after"], one["n"]
        if one["said"]:
            assert one["said"].startswith("cannot use the catalogue '"), one
            assert "full" in one["said"] or error != errno.ENOSPC, one
        else:
            assert one["kept"] == whole["kept"], one["n"]
    assert sum(bool(one["said"]) for one in failed) > len(failed) / 2
