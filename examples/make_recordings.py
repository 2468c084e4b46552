"""Cut the example recordings from the packages that they come from, and write their credits.

`examples/recordings/recordings.csv` says for each recording which part of which file of which Debian package it is, who
made it and under which licence. This script reads nothing else about them, so that table, files and credits cannot
drift apart:

    python examples/make_recordings.py                  # writes recordings/CREDITS.md only
    python examples/make_recordings.py --packages DIR   # cuts and encodes the recordings as well

`DIR` holds one folder per package, unpacked, named as the package:

    apt-get download PACKAGE && dpkg-deb -x PACKAGE_*.deb DIR/PACKAGE

A source file that is not the pinned one (by SHA-256) is refused. The output is Ogg Opus, 48 kHz, stereo; level and
content are left as they are, but for a fade of 20 ms at both ends. It is written with PyAV and not with soundfile
because the latter draws a new random stream number for every file: here, the same libraries give the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from jaxtyping import Float32

from moodbook.errors import DataError, MoodbookError, UnreadableAudioError

TABLE = Path(__file__).parent / "recordings" / "recordings.csv"
SAMPLE_RATE = 48_000
BIT_RATE = 72_000
FADE_SECONDS = 0.02
CREDITS_HEAD = """# Credits of the example recordings

Short excerpts of music from games in Debian, so that `moodbook tag examples/recordings` has real music to hear. They
are **not** under the licence of Moodbook: each keeps the licence that stands with it, and an excerpt of a piece under
a ShareAlike licence is under that same licence.

Changes made to every piece: an excerpt was cut out, converted to 48 kHz where it was not, faded over 20 ms at both
ends and encoded again as Opus; nothing else. No author has endorsed this project or these excerpts.

The words under "expected" are what the piece was written for, by its title and its place in the game; they are neither
the output of a model nor ground truth.

This file is written from `recordings.csv` by `examples/make_recordings.py`; change the table, not this page.
"""


@dataclass(frozen=True)
class Recording:
    """One row of the table: an excerpt, where it comes from, who made it and what may be done with it.

    Attributes:
        track_id: The name of the recording.
        path: The file to write, relative to the table.
        title: Title of the piece.
        author: Whom the licence asks to be named.
        author_url: The author's address as the package gives it, or empty.
        licence: Name and version of the licence.
        licence_url: Where its text is.
        evidence: Where the package states that licence, with its words.
        game: The game that the piece was written for.
        package: The Debian package.
        package_version: Its version.
        source_path: The file inside the package; a file inside a zip archive stands after a `!`.
        source_sha256: SHA-256 of that file.
        start_seconds: Where the excerpt starts.
        seconds: How long it is.
        context: Where the game plays the piece.
        expected: Mood words, separated by semicolons.
    """

    track_id: str
    path: str
    title: str
    author: str
    author_url: str
    licence: str
    licence_url: str
    evidence: str
    game: str
    package: str
    package_version: str
    source_path: str
    source_sha256: str
    start_seconds: float
    seconds: float
    context: str
    expected: str

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> Recording:
        """Read a row of the table.

        Raises:
            DataError: A column is missing or empty, or a time is no number.
        """
        values: dict[str, str | float] = {}
        for field in fields(cls):
            text = row.get(field.name) or ""
            if not text and field.name != "author_url":
                raise DataError(f"recording {row.get('track_id')!r} has no {field.name!r}; fill the column")
            values[field.name] = text
        for name in ("start_seconds", "seconds"):
            try:
                values[name] = float(values[name])
            except ValueError:
                raise DataError(
                    f"recording {row.get('track_id')!r}: {name} is {values[name]!r}, expected a number"
                ) from None
        return cls(**values)  # type: ignore[arg-type]


def read_table(path: Path) -> tuple[Recording, ...]:
    """Read the table of recordings.

    Raises:
        DataError: There is no such table, or a row of it is not complete.
    """
    if not path.is_file():
        raise DataError(f"no table of recordings at {str(path)!r}")
    with path.open(newline="", encoding="utf-8") as handle:
        return tuple(Recording.from_row(row) for row in csv.DictReader(handle))


def read_source(packages: Path, recording: Recording) -> bytes:
    """Read the file that a recording is cut from.

    Args:
        packages: Folder with one folder per unpacked package.
        recording: What to look for.

    Raises:
        UnreadableAudioError: The file is not there.
        DataError: It is another file than the pinned one.
    """
    outer, _, inner = recording.source_path.partition("!")
    path = packages / recording.package / outer
    try:
        if inner:
            with zipfile.ZipFile(path) as archive:
                content = archive.read(inner)
        else:
            content = path.read_bytes()
    except (OSError, KeyError, zipfile.BadZipFile):
        raise UnreadableAudioError(
            path,
            f"{recording.source_path!r} of {recording.package} {recording.package_version} is not there; unpack the "
            f"package into {str(packages / recording.package)!r} (dpkg-deb -x)",
        ) from None
    found = hashlib.sha256(content).hexdigest()
    if found != recording.source_sha256:
        raise DataError(
            f"{recording.source_path!r} of {recording.package} has SHA-256 {found}, expected "
            f"{recording.source_sha256}; take version {recording.package_version} of the package"
        )
    return content


def cut(content: bytes, start_seconds: float, seconds: float) -> Float32[np.ndarray, "samples channels"]:
    """Decode one part of a file, at 48 kHz, faded in and out.

    Raises:
        DataError: The part reaches beyond the end of the file.
    """
    with soundfile.SoundFile(io.BytesIO(content)) as source:
        rate = source.samplerate
        first, count = round(start_seconds * rate), round(seconds * rate)
        if first + count > source.frames:
            raise DataError(
                f"the part from {start_seconds} s to {start_seconds + seconds} s reaches beyond the end of the file, "
                f"which is {source.frames / rate:.2f} s long"
            )
        # Decoding from the start: a seek in a compressed file need not give the samples that playing it gives.
        samples = source.read(first + count, dtype="float32", always_2d=True)[first:]
    resampled: Float32[np.ndarray, "samples channels"] = soxr.resample(samples, rate, SAMPLE_RATE, quality="VHQ")
    ramp = np.linspace(0.0, 1.0, round(FADE_SECONDS * SAMPLE_RATE), dtype=np.float32)[:, None]
    resampled[: len(ramp)] *= ramp
    resampled[-len(ramp) :] *= ramp[::-1]
    return resampled


def encode(samples: Float32[np.ndarray, "samples channels"], tags: Mapping[str, str]) -> bytes:
    """Encode samples as Ogg Opus; the same samples and tags always give the same bytes."""
    layout = {1: "mono", 2: "stereo"}[samples.shape[1]]
    buffer = io.BytesIO()
    # "bitexact" keeps random stream numbers and version strings out of the file.
    with av.open(buffer, "w", format="ogg", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libopus", rate=SAMPLE_RATE, layout=layout)
        stream.bit_rate = BIT_RATE
        container.metadata.update(tags)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate = SAMPLE_RATE
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return buffer.getvalue()


def source_credit(recording: Recording) -> str:
    """Say in one sentence what the recording was taken from and what was changed."""
    end = recording.start_seconds + recording.seconds
    return (
        f"Excerpt ({recording.start_seconds:g} s to {end:g} s, encoded again) of {recording.title!r} by "
        f"{recording.author}, from {recording.game}"
    )


def write_recording(packages: Path, folder: Path, recording: Recording) -> int:
    """Cut, encode and write one recording; gives the size of its file in bytes."""
    samples = cut(read_source(packages, recording), recording.start_seconds, recording.seconds)
    tags = {
        "title": recording.title,
        "artist": recording.author,
        "license": recording.licence_url,
        "description": f"{source_credit(recording)}. {recording.licence}.",
    }
    content = encode(samples, tags)
    (folder / recording.path).write_bytes(content)
    return len(content)


def credits_page(recordings: Sequence[Recording]) -> str:
    """Give the credits as Markdown, one section a recording."""
    parts = [CREDITS_HEAD]
    for recording in recordings:
        author = f"{recording.author}, <{recording.author_url}>" if recording.author_url else recording.author
        end = recording.start_seconds + recording.seconds
        source = recording.source_path.replace("!", "`, in it `")
        parts.append(
            f"## {recording.title} (`{recording.path}`)\n\n"
            f"- Author: {author}\n"
            f"- Licence: [{recording.licence}]({recording.licence_url})\n"
            f"- From: {recording.game}; Debian package `{recording.package}` {recording.package_version}, "
            f"file `{source}`\n"
            f"- Part taken: {recording.start_seconds:g} s to {end:g} s; changes: as above\n"
            f"- Licence stated in: {recording.evidence}\n"
            f"- In the game: {recording.context}; expected: {', '.join(recording.expected.split(';'))}\n"
        )
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script.

    Args:
        arguments: Command-line arguments without the program's name; None takes those of the process.

    Returns:
        The exit code: 0, or 2 where something is missing or wrong.
    """
    parser = argparse.ArgumentParser(description="Cut the example recordings and write their credits.")
    parser.add_argument("--packages", type=Path, help="folder of unpacked packages; without it only the credits")
    parser.add_argument("--table", type=Path, default=TABLE, help="the table of recordings (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        recordings = read_table(options.table)
        (options.table.parent / "CREDITS.md").write_text(credits_page(recordings), encoding="utf-8")
        if options.packages is not None:
            total = 0
            for recording in recordings:
                size = write_recording(options.packages, options.table.parent, recording)
                sys.stderr.write(f"{recording.path}: {recording.seconds:g} s, {size / 1e3:.0f} kB\n")
                total += size
            sys.stderr.write(f"{len(recordings)} recordings, {total / 1e6:.2f} MB\n")
    except MoodbookError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
