"""How the cost of tagging grows: with the length of a track, and with the number of files.

    python benchmarks/scaling.py [--rounds N] [--longest MINUTES] [--most FILES]

To a track of 8 h and 10,000 files: half an hour, a third of which goes into making that track.

One process that has its model already, so that what remains is the files' own. The exponent is the slope of the line
through log(processor time) over log(size): 1 means that twice the music takes twice the time. Processor time, because
sizes are minutes apart, in which a shared machine changes its speed. Memory is what the process had
at most when it had tagged the longest track or the most files; a process of its own for each size.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"

from measuring import Table, hand_over
from music import write_music

SHORT_SECONDS = 5
MINUTES = (1, 4, 16, 64, 480)
COUNTS = (10, 100, 1000, 3000, 10_000)


def tag_all(paths: list[str]) -> dict[str, Any]:
    """Tag files in this process; how long it took, and the most memory."""
    import resource

    from moodbook.model.tagger import Tagger

    tagger = Tagger.load()
    tagger(paths[0], first_segment=True)
    start, processor = time.perf_counter(), time.process_time()
    for _ in tagger.tag_files(paths):
        pass
    elapsed = {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - processor}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**elapsed, "peak_mib": peak / (1024**2 if sys.platform == "darwin" else 1024)}


def measure(paths: list[str]) -> dict[str, Any]:
    """Tag files in a process of their own, whose peak memory is theirs."""
    launcher = [sys.executable, "-S", "-c", "import subprocess, sys; subprocess.run(sys.argv[1:], check=True)"]
    command = [*launcher, sys.executable, __file__, "--tag", *paths]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def exponent(sizes: list[float], values: list[float]) -> float:
    """Give the slope of the line of least squares through the logarithms."""
    import numpy as np

    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--longest", type=int, default=MINUTES[-1], help="minutes of the longest track")
    parser.add_argument("--most", type=int, default=COUNTS[-1], help="most files")
    parser.add_argument("--tag", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tag:
        print(json.dumps(tag_all(options.tag)))
        return
    table = Table("scaling", ("what", "size", "s", "s of processor time", "peak MiB", "exponent so far")).begin()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lengths = [minutes for minutes in MINUTES if minutes <= options.longest]
        tracks = {m: [str(write_music(folder / f"{m}.mp3", 60 * m))] for m in lengths}
        counts = [count for count in COUNTS if count <= options.most]
        short = [str(write_music(folder / f"short-{n}.mp3", SHORT_SECONDS, n)) for n in range(100)]
        # A thousand names for a hundred files: each is decoded and heard anew.
        files = {count: [short[n % len(short)] for n in range(count)] for count in counts}
        for what, work in (("minutes of one track", tracks), (f"files of {SHORT_SECONDS} s", files)):
            runs: dict[int, list[dict[str, Any]]] = {size: [] for size in work}
            for _ in range(options.rounds):
                for size, paths in work.items():
                    runs[size].append(measure(paths))
            costs: list[float] = []
            for index, (size, found) in enumerate(runs.items()):
                median = {key: statistics.median(run[key] for run in found) for key in found[0]}
                costs.append(median["processor_seconds"])
                slope = exponent(list(work)[: index + 1], costs) if index else None
                table.add(
                    (
                        what,
                        str(size),
                        f"{median['seconds']:.2f}",
                        f"{median['processor_seconds']:.2f}",
                        f"{median['peak_mib']:.0f}",
                        "" if slope is None else f"{slope:.2f}",
                    ),
                    what=what,
                    size=size,
                    exponent=slope,
                    **median,
                )
    hand_over(table)


if __name__ == "__main__":
    main()
