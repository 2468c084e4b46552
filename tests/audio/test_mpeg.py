"""MPEG frames and tags, and the three kinds of sound mp3 files that libsndfile alone cuts short or refuses."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from moodbook import audio
from moodbook.audio import edges, mpeg

AudioFiles = Callable[..., Path]


def read_stream(data: bytes) -> mpeg.MpegStream:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        start = edges.skip_id3(file)
        first = mpeg.find_first_frame(data[start : start + 65_536])
        return mpeg.read_stream(file, start + first, len(data))


class TestHeaders:
    @pytest.mark.parametrize(
        ("bytes_", "expected"),
        [
            ("fffb9064", (1, 3, 44_100, 2, 417, 1152)),  # MPEG-1 layer 3, 128 kbit/s.
            ("fffb9264", (1, 3, 44_100, 2, 418, 1152)),  # The same, padded.
            ("fffbe4c4", (1, 3, 48_000, 1, 960, 1152)),  # 320 kbit/s, one channel.
            ("fff384c4", (2, 3, 24_000, 1, 192, 576)),  # MPEG-2, 64 kbit/s.
            ("ffe318c4", (3, 3, 8_000, 1, 72, 576)),  # MPEG-2.5, 8 kbit/s.
            ("fffdc004", (1, 2, 44_100, 2, 835, 1152)),  # Layer 2, 256 kbit/s.
            ("ffff1000", (1, 1, 44_100, 2, 32, 384)),  # Layer 1, 32 kbit/s.
        ],
    )
    def test_fields(self, bytes_: str, expected: tuple[int, ...]) -> None:
        header = mpeg.parse_header(bytes.fromhex(bytes_), 0)
        assert (
            header.version,
            header.layer,
            header.sample_rate,
            header.channels,
            header.length,
            header.samples,
        ) == expected

    @pytest.mark.parametrize("bytes_", ["fffb0064", "fffbf064", "fffb9c64", "ffeb9064", "fff99064", "fe000000", "fffb"])
    def test_no_header(self, bytes_: str) -> None:
        assert mpeg.parse_header(bytes.fromhex(bytes_), 0) is None

    def test_a_lone_header_is_no_stream(self) -> None:
        frame = bytes.fromhex("fffb9064") + bytes(413)
        assert mpeg.find_first_frame(frame * 2) == 0
        assert mpeg.find_first_frame(frame) is None
        assert mpeg.find_first_frame(b"junk" + frame * 2) is None
        assert mpeg.find_first_frame(b"junk" + frame * 4) == 4

    def test_every_frame_is_counted(self, audio_files: AudioFiles) -> None:
        stream = read_stream(audio_files("mp3").read_bytes())
        with audio_files("mp3").open("rb") as file:
            # The frame that holds the header counts too.
            assert mpeg.count_samples(file, stream) == 1152 * (stream.declared_frames + 1)


class TestTags:
    def test_the_audio_ends_before_them(self, audio_files: AudioFiles, ape_tag: bytes) -> None:
        data = audio_files("mp3").read_bytes()
        id3v1 = b"TAG" + bytes(125)
        lyrics = b"LYRICSBEGIN" + b"x" * 50 + b"000061LYRICS200"
        for tail in (b"", id3v1, ape_tag, lyrics + id3v1, ape_tag + id3v1, bytes(200_000), b"junk" * 700, b"\0" * 20):
            assert read_stream(data + tail).end == len(data)

    def test_half_a_frame_at_the_end_is_left_out(self, audio_files: AudioFiles) -> None:
        data = audio_files("mp3").read_bytes()
        ends = {read_stream(data[:size]).end for size in range(len(data) - 300, len(data))}
        assert all(end < len(data) for end in ends)
        assert len(ends) <= 2


class TestFilesThatLibsndfileAloneCutsShort:
    def test_variable_rate_without_a_header(self, mp3_without_header: Path) -> None:
        assert soundfile.info(mp3_without_header).duration < 3
        waveform = audio.load(mp3_without_header)
        assert len(waveform) / 22_050 == pytest.approx(10, abs=0.1)
        with av.open(str(mp3_without_header)) as container:
            frames = sum(frame.samples for frame in container.decode(audio=0))
        assert audio.probe(mp3_without_header).duration_seconds == pytest.approx(frames / 44_100)
        assert audio.probe(mp3_without_header, count=False).duration_seconds is None
        samples, _ = soundfile.read(mp3_without_header, dtype="float32")
        head = audio.load(mp3_without_header, duration_seconds=1.5)
        np.testing.assert_allclose(head[:30_000], samples.mean(axis=1)[:60_000:2], atol=0.5, rtol=0)
        late = audio.load(mp3_without_header, start_seconds=7.0)
        np.testing.assert_allclose(late, waveform[7 * 22_050 :], atol=1e-3, rtol=0)

    def test_a_tag_behind_a_file_without_a_header(
        self, mp3_without_header: Path, tmp_path: Path, ape_tag: bytes
    ) -> None:
        for tail in (ape_tag, ape_tag + b"TAG" + bytes(125), bytes(5_000)):
            path = tmp_path / "tagged.mp3"
            path.write_bytes(mp3_without_header.read_bytes() + tail)
            assert np.array_equal(audio.load(path), audio.load(mp3_without_header))

    def test_joined_files(self, audio_files: AudioFiles, tmp_path: Path) -> None:
        one = audio_files("mp3", seconds=27.0).read_bytes()
        path = tmp_path / "joined.mp3"
        path.write_bytes(one + one)
        assert soundfile.info(path).duration == 27
        waveform = audio.load(path)
        assert len(waveform) / 22_050 == pytest.approx(54, abs=0.1)
        assert audio.probe(path).duration_seconds == pytest.approx(54, abs=0.2)
        single = audio.load(audio_files("mp3", seconds=27.0))
        np.testing.assert_allclose(waveform[: len(single) - 500], single[:-500], atol=1e-3, rtol=0)

    @pytest.mark.parametrize("head", [b"\0" * 3_000, b"noise" * 77])
    def test_junk_in_front(self, audio_files: AudioFiles, tmp_path: Path, head: bytes) -> None:
        path = tmp_path / "junk.mp3"
        path.write_bytes(head + audio_files("mp3").read_bytes())
        assert np.array_equal(audio.load(path), audio.load(audio_files("mp3")))

    def test_the_decoder_says_nothing_on_standard_error(
        self,
        audio_files: AudioFiles,
        mp3_without_header: Path,
        tmp_path: Path,
        ape_tag: bytes,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        path = tmp_path / "song.mp3"
        for data in (audio_files("mp3").read_bytes(), mp3_without_header.read_bytes()):
            for version in (data[: len(data) // 2], data + ape_tag, data + bytes(4_000), bytes(4_000) + data):
                path.write_bytes(version)
                assert len(audio.load(path, allow_partial=True))
        assert capfd.readouterr().err == ""


def test_mpeg_layer_2(tmp_path: Path) -> None:
    path = tmp_path / "song.mp2"
    samples = np.sin(np.arange(3 * 44_100) * (2 * np.pi * 440 / 44_100)).astype(np.float32)[None] * [[0.5], [0.5]]
    with av.open(str(path), "w", format="mp2") as output:
        stream = output.add_stream("mp2", rate=44_100, layout="stereo")
        frame = av.AudioFrame.from_ndarray(samples.astype(np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 44_100
        resampler = av.AudioResampler(format="s16", layout="stereo", rate=44_100, frame_size=1152)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    info = audio.probe(path)
    assert (info.container, info.codec) == ("mp3", "mp2")
    waveform = audio.load(path)
    assert len(waveform) / 22_050 == pytest.approx(3, abs=0.05)
    assert np.abs(waveform[5_000:60_000]).max() == pytest.approx(0.5, abs=0.02)
