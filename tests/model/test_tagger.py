from __future__ import annotations

import itertools
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from moodbook import audio
from moodbook.audio import mpeg
from moodbook.errors import AudioError, ModelError
from moodbook.features import SEGMENT_SECONDS, segments
from moodbook.model import listening
from moodbook.model.scores import TagFailure, TagScores, pool
from moodbook.model.tagger import Tagger
from moodbook.model.writers import JsonLinesWriter


@pytest.fixture(scope="module")
def tagger(tiny_bundle) -> Tagger:
    return Tagger(tiny_bundle)


def decode_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "moodbook-decode"]


def test_a_track_is_the_mean_of_its_segments(tagger, write_music):
    path = write_music(seconds=60)
    heard = segments(audio.load(path))

    scores = tagger(path)

    expected = tagger.engine.run(heard.log_mel).probabilities
    np.testing.assert_array_equal(scores.taggram, expected)
    np.testing.assert_array_equal(scores.filled, heard.filled)
    np.testing.assert_array_equal(scores.probabilities, pool(expected, heard.filled))
    np.testing.assert_array_equal(scores.decisions, scores.probabilities > 0.5)
    assert (scores.path, scores.tags.names) == (path, ("calm", "dark", "epic", "fast"))
    assert (scores.duration_seconds, scores.segment_seconds) == (60, SEGMENT_SECONDS)
    assert (scores.padded, scores.note) == (False, "")
    assert (scores.model_name, scores.model_sha256) == ("tiny", tagger.bundle.sha256)


def test_the_papers_way_hears_the_first_segment_alone(tagger, write_music):
    path = write_music(seconds=60)

    first = tagger(path, first_segment=True)

    np.testing.assert_array_equal(first.taggram, tagger(path).taggram[:1])
    np.testing.assert_array_equal(first.probabilities, first.taggram[0])
    assert first.duration_seconds == 60


def test_a_long_file_is_not_read_to_its_end_for_its_length(tagger, tmp_path):
    with_header = tmp_path / "song.mp3"
    soundfile.write(with_header, np.random.default_rng(0).normal(0, 0.1, 30 * 22_050), 22_050, format="MP3")
    data = with_header.read_bytes()
    start = mpeg.find_first_frame(data)
    (tmp_path / "bare.mp3").write_bytes(data[start + mpeg.parse_header(data, start).length :])

    assert tagger(with_header, first_segment=True).duration_seconds == pytest.approx(30, abs=0.1)
    assert tagger(tmp_path / "bare.mp3", first_segment=True).duration_seconds is None
    assert tagger(tmp_path / "bare.mp3").duration_seconds == pytest.approx(30, abs=0.1)


def test_an_empty_name_is_no_file(tagger):
    with pytest.raises(AudioError, match=r"cannot read '': the name is empty\. Name a file\."):
        tagger("")
    (failure,) = tagger.tag_files([""])
    assert failure.reason == "the name is empty. Name a file."


def test_a_short_track_is_padded_and_says_so(tagger, write_music):
    for first_segment in (False, True):
        scores = tagger(write_music(seconds=10), first_segment=first_segment)

        assert scores.padded
        assert scores.note == "shorter than the 23.8 s that the model hears at a time; the rest was silence"
        assert scores.filled[0] == pytest.approx(10 / SEGMENT_SECONDS, abs=2e-3)
        assert scores.duration_seconds == 10


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_a_tag_is_decided_strictly_above_its_threshold(make_bundle, write_music, threshold):
    scores = Tagger(make_bundle(thresholds=dict.fromkeys(("calm", "dark", "epic", "fast"), threshold)))(write_music())

    assert scores.decisions.all() == (threshold == 0.0)


def test_thresholds_go_by_name(make_bundle, write_music):
    thresholds = {"fast": 0.0, "epic": 1.0, "dark": 1.0, "calm": 1.0}

    scores = Tagger(make_bundle(thresholds=thresholds))(write_music())

    assert scores.to_dict()["decided"] == ["fast"]


def test_many_files_give_what_each_gives_alone_in_their_order(tagger, write_music):
    paths = [write_music(f"{seconds}.wav", seconds, seed=seconds) for seconds in (30, 5, 250, 24)]

    together = list(tagger.tag_files(paths))

    assert [scores.path for scores in together] == paths
    for scores, path in zip(together, paths, strict=True):
        assert scores.to_dict() == tagger(path).to_dict()


def test_one_bad_file_stops_nothing(tagger, write_music, tmp_path):
    good = write_music()
    (tmp_path / "not.mp3").write_text("<html>")
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "nan.wav", np.full(50_000, np.nan), 22_050, subtype="FLOAT")
    paths = [tmp_path / "not.mp3", good, tmp_path / "empty.wav", tmp_path / "absent.flac", tmp_path / "nan.wav", good]

    results = list(tagger.tag_files(paths))

    assert [result.path for result in results] == paths
    assert [isinstance(result, TagFailure) for result in results] == [True, False, True, True, True, False]
    assert all("cannot read" not in result.reason for result in results if isinstance(result, TagFailure))
    assert results[1].to_dict() == results[5].to_dict()
    with pytest.raises(AudioError):
        tagger(paths[0])


def test_a_file_that_breaks_late_is_a_failure_and_leaks_into_no_other(tagger, write_music, monkeypatch):
    path, good = write_music(seconds=300), write_music("good.wav")
    expected = tagger(good).to_dict()
    stream = audio.stream

    def breaks(name: Path, **options: object):
        chunks = stream(name, **options)
        yield from chunks if name == good else itertools.islice(chunks, 220)
        if name != good:
            raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(listening.audio, "stream", breaks)

    failure, scores = tagger.tag_files([path, good])

    assert failure == TagFailure(path, "unexpected RuntimeError: a mistake of ours")
    assert scores.to_dict() == expected


def test_a_failing_engine_fails_its_file_alone(make_bundle, write_music, monkeypatch):
    tagger = Tagger(make_bundle())
    paths = [write_music("before.wav"), write_music(seconds=250, seed=1), write_music("other.wav")]
    expected = [tagger(path).to_dict() for path in paths]
    third = segments(audio.load(paths[1])).log_mel[2]
    run = tagger.engine.run

    def fails_on_it(log_mel: np.ndarray):
        if (log_mel == third).all(axis=(1, 2)).any():
            raise MemoryError("too much")
        return run(log_mel)

    monkeypatch.setattr(tagger.engine, "run", fails_on_it)

    before, failure, after = tagger.tag_files(paths)

    assert failure == TagFailure(paths[1], "unexpected MemoryError: too much")
    assert [before.to_dict(), after.to_dict()] == [expected[0], expected[2]]


def test_results_come_as_files_are_done_and_the_rest_is_left_when_nobody_asks(tagger, write_music):
    path = write_music(seconds=5)
    asked = itertools.count()
    endless = (path for _ in iter(lambda: next(asked), -1))

    results = tagger.tag_files(endless)
    first = next(results)
    results.close()

    assert isinstance(first, TagScores)
    assert next(asked) < 30  # Read ahead, but not far.
    assert decode_threads() == []


def test_an_error_in_the_list_of_files_is_raised(tagger, write_music):
    def paths():
        yield write_music()
        raise KeyError("no such folder")

    results = tagger.tag_files(paths())

    assert isinstance(next(results), TagScores)
    with pytest.raises(KeyError, match="no such folder"):
        next(results)
    assert decode_threads() == []


def test_no_files_give_no_results(tagger):
    assert list(tagger.tag_files([])) == []


def peak_bytes(tagger: Tagger, minutes: int, monkeypatch: pytest.MonkeyPatch) -> int:
    chunk = np.random.default_rng(0).normal(0, 0.1, 22_050).astype(np.float32)
    monkeypatch.setattr(listening.audio, "stream", lambda path, **_: itertools.repeat(chunk, 60 * minutes))
    tracemalloc.start()
    try:
        scores = tagger("long.wav")
        assert scores.duration_seconds == 60 * minutes
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("minutes", [20, pytest.param(480, marks=pytest.mark.slow)])
def test_memory_is_flat_in_the_length_of_a_track(tagger, monkeypatch, minutes):
    short, long = (peak_bytes(tagger, length, monkeypatch) for length in (5, minutes))

    assert long - short < 5e6  # The segments of a quarter of an hour are 20 MB.
    assert long < 50e6


def test_loads_by_folder_and_says_what_is_missing(tiny_bundle, write_music):
    path = write_music()

    assert Tagger.load(tiny_bundle.folder)(path).to_dict() == Tagger(tiny_bundle)(path).to_dict()
    with pytest.raises(ModelError, match="there is no model 'nothing'"):
        Tagger.load("nothing")


@pytest.mark.parametrize(("files", "chunkings"), [(3, 10), pytest.param(20, 50, marks=pytest.mark.slow)])
def test_scores_depend_on_the_music_alone(tiny_bundle, write_music, tmp_path, monkeypatch, files, chunkings):
    paths = [write_music(f"{seed}.wav", 70, seed) for seed in range(files)]

    def listen(tagger: Tagger) -> tuple[list[TagScores], bytes]:
        found, lines = list(tagger.tag_files(paths)), tmp_path / "scores.jsonl"
        with lines.open("w", encoding="utf-8") as stream:
            writer = JsonLinesWriter(stream)
            for scores in found:
                writer.write(scores)
        return found, lines.read_bytes()

    reference, expected_lines = listen(Tagger(tiny_bundle))
    stream = audio.stream
    rng = np.random.default_rng(0)

    def cut_elsewhere(path: Path, **options: object):
        whole = np.concatenate(list(stream(path, **options)))
        cuts = np.sort(rng.integers(0, len(whole), 40))
        yield from (part for part in np.split(whole, cuts) if len(part))

    monkeypatch.setattr(listening.audio, "stream", cut_elsewhere)
    for threads in (1, 2):
        tagger = Tagger(tiny_bundle, threads=threads)
        for _ in range(chunkings):
            found, lines = listen(tagger)
            for scores, expected in zip(found, reference, strict=True):
                np.testing.assert_array_equal(scores.taggram, expected.taggram)
            assert lines == expected_lines
