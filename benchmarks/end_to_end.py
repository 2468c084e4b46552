"""Whole programs beside each other: twenty files in one process, one file from a cold start, a track of five minutes.

    python benchmarks/end_to_end.py [--rounds N] [--peers FOLDER]

Every figure is that of a process from its start to its end: imports, model, decoding, tagging, output. Moodbook hears
whole tracks, and so do the others. FOLDER holds a virtual environment for each peer, made with

    python -m venv FOLDER/vibenet && FOLDER/vibenet/bin/pip install vibenet
    python -m venv FOLDER/musicnn && FOLDER/musicnn/bin/pip install tensorflow-cpu tf-keras librosa 'setuptools<81'
    FOLDER/musicnn/bin/pip install --no-deps musicnn

A peer that is not there is left out. All are run as they are published: VibeNet by its command line, musicnn by its
`top_tags`, which builds its network again for every file (`warm.py` runs it in one session). What they say of the music
is not compared: musicnn 0.1.0 says the same of every file on a current numpy.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from measuring import Finished, Table, hand_over, median, ratio, run_program
from music import write_music

FILES, SECONDS, LONG_SECONDS = 20, 30, 300
MUSICNN = "import sys; from musicnn.tagger import top_tags; [top_tags(path, 'MSD_musicnn', 3) for path in sys.argv[1:]]"
MUSICNN_ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
REFERENCE = "plain torch, f32"
PEERS = ("vibenet", "musicnn")


def commands(peers: Path | None) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Give the programs that tag the files whose names follow, and what their environment needs."""
    moodbook = [str(Path(sys.executable).with_name("moodbook")), "tag", "--json"]
    found = {
        f"Moodbook, {precision}": ([*moodbook, "--precision", precision], {})
        for precision in ("f32", "bf16", "int8")
        if precision != "bf16" or has_bf16()
    }
    found[REFERENCE] = ([sys.executable, str(Path(__file__).with_name("plain_pipeline.py"))], {})
    if peers is not None and (peers / "vibenet").is_dir():
        found["VibeNet"] = ([str(peers / "vibenet/bin/vibenet"), "--quiet", "--format", "json"], {})
    if peers is not None and (peers / "musicnn").is_dir():
        found["musicnn"] = ([str(peers / "musicnn/bin/python"), "-W", "ignore", "-c", MUSICNN], MUSICNN_ENVIRONMENT)
    return found


def missing_peers(peers: Path | None) -> list[str]:
    """Say which peers are not here to be measured."""
    if peers is None:
        return [f"no peers ({', '.join(PEERS)}): set MOODBOOK_PEERS to their folder; benchmarks/end_to_end.py says how"]
    return [f"there is no environment '{peers / name}'" for name in PEERS if not (peers / name).is_dir()]


def has_bf16() -> bool:
    """Say whether this processor multiplies bf16."""
    from moodbook.model.precision import processor_capabilities

    return "BF16" in processor_capabilities()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=Path, default=os.environ.get("MOODBOOK_PEERS"))
    options = parser.parse_args()
    programs = commands(options.peers)
    columns = ("program", "s", f"times as fast as {REFERENCE}", "s of processor time", "in processor time", "peak MiB")
    tables = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        twenty = [str(write_music(folder / f"{number}.mp3", SECONDS, number)) for number in range(FILES)]
        work = {
            "twenty-files": twenty,
            "one-file": twenty[:1],
            "long-file": [str(write_music(folder / "long.mp3", LONG_SECONDS))],
        }
        for task, paths in work.items():
            print(f"\n{task}\n")
            runs: dict[str, list[Finished]] = {program: [] for program in programs}
            for number in range(options.rounds + 1):
                for program in list(programs) if number % 2 else list(programs)[::-1]:
                    command, environment = programs[program]
                    finished = run_program([*command, *paths], environment)
                    if number:  # The first round fills the system's cache of files, and numba's of compiled code.
                        runs[program].append(finished)
            table = Table(task, columns).begin()
            for program, finished in runs.items():
                cost, faster = median(finished), ratio(runs[REFERENCE], finished)
                peak = statistics.median(run.peak_mib for run in finished)
                table.add(
                    (
                        program,
                        f"{cost.seconds:.2f}",
                        f"{faster.seconds:.2f}",
                        f"{cost.processor_seconds:.2f}",
                        f"{faster.processor_seconds:.2f}",
                        f"{peak:.0f}",
                    ),
                    program=program,
                    seconds=cost.seconds,
                    fastest_seconds=min(run.seconds for run in finished),
                    ratio=faster.seconds,
                    processor_seconds=cost.processor_seconds,
                    processor_ratio=faster.processor_seconds,
                    peak_mib=peak,
                )
            tables.append(table)
    hand_over(*tables, missing=missing_peers(options.peers))


if __name__ == "__main__":
    main()
