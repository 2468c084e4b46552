"""Who uses which processors."""

from __future__ import annotations

import importlib.util
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
    "start",
    [
        "from moodbook import Tagger",
        "import moodbook; moodbook.list_models()",
        "from moodbook.cli.app import main; main()",
        "import beetsplug.moodbook",
    ],
)
@pytest.mark.parametrize("own", [None, "3"])
def test_numpy_is_loaded_with_one_thread(start: str, own: str | None) -> None:
    if "beets" in start and importlib.util.find_spec("beets") is None:
        pytest.skip("beets is not installed (pip install 'moodbook[beets]')")
    environment = {**os.environ, "PYTHONPATH": str(Path(moodbook.__file__).parents[1])}
    environment.pop("OPENBLAS_NUM_THREADS", None)
    done = subprocess.run(
        [sys.executable, "-c", f"{_TELL}{start}"],
        capture_output=True,
        text=True,
        check=True,
        env=environment if own is None else {**environment, "OPENBLAS_NUM_THREADS": own},
    )
    assert done.stdout == f"{own or 1}\n", done.stderr
