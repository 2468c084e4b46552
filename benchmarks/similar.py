"""How long `moodbook similar` searches a library: exact cosine over every row, timed query by query.

    python benchmarks/similar.py                    # a million tracks of 128 numbers
    python benchmarks/similar.py --tracks 100000 --dims 64

Prints the median and the 99th percentile of the time of a query, by the clock and by the processor (which does not
count other programs), and checks a part of the answers against float64.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np

from moodbook.library.similar import TrackVectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=1_000_000)
    parser.add_argument("--dims", type=int, default=128)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--nearest", type=int, default=20)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    raw = rng.standard_normal((options.tracks, options.dims), dtype=np.float32)
    vectors = TrackVectors(np.arange(options.tracks, dtype=np.int64), raw)
    del raw
    clock, processor = [], []
    for query in range(options.queries):
        row = int(rng.integers(options.tracks))
        seed = vectors.vectors[row]
        started = time.perf_counter(), time.process_time()
        found = vectors.nearest(seed, options.nearest, {row})
        clock.append(time.perf_counter() - started[0])
        processor.append(time.process_time() - started[1])
        if query % 100 == 0:
            cosines = vectors.vectors.astype(np.float64) @ seed.astype(np.float64)
            cosines[row] = -1
            best = np.sort(cosines)[::-1][: options.nearest]
            assert np.allclose([cosine for _, cosine in found], best, atol=1e-5)
    print(
        f"{options.tracks:,} tracks, {options.dims} dims, nearest {options.nearest}, {options.queries} queries, "
        f"{os.environ.get('OPENBLAS_NUM_THREADS', 'all')} threads"
    )
    for name, seconds in (("clock", clock), ("processor", processor)):
        milliseconds = 1_000 * np.array(seconds)
        print(f"  {name}: median {np.median(milliseconds):.1f} ms, p99 {np.percentile(milliseconds, 99):.1f} ms")


if __name__ == "__main__":
    main()
