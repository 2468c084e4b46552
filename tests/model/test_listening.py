from __future__ import annotations

import itertools
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from moodbook import audio
from moodbook.errors import UnreadableAudioError
from moodbook.features import DEFAULT_FEATURES, segments
from moodbook.model import listening
from moodbook.model.listening import SEGMENTS_AT_A_TIME, Heard, Hearing, listen_ahead

HEARING = Hearing(DEFAULT_FEATURES)


def pieces(paths, decoders: int, **options: object) -> list[Heard]:
    with closing(listen_ahead(paths, HEARING, decoders, **options)) as groups:
        return [piece for group in groups for piece in group]


@pytest.mark.parametrize("decoders", [1, 2, 4])
def test_files_and_their_segments_come_in_order(write_music, decoders):
    paths = [write_music(f"{seconds}.wav", seconds, seed=seconds) for seconds in (100, 5, 30, 80, 3, 60)]

    heard = pieces(paths, decoders)

    assert [path for path, _ in itertools.groupby(heard, lambda piece: piece.path)] == paths
    for path in paths:
        *parts, end = [piece for piece in heard if piece.path == path]
        np.testing.assert_array_equal(
            np.concatenate([part.segments.log_mel for part in parts]), segments(audio.load(path)).log_mel
        )
        assert end.segments is None
        assert end.duration_seconds == float(path.stem)


def test_first_comes_word_that_the_threads_have_begun_and_then_no_group_is_empty_or_too_large(write_music):
    paths = [write_music(seconds=600), write_music("b.wav")]

    with closing(listen_ahead(paths, HEARING, 2)) as groups:
        assert next(groups) == []
        time.sleep(1)  # Plenty is ready.
        sizes = [len(group) for group in groups]

    assert min(sizes) >= 1
    assert max(sizes) <= SEGMENTS_AT_A_TIME


def test_a_file_is_not_decoded_far_ahead_of_who_asks(monkeypatch):
    given = itertools.count()
    chunk = np.zeros(22_050, dtype=np.float32)
    monkeypatch.setattr(listening.audio, "stream", lambda path, **_: (chunk for _ in iter(lambda: next(given), -1)))

    with closing(listen_ahead([Path(f"{number}.wav") for number in range(100)], HEARING, 2)) as groups:
        next(groups)
        time.sleep(1.5)
        seconds = next(given)

    # Two endless files, each with 16 segments in line and one in hand.
    assert seconds < 2 * 19 * 24


def test_files_are_decoded_at_the_same_time(monkeypatch):
    both = threading.Barrier(2)

    def stream(path: Path, **_: object):
        both.wait(timeout=30)  # One alone would wait for ever.
        yield np.zeros(22_050, dtype=np.float32)

    monkeypatch.setattr(listening.audio, "stream", stream)

    heard = pieces([Path("a.wav"), Path("b.wav")], 2)

    assert [piece.failure for piece in heard] == [None] * 4


def test_what_goes_wrong_is_said_or_raised(write_music, tmp_path):
    good = write_music(seconds=5)
    paths = [good, tmp_path / "absent.wav", good]

    ends = [piece for piece in pieces(paths, 2) if piece.segments is None]

    assert [end.failure is None for end in ends] == [True, False, True]
    with pytest.raises(UnreadableAudioError, match=r"there is no such file"):
        pieces(paths, 2, strict=True)
    assert [thread for thread in threading.enumerate() if thread.name == "moodbook-decode"] == []


@pytest.mark.parametrize("decoders", [1, 3])
def test_an_error_in_the_list_comes_after_what_stood_before_it(write_music, decoders):
    good = write_music(seconds=5)

    def paths():
        yield good
        yield good
        raise KeyError("no such folder")

    found: list[Heard] = []
    groups = listen_ahead(paths(), HEARING, decoders)
    with pytest.raises(KeyError, match="no such folder"):
        found.extend(piece for group in groups for piece in group)

    assert [piece.path for piece in found] == [good] * 4


def test_nobody_who_leaves_is_waited_for(write_music):
    paths = [write_music(seconds=600)] * 50

    groups = listen_ahead(paths, HEARING, 4)
    next(groups)
    next(groups)
    groups.close()

    assert [thread for thread in threading.enumerate() if thread.name == "moodbook-decode"] == []
