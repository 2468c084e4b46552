"""Files that cannot be read: the type and the words of each error."""

from __future__ import annotations

import io
import os
import random
import re
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from moodbook import audio
from moodbook.audio.files import open_file
from moodbook.errors import AudioError, EmptyAudioError, InvalidSamplesError, UnreadableAudioError

AudioFiles = Callable[..., Path]
PARTIAL = "Re-encode it; `moodbook tag --allow-partial` (allow_partial=True) takes what is before that."


def error_of(path: Path, kind: type[AudioError]) -> str:
    """The reason that `load` gives; every other way in gives the same."""
    with pytest.raises(AudioError) as caught:
        audio.load(path)
    assert type(caught.value) is kind
    assert str(caught.value) == f"cannot read {str(path)!r}: {caught.value.reason}"
    return caught.value.reason


def truncated(audio_files: AudioFiles, tmp_path: Path, kind: str, share: float) -> Path:
    data = audio_files(kind).read_bytes()
    path = tmp_path / f"half.{kind}"
    path.write_bytes(data[: int(len(data) * share)])
    return path


class TestNoFile:
    def test_missing(self, tmp_path: Path) -> None:
        assert error_of(tmp_path / "no.mp3", UnreadableAudioError) == "there is no such file. Check the name."
        assert error_of(tmp_path / "a\0b", UnreadableAudioError).endswith("Check the name.")
        assert "too long" in error_of(tmp_path / ("x" * 300), UnreadableAudioError)

    def test_dangling_link(self, tmp_path: Path) -> None:
        link = tmp_path / "link.mp3"
        link.symlink_to(tmp_path / "gone.mp3")
        assert error_of(link, UnreadableAudioError) == "it is a link to a file that does not exist. Check the name."

    def test_folder(self, tmp_path: Path) -> None:
        assert error_of(tmp_path, UnreadableAudioError) == "it is a folder. Name a file in it."

    def test_empty(self, tmp_path: Path) -> None:
        (tmp_path / "a.wav").touch()
        expected = "the file is empty (0 bytes). Copy or download it again."
        assert error_of(tmp_path / "a.wav", EmptyAudioError) == expected

    def test_named_pipe_is_not_opened(self, tmp_path: Path) -> None:
        # An open would wait for a writer for ever; the test would hang.
        os.mkfifo(tmp_path / "pipe.mp3")
        expected = "it is a named pipe, not a file. Save the audio to a file first."
        assert error_of(tmp_path / "pipe.mp3", UnreadableAudioError) == expected
        with pytest.raises(UnreadableAudioError, match="named pipe"):
            audio.probe(tmp_path / "pipe.mp3")

    def test_a_pipe_that_takes_the_place_of_a_file_is_refused_too(
        self, tmp_path: Path, audio_files: AudioFiles, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        os.mkfifo(tmp_path / "pipe.mp3")
        status = audio_files("wav").stat()
        monkeypatch.setattr(Path, "stat", lambda self: status)
        with pytest.raises(UnreadableAudioError, match="named pipe"):
            open_file(tmp_path / "pipe.mp3")

    def test_socket_and_device(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)  # The name of a socket is short.
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("s.mp3")
            assert error_of(Path("s.mp3"), UnreadableAudioError).startswith("it is a socket, not a file.")
        assert error_of(Path("/dev/zero"), UnreadableAudioError).startswith("it is a device, not a file.")

    def test_permission(self, tmp_path: Path, audio_files: AudioFiles, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "secret.wav"
        path.write_bytes(audio_files("wav").read_bytes())
        path.chmod(0)
        if os.access(path, os.R_OK):  # The superuser may read everything.

            def refuse(*_: object) -> int:
                raise PermissionError(13, "Permission denied")

            monkeypatch.setattr(os, "open", refuse)
        expected = "permission denied. Make the file readable for this user."
        assert error_of(path, UnreadableAudioError) == expected

    def test_a_disk_that_fails(self, audio_files: AudioFiles, monkeypatch: pytest.MonkeyPatch) -> None:
        class FailingFile(io.FileIO):
            """A file that cannot be read behind a byte."""

            good = 0

            def read(self, size: int = -1) -> bytes:
                if self.tell() + size > self.good:
                    raise OSError(5, "Input/output error")
                return super().read(size)

            def readinto(self, buffer: memoryview) -> int:
                data = self.read(len(buffer))
                buffer[: len(data)] = data
                return len(data)

        def open_failing(path: Path) -> FailingFile:
            return FailingFile(path)

        monkeypatch.setattr("moodbook.audio.decode.open_file", open_failing)
        path = audio_files("wav", seconds=27.0)
        FailingFile.good = int(0.6 * path.stat().st_size)
        assert re.fullmatch(
            rf"damaged \(Input/output error\) after 16\.\d s of 27\.0 s\. {re.escape(PARTIAL)}",
            error_of(path, UnreadableAudioError),
        )
        # The index of an m4a stands at its end, the page that closes an Ogg file too.
        for kind in ("m4a", "opus"):
            path = audio_files(kind)
            for share in (0.0, 0.6):
                FailingFile.good = int(share * path.stat().st_size)
                expected = "Input/output error. Check the disk or the network folder."
                assert error_of(path, UnreadableAudioError) == expected


class TestNoAudio:
    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"<!DOCTYPE html><html>404", "it is a web page, not audio. Download the recording itself."),
            (b"\xef\xbb\xbf \n<HTML><body>", "it is a web page, not audio. Download the recording itself."),
            (b"PK\x03\x04\x14\x00", "it is a zip archive. Unpack it first."),
            (b"\x7fELF\x02\x01\x01", "it is a program (ELF), not audio."),
            (b"%PDF-1.7", "it is a PDF document, not audio."),
            (b"\x89PNG\r\n\x1a\n", "it is a picture (PNG), not audio."),
            (b"\xff\xd8\xff\xe0", "it is a picture (JPEG), not audio."),
            (b"MThd\x00\x00", "it is a MIDI file: notes, not sound. Render it to audio first."),
            (b"#EXTM3U\nhttp://example.org/a.mp3\n", "it is a playlist. Name the files that it lists."),
        ],
    )
    def test_other_files(self, tmp_path: Path, data: bytes, reason: str) -> None:
        path = tmp_path / "song.mp3"
        path.write_bytes(data + b" " * 500)
        assert error_of(path, UnreadableAudioError) == reason

    def test_unknown_bytes(self, tmp_path: Path) -> None:
        path = tmp_path / "song.mp3"
        path.write_bytes(b"just some words, more of them" * 50)
        expected = (
            "its bytes (6a 75 73 74 20 73 6f 6d ...) are no audio that Moodbook knows: wav, flac, ogg, opus, mp3, "
            "aiff, au, caf, m4a, aac, wma, wavpack, ape, webm. Convert it to one of them."
        )
        assert error_of(path, UnreadableAudioError) == expected

    def test_random_bytes_are_no_mp3(self, tmp_path: Path) -> None:
        path = tmp_path / "song.mp3"
        for seed in range(20):
            path.write_bytes(random.Random(seed).randbytes(100_000))
            assert "are no audio that Moodbook knows" in error_of(path, UnreadableAudioError)

    def test_zeros(self, tmp_path: Path) -> None:
        path = tmp_path / "song.mp3"
        path.write_bytes(bytes(10_000))
        expected = "it begins with zeros only, not with audio. Copy or download it again."
        assert error_of(path, UnreadableAudioError) == expected

    def test_tags_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "song.mp3"
        path.write_bytes(b"ID3\x04\x00\x00\x00\x00\x10\x00" + bytes(2048))
        expected = "it holds ID3 tags and no audio. Copy or download it again."
        assert error_of(path, EmptyAudioError) == expected

    def test_no_samples(self, tmp_path: Path) -> None:
        path = tmp_path / "none.wav"
        soundfile.write(path, np.zeros(0), 44_100)
        assert error_of(path, EmptyAudioError) == "it holds no audio sample. Copy or download it again."

    def test_a_playlist_inside_a_known_container_reaches_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "list.ts"
        path.write_bytes(b"ffconcat version 1.0\nfile /etc/passwd\n")
        assert "are no audio that Moodbook knows" in error_of(path, UnreadableAudioError)


class TestBadHeaders:
    def test_absurd_rate(self, tmp_path: Path) -> None:
        path = tmp_path / "slow.wav"
        soundfile.write(path, np.zeros(100), 999)
        expected = "its header says 999 samples a second; expected 1000 to 768000. Re-encode it."
        assert error_of(path, UnreadableAudioError) == expected

    def test_absurd_channels(self, tmp_path: Path) -> None:
        path = tmp_path / "many.wav"
        soundfile.write(path, np.zeros((100, 65)), 44_100)
        expected = "its header says 65 channels; expected 1 to 64. Re-encode it."
        assert error_of(path, UnreadableAudioError) == expected

    def test_a_header_and_nothing_else(self, tmp_path: Path, audio_files: AudioFiles) -> None:
        for kind, size in (("flac", 20), ("ogg", 100), ("m4a", 40), ("wma", 60)):
            path = tmp_path / kind
            path.write_bytes(audio_files(kind).read_bytes()[:size])
            reason = error_of(path, UnreadableAudioError)
            assert re.fullmatch(r"damaged or truncated \S+( vorbis)? file \(.+\)\. Copy or download it again\.", reason)

    def test_an_mp4_without_its_index(self, tmp_path: Path, audio_files: AudioFiles) -> None:
        path = truncated(audio_files, tmp_path, "m4a", 0.5)
        expected = (
            "damaged or truncated mp4 file (FFmpeg: Invalid data found when processing input). "
            "Copy or download it again."
        )
        assert error_of(path, UnreadableAudioError) == expected

    def test_a_video_without_sound(self, tmp_path: Path) -> None:
        import av

        path = tmp_path / "silent.mp4"
        with av.open(str(path), "w", format="mp4") as output:
            stream = output.add_stream("mpeg4", rate=5)
            stream.width = stream.height = 16
            stream.pix_fmt = "yuv420p"
            output.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
            output.mux(stream.encode(None))
        expected = "damaged or truncated mp4 file (it has no audio track). Copy or download it again."
        assert error_of(path, UnreadableAudioError) == expected


class TestTruncation:
    @pytest.mark.parametrize(
        ("kind", "after", "of"),
        [
            ("wav", "1.5 s", " of 3.0 s"),
            ("wav-24", "1.5 s", " of 3.0 s"),
            ("wav-adpcm", "1.5 s", " of 3.0 s"),
            ("rf64", "1.5 s", " of 3.0 s"),
            ("w64", "1.5 s", " of 3.0 s"),
            ("aiff", "1.5 s", " of 3.0 s"),
            ("au", "1.5 s", " of 3.0 s"),
            ("caf", "1.5 s", " of 3.0 s"),
            ("flac", r"1\.[3-6] s", " of 3.0 s"),
            ("mp3", r"1\.[45] s", " of 3.0 s"),
            ("ogg", r"1\.\d s", ""),
            ("opus", r"\d\.\d s", ""),
            ("oga-flac", r"1\.\d s", r"( of \d\.\d s)?"),
            ("wavpack", r"1\.\d s", " of 3.0 s"),
            ("tta", r"1\.\d s", " of 3.0 s"),
            ("mka", r"1\.\d s", " of 3.0 s"),
            ("wma", r"1\.\d s", r" of \d\.\d s"),
            ("webm", r"1\.\d s", " of 3.0 s"),
        ],
    )
    def test_says_how_much_there_was(
        self, audio_files: AudioFiles, tmp_path: Path, kind: str, after: str, of: str
    ) -> None:
        path = truncated(audio_files, tmp_path, kind, 0.5)
        reason = error_of(path, UnreadableAudioError)
        assert re.fullmatch(rf"truncated after {after}{of}\. {re.escape(PARTIAL)}", reason)
        part = audio.load(path, allow_partial=True)
        seconds = float(re.search(r"after (\d+\.\d)", reason)[1])
        assert len(part) / 22_050 == pytest.approx(seconds, abs=0.06)
        whole = audio.load(audio_files(kind))
        # The last block of a codec lacks its overlap, and the resampler what came next.
        length = len(part) - 3_000
        np.testing.assert_allclose(part[:length], whole[:length], atol=1e-3, rtol=0)
        assert np.array_equal(np.concatenate(list(audio.stream(path, allow_partial=True))), part)

    @pytest.mark.parametrize("kind", ["aac", "ac3"])
    def test_raw_streams_promise_nothing(self, audio_files: AudioFiles, tmp_path: Path, kind: str) -> None:
        assert 1 < len(audio.load(truncated(audio_files, tmp_path, kind, 0.5), allow_partial=True)) / 22_050 < 2

    def test_a_wav_header_that_promises_everything_and_holds_nothing(
        self, audio_files: AudioFiles, tmp_path: Path
    ) -> None:
        path = tmp_path / "head.wav"
        path.write_bytes(audio_files("wav").read_bytes()[:44])
        assert error_of(path, UnreadableAudioError) == f"truncated after 0.0 s. {PARTIAL}"
        with pytest.raises(EmptyAudioError, match="it holds no audio sample"):
            audio.load(path, allow_partial=True)

    @pytest.mark.parametrize(
        ("kind", "behind", "size"),
        [
            ("wav", b"data", "ffffffff"),
            ("wav", b"data", "00f0ff7f"),
            ("au", b".snd\x00\x00\x00\x18", "ffffffff"),
            ("caf", b"data", "ffffffffffffffff"),
        ],
    )
    def test_a_file_written_to_a_pipe_promises_nothing(
        self, audio_files: AudioFiles, tmp_path: Path, kind: str, behind: bytes, size: str
    ) -> None:
        data = bytearray(audio_files(kind).read_bytes())
        place = data.index(behind) + len(behind)
        data[place : place + len(size) // 2] = bytes.fromhex(size)
        path = tmp_path / "pipe"
        path.write_bytes(data)
        assert np.array_equal(audio.load(path), audio.load(audio_files(kind)))
        path.write_bytes(data[: len(data) // 2])
        assert len(audio.load(path)) / 22_050 == pytest.approx(1.5, abs=0.05)

    @pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "ogg", "wavpack"])
    def test_the_parts_before_the_end_are_readable(self, audio_files: AudioFiles, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "half"
        data = audio_files(kind, seconds=27.0).read_bytes()
        path.write_bytes(data[: len(data) // 2])
        part = audio.load(path, start_seconds=7.5, duration_seconds=1.0)
        whole = audio.load(audio_files(kind, seconds=27.0))
        np.testing.assert_allclose(part, whole[165_375 : 165_375 + 22_050], atol=1e-3, rtol=0)

    def test_first_segment_of_a_truncated_file(self, audio_files: AudioFiles, tmp_path: Path) -> None:
        path = truncated(audio_files, tmp_path, "flac", 0.5)
        with pytest.raises(UnreadableAudioError, match=r"truncated after 1\.\d s of 3\.0 s"):
            audio.load_first_segment(path)
        assert len(audio.load_first_segment(path, allow_partial=True)) > 22_050


class TestDamage:
    def test_says_where(self, audio_files: AudioFiles, tmp_path: Path) -> None:
        data = bytearray(audio_files("flac", seconds=27.0).read_bytes())
        middle = len(data) // 2
        data[middle : middle + 20_000] = random.Random(1).randbytes(20_000)
        path = tmp_path / "damaged.flac"
        path.write_bytes(data)
        reason = error_of(path, UnreadableAudioError)
        assert re.fullmatch(rf"damaged \(libsndfile: .*\) after 1[34]\.\d s of 27\.0 s\. {re.escape(PARTIAL)}", reason)
        good = audio.load(path, allow_partial=True)
        assert len(good) > 12 * 22_050
        whole = audio.load(audio_files("flac", seconds=27.0))
        np.testing.assert_allclose(good[:-1_000], whole[: len(good) - 1_000], atol=1e-6, rtol=0)

    @pytest.mark.parametrize(
        ("value", "word"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf"), (1e30, r"1\.\d*e\+30")]
    )
    @pytest.mark.parametrize("channels", [1, 2])
    def test_samples_that_are_no_sound(self, tmp_path: Path, value: float, word: str, channels: int) -> None:
        samples = np.zeros((100_000, channels))
        samples[66_150, :] = value
        path = tmp_path / "bad.wav"
        soundfile.write(path, samples, 44_100, subtype="FLOAT")
        reason = error_of(path, InvalidSamplesError)
        assert re.fullmatch(
            rf"sample 66150 \(at 1\.5 s\) is {word}, no sound pressure; full scale is 1\. Repair or re-encode it\.",
            reason,
        )
        with pytest.raises(InvalidSamplesError):
            audio.load(path, allow_partial=True)
        assert len(audio.load(path, duration_seconds=0.5)) == 11_025

    def test_infinities_that_cancel_are_found(self, tmp_path: Path) -> None:
        path = tmp_path / "bad.wav"
        soundfile.write(path, np.array([[0, 0], [np.inf, -np.inf]]), 44_100, subtype="FLOAT")
        assert "sample 1 " in error_of(path, InvalidSamplesError)

    @pytest.mark.parametrize(
        "kind",
        ["wav", "aiff", "w64", "flac", "mp3", "ogg", "opus", "m4a", "wma", "wavpack", "caf", "au", "webm", "tta"],
    )
    def test_broken_files_give_numbers_or_an_audio_error(
        self, audio_files: AudioFiles, tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        source = audio_files(kind).read_bytes()
        path = tmp_path / "song"
        for seed in range(12):
            rng = random.Random(f"{kind} {seed}")
            data = bytearray(source)
            shape = seed % 4
            if shape == 0:
                del data[rng.randrange(1, len(data)) :]
            elif shape == 1:
                for _ in range(rng.choice((1, 20, 300))):
                    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            elif shape == 2:
                for _ in range(8):
                    data[rng.randrange(min(120, len(data)))] = rng.randrange(256)
            else:
                place = rng.randrange(len(data))
                del data[place : place + rng.randrange(1, 20_000)]
            path.write_bytes(data)
            for partial in (False, True):
                error, waveform = None, np.zeros(0)
                try:
                    waveform = audio.load(path, allow_partial=partial)
                except AudioError as caught:
                    error = caught
                assert np.isfinite(waveform).all()
                assert len(waveform) or error.reason.endswith(".")
        assert "Exception ignored" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "x.w64",
            bytes.fromhex("726966662e91cf11a5d628db04c10000")
            + (200).to_bytes(8, "little")
            + bytes.fromhex("77617665f3acd3118cd100c04f8edb8a666d7420f3acd3118cd100c04f8edb8a")
            + (2**64 - 8).to_bytes(8, "little")
            + bytes(100),
        ),
        ("x.caf", b"caff\0\1\0\0desc" + (2**63 - 20).to_bytes(8, "big") + bytes(200)),
    ],
)
def test_a_chunk_longer_than_any_file_is_damage(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableAudioError, match="damaged or truncated"):
        audio.load(tmp_path / name)
