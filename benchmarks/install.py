"""What an installation without extras takes: seconds, megabytes on disk, and the first tags of one file.

    python benchmarks/install.py [--rounds N]

Builds the wheel, installs it into a fresh virtual environment with the versions of constraints.txt and nothing cached,
so that the download is part of the time; then once more from the same wheels on disk, which leaves the line out. Tags
one file with it, N times, each time in a process of its own, without a network where the system can take it away.
Needs a package index.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from measuring import Finished, Table, hand_over, run_program
from music import write_music

ROOT = Path(__file__).parents[1]
PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet", "--no-cache-dir")
PROMISED_SECONDS, PROMISED_MB, PROMISED_FIRST_TAGS_SECONDS = 60, 400, 0.8
LARGEST = 5  # Packages that are named; the rest is one row.
SECONDS = 30  # Of music in the file that is tagged.
TOOLS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence.pth")
"""What site-packages of an empty environment begin with: they are not counted."""
_BYTES_PER_MB = 1e6
_BLOCK_BYTES = 512  # What st_blocks counts in, whatever the file system's own blocks are; see stat(2).
FACTS = """
import importlib.metadata, importlib.util, json
names = {found.metadata["Name"] for found in importlib.metadata.distributions()} - {"pip", "setuptools"}
print(json.dumps({"torch": importlib.util.find_spec("torch") is not None, "packages": sorted(names)}))
"""


def timed(*command: str | Path) -> float:
    """Run a program and give its seconds.

    Raises:
        RuntimeError: It fails; with the end of what it said.
    """
    start = time.perf_counter()
    done = subprocess.run(
        list(map(str, command)), check=False, cwd=ROOT, env=clean_environment(), capture_output=True, text=True
    )
    elapsed = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-800:]}")
    return elapsed


def clean_environment() -> dict[str, str]:
    """Give this environment without what could bring modules from elsewhere or keep compiled ones elsewhere."""
    mine = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in mine}


def make_environment(folder: Path) -> Path:
    """Make a virtual environment with pip alone; give its Python."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    return programs / ("python.exe" if os.name == "nt" else "python")


def answer(python: Path, question: str) -> str:
    """Let a Python run a few lines and give what they print."""
    command = [str(python), "-c", question]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=clean_environment()).stdout


def packages_folder(python: Path) -> Path:
    return Path(answer(python, "import sysconfig; print(sysconfig.get_path('purelib'))").strip())


def bytes_on_disk(path: Path) -> int:
    """Give the room that a file takes, in whole blocks where the system says so."""
    status = path.stat()
    return getattr(status, "st_blocks", 0) * _BLOCK_BYTES or status.st_size


def sizes(folder: Path) -> Counter[str]:
    """Give the bytes on disk of each distribution below site-packages."""
    owners: dict[Path, str] = {}
    for record in sorted(folder.glob("*.dist-info/RECORD")):
        name = record.parent.name.split("-")[0].lower()
        with record.open(newline="") as file:
            for row in csv.reader(file):
                owners[(folder / row[0]).resolve()] = name
    found: Counter[str] = Counter()
    for path in own_files(folder, "*"):
        owner = owners.get(path.resolve(), path.relative_to(folder).parts[0].lower())
        found[owner] += bytes_on_disk(path)
    return found


def own_files(folder: Path, pattern: str) -> list[Path]:
    """List the files below site-packages that were not there in the empty environment."""
    files = (path for path in folder.rglob(pattern) if path.is_file() and not path.is_symlink())
    return [path for path in files if not path.relative_to(folder).parts[0].startswith(TOOLS)]


def offline() -> list[str]:
    """Give the words that start a program without a network; none where the system cannot."""
    words = ["unshare", "--map-root-user", "--net"]
    if shutil.which(words[0]) and subprocess.run([*words, "true"], check=False, capture_output=True).returncode == 0:
        return words
    return []


def first_tags(python: Path, song: Path, rounds: int) -> list[Finished]:
    """Tag a file once, the very first time ever, and then `rounds` times, each from a process's start to its end."""
    moodbook = str(python.with_name("moodbook"))
    # pip has compiled the modules: the programs that this benchmark starts must look where pip has put them.
    as_installed = {"PYTHONPYCACHEPREFIX": "", "PYTHONPATH": ""}
    command = [*offline(), moodbook, "tag", "--json", str(song)]
    return [run_program(command, as_installed) for _ in range(1 + rounds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        timed(sys.executable, *PIP, "wheel", "--no-deps", "--wheel-dir", folder / "built", ".")
        (wheel,) = (folder / "built").glob("moodbook-*.whl")
        python = make_environment(folder / "fresh")
        wanted = ("-c", ROOT / "constraints.txt", wheel)
        installed = timed(python, *PIP, "install", *wanted)
        timed(python, *PIP, "download", "--dest", folder / "wheels", *wanted)
        downloaded = sum(path.stat().st_size for path in (folder / "wheels").iterdir()) / _BYTES_PER_MB
        again = make_environment(folder / "again")
        from_disk = timed(again, *PIP, "install", "--no-index", "--find-links", folder / "wheels", *wanted)
        by_package = sizes(packages_folder(python))
        total = by_package.total() / _BYTES_PER_MB
        compiled = sum(map(bytes_on_disk, own_files(packages_folder(python), "*.pyc"))) / _BYTES_PER_MB
        facts = json.loads(answer(python, FACTS))
        runs = first_tags(python, write_music(folder / "song.mp3", SECONDS), options.rounds)

    table = Table("install", ("installation without extras", "found", "promised")).begin()

    def add(what: str, found: float, shown: str, promised: str = "") -> None:
        table.add((what, shown, promised), what=what, found=found)

    first, *later = [run.seconds for run in runs]
    processor = statistics.median(run.processor_seconds for run in runs[1:])
    soon = f"under {PROMISED_FIRST_TAGS_SECONDS:g} s"
    add("pip install, download included", installed, f"{installed:.1f} s", f"under {PROMISED_SECONDS} s")
    add("the same from wheels on disk", from_disk, f"{from_disk:.1f} s")
    add("downloaded", downloaded, f"{downloaded:.0f} MB")
    add("on disk", total, f"{total:.0f} MB", f"under {PROMISED_MB} MB")
    add("of that, modules that pip has compiled", compiled, f"{compiled:.0f} MB")
    add("packages", len(facts["packages"]), str(len(facts["packages"])))
    add("torch among them", float(facts["torch"]), "yes" if facts["torch"] else "no")
    add("network while it tags", float(not offline()), "none" if offline() else "as ever")
    add("tags of a file, the first process ever", first, f"{first:.2f} s", soon)
    add("tags of a file, later processes, median", statistics.median(later), f"{statistics.median(later):.2f} s", soon)
    add("tags of a file, later processes, fastest", min(later), f"{min(later):.2f} s", soon)
    add("of that, processor time, median", processor, f"{processor:.2f} s")
    print()
    largest = Table("install-packages", ("package", "MB on disk")).begin()
    named = by_package.most_common(LARGEST)
    rest = total - sum(size for _, size in named) / _BYTES_PER_MB
    for package, size in named:
        largest.add((package, f"{size / _BYTES_PER_MB:.1f}"), package=package, megabytes=size / _BYTES_PER_MB)
    largest.add((f"the other {len(facts['packages']) - len(named)}", f"{rest:.1f}"), package="others", megabytes=rest)
    hand_over(table, largest)


if __name__ == "__main__":
    main()
