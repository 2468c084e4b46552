from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.datasets.synthetic import write_music

from moodbook import audio
from moodbook.datasets import Track
from moodbook.datasets.cache import CodeCache, FeatureCache, SkippedTrack
from moodbook.errors import DataError
from moodbook.features import SEGMENT_SECONDS, FeatureConfig, segments

CONFIG = FeatureConfig()


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six files: two segments, one and a bit, exactly short, garbage, empty, and one more."""
    folder = tmp_path_factory.mktemp("music")
    for name, seconds in (("long", 50.0), ("bit", 25.0), ("short", 6.0), ("last", 24.0)):
        write_music(folder / f"{name}.wav", seconds, ["calm", name], seed=len(name))
    (folder / "garbage.wav").write_bytes(b"<html>not found</html>" * 100)
    (folder / "empty.wav").write_bytes(b"")
    return folder


@pytest.fixture
def tracks(music: Path) -> tuple[Track, ...]:
    names = ("long", "garbage", "short", "bit", "empty", "missing", "last")
    return tuple(Track(name, music / f"{name}.wav") for name in names)


def test_rows_are_the_first_segments_in_float16(tracks: tuple[Track, ...], tmp_path: Path) -> None:
    cache = FeatureCache.build(tracks, tmp_path, CONFIG)
    assert cache.track_ids == ("long", "short", "bit", "last")
    assert cache.log_mel.shape == (4, 128, 1024)
    assert cache.log_mel.dtype == np.float16
    assert cache.segment_index.tolist() == [0, 0, 0, 0]
    for row, name in enumerate(cache.track_ids):
        path = next(track.path for track in tracks if track.track_id == name)
        expected = segments(audio.load(path), CONFIG, first_only=True)
        np.testing.assert_array_equal(cache.log_mel[row], expected.log_mel[0].astype(np.float16))
        assert cache.filled[row] == expected.filled[0]
    np.testing.assert_allclose(cache.filled, [1, 6 / SEGMENT_SECONDS, 1, 1], atol=2e-3)


def test_a_bad_file_is_skipped_with_its_reason(tracks: tuple[Track, ...], tmp_path: Path) -> None:
    skipped = FeatureCache.build(tracks, tmp_path, CONFIG).skipped
    assert [track_id for track_id, _ in skipped] == ["garbage", "empty", "missing"]
    assert all(reason and str(tmp_path) not in reason for _, reason in skipped)


def test_every_segment_of_a_track(tracks: tuple[Track, ...], tmp_path: Path) -> None:
    cache = FeatureCache.build(tracks, tmp_path, CONFIG, segments="all")
    assert cache.track_ids == ("long", "long", "long", "short", "bit", "bit", "last", "last")
    assert cache.segment_index.tolist() == [0, 1, 2, 0, 0, 1, 0, 1]
    expected = segments(audio.load(tracks[0].path), CONFIG)
    np.testing.assert_array_equal(cache.log_mel[:3], expected.log_mel.astype(np.float16))
    np.testing.assert_array_equal(cache.filled[:3], expected.filled)


def test_short_tracks_can_be_dropped(tracks: tuple[Track, ...], tmp_path: Path) -> None:
    cache = FeatureCache.build(tracks, tmp_path, CONFIG, short_tracks="drop")
    assert cache.track_ids == ("long", "bit", "last")
    assert SkippedTrack("short", "shorter than one segment (6.0 of 23.8 s)") in cache.skipped


def test_the_second_time_nothing_is_decoded(
    tracks: tuple[Track, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = FeatureCache.build(tracks, tmp_path, CONFIG)
    monkeypatch.setattr(audio, "load_first_segment", lambda path: pytest.fail("decoded again"))
    again = FeatureCache.build(tracks, tmp_path, CONFIG)
    assert again.folder == first.folder
    np.testing.assert_array_equal(again.log_mel, first.log_mel)
    assert (again.track_ids, again.skipped, again.key) == (first.track_ids, first.skipped, first.key)
    opened = FeatureCache.open(first.folder)
    np.testing.assert_array_equal(opened.filled, first.filled)


def test_other_tracks_files_or_options_are_another_cache(music: Path, tmp_path: Path) -> None:
    write_music(tmp_path / "one.wav", 3.0, ["calm"], seed=0)
    track = Track("one", tmp_path / "one.wav")
    other = Track("two", tmp_path / "one.wav")
    keys = {
        FeatureCache.build([track], tmp_path / "cache", CONFIG).key,
        FeatureCache.build([other], tmp_path / "cache", CONFIG).key,
        FeatureCache.build([track], tmp_path / "cache", FeatureConfig(center_padding="reflect")).key,
        FeatureCache.build([track], tmp_path / "cache", CONFIG, segments="all").key,
        FeatureCache.build([track], tmp_path / "cache", CONFIG, short_tracks="drop").key,
    }
    write_music(tmp_path / "one.wav", 4.0, ["calm"], seed=0)
    keys.add(FeatureCache.build([track], tmp_path / "cache", CONFIG).key)
    assert len(keys) == 6
    assert len(list((tmp_path / "cache").iterdir())) == 6


def test_labels_and_splits_do_not_matter_to_features(tracks: tuple[Track, ...], tmp_path: Path) -> None:
    key = FeatureCache.build(tracks[:1], tmp_path, CONFIG).key
    labelled = replace(tracks[0], tags=("calm",), split="test", group="g")
    assert FeatureCache.build([labelled], tmp_path, CONFIG).key == key


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "lock"}


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_result_does_not_depend_on_the_threads(tracks: tuple[Track, ...], tmp_path: Path, workers: int) -> None:
    one = FeatureCache.build(tracks, tmp_path / "one", CONFIG, segments="all", workers=1)
    many = FeatureCache.build(tracks, tmp_path / "many", CONFIG, segments="all", workers=workers)
    assert contents(one.folder) == contents(many.folder)


def test_progress_counts_the_tracks(tracks: tuple[Track, ...], tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    FeatureCache.build(tracks, tmp_path, CONFIG, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 7) for done in range(8)]


def test_an_interrupted_build_goes_on(
    tracks: tuple[Track, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StopError(Exception):
        pass

    def stop_at_four(done: int, total: int) -> None:
        if done == 4:
            raise StopError

    with pytest.raises(StopError):
        FeatureCache.build(tracks, tmp_path / "broken", CONFIG, progress=stop_at_four)
    decoded: list[str] = []
    real = audio.load_first_segment
    monkeypatch.setattr(audio, "load_first_segment", lambda path: decoded.append(path.stem) or real(path))
    broken = FeatureCache.build(tracks, tmp_path / "broken", CONFIG, workers=1)
    assert decoded == ["empty", "missing", "last"]
    unbroken = FeatureCache.build(tracks, tmp_path / "unbroken", CONFIG)
    assert contents(broken.folder) == contents(unbroken.folder)


def test_a_damaged_cache_is_built_anew(tracks: tuple[Track, ...], tmp_path: Path) -> None:
    cache = FeatureCache.build(tracks, tmp_path, CONFIG)
    good = contents(cache.folder)
    rows = bytearray(good["rows.npy"])
    rows[-10] ^= 1
    del cache
    folder = next(tmp_path.iterdir())
    (folder / "rows.npy").write_bytes(rows)
    with pytest.raises(DataError, match="row 3 has another checksum"):
        FeatureCache.open(folder)
    FeatureCache.build(tracks, tmp_path, CONFIG)
    assert contents(folder) == good


def test_two_tracks_with_one_id_are_refused(tracks: tuple[Track, ...], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two tracks have the id 'long'"):
        FeatureCache.build([tracks[0], tracks[0]], tmp_path, CONFIG)


def test_no_room_is_said_before_the_work(
    tracks: tuple[Track, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moodbook.datasets.rowstore._DISK_RESERVE_BYTES", 10**18)
    monkeypatch.setattr(audio, "load_first_segment", lambda path: pytest.fail("decoded"))
    with pytest.raises(DataError, match="the feature cache of 7 tracks needs"):
        FeatureCache.build(tracks, tmp_path, CONFIG)


def test_no_tracks_at_all(tmp_path: Path) -> None:
    cache = FeatureCache.build([], tmp_path, CONFIG)
    assert cache.log_mel.shape == (0, 128, 1024)
    assert len(cache) == 0


KILLED = """
import sys
from pathlib import Path
from moodbook.datasets import Track
from moodbook.datasets.cache import FeatureCache
from moodbook.features import FeatureConfig

music, folder = Path(sys.argv[1]), Path(sys.argv[2])
tracks = [Track(path.stem, path) for path in sorted(music.iterdir())]
FeatureCache.build(tracks, folder, FeatureConfig(), segments="all")
"""


@pytest.mark.parametrize("kills", [2, pytest.param(40, marks=pytest.mark.slow)])
def test_killed_again_and_again_the_result_is_that_of_an_unbroken_build(tmp_path: Path, kills: int) -> None:
    """SIGKILL at a moment that moves through the build; each time the build is started again."""
    music = tmp_path / "music"
    for number in range(8):
        write_music(music / f"{number:02d}.wav", 30.0 + number, ["calm"], seed=number)
    (music / "05.wav").write_bytes(b"broken")
    command = [sys.executable, "-c", KILLED, str(music)]

    def begun(folder: Path) -> subprocess.Popen[bytes]:
        child = subprocess.Popen([*command, str(folder)])
        deadline = time.monotonic() + 30
        while child.poll() is None and not list(folder.glob("*/rows.*")) and time.monotonic() < deadline:
            time.sleep(0.005)
        return child

    # How long a whole build takes, once it has begun, says when to kill one: processors differ tenfold.
    child, start = begun(tmp_path / "unbroken"), time.monotonic()
    assert child.wait() == 0
    whole = time.monotonic() - start
    died = 0
    for number in range(kills):
        child = begun(tmp_path / "broken")
        time.sleep(whole * (number + 1) / (kills + 1))
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
        died += child.wait() == -signal.SIGKILL
    assert died > 0
    subprocess.run([*command, str(tmp_path / "broken")], check=True)
    (broken,), (unbroken,) = ((tmp_path / name).iterdir() for name in ("broken", "unbroken"))
    assert contents(broken) == contents(unbroken)


def test_two_processes_build_one_cache(tracks: tuple[Track, ...], tmp_path: Path) -> None:
    """The second waits for the first and then finds everything there."""
    built: list[FeatureCache] = []
    decoded: list[str] = []
    lock = threading.Lock()
    real = audio.load_first_segment

    def count(path: Path) -> object:
        with lock:
            decoded.append(path.stem)
        return real(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio, "load_first_segment", count)
        threads = [
            threading.Thread(target=lambda: built.append(FeatureCache.build(tracks, tmp_path, CONFIG)))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(built) == 2
    assert len(decoded) == len(tracks)


class Encoder:
    """Codes that depend on the segment alone; it counts what it encodes."""

    def __init__(self, bands: int = 4) -> None:
        self.bands = bands
        self.encoded = 0

    def __call__(self, log_mel: np.ndarray) -> np.ndarray:
        assert log_mel.dtype == np.float32
        self.encoded += len(log_mel)
        pooled = log_mel.reshape(len(log_mel), self.bands, 128 // self.bands, 512, 2).mean(axis=(2, 4))
        return (np.abs(pooled) * 1000).astype(np.int64)


@pytest.fixture
def features(tracks: tuple[Track, ...], tmp_path: Path) -> FeatureCache:
    return FeatureCache.build(tracks, tmp_path / "features", CONFIG, segments="all")


def build_codes(features: FeatureCache, folder: Path, encoder: Encoder, **options: object) -> CodeCache:
    options = {"weights_sha256": "w", "bands": encoder.bands, "batch_size": 3, **options}
    return CodeCache.build(features, folder, encoder, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("bands", [1, 4])
def test_codes_stand_row_for_row(features: FeatureCache, tmp_path: Path, bands: int) -> None:
    encoder = Encoder(bands)
    codes = build_codes(features, tmp_path, encoder)
    assert encoder.encoded == len(features) == 8
    assert codes.codes.shape == (8, bands, 512)
    assert codes.codes.dtype == np.int16
    np.testing.assert_array_equal(codes.codes, Encoder(bands)(np.asarray(features.log_mel, np.float32)))
    assert (codes.track_ids, codes.skipped) == (features.track_ids, features.skipped)
    np.testing.assert_array_equal(codes.filled, features.filled)
    np.testing.assert_array_equal(codes.segment_index, features.segment_index)
    again = build_codes(features, tmp_path, encoder)
    assert encoder.encoded == 8
    np.testing.assert_array_equal(again.codes, CodeCache.open(codes.folder).codes)


def test_other_weights_are_other_codes(features: FeatureCache, tmp_path: Path) -> None:
    encoder = Encoder()
    first = build_codes(features, tmp_path, encoder)
    second = build_codes(features, tmp_path, encoder, weights_sha256="v")
    assert first.folder != second.folder
    assert encoder.encoded == 16


def test_interrupted_encoding_goes_on(features: FeatureCache, tmp_path: Path) -> None:
    class FailingError(Exception):
        pass

    class Failing(Encoder):
        def __call__(self, log_mel: np.ndarray) -> np.ndarray:
            if self.encoded == 6:
                raise FailingError
            return super().__call__(log_mel)

    with pytest.raises(FailingError):
        build_codes(features, tmp_path / "broken", Failing())
    encoder = Encoder()
    broken = build_codes(features, tmp_path / "broken", encoder)
    assert encoder.encoded == 2
    unbroken = build_codes(features, tmp_path / "unbroken", Encoder())
    assert contents(broken.folder) == contents(unbroken.folder)


@pytest.mark.parametrize(
    ("codes", "reason"),
    [
        (np.zeros((8, 4, 511), np.int64), r"int64 of shape \(8, 4, 511\) for 8 segments, expected"),
        (np.zeros((8, 4, 512), np.float32), "float32 of shape"),
        (np.full((8, 4, 512), -1), "codes from -1 to -1, expected 0 to 32767"),
        (np.full((8, 4, 512), 32768), "codes from 32768"),
    ],
)
def test_an_encoder_that_gives_something_else_is_refused(
    features: FeatureCache, tmp_path: Path, codes: np.ndarray, reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        CodeCache.build(features, tmp_path, lambda batch: codes, weights_sha256="w", bands=4)


def test_one_kind_of_cache_is_not_opened_as_the_other(features: FeatureCache, tmp_path: Path) -> None:
    codes = build_codes(features, tmp_path, Encoder())
    with pytest.raises(DataError, match="holds 'log-mel', expected 'codes'"):
        CodeCache.open(features.folder)
    with pytest.raises(DataError, match="holds 'codes', expected 'log-mel'"):
        FeatureCache.open(codes.folder)


def test_memory_is_mapped_not_read(features: FeatureCache) -> None:
    assert isinstance(features.log_mel, np.memmap)
    assert Path(str(features.log_mel.filename)).samefile(features.folder / "rows.npy")
