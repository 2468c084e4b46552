"""Real music in every container that is written to, with everything in its tags that a collector has."""

from __future__ import annotations

import base64
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path

import av
import mutagen
import numpy as np
import pytest
import soundfile
import soxr
from mutagen.aiff import AIFF
from mutagen.asf import ASF, ASFByteArrayAttribute
from mutagen.flac import FLAC, Picture
from mutagen.id3 import APIC, CHAP, COMM, CTOC, GEOB, ID3, PRIV, TALB, TDRC, TIT2, TPE1, TXXX, TYER, UFID, Frame
from mutagen.mp4 import MP4, MP4Cover, MP4FreeForm
from mutagen.wave import WAVE

from moodbook import audio
from moodbook.features import SAMPLE_RATE
from moodbook.library.filetags.hearing import Listener

RECORDINGS = Path(__file__).parents[3] / "examples" / "recordings"
KINDS = {  # Name: ending, PyAV's container and codec, or soundfile's.
    "mp3-2.4": (".mp3", "mp3", "libmp3lame"),
    "mp3-2.3": (".mp3", "mp3", "libmp3lame"),
    "flac": (".flac", "FLAC", "PCM_16"),
    "vorbis": (".ogg", "OGG", "VORBIS"),
    "opus": (".opus", "ogg", "libopus"),
    "ogg-flac": (".oga", "ogg", "flac"),
    "aac": (".m4a", "ipod", "aac"),
    "alac": (".m4a", "ipod", "alac"),
    "wma": (".wma", "asf", "wmav2"),
    "wav": (".wav", "WAV", "PCM_16"),
    "aiff": (".aiff", "AIFF", "PCM_16"),
    "wavpack": (".wv", "wv", "wavpack"),
}


def art(size: int) -> bytes:
    """A picture that no decoder looks into."""
    rng = np.random.default_rng(size)
    return b"\x89PNG\r\n\x1a\n" + rng.integers(0, 256, size, dtype=np.uint8).tobytes()


def encode(path: Path, kind: str, waveform: np.ndarray) -> Path:
    """Write stereo music at 48 kHz."""
    _, container, codec = KINDS[kind]
    samples = np.stack([waveform, waveform[::-1]], axis=1).astype(np.float32)
    if container.isupper():
        with soundfile.SoundFile(path, "w", 48_000, 2, subtype=codec, format=container) as sound:
            for start in range(0, len(samples), 16_384):
                sound.write(samples[start : start + 16_384])
        return path
    options = {"id3v2_version": "0"} if container == "mp3" else {}
    with av.open(str(path), "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=48_000, layout="stereo")
        if codec == "wavpack":
            stream.format = "s16p"
        if codec == "wmav2":
            stream.bit_rate = 128_000
        if container == "ipod":
            seconds = Fraction(1)
            output.set_chapters(
                [
                    {"id": n, "start": n, "end": n + 1, "time_base": seconds, "metadata": {"title": f"Part {n}"}}
                    for n in range(3)
                ]
            )
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout="stereo")
        frame.sample_rate = 48_000
        resampler = av.AudioResampler(
            format=stream.format, layout="stereo", rate=48_000, frame_size=stream.frame_size or 1024
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(part))
        output.mux([packet for packet in stream.encode(None) if packet.size])
    return path


def id3_frames(version: int, picture: bytes) -> list[Frame]:
    """Frames of every sort, with what mutagen would write differently of its own accord."""
    frames = [
        TIT2(encoding=1, text="Ein Stück"),
        TPE1(encoding=0, text=["One", "Two"]),
        TALB(encoding=2 if version == 4 else 1, text="Album"),
        TXXX(encoding=0, desc="replaygain_track_gain", text="-3.2 dB"),
        TXXX(encoding=1, desc="Stimmung", text="keine"),
        COMM(encoding=1, lang="deu", desc="", text="Ein Kommentar"),
        UFID(owner="http://musicbrainz.org", data=b"1234"),
        PRIV(owner="example", data=bytes(range(256))),
        GEOB(encoding=0, mime="application/x", filename="f", desc="d", data=b"\xff\0\xff\xe0" * 50),
        CHAP(element_id="c1", start_time=0, end_time=900, sub_frames=[TIT2(encoding=3, text="First")]),
        CTOC(element_id="toc", flags=3, child_element_ids=["c1"], sub_frames=[]),
        TYER(encoding=0, text="1999") if version == 3 else TDRC(encoding=3, text="1999-05"),
    ]
    if picture:
        frames.append(APIC(encoding=0, mime="image/png", type=3, desc="front", data=picture))
    return frames


def tag_id3(tags: ID3, version: int, picture: bytes) -> None:
    for frame in id3_frames(version, picture):
        tags.add(frame)


def append_unknown_frame(path: Path) -> bytes:
    """Put a frame that no program knows behind the last one of an mp3's tag, where its padding begins."""
    frame = b"XMBX" + struct.pack(">IH", 20, 0) + b"\0what is this\xff\0\xff\xfb.."
    data = bytearray(path.read_bytes())
    tags = ID3(path, known_frames={}, translate=False, load_v1=False)
    end = tags.size - tags._padding
    data[end : end + len(frame)] = frame
    path.write_bytes(data)
    return frame


def tag_richly(path: Path, kind: str, picture: bytes) -> None:
    """Fill a file with tags, art and chapters."""
    comments = {
        "TITLE": ["Ein Stück"],
        "artist": ["One", "Two"],
        "CHAPTER001": ["00:00:00.000"],
        "CHAPTER001NAME": ["First"],
        "REPLAYGAIN_TRACK_GAIN": ["-3.2 dB"],
    }
    if kind.startswith("mp3"):
        version = int(kind[-1])
        tags = ID3()
        tag_id3(tags, version, picture)
        tags.save(path, v1=2, v2_version=version, padding=lambda info: 300)
        append_unknown_frame(path)
    elif kind in ("wav", "aiff"):
        if kind == "wav":
            with path.open("ab") as file:
                file.write(b"LIST" + struct.pack("<I", 4 + 8 + 8) + b"INFOINAM" + struct.pack("<I", 8) + b"A name\0\0")
                file.write(b"cue " + struct.pack("<I", 4) + bytes(4))
                size = file.tell() - 8
            with path.open("r+b") as file:
                file.seek(4)
                file.write(struct.pack("<I", size))
        sound = (WAVE if kind == "wav" else AIFF)(path)
        sound.add_tags()
        tag_id3(sound.tags, 4, picture)
        sound.save()
    elif kind in ("aac", "alac"):
        sound = MP4(path)
        sound["\xa9nam"] = "Ein Stück"
        sound["\xa9ART"] = ["One", "Two"]
        sound["trkn"] = [(3, 12)]
        sound["----:com.apple.iTunes:REPLAYGAIN"] = MP4FreeForm(b"-3.2 dB")
        if picture:
            sound["covr"] = [MP4Cover(picture, MP4Cover.FORMAT_PNG)]
        sound.save()
        add_mp4_genre_number(path)
    elif kind == "wma":
        sound = ASF(path)
        sound["Title"] = "Ein Stück"
        sound["WM/TrackNumber"] = 3
        sound["WM/AlbumTitle"] = ["Album", "Another"]
        sound["IsVBR"] = True
        if picture:
            sound["WM/Picture"] = ASFByteArrayAttribute(b"\3" + struct.pack("<I", len(picture)) + bytes(4) + picture)
        sound.save()
    elif kind == "wavpack":
        sound = mutagen.File(path)
        sound["Title"] = "Ein Stück"
        sound["Artist"] = ["One", "Two"]
        if picture:
            sound["Cover Art (Front)"] = mutagen.apev2.APEValue(b"f.png\0" + picture, mutagen.apev2.BINARY)
        sound.save()
        with path.open("ab") as file:
            file.write(b"TAG" + b"Ein St\xfcck".ljust(125, b"\0"))
    else:
        sound = mutagen.File(path)
        for name, values in comments.items():
            sound[name] = values
        front = Picture()
        front.type, front.mime, front.data = 3, "image/png", picture
        if isinstance(sound, FLAC):
            sound.add_picture(front)
            sound.metadata_blocks.append(mutagen.flac.MetadataBlock(b"appl" + bytes(40)))
            sound.metadata_blocks[-1].code = 2
        elif picture:
            sound["metadata_block_picture"] = base64.b64encode(front.write()).decode()
        sound.save()


def add_mp4_genre_number(path: Path) -> None:
    """Put the genre in as a number, as iTunes did; mutagen would make a text of it."""
    tags = mutagen.mp4.MP4Tags()
    whole = MP4(path).tags
    for key, value in whole.items():
        tags[key] = value
    tags._failed_atoms["gnre"] = [struct.pack(">I4sII", 18, b"data", 0, 0) + struct.pack(">H", 18)]
    tags.save(path)


@pytest.fixture(scope="session")
def bare_files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give three seconds of a real recording in a container, without tags."""
    folder = tmp_path_factory.mktemp("bare")
    made: dict[str, Path] = {}
    recordings = sorted(RECORDINGS.glob("*.opus"))

    def make(kind: str) -> Path:
        if kind not in made:
            recording = recordings[list(KINDS).index(kind) % len(recordings)]
            waveform = audio.load(recording, start_seconds=5.0, duration_seconds=3.0)
            waveform = soxr.resample(waveform, SAMPLE_RATE, 48_000)
            made[kind] = encode(folder / f"{kind}{KINDS[kind][0]}", kind, waveform)
        return made[kind]

    return make


@pytest.fixture
def music_file(bare_files: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """Give a fresh file of a kind with rich tags: `music_file("flac")`."""

    def make(
        kind: str, name: str | None = None, *, folder: Path = tmp_path, rich: bool = True, art_bytes: int = 60_000
    ) -> Path:
        path = folder / (name or f"{kind}{KINDS[kind][0]}")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bare_files(kind), path)
        if rich:
            tag_richly(path, kind, art(art_bytes) if art_bytes else b"")
        return path

    return make


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A folder for journals."""
    return tmp_path / "journal"


@pytest.fixture(scope="session")
def listener() -> Iterator[Listener]:
    """One worker for all tests: starting it takes longer than writing a file."""
    with Listener() as made:
        yield made


@pytest.fixture(autouse=True)
def _heard_by_one(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moodbook.library.filetags.apply.Listener", lambda: nullcontext(listener))
