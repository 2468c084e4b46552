"""Writes to a catalogue while the n-th call to the disk fails, for every n; run with the failing disk preloaded.

Arguments: the library that fails, a catalogue to begin with (or a name that is not there), a folder to work in, a model
folder, and the error's number. Prints a JSON line for each n: what was reported, and whether the catalogue was sound
and held the old or the new state.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
from tests.library.conftest import dump, enter

from moodbook.errors import CatalogueError
from moodbook.library.catalogue import Catalogue
from moodbook.library.identity import Stat
from moodbook.library.metadata import Metadata
from moodbook.model.bundle import read_bundle


def write(path: Path, bundle: object) -> None:
    """All that a scan does to a catalogue."""
    with Catalogue(path, create=True) as catalogue, catalogue.scan_lock():
        model = catalogue.use_model(bundle)
        for number in range(3):
            enter(catalogue, model, f"/music/{number}.flac", [0.1, 0.2, 0.3, 0.4], embedding=np.ones(8, np.float32))
        file = catalogue.enter_file(Path("/music/bad.flac"), Stat(1, 2, "3"), "bad", Metadata(artist="x" * 900))
        catalogue.enter_failure(file.payload_id, model, "damaged")
        known = catalogue.known_files()
        catalogue.set_missing([known[Path("/music/0.flac")]])
        catalogue.forget_files([known[Path("/music/1.flac")]])


def main(library: str, start: str, folder: str, model: str, error: str) -> None:
    disk = ctypes.CDLL(library)
    bundle = read_bundle(model)
    for n in range(10_000):
        path = Path(folder) / f"{n}.sqlite"
        if Path(start).exists():
            shutil.copy(start, path)
        disk.failing_disk_set(path.name.encode(), ctypes.c_long(n), int(error))
        said = ""
        try:
            write(path, bundle)
        except CatalogueError as refusal:
            said = str(refusal)
        calls = disk.failing_disk_calls()
        disk.failing_disk_set(b"", ctypes.c_long(-1), 0)
        kept = [os.fsdecode(row[0]) for row in dump(path)["files"]] if path.exists() else []
        write(path, bundle)  # The disk is whole again.
        print(json.dumps({"n": n, "calls": calls, "said": said, "kept": kept, "after": repr(dump(path))}))  # noqa: T201
        for leftover in Path(folder).glob(f"{n}.sqlite*"):
            leftover.unlink()
        if calls <= n:
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
