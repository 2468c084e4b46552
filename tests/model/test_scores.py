from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moodbook.model.scores import TagFailure, TagScores, TagStrength, path_fields, pool, printable
from moodbook.tags import TagSet

SCORES = TagScores(
    path=Path("a/song.mp3"),
    tags=TagSet(("calm", "dark", "epic")),
    probabilities=np.array([0.25, 0.75, 0.5], dtype=np.float32),
    decisions=np.array([True, True, False]),
    taggram=np.array([[0.1, 0.8, 0.3], [0.4, 0.7, 0.7]], dtype=np.float32),
    music=None,
    embedding=None,
    filled=np.array([1.0, 0.5], dtype=np.float32),
    segment_seconds=23.777,
    duration_seconds=35.5,
    padded=False,
    note="",
    model_name="tiny",
    model_sha256="ab" * 32,
    precision="f32",
)


def test_the_strongest_come_first():
    assert SCORES.top(2) == (TagStrength("dark", 0.75, True), TagStrength("epic", 0.5, False))
    assert [strength.tag for strength in SCORES.top()] == ["dark", "epic", "calm"]
    assert len(SCORES.top(10)) == 3


def test_equals_keep_the_order_of_the_model():
    even = replace(SCORES, probabilities=np.full(3, 0.5, dtype=np.float32))

    assert [strength.tag for strength in even.top()] == ["calm", "dark", "epic"]


def test_the_record_is_this():
    assert json.dumps(SCORES.to_dict()) == json.dumps(
        {
            "path": str(Path("a/song.mp3")),
            "duration_seconds": 35.5,
            "padded": False,
            "note": "",
            "music": None,
            "decided": ["calm", "dark"],
            "probabilities": {"calm": 0.25, "dark": 0.75, "epic": 0.5},
            "segment_seconds": 23.777,
            "filled": [1.0, 0.5],
            "taggram": {"calm": [0.1, 0.4], "dark": [0.8, 0.7], "epic": [0.3, 0.7]},
            "model": "tiny",
            "model_sha256": "ab" * 32,
            "precision": "f32",
        }
    )


def test_the_record_of_the_strongest_holds_them_alone():
    record = SCORES.to_dict(top=2)

    assert list(record["probabilities"]) == list(record["taggram"]) == ["dark", "epic"]


def test_what_is_decided_does_not_depend_on_how_much_is_shown():
    for top in (1, 2, 3, None):
        assert SCORES.to_dict(top)["decided"] == ["calm", "dark"]


def test_an_unknown_duration_is_null():
    assert replace(SCORES, duration_seconds=None).to_dict()["duration_seconds"] is None


def test_segments_count_by_their_music():
    taggram = np.array([[0.0, 1.0], [1.0, 0.0]], dtype=np.float32)

    np.testing.assert_allclose(pool(taggram, np.array([1.0, 0.25], dtype=np.float32)), [0.2, 0.8])
    np.testing.assert_array_equal(pool(taggram[:1], np.array([0.1], dtype=np.float32)), taggram[0])


@pytest.mark.skipif(os.name != "posix", reason="only POSIX names are bytes")
@given(st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name))
def test_any_name_gives_valid_unicode_and_can_be_got_back(raw):
    fields = path_fields(Path(os.fsdecode(raw)))

    fields["path"].encode("utf-8")
    encoded = fields.get("path_bytes")
    again = fields["path"].encode() if encoded is None else unquote_to_bytes(encoded)
    assert again == os.fsencode(Path(os.fsdecode(raw)))


@pytest.mark.skipif(os.name != "posix", reason="only POSIX names are bytes")
def test_a_stray_byte_is_written_out():
    assert path_fields(Path(os.fsdecode(b"caf\xe9 \xc3\xa9.mp3"))) == {
        "path": "caf\\xe9 é.mp3",
        "path_bytes": "caf%E9%20%C3%A9.mp3",
    }


def test_control_characters_do_not_reach_a_terminal():
    assert printable("a\nb\x1b[31mc\u2028\x9b") == "a\\x0ab\\x1b[31mc\\x2028\\x9b"
    assert printable("Ænima – 音楽") == "Ænima – 音楽"
    assert TagFailure(Path("x"), "bad \udcff byte").to_dict() == {"path": "x", "error": "bad \\xff byte"}
