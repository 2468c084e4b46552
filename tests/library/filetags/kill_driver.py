"""Writes tags into a folder of music again and again, is killed at a random moment, and looks at what is left.

Usage: kill_driver.py FOLDER KILLS SEED, with music in FOLDER/music. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

from moodbook import audio
from moodbook.library.filetags import Proposal, apply_tasks, build_plan, open_journal, read_fields, recover
from moodbook.library.filetags.hearing import Listener

FILES_AT_A_TIME = 2
WORDS = ("calm", "dark", "epic", "slow", "warm", "wide")


def write(folder: Path, seed: int, ready: int) -> None:
    """Plan other words for every file and write them."""
    rng = random.Random(seed)
    files = sorted((folder / "music").iterdir())
    files = rng.sample(files, min(len(files), FILES_AT_A_TIME))
    words = tuple(rng.sample(WORDS, 3))
    # Scores of changing length, so that the tags outgrow their padding now and then.
    scores = {word * rng.randrange(1, 400): 0.5 for word in words}
    plan = build_plan((Proposal(path, words, scores, "model", "0" * 64) for path in files), "overwrite")
    # Its worker takes longer to start than all else does: the kills shall fall among the writing.
    listener = Listener()
    listener.objection(files[0], files[0])
    os.write(ready, json.dumps({str(task.path): [task.before, task.after] for task in plan.tasks}).encode() + b"\n")
    with listener, open_journal(folder / "journal", "write") as journal:
        for _ in apply_tasks(plan.tasks, journal, listener=listener):
            pass


def kill_once(folder: Path, seed: int, longest: float) -> tuple[dict[str, list], bool, float]:
    """Start a writer, kill it; give what each file may hold, whether it was still at work, and how long it ran."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            write(folder, seed, write_end)
            status = 0
        except Exception:  # noqa: BLE001 - whatever it is, the driver tells it.
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(write_end)
    data = b""
    while not data.endswith(b"\n"):
        more = os.read(read_end, 1 << 20)
        if not more:
            raise RuntimeError(f"the writer of seed {seed} ended before its first file")
        data += more
    os.close(read_end)
    start = time.monotonic()
    delay = random.Random(seed * 7 + 1).uniform(0, longest)
    alive = True
    while alive and time.monotonic() - start < delay:
        time.sleep(0.0005)
        ended, status = os.waitpid(child, os.WNOHANG)
        alive = ended == 0
        if status != 0:
            raise RuntimeError(f"the writer of seed {seed} failed")
    if alive:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return json.loads(data), alive, time.monotonic() - start


def main() -> None:
    """Kill as often as asked, and count what must never happen."""
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    music = folder / "music"
    payloads = {path: audio.payload_hash(path) for path in music.iterdir()}
    counts = {"kills": 0, "litter_seen": 0, "old": 0, "new": 0, "half": 0, "audio_changed": 0, "litter_left": 0}
    _, _, longest = kill_once(folder, seed, 1e9)
    while counts["kills"] < kills:
        seed += 1
        expected, alive, _ = kill_once(folder, seed, longest)
        counts["kills"] += alive
        counts["litter_seen"] += sum(path not in payloads for path in music.iterdir())
        list(recover(folder / "journal"))
        counts["litter_left"] += sum(path not in payloads for path in music.iterdir())
        for name, (before, after) in expected.items():
            path = Path(name)
            fields = read_fields(path)
            state = "old" if fields == before else "new" if fields == after else "half"
            counts[state] += alive
            counts["audio_changed"] += audio.payload_hash(path) != payloads[path]
            audio.load(path, duration_seconds=1.0, allow_partial=True)
        for left in (folder / "journal").iterdir():
            left.unlink()
    counts["audio_changed"] += sum(audio.payload_hash(path) != payload for path, payload in payloads.items())
    sys.stdout.write(json.dumps(counts) + "\n")


if __name__ == "__main__":
    main()
