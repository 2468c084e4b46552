"""How a file is replaced: what stays, what is refused."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import mutagen
import numpy as np
import pytest
from mutagen.flac import FLAC
from mutagen.id3 import ID3, TIT2

from moodbook import audio
from moodbook.errors import FileChangedError, TagError, UnsupportedTagsError
from moodbook.library.filetags import Proposal, build_plan, read_fields
from moodbook.library.filetags.exchange import exchange
from moodbook.library.filetags.hearing import Listener
from moodbook.library.filetags.rewrite import Rewrite, check_may_be_written, is_copy_name, new_copy_name, rewrite
from moodbook.library.filetags.wayback import WayBack
from moodbook.model.scores import TagFailure

MusicFile = Callable[..., Path]


def propose(path: Path, *words: str) -> Proposal:
    return Proposal(path, words or ("calm", "dark"), {"calm": 0.51234567, "dark": 0.4}, "macleod", "ab" * 32)


def task_of(path: Path) -> Rewrite:
    plan = build_plan([propose(path)])
    assert not plan.failures, plan.failures
    return plan.tasks[0]


def refusal(path: Path) -> str:
    """Why a plan does not take a file."""
    plan = build_plan([propose(path)])
    assert not plan.tasks
    (failure,) = plan.failures
    assert isinstance(failure, TagFailure)
    return failure.reason


def check_refusal(path: Path) -> str:
    """Why a file may not be written."""
    with pytest.raises(TagError) as caught:
        check_may_be_written(path)
    return caught.value.reason


def decoded_by_ffmpeg(path: Path) -> np.ndarray:
    """The samples that most players hear."""
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


def carry_out(task: Rewrite, *, touch: bool = False) -> None:
    with Listener() as listener:
        rewrite(task, new_copy_name(task.path), listener, touch=touch)
    assert [path for path in task.path.parent.iterdir() if is_copy_name(path)] == []


class TestWhatStays:
    def test_times_and_rights(self, music_file: MusicFile) -> None:
        path = music_file("flac")
        path.chmod(0o640)
        os.utime(path, ns=(1_000_000_000_123_456_789, 1_100_000_000_123_456_789))
        before = path.stat()

        carry_out(task_of(path))

        after = path.stat()
        assert after.st_mtime_ns == before.st_mtime_ns
        assert stat.S_IMODE(after.st_mode) == 0o640
        assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
        assert after.st_ino != before.st_ino

    def test_the_time_is_now_when_asked(self, music_file: MusicFile) -> None:
        path = music_file("flac")
        os.utime(path, ns=(1, 1))
        carry_out(task_of(path), touch=True)
        assert path.stat().st_mtime_ns > 1_000

    @pytest.mark.skipif(not hasattr(os, "setxattr"), reason="no extended attributes")
    def test_extended_attributes(self, music_file: MusicFile) -> None:
        path = music_file("flac")
        try:
            os.setxattr(path, "user.rating", b"five\0stars")
        except OSError:
            pytest.skip("the file system has none")
        carry_out(task_of(path))
        assert os.getxattr(path, "user.rating") == b"five\0stars"

    @pytest.mark.skipif(not hasattr(os, "setxattr"), reason="no extended attributes")
    def test_an_attribute_that_comes_by_itself_need_not_be_given(
        self, music_file: MusicFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "listxattr", lambda path: ["system.nfs4_acl"])
        monkeypatch.setattr(os, "getxattr", lambda path, name: b"x")
        monkeypatch.setattr(os, "setxattr", refuse)
        path = music_file("flac")
        carry_out(task_of(path))
        assert read_fields(path)["MOOD"] == ["calm", "dark"]

    @pytest.mark.skipif(not hasattr(os, "setxattr"), reason="no extended attributes")
    def test_an_attribute_that_cannot_be_kept_keeps_the_file(
        self, music_file: MusicFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = music_file("flac")
        task = task_of(path)
        data = path.read_bytes()

        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "listxattr", lambda path: ["security.selinux", "user.rating"])
        monkeypatch.setattr(os, "getxattr", lambda path, name: b"y" if is_copy_name(path) else b"x")
        monkeypatch.setattr(os, "setxattr", refuse)
        with pytest.raises(TagError, match=r"'user\.rating' cannot be kept"):
            carry_out(task)
        assert path.read_bytes() == data

    def test_a_file_system_without_attributes(self, music_file: MusicFile, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise OSError(errno.ENOTSUP, "Operation not supported")

        monkeypatch.setattr(os, "listxattr", refuse, raising=False)
        path = music_file("flac")
        carry_out(task_of(path))
        assert read_fields(path)["MOOD"] == ["calm", "dark"]

    def test_a_file_of_somebody_else(self, music_file: MusicFile, monkeypatch: pytest.MonkeyPatch) -> None:
        path = music_file("flac")
        task = task_of(path)
        data = path.read_bytes()

        def refuse(*_: object) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        real = Path.stat

        def stat_copy(self: Path, **keywords: bool) -> os.stat_result:
            found = real(self, **keywords)
            if not is_copy_name(self):
                return found
            return os.stat_result([*found[:4], found.st_uid + 1, *found[5:]])

        monkeypatch.setattr(os, "chown", refuse)
        monkeypatch.setattr(Path, "stat", stat_copy)
        with pytest.raises(TagError, match="belongs to another user or group"):
            carry_out(task)
        assert path.read_bytes() == data

    def test_a_link_goes_on_pointing(self, music_file: MusicFile, tmp_path: Path) -> None:
        path = music_file("flac", "real/song.flac")
        link = tmp_path / "link.flac"
        link.symlink_to(Path("real") / "song.flac")

        carry_out(task_of(link))

        assert link.is_symlink()
        assert link.readlink() == Path("real/song.flac")
        assert not path.is_symlink()
        assert read_fields(path)["MOOD"] == ["calm", "dark"]

    def test_any_name(self, music_file: MusicFile, tmp_path: Path) -> None:
        for name in (b"caf\xe9.flac", b"a\nb.flac", b"-rf.flac", b"x" * 250 + b".flac"):
            path = tmp_path / os.fsdecode(name)
            shutil.copy(music_file("flac"), path)
            carry_out(task_of(path))
            assert read_fields(path)["MOOD"] == ["calm", "dark"]

    def test_scores_keep_model_and_hash(self, music_file: MusicFile) -> None:
        path = music_file("flac")
        carry_out(task_of(path))
        (text,) = read_fields(path)["MOODBOOK_SCORES"]
        assert text == f'{{"model":"macleod","sha256":"{"ab" * 32}","scores":{{"calm":0.5123,"dark":0.4}}}}'


class TestWhatIsRefused:
    def test_several_names(self, music_file: MusicFile, tmp_path: Path) -> None:
        path = music_file("flac")
        os.link(path, tmp_path / "other.flac")
        assert refusal(path).startswith("it has 2 names (hard links)")

    def test_read_only(self, music_file: MusicFile) -> None:
        path = music_file("flac")
        path.chmod(0o444)
        assert refusal(path) == "it is read-only. Make it writable first."

    def test_a_read_only_folder(self, music_file: MusicFile, monkeypatch: pytest.MonkeyPatch) -> None:
        path = music_file("flac")
        real = os.access
        monkeypatch.setattr(os, "access", lambda place, mode: real(place, mode) and not Path(place).is_dir())
        assert refusal(path).startswith("its folder is read-only")

    def test_an_owner_that_cannot_be_kept(self, music_file: MusicFile, monkeypatch: pytest.MonkeyPatch) -> None:
        path = music_file("flac")
        status = path.stat()
        refused: list[tuple[int, int]] = []

        def refuse(_: int, uid: int, gid: int) -> None:
            refused.append((uid, gid))
            raise PermissionError(errno.EPERM, "Operation not permitted")

        def stat_of_another(descriptor: int) -> os.stat_result:
            found = real(descriptor)
            return os.stat_result([*found[:4], found.st_uid + 1, *found[5:]])

        def open_any(place: Path, flags: int, mode: int = 0o777) -> int:
            is_unnamed = flags & getattr(os, "O_TMPFILE", -1) == getattr(os, "O_TMPFILE", 0)
            return real_open(path, os.O_RDONLY) if is_unnamed else real_open(place, flags, mode)

        real, real_open = os.fstat, os.open
        monkeypatch.setattr(os, "open", open_any)
        monkeypatch.setattr(os, "geteuid", lambda: status.st_uid + 1)
        monkeypatch.setattr(os, "fchown", refuse)
        if hasattr(os, "O_TMPFILE"):
            assert build_plan([propose(path)]).tasks  # A disk that gives every file the same owner.
            monkeypatch.setattr(os, "fstat", stat_of_another)
            assert check_refusal(path) == "it belongs to another user or group, and would not any more. Run as them."
            assert refused == [(status.st_uid, status.st_gid)]
            monkeypatch.delattr(os, "O_TMPFILE")
            monkeypatch.setattr(os, "fstat", real)
        assert refusal(path) == "it belongs to another user or group, and would not any more. Run as them."
        monkeypatch.setattr(os, "geteuid", lambda: status.st_uid)
        assert build_plan([propose(path)]).tasks

    @pytest.mark.parametrize("name", ["song.mka", "song.caf"])
    def test_a_kind_that_is_not_written(self, name: str, music_file: MusicFile, tmp_path: Path) -> None:
        path = tmp_path / name
        path.write_bytes((b"caff\0\1\0\0" if name.endswith("caf") else b"\x1a\x45\xdf\xa3") + bytes(100))
        with pytest.raises(UnsupportedTagsError, match="Moodbook writes no tags into"):
            read_fields(path)
        assert "it does into mp3, aac, tta, wav" in refusal(path)

    def test_a_file_that_is_missing_or_no_audio(self, tmp_path: Path) -> None:
        assert refusal(tmp_path / "no.flac") == (
            "there is no such file. Look whether it was moved or renamed, and whether its disk is there."
        )
        (tmp_path / "page.mp3").write_text("<html>")
        assert "web page" in refusal(tmp_path / "page.mp3")

    def test_a_file_that_was_changed_since(self, music_file: MusicFile) -> None:
        path = music_file("flac")
        task = task_of(path)
        sound = FLAC(path)
        sound["title"] = "Another"
        sound.save()
        data = path.read_bytes()
        with pytest.raises(FileChangedError, match="changed since it was looked at"):
            carry_out(task)
        assert path.read_bytes() == data

    def test_tags_that_changed_within_the_same_time_and_size(self, music_file: MusicFile) -> None:
        path = music_file("flac")
        status = path.stat()
        task = task_of(path)
        sound = FLAC(path)
        sound["mood"] = "sad"
        sound.save(padding=lambda info: info.padding)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert path.stat().st_size == status.st_size
        with pytest.raises(FileChangedError):
            carry_out(task)
        assert read_fields(path) == {"mood": ["sad"]}

    def test_a_file_that_changes_while_its_copy_is_made(
        self, music_file: MusicFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = music_file("flac")
        task = task_of(path)
        real = shutil.copyfileobj

        def copy_and_change(*arguments: object) -> None:
            real(*arguments)
            os.utime(path, ns=(1, 1))

        monkeypatch.setattr(shutil, "copyfileobj", copy_and_change)
        with pytest.raises(FileChangedError, match="while its copy was made"):
            carry_out(task)

    def test_a_file_that_grows_while_it_is_copied(self, music_file: MusicFile, monkeypatch: pytest.MonkeyPatch) -> None:
        path = music_file("flac")
        task = task_of(path)
        real = shutil.copyfileobj

        def grow(source: object, out: object, length: int) -> None:
            with path.open("ab") as file:
                file.write(b"more")
            real(source, out, length)

        monkeypatch.setattr(shutil, "copyfileobj", grow)
        with pytest.raises(FileChangedError, match="while it was copied"):
            carry_out(task)

    def test_fields_that_are_not_the_mood(self, music_file: MusicFile) -> None:
        path = music_file("flac")
        task = replace(task_of(path), after={"TITLE": ["stolen"]})
        with pytest.raises(TagError, match="'TITLE' is no field for a mood"):
            carry_out(task)
        assert FLAC(path)["title"] == ["Ein Stück"]

    def test_another_payload_than_planned(self, music_file: MusicFile) -> None:
        path = music_file("flac")
        data = path.read_bytes()
        with pytest.raises(TagError, match="its audio is not what it was"):
            carry_out(replace(task_of(path), payload="0" * 64))
        assert path.read_bytes() == data

    def test_values_that_cannot_be_kept_apart(self, music_file: MusicFile) -> None:
        path = music_file("mp3-2.4")
        task = task_of(path)
        with pytest.raises(TagError, match="cannot be read back"):
            carry_out(replace(task, after={"TMOO": ["a\0b"]}))

    def test_a_library_that_would_change_something_else(
        self, music_file: MusicFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = music_file("flac")
        task = task_of(path)
        data = path.read_bytes()
        real = FLAC.save

        def careless(self: FLAC, *arguments: object, **keywords: object) -> None:
            self["title"] = "oops"
            self.clear_pictures()
            real(self, *arguments, **keywords)

        monkeypatch.setattr(FLAC, "save", careless)
        with pytest.raises(TagError, match=r"something else in it would have changed \(TITLE, block 6\)"):
            carry_out(task)
        assert path.read_bytes() == data

    def test_a_library_that_would_damage_the_audio(
        self, music_file: MusicFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = music_file("mp3-2.4")
        task = task_of(path)
        data = path.read_bytes()
        real = ID3.save

        def careless(self: ID3, place: Path, **keywords: object) -> None:
            real(self, place, **keywords)
            with Path(place).open("r+b") as file:
                file.seek(-1_000, os.SEEK_END)
                file.write(b"oops")

        monkeypatch.setattr(ID3, "save", careless)
        with pytest.raises(TagError, match="its audio is not what it was"):
            carry_out(task)
        assert path.read_bytes() == data

    def test_an_old_id3_tag(self, music_file: MusicFile, tmp_path: Path) -> None:
        bare = music_file("mp3-2.4", rich=False).read_bytes()
        path = tmp_path / "old.mp3"
        path.write_bytes(b"ID3\x02\0\0\0\0\0\x20TT2\0\0\x05\0Song" + bytes(21) + bare)
        assert refusal(path).startswith("its ID3 tag is of version 2.2, which has no field for a mood.")

    def test_something_behind_the_frames_of_a_tag(self, music_file: MusicFile, tmp_path: Path) -> None:
        path = music_file("mp3-2.4")
        task = task_of(path)
        data = bytearray(path.read_bytes())
        tags = ID3(path, known_frames={}, translate=False, load_v1=False)
        data[tags.size - 5 : tags.size] = b"hello"
        path.write_bytes(data)
        os.utime(path, ns=(task.state.mtime_ns, task.state.mtime_ns))
        with pytest.raises(TagError, match="something follows that is no frame"):
            carry_out(task)

    def test_comments_that_are_no_unicode_are_not_rewritten(self, music_file: MusicFile) -> None:
        path = music_file("flac")
        data = path.read_bytes()
        path.write_bytes(data.replace("Ein Stück".encode(), b"Ein St\xff\xffck"))
        task = task_of(path)
        changed = path.read_bytes()
        with pytest.raises(TagError, match=r"something else in it would have changed \(TITLE\)"):
            carry_out(task)
        assert path.read_bytes() == changed

    def test_music_behind_a_foreign_id3_tag(self, music_file: MusicFile, tmp_path: Path) -> None:
        path = tmp_path / "odd.ogg"
        path.write_bytes(b"ID3\x04\0\0\0\0\0\x10" + bytes(16) + music_file("vorbis").read_bytes())
        assert refusal(path).startswith("an ID3 tag stands before its ogg vorbis data")


def replaced(path: Path) -> None:
    other = path.with_name("theirs")
    other.write_bytes(b"their own file")
    other.replace(path)


def written_in_place(path: Path) -> None:
    path.write_bytes(b"their own bytes")


@pytest.mark.skipif(sys.platform != "linux", reason="needs an exchange of names")
class TestTheLastMoment:
    @pytest.mark.parametrize("change", [replaced, written_in_place])
    def test_what_another_program_writes_before_the_exchange_is_kept(
        self, change: Callable[[Path], None], music_file: MusicFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = music_file("flac")
        task = task_of(path)
        calls = []

        def late(copy: Path, target: Path) -> bool:
            if not calls:
                change(target)
            calls.append(target)
            return exchange(copy, target)

        monkeypatch.setattr("moodbook.library.filetags.rewrite.exchange", late)
        with pytest.raises(FileChangedError, match="while its copy was made"):
            carry_out(task)
        assert path.read_bytes().startswith(b"their own ")
        assert len(calls) == 2
        assert [child.name for child in path.parent.iterdir()] == [path.name]

    def test_a_program_that_sets_the_time_back_is_seen(
        self, music_file: MusicFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = music_file("flac")
        task = task_of(path)
        times = path.stat()
        changed = bytearray(path.read_bytes())
        changed[-1] ^= 1

        def change_after_hearing(listener: Listener, old: Path, new: Path) -> None:
            path.write_bytes(changed)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

        monkeypatch.setattr(Listener, "objection", change_after_hearing)
        with pytest.raises(FileChangedError, match="while its copy was made"):
            carry_out(task)
        assert path.read_bytes() == changed

    def test_where_names_cannot_be_exchanged_the_copy_is_renamed(
        self, music_file: MusicFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = music_file("flac")
        monkeypatch.setattr("moodbook.library.filetags.rewrite.exchange", lambda copy, target: False)
        carry_out(task_of(path))
        assert read_fields(path)["MOOD"] == ["calm", "dark"]

    def test_an_interruption_behind_the_exchange_leaves_the_old_file(
        self, music_file: MusicFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = music_file("flac")
        task, data = task_of(path), path.read_bytes()
        real = Path.unlink

        def unlink(self: Path, missing_ok: bool = False) -> None:
            monkeypatch.setattr(Path, "unlink", real)
            raise KeyboardInterrupt

        monkeypatch.setattr(Path, "unlink", unlink)
        with pytest.raises(KeyboardInterrupt):
            carry_out(task)
        assert path.read_bytes() == data
        assert [child.name for child in path.parent.iterdir()] == [path.name]

    def test_exchange(self, tmp_path: Path) -> None:
        first, second = tmp_path / "1", tmp_path / "2"
        first.write_text("one")
        with pytest.raises(FileNotFoundError):
            exchange(first, second)
        second.write_text("two")
        assert exchange(first, second)
        assert (first.read_text(), second.read_text()) == ("two", "one")


class TestKinds:
    def test_an_mp3_without_any_tag_gets_one(self, music_file: MusicFile) -> None:
        path = music_file("mp3-2.4", rich=False)
        assert not path.read_bytes().startswith(b"ID3")
        carry_out(task_of(path))
        assert ID3(path).version == (2, 4, 0)
        assert list(ID3(path)["TMOO"].text) == ["calm", "dark"]

    def test_an_mp3_with_an_ape_tag_keeps_it(self, music_file: MusicFile) -> None:
        path = music_file("mp3-2.4", rich=False)
        tags = mutagen.apev2.APEv2()
        tags["replaygain_track_gain"] = "-3 dB"
        tags.save(path)
        tail = path.read_bytes()[-100:]
        carry_out(task_of(path))
        assert path.read_bytes()[-100:] == tail

    def test_a_tag_with_a_footer_leaves_no_junk_before_the_music(self, music_file: MusicFile) -> None:
        """FFmpeg takes the bytes of a footer that no tag ends with for music, and plays another beginning."""
        path = music_file("mp3-2.4", rich=False)
        frame = b"TIT2" + bytes([0, 0, 0, 6, 0, 0]) + b"\3Title"
        size = bytes([0, 0, 0, len(frame)])
        path.write_bytes(b"ID3\x04\0\x10" + size + frame + b"3DI\x04\0\x10" + size + path.read_bytes())
        sound, bare = path.read_bytes(), decoded_by_ffmpeg(path)
        task = task_of(path)
        kept: list[WayBack] = []
        with Listener() as listener:
            rewrite(task, new_copy_name(path), listener, keep=kept.append)
        assert ID3(path)["TIT2"].text == ["Title"]
        assert list(ID3(path)["TMOO"].text) == ["calm", "dark"]
        assert b"3DI" not in path.read_bytes()
        assert np.array_equal(decoded_by_ffmpeg(path), bare)
        back = build_plan([propose(path, "x")], "overwrite").tasks[0]
        carry_out(replace(back, after=task.before, way_back=kept[0]))
        assert path.read_bytes() == sound

    def test_a_tag_that_is_unsynchronised_as_a_whole(self, music_file: MusicFile, tmp_path: Path) -> None:
        sound = music_file("mp3-2.4", rich=False).read_bytes()
        content = b"\0\xff\0\xe0 noise"  # 0xFF 0xE0 in the tag, kept from looking like a frame of audio.
        frame = b"PRIV" + bytes([0, 0, 0, len(content)]) + b"\0\x02" + content
        frames = frame + bytes(50)
        path = tmp_path / "unsync.mp3"
        path.write_bytes(b"ID3\x04\0\x80" + bytes([0, 0, 0, len(frames)]) + frames + sound)
        before = ID3(path)["PRIV:\xff\xe0 noise:"] if "PRIV:\xff\xe0 noise:" in ID3(path) else ID3(path).getall("PRIV")
        carry_out(task_of(path))
        after = ID3(path).getall("PRIV")
        assert after == (before if isinstance(before, list) else [before])
        assert list(ID3(path)["TMOO"].text) == ["calm", "dark"]

    def test_text_frames_of_the_users_in_every_encoding(self, music_file: MusicFile) -> None:
        path = music_file("mp3-2.4")
        tags = ID3(path)
        for encoding in range(4):
            tags.add(mutagen.id3.TXXX(encoding=encoding, desc=f"odd {encoding}", text="value"))
        tags.save(path)
        carry_out(task_of(path))
        assert sum(frame.desc.startswith("odd") for frame in ID3(path).getall("TXXX")) == 4

    def test_a_mood_in_the_frame_of_another_version_moves(self, music_file: MusicFile) -> None:
        path = music_file("mp3-2.4")
        tags = ID3(path)
        tags.add(mutagen.id3.TXXX(encoding=3, desc="Mood", text=["old"]))
        tags.save(path)
        (task,) = build_plan([propose(path)], "merge").tasks
        carry_out(task)
        assert list(ID3(path)["TMOO"].text) == ["old", "calm", "dark"]
        assert "TXXX:Mood" not in ID3(path)
        # And back, under its old name.
        state = build_plan([propose(path, "x")], "overwrite").tasks[0].state
        carry_out(replace(task, state=state, before=task.after, after=task.before))
        assert read_fields(path) == {"TXXX:Mood": ["old"]}

    def test_wav_and_aiff_without_a_tag(self, music_file: MusicFile) -> None:
        for kind in ("wav", "aiff"):
            path = music_file(kind, rich=False)
            carry_out(task_of(path))
            assert list(mutagen.File(path).tags["TMOO"].text) == ["calm", "dark"]

    def test_m4a_without_a_tag(self, music_file: MusicFile) -> None:
        path = music_file("aac", rich=False)
        carry_out(task_of(path))
        assert mutagen.File(path)["----:com.apple.iTunes:MOOD"] == [b"calm", b"dark"]

    @staticmethod
    def remux(source: Path, target: Path, container: str, **options: str) -> Path:
        with av.open(str(source)) as inside, av.open(str(target), "w", format=container, options=options) as out:
            stream = out.add_stream_from_template(inside.streams.audio[0])
            for packet in inside.demux(audio=0):
                if packet.dts is not None:
                    packet.stream = stream
                    out.mux(packet)
        return target

    def test_an_m4a_with_its_index_in_front(self, music_file: MusicFile, tmp_path: Path) -> None:
        path = self.remux(music_file("aac"), tmp_path / "fast.m4a", "ipod", movflags="faststart")
        task = replace(task_of(path), after={"----:com.apple.iTunes:MOOD": ["calm" * 5_000]})
        offset = path.read_bytes().index(b"mdat")
        carry_out(task)
        assert path.read_bytes().index(b"mdat") > offset  # The music has moved, and every table with it.
        assert audio.payload_hash(path) == task.payload

    def test_an_m4a_in_fragments_is_left_alone(self, music_file: MusicFile, tmp_path: Path) -> None:
        path = self.remux(
            music_file("aac"), tmp_path / "f.m4a", "mp4", movflags="frag_keyframe+empty_moov", frag_duration="500000"
        )
        data = path.read_bytes()
        assert "in fragments" in refusal(path)
        assert "ffmpeg -i f.m4a -c copy" in refusal(path)
        assert path.read_bytes() == data

    def test_two_recordings_one_behind_the_other(self, music_file: MusicFile) -> None:
        path = music_file("opus")
        path.write_bytes(path.read_bytes() + music_file("opus", "b.opus", art_bytes=100).read_bytes())
        carry_out(task_of(path))
        assert path.read_bytes().count(b"OpusHead") == 2

    def test_a_flac_file_between_id3_tags(self, music_file: MusicFile) -> None:
        path = music_file("flac")
        path.write_bytes(b"ID3\x04\0\0\0\0\0\x10" + bytes(16) + path.read_bytes() + b"TAG" + bytes(125))
        carry_out(task_of(path))
        data = path.read_bytes()
        assert data.startswith(b"ID3")
        assert data[-128:-125] == b"TAG"
        assert read_fields(path)["MOOD"] == ["calm", "dark"]

    def test_wavpack_without_a_tag_and_back(self, music_file: MusicFile) -> None:
        path = music_file("wavpack", rich=False)
        data = path.read_bytes()
        task = task_of(path)
        carry_out(task)
        state = build_plan([propose(path, "x")], "overwrite").tasks[0].state
        carry_out(replace(task, state=state, before=task.after, after=task.before))
        assert path.read_bytes() == data

    def test_true_audio(self, music_file: MusicFile, tmp_path: Path) -> None:
        path = tmp_path / "song.tta"
        with av.open(str(music_file("flac"))) as inside, av.open(str(path), "w", format="tta") as out:
            stream = out.add_stream("tta", rate=48_000, layout="stereo")
            stream.format = "s16"
            resampler = av.AudioResampler(format="s16", layout="stereo", rate=48_000, frame_size=50_000)
            for frame in inside.decode(audio=0):
                for part in resampler.resample(frame):
                    out.mux(stream.encode(part))
            out.mux(stream.encode(None))
        before = audio.payload_hash(path)
        carry_out(task_of(path))
        assert audio.payload_hash(path) == before
        assert list(ID3(path)["TMOO"].text) == ["calm", "dark"]

    def test_an_id3_title_changed_by_another_program_changes_no_payload(self, music_file: MusicFile) -> None:
        path = music_file("mp3-2.4")
        before = audio.payload_hash(path)
        tags = ID3(path)
        tags["TIT2"] = TIT2(encoding=3, text="x" * 10_000)
        tags.save(path)
        assert audio.payload_hash(path) == before
