"""Time to open the full MTG-Jamendo mood/theme lists (9,949 / 3,802 / 4,231 tracks) and to hash and mark them.

    python benchmarks/load_lists.py [FOLDER]

FOLDER holds the lists; default: the data set's place, else `mediaeval2019/official` in the shared data beside the
checkout. Each figure is the median of seven runs in this process.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from moodbook.datasets import SPLITS, open_dataset
from moodbook.datasets.registry import SOURCES, folder_of

NAME = "jamendo-moodtheme"
RUNS = 7


def median_seconds(work: Callable[[], object]) -> float:
    """Give the median time of a piece of work."""
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def find_lists() -> Path | None:
    """Find the lists where they may be."""
    shared = Path(os.environ.get("MOODBOOK_SHARED", Path(__file__).parents[2] / "shared"))
    places = [Path(argument) for argument in sys.argv[1:2]] or [
        folder_of(SOURCES[NAME]),
        shared / "data" / "mediaeval2019" / "official",
    ]
    return next((place for place in places if SOURCES[NAME].present(place)), None)


def main() -> None:
    """Print the table."""
    folder = find_lists()
    if folder is None:
        print(f"skipped: the lists of {NAME} are not here (moodbook data fetch {NAME} --lists-only)")
        return
    dataset = open_dataset(NAME, folder)
    counts = " / ".join(f"{len(dataset.split(split)):,}" for split in SPLITS)
    print(f"{NAME}: {counts} tracks, {len(dataset.tags)} tags\n")
    print("| | s |\n|---|---|")
    print(f"| open the three lists | {median_seconds(lambda: open_dataset(NAME, folder)):.2f} |")
    print(f"| ground truth of all tracks | {median_seconds(lambda: dataset.ground_truth(dataset.tracks)):.3f} |")
    print(f"| content hash | {median_seconds(lambda: type(dataset).sha256.func(dataset)):.2f} |")  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
