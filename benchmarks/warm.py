"""Twenty files from file to tags in one process that is warm: first segment, model loaded, every file tagged before.

    python benchmarks/warm.py [--rounds N] [--files N] [--peers FOLDER]

Each side is a process of its own that stays and tags all files when it is told to, one side at a time. Start-up,
imports and first calls (librosa's is slow) are no part of any figure; those are in end_to_end.py, which also says how
to make FOLDER. The files are mp3 of 23.7 s, one segment of Moodbook's, so that every side hears the same music.

Plain torch is plain_pipeline.py: librosa, then eager float32. VibeNet is run as its command line does it, a thread for
each core. musicnn is run in one session with its log-mel in float32: as it is published it builds its network again for
every file (so it stands in end_to_end.py).
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from end_to_end import MUSICNN_ENVIRONMENT, REFERENCE, has_bf16, missing_peers
from measuring import Cost, Table, hand_over, interleave, median, ratio
from music import write_music

FILES, SECONDS = 20, 23.7
SIDE = str(Path(__file__).with_name("warm_side.py"))


@contextmanager
def side(command: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Start a side, and end it."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env={**os.environ, **environment}, text=True, **pipes) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def tag_all(name: str, process: subprocess.Popen[str]) -> Cost:
    """Let a side tag all files once.

    Raises:
        RuntimeError: It has ended.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError(f"{name} has ended; run `{' '.join(map(str, process.args))}` to see why")  # type: ignore[arg-type]
    return Cost(**json.loads(answer))


def commands(peers: Path | None) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Give what starts each side, and what its environment needs."""
    precisions = [precision for precision in ("f32", "bf16", "int8") if precision != "bf16" or has_bf16()]
    found: dict[str, tuple[list[str], dict[str, str]]] = {
        f"Moodbook, {precision}": ([sys.executable, SIDE, precision], {}) for precision in precisions
    }
    found[REFERENCE] = ([sys.executable, SIDE, "plain"], {})
    if peers is not None and (peers / "vibenet").is_dir():
        found["VibeNet"] = ([str(peers / "vibenet/bin/python"), SIDE, "vibenet"], {})
    if peers is not None and (peers / "musicnn").is_dir():
        command = [str(peers / "musicnn/bin/python"), "-W", "ignore", SIDE, "musicnn"]
        found["musicnn, in one session"] = (command, MUSICNN_ENVIRONMENT)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--peers", type=Path, default=os.environ.get("MOODBOOK_PEERS"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        paths = [str(write_music(Path(name) / f"{n}.mp3", SECONDS, n)) for n in range(options.files)]
        processes = {
            program: stack.enter_context(side([*command, *paths], environment))
            for program, (command, environment) in commands(options.peers).items()
        }
        sides = {program: functools.partial(tag_all, program, process) for program, process in processes.items()}
        for warmed in sides.values():
            warmed()
        runs = interleave(sides, options.rounds)
    columns = ("program", "files a second", "ms a file", f"times as fast as {REFERENCE}")
    table = Table("warm", (*columns, "ms of processor time", "in processor time")).begin()
    for program, costs in runs.items():
        cost, faster = median(costs), ratio(runs[REFERENCE], costs)
        table.add(
            (
                program,
                f"{options.files / cost.seconds:.1f}",
                f"{1e3 * cost.seconds / options.files:.0f}",
                f"{faster.seconds:.2f}",
                f"{1e3 * cost.processor_seconds / options.files:.0f}",
                f"{faster.processor_seconds:.2f}",
            ),
            program=program,
            files=options.files,
            seconds=cost.seconds,
            ratio=faster.seconds,
            processor_seconds=cost.processor_seconds,
            processor_ratio=faster.processor_seconds,
        )
    hand_over(table, missing=missing_peers(options.peers))


if __name__ == "__main__":
    main()
