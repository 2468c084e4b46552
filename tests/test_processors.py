"""Who uses which processors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import moodbook
from moodbook.processors import usable_processors

_TELL = """
import os, sys
class Tell:
    def find_spec(self, name, *_):
        if name == "numpy":
            print(os.environ.get("OPENBLAS_NUM_THREADS"), flush=True)
            os._exit(0)
sys.meta_path.insert(0, Tell())
sys.argv = ["moodbook", "tag", "x.wav"]
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system binds no process to processors")
def test_only_processors_of_this_process_count() -> None:
    allowed = os.sched_getaffinity(0)
    assert usable_processors() == len(allowed)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert usable_processors() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("start", "own", "told"),
    [
        ("from moodbook.cli.app import main; main()", None, "1"),
        ("from moodbook.cli.app import main; main()", "3", "3"),
        # The environment of another program is not Moodbook's to change.
        ("from moodbook import Tagger", None, "None"),
    ],
)
def test_the_command_line_loads_numpy_with_one_thread(start: str, own: str | None, told: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(moodbook.__file__).parents[1])}
    environment.pop("OPENBLAS_NUM_THREADS", None)
    done = subprocess.run(
        [sys.executable, "-c", f"{_TELL}{start}"],
        capture_output=True,
        text=True,
        check=True,
        env=environment if own is None else {**environment, "OPENBLAS_NUM_THREADS": own},
    )
    assert done.stdout == f"{told}\n", done.stderr
