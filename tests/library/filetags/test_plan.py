"""Plans: which words, what is skipped, and the document."""

from __future__ import annotations

import errno
import json
import os
import shutil
import struct
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from mutagen.apev2 import APEv2
from mutagen.asf import ASF
from mutagen.flac import FLAC
from mutagen.id3 import ID3, TIT2, TMOO
from mutagen.mp4 import MP4, MP4FreeForm

from moodbook.errors import DataError, PlanError
from moodbook.library.filetags import (
    Proposal,
    Skipped,
    build_plan,
    check_early,
    load_plan,
    moods,
    propose,
    read_words,
    save_plan,
)
from moodbook.library.metadata import read_metadata
from moodbook.model.scores import TagFailure, TagScores
from moodbook.tags import TagSet

MusicFile = Callable[..., Path]


def scores_of(path: Path) -> TagScores:
    probabilities = np.array([0.2, 0.9, 0.6, 0.7], dtype=np.float32)
    return TagScores(
        path=path,
        tags=TagSet(("calm", "dark", "epic", "fast")),
        probabilities=probabilities,
        decisions=np.array([True, True, False, False]),
        music=None,
        embedding=None,
        taggram=probabilities[None],
        filled=np.ones(1, dtype=np.float32),
        segment_seconds=23.8,
        duration_seconds=23.8,
        padded=False,
        note="",
        model_name="tiny",
        model_sha256="0" * 64,
        precision="f32",
    )


def proposal(path: Path, *words: str) -> Proposal:
    return Proposal(path, words, {"calm": 0.5}, "tiny", "0" * 64)


class TestWords:
    @pytest.mark.parametrize(
        ("choice", "words"),
        [
            ({}, ("dark", "calm")),
            ({"top": 3}, ("dark", "fast", "epic")),
            ({"minimum": 0.65}, ("dark", "fast")),
            ({"minimum": 0.65, "top": 1}, ("dark",)),
            ({"minimum": 0.95}, ()),
            ({"words": {"dark": "gloomy", "calm": ""}}, ("gloomy",)),
            ({"words": {"dark": "calm"}}, ("calm",)),
            ({"words": {"dark": "Calm"}}, ("Calm",)),
        ],
    )
    def test_which(self, choice: dict, words: tuple[str, ...]) -> None:
        made = propose(scores_of(Path("a")), **choice)
        assert made.words == words
        assert list(made.scores) == ["calm", "dark", "epic", "fast"]

    @pytest.mark.parametrize("choice", [{}, {"top": 3}, {"minimum": 0.65}])
    def test_what_is_no_music_has_no_mood(self, choice: dict, music_file: MusicFile) -> None:
        heard = replace(scores_of(music_file("flac")), music=0.1, decisions=np.zeros(4, dtype=bool))
        (skipped,) = build_plan([propose(heard, **choice)], "overwrite").skipped
        assert skipped.reason == "no music is heard in it: silence, noise or speech"

    def test_the_owners_words(self, tmp_path: Path) -> None:
        path = tmp_path / "words.toml"
        path.write_text('dark = "gloomy "\n"calm" = ""\n', encoding="utf-8")
        assert read_words(path, ("calm", "dark")) == {"dark": "gloomy", "calm": ""}

    def test_a_vocabulary_by_name(self) -> None:
        assert read_words("mediaeval", ("calming", "dark", "eerie")) == {"calming": "calm", "dark": "dark", "eerie": ""}

    def test_a_file_called_like_a_vocabulary(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        Path("allmusic").write_text('dark = "pitch"', encoding="utf-8")
        assert read_words("./allmusic", ("dark",)) == {"dark": "pitch"}
        assert read_words("allmusic", ("dark",)) == {"dark": "gloomy"}

    def test_the_strongest_are_chosen_of_those_that_have_a_word(self) -> None:
        said = propose(scores_of(Path("a")), top=2, words={"dark": "", "fast": "quick"})
        assert said.words == ("quick", "epic")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('drak = "x"', "the model does not know 'drak'; it knows calm, dark"),
            ("dark = 3", "expected a word of up to 100 characters for 'dark'"),
            ('dark = "a\\nb"', "expected a word of up to 100 characters for 'dark'"),
            (f'dark = "{"a" * 70_000}"', "expected a word of up to 100 characters for 'dark', .{1,200}$"),
            ("dark", "is no TOML file of lines like"),
            (b"\xff\xfe", "is no TOML file of lines like"),
        ],
    )
    def test_words_that_cannot_be_meant(self, tmp_path: Path, text: str | bytes, message: str) -> None:
        path = tmp_path / "words.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(DataError, match=message):
            read_words(path, ("calm", "dark"))

    def test_words_that_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(
            DataError, match=r"No such file or directory\. Name a file, or a vocabulary: mediaeval, all"
        ):
            read_words(tmp_path / "no.toml", ("calm",))


class TestPolicies:
    @pytest.fixture
    def path(self, music_file: MusicFile) -> Path:
        path = music_file("flac")
        sound = FLAC(path)
        sound["mood"] = ["Dark", "old"]
        sound.save()
        return path

    def test_empty_keeps_what_is_there(self, path: Path) -> None:
        plan = build_plan([proposal(path, "calm")])
        assert plan.skipped == [Skipped(path, ["Dark", "old"], "it has a mood already")]
        assert not plan.tasks

    def test_merge_adds_what_is_new(self, path: Path) -> None:
        (task,) = build_plan([proposal(path, "dark", "calm")], "merge").tasks
        assert moods(task.after) == ["Dark", "old", "calm"]
        assert set(task.after) == {"mood", "MOODBOOK_SCORES"}

    def test_overwrite_replaces(self, path: Path) -> None:
        (task,) = build_plan([proposal(path, "calm")], "overwrite").tasks
        assert moods(task.after) == ["calm"]
        assert task.before == {"mood": ["Dark", "old"]}

    @pytest.mark.parametrize("kind", ["mp3 with an APE tag", "mp3 with two ID3 tags", "flac behind an ID3 tag"])
    def test_a_mood_in_another_tag_of_the_file_is_seen(self, kind: str, music_file: MusicFile) -> None:
        path = music_file("flac" if kind.startswith("flac") else "mp3-2.4", rich=False)
        sound = path.read_bytes()
        if "APE" in kind:
            tags = APEv2()
            tags["mood"] = ["owner's", "own"]
            tags.save(path)
        else:
            head = BytesIO()
            tags = ID3()
            tags.add(TMOO(encoding=3, text=["owner's", "own"]))
            tags.save(head)
            empty = b"ID3\x04\0\0\0\0\0\x10" + bytes(16) if "two" in kind else b""
            path.write_bytes(empty + head.getvalue() + sound)
        data = path.read_bytes()

        expected = Skipped(
            path, ["owner's", "own"], "it has a mood already, in another tag than the one that Moodbook writes"
        )
        assert build_plan([proposal(path, "calm")]).skipped == [expected]
        assert check_early(path, "empty") == expected
        for policy in ("merge", "overwrite"):
            (failure,) = build_plan([proposal(path, "calm")], policy).failures
            assert "it has a mood (owner's, own) in another tag" in failure.reason
            assert check_early(path, policy) == failure
        assert path.read_bytes() == data

    @pytest.mark.parametrize(("kind", "order"), [("wav", "<"), ("aiff", ">")])
    def test_a_mood_in_a_second_chunk_is_seen(self, kind: str, order: str, music_file: MusicFile) -> None:
        path = music_file(kind, rich=False)
        chunks = b""
        for words in ([], ["owner's", "own"]):
            tag = BytesIO()
            frames = ID3()
            frames.add(TIT2(encoding=3, text=["x"]))
            if words:
                frames.add(TMOO(encoding=3, text=words))
            frames.save(tag)
            content = tag.getvalue() + bytes(len(tag.getvalue()) % 2)
            chunks += (b"id3 " if kind == "wav" else b"ID3 ") + struct.pack(f"{order}I", len(content)) + content
        data = path.read_bytes() + chunks
        path.write_bytes(data[:4] + struct.pack(f"{order}I", len(data) - 8) + data[8:])

        (skipped,) = build_plan([proposal(path, "calm")]).skipped
        assert skipped.moods == ["owner's", "own"]
        (failure,) = build_plan([proposal(path, "calm")], "overwrite").failures
        assert "in another tag" in failure.reason

    def test_a_mood_in_a_field_of_another_program_is_seen(self, music_file: MusicFile) -> None:
        m4a, wma = music_file("aac"), music_file("wma")
        atoms = MP4(m4a)
        atoms["----:org.example:Mood"] = [MP4FreeForm(b"owner's"), MP4FreeForm(b"own")]
        atoms["----:org.example:moody"] = [MP4FreeForm(b"no mood")]
        atoms.save()
        attributes = ASF(wma)
        attributes["Mood"] = ["owner's", "own"]
        attributes.save()
        plan = build_plan([proposal(m4a, "calm"), proposal(wma, "calm")])
        assert [skipped.moods for skipped in plan.skipped] == [["owner's", "own"]] * 2
        plan = build_plan([proposal(m4a, "calm"), proposal(wma, "calm")], "overwrite")
        assert all("in another tag" in failure.reason for failure in plan.failures)
        assert len(plan.failures) == 2

    def test_other_tags_that_say_no_mood_are_no_hindrance(self, music_file: MusicFile) -> None:
        path = music_file("mp3-2.4")
        tags = APEv2()
        tags["Title"] = "x"
        tags.save(path)
        assert build_plan([proposal(path, "calm")]).tasks

    def test_a_tag_of_which_nobody_knows_what_it_says_is_a_hindrance(self, music_file: MusicFile) -> None:
        path = music_file("mp3-2.4")
        footer = b"APETAGEX" + struct.pack("<IIII", 2000, 9_000, 5, 0) + bytes(8)
        path.write_bytes(path.read_bytes() + footer)
        (failure,) = build_plan([proposal(path, "calm")]).failures
        assert "Repair" in failure.reason

    def test_no_word_is_no_reason_to_write(self, path: Path, music_file: MusicFile) -> None:
        plan = build_plan([proposal(path), proposal(music_file("opus"))], "overwrite")
        assert [skipped.reason for skipped in plan.skipped] == ["no word to write is strong enough for it"] * 2

    def test_what_needs_no_listening(self, path: Path, music_file: MusicFile, tmp_path: Path) -> None:
        assert check_early(path, "empty") == Skipped(path, ["Dark", "old"], "it has a mood already")
        assert check_early(path, "merge") is None
        assert check_early(music_file("opus"), "empty") is None
        assert isinstance(check_early(tmp_path / "no.mp3", "empty"), TagFailure)

    def test_a_file_of_several_names_is_written_once(self, path: Path, tmp_path: Path) -> None:
        (tmp_path / "link.flac").symlink_to(path)
        names = [path, path, tmp_path / "x" / ".." / path.name, tmp_path / "link.flac"]
        (tmp_path / "x").mkdir()
        plan = build_plan([proposal(name, "dark") for name in names], "overwrite")
        assert [task.path for task in plan.tasks] == [path]
        assert [skipped.path for skipped in plan.skipped] == names[1:]
        assert {skipped.reason for skipped in plan.skipped} == {"it is the same file as one before it"}

    def test_what_was_said_before_is_handed_through(self, path: Path) -> None:
        failure, skipped = TagFailure(path, "bad"), Skipped(path, [], "why")
        plan = build_plan([failure, skipped])
        assert (plan.failures, plan.skipped, plan.tasks) == ([failure], [skipped], [])


class TestDocument:
    def test_it_comes_back_as_it_was(self, music_file: MusicFile, tmp_path: Path) -> None:
        name = os.fsdecode(b"caf\xe9.flac") if sys.platform == "linux" else "caf\u00e9.flac"
        path = tmp_path / name
        shutil.copy(music_file("flac"), path)
        plan = build_plan(
            [proposal(path, "träumerisch"), TagFailure(Path("x\udcff.mp3"), "bad \x1b"), Skipped(path, ["a"], "why")],
            "merge",
        )
        save_plan(plan, tmp_path / "plan.json")
        json.loads((tmp_path / "plan.json").read_text("utf-8"))
        again = load_plan(tmp_path / "plan.json")
        assert (again.tasks, again.skipped, again.policy) == (plan.tasks, plan.skipped, "merge")
        assert again.failures == [TagFailure(Path("x\udcff.mp3"), r"bad \x1b")]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"version": 2}, "version"),
            ({"kind": "playlist"}, "kind"),
            ({"files": [{}]}, "files.0.path"),
            ({"extra": 1}, "extra"),
            ({"files": 3}, "files"),
        ],
    )
    def test_what_is_no_plan(self, tmp_path: Path, change: dict, message: str) -> None:
        document = {"kind": "moodbook plan", "version": 1, "created": "", "policy": "empty", "files": [], **change}
        (tmp_path / "plan.json").write_text(json.dumps(document))
        with pytest.raises(PlanError, match=rf"is no plan of version 1: {message}"):
            load_plan(tmp_path / "plan.json")

    @pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[" * 100_000, b"{}", b"null"])
    def test_what_is_no_document(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "plan.json").write_bytes(data)
        with pytest.raises(PlanError, match="is no plan of version 1"):
            load_plan(tmp_path / "plan.json")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"path": {}}, "names no file"),
            ({"path": {"path": "a\0b"}}, "names no file"),
            ({"path": {"path": "a", "shell": "rm"}}, "names no file"),
            ({"after": {str(n): ["x"] for n in range(9)}}, "more fields or values"),
            ({"after": {"MOOD": ["x"] * 1_001}}, "more fields or values"),
        ],
    )
    def test_files_that_cannot_be_meant(self, tmp_path: Path, change: dict, message: str) -> None:
        file = {
            "path": {"path": "a"},
            "size": 1,
            "mtime_ns": 1,
            "payload_sha256": "0" * 64,
            "before": {},
            "after": {},
            **change,
        }
        document = {"kind": "moodbook plan", "version": 1, "created": "", "policy": "empty", "files": [file]}
        (tmp_path / "plan.json").write_text(json.dumps(document))
        with pytest.raises(PlanError, match=message):
            load_plan(tmp_path / "plan.json")

    def test_a_file_that_stands_in_it_twice_or_would_stay_as_it_is(self, music_file: MusicFile, tmp_path: Path) -> None:
        saved = tmp_path / "plan.json"
        save_plan(build_plan([proposal(music_file("flac", f"{n}.flac"), "dark") for n in range(2)]), saved)
        document = json.loads(saved.read_text())
        document["files"].append({**document["files"][0], "after": {"MOOD": ["other"]}})
        document["files"][1]["after"] = document["files"][1]["before"]
        saved.write_text(json.dumps(document))
        plan = load_plan(saved)
        assert [(task.path.name, moods(task.after)) for task in plan.tasks] == [("0.flac", ["dark"])]
        assert [(skipped.path.name, skipped.reason) for skipped in plan.skipped] == [
            ("1.flac", "the plan writes nothing into it"),
            ("0.flac", "it is the same file as one before it"),
        ]

    def test_places_that_cannot_be_used(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(PlanError, match="No such file or directory"):
            load_plan(tmp_path / "no.json")

        def refuse(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(DataError, match="No space left on device"):
            save_plan(build_plan([]), tmp_path / "plan.json")
        assert list(tmp_path.iterdir()) == []


def packed_mood(version: int, content: bytes) -> bytes:
    """Make an ID3 tag with one compressed frame TXXX:mood."""
    packed = zlib.compress(b"\3mood\0" + content, 9)
    if version == 4:
        packed, flags = seven_bits(len(content) + 6) + packed, b"\0\x09"
    else:
        packed, flags = struct.pack(">I", len(content) + 6) + packed, b"\0\x80"
    length = seven_bits(len(packed)) if version == 4 else struct.pack(">I", len(packed))
    frame = b"TXXX" + length + flags + packed
    return b"ID3" + bytes([version, 0, 0]) + seven_bits(len(frame)) + frame


def seven_bits(size: int) -> bytes:
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("is_second", [False, True], ids=["own tag", "second tag"])
def test_a_frame_that_unpacks_to_gigabytes_is_not_unpacked(
    music_file: MusicFile, tmp_path: Path, version: int, is_second: bool
) -> None:
    music = music_file("mp3-2.4", rich=False).read_bytes()
    own = packed_mood(4, b"calm") if is_second else b""
    bomb = tmp_path / "bomb.mp3"
    bomb.write_bytes(own + packed_mood(version, b"a" * (64 << 20)) + music)
    good = music_file("flac", "good.flac")
    tracemalloc.start()

    for policy in ("empty", "overwrite"):
        plan = build_plan([proposal(bomb, "dark"), proposal(good, "dark")], policy)
        assert [task.path for task in plan.tasks] == [good]
        if is_second and policy == "empty":
            assert [skipped.moods for skipped in plan.skipped] == [["calm"]]
        else:
            assert "unpacks to more than 20 times its size" in plan.failures[0].reason
    assert read_metadata(bomb).moods == (("calm",) if is_second else ())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 32 << 20  # Half of what it holds.


@pytest.mark.parametrize("version", [3, 4])
def test_a_mood_in_a_compressed_frame_is_seen(music_file: MusicFile, tmp_path: Path, version: int) -> None:
    path = tmp_path / "packed.mp3"
    path.write_bytes(packed_mood(version, b"calm") + music_file("mp3-2.4", rich=False).read_bytes())
    assert [skipped.moods for skipped in build_plan([proposal(path, "dark")]).skipped] == [["calm"]]


def test_a_mood_that_is_no_words_is_refused(music_file: MusicFile) -> None:
    path = music_file("flac")
    song = FLAC(path)
    song["mood"] = ["word " * 20_000]
    song.save()
    (failure,) = build_plan([proposal(path, "dark")]).failures
    assert failure.reason.startswith("its mood is a text of 100,000 characters. Shorten or remove it")
    assert check_early(path, "empty") == failure


def test_words_that_would_make_a_mood_too_long_are_not_added(music_file: MusicFile) -> None:
    path = music_file("flac")
    song = FLAC(path)
    song["mood"] = ["x" * 65_533]
    song.save()
    assert not build_plan([proposal(path, "ice")], "merge").failures
    (failure,) = build_plan([proposal(path, "dark")], "merge").failures
    assert "a text of 65,537 characters" in failure.reason
