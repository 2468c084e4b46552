"""R3: kill -9 at any moment of a scan; the next scan goes on, and what comes out is what an unbroken scan gives."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.library.conftest import dump

from moodbook.model.bundle import Bundle

HERE = Path(__file__).parent
ROUNDS = 10
"""Kills of one catalogue before its scan is let come to an end."""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_a_killed_scan_goes_on(
    tree: Callable[[dict[str, str]], Path], tiny_bundle: Bundle, tmp_path: Path, kills: int
) -> None:
    names = ("lava", "taiko", "rlyeh", "geoscape")
    root = tree({f"{number % 3}/{number}.flac": names[number % 4] for number in range(12)})
    for number in range(8):  # Other music each, cut from the same recordings.
        path = root / str(number % 3) / f"{number}.flac"
        path.write_bytes(path.read_bytes()[: -1 - number])
    (root / "0" / "9.flac").write_bytes((root / "0" / "9.flac").read_bytes()[:20_000])
    (root / "empty.flac").write_bytes(b"")
    process = subprocess.Popen(
        [sys.executable, HERE / "scan_in_forks.py", tiny_bundle.folder, root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def scan(catalogue: Path, when: str = "never") -> tuple[float, int, int]:
        process.stdin.write(f"{catalogue}\t{when}\n")
        process.stdin.flush()
        seconds, statements, code = process.stdout.readline().split()
        return float(seconds), int(statements), int(code)

    rng = random.Random(3)
    with process:
        seconds, statements, code = scan(tmp_path / "whole.sqlite")
        assert code == 0
        whole = dump(tmp_path / "whole.sqlite")
        assert len(whole["files"]) == 12
        assert whole["analyses"]
        assert whole["failures"]
        killed, partial = 0, 0
        for attempt in range(kills // ROUNDS):
            catalogue = tmp_path / f"{attempt}.sqlite"
            for number in range(ROUNDS):
                # Before a statement, not far into the scan or half way, so that ten kills lead through all of it; or
                # anywhere.
                last = statements // (2 if number % 2 else 5)
                moment = f"{rng.uniform(0, seconds)} s" if number % 5 == 2 else str(rng.randrange(last))
                *_, code = scan(catalogue, moment)
                killed += code == -9
                if catalogue.exists() and catalogue.stat().st_size:
                    partial += 0 < len(_analyses(catalogue)) < len(whole["analyses"])
            assert scan(catalogue)[2] == 0
            assert dump(catalogue) == whole
        process.stdin.close()
    assert killed > kills / 3
    # Some kills came while scores were being written; else nothing was tested.
    assert partial > 0


def _analyses(catalogue: Path) -> list[object]:
    connection = sqlite3.connect(catalogue)
    try:
        return connection.execute("SELECT payload_id FROM analysis").fetchall()
    except sqlite3.OperationalError:
        return []  # Killed before the tables were there.
    finally:
        connection.close()
