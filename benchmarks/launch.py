"""Run a program and print what it took, as JSON: seconds, seconds of processor time, peak MiB; and how it ended.

    python -S benchmarks/launch.py PROGRAM ARGUMENT ...

A process begins with the peak memory of the one that started it. This one is small, so that the peak is the program's.
"""

import json
import resource
import subprocess
import sys
import time

KIB_PER_MIB, BYTES_PER_MIB = 1024, 1024**2

start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
said = process.stderr.read()
process.wait()
elapsed = time.perf_counter() - start
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(
    json.dumps(
        {
            "seconds": elapsed,
            "processor_seconds": usage.ru_utime + usage.ru_stime,
            "peak_mib": usage.ru_maxrss / (BYTES_PER_MIB if sys.platform == "darwin" else KIB_PER_MIB),
            "code": process.returncode,
            "said": said.decode(errors="replace")[-800:] if process.returncode else "",
        }
    )
)
