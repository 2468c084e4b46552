"""The journal, what it undoes, and what a doctor finds after a crash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from mutagen.flac import FLAC

from moodbook.errors import JournalError
from moodbook.library.filetags import (
    Proposal,
    Written,
    apply_tasks,
    build_plan,
    choose_run,
    open_journal,
    plan_undo,
    read_fields,
    read_runs,
    recover,
    undone_files,
)
from moodbook.library.filetags.hearing import Listener
from moodbook.library.filetags.journal import list_runs, read_run
from moodbook.library.filetags.locks import lock
from moodbook.library.filetags.rewrite import new_copy_name

MusicFile = Callable[..., Path]


def write(folder: Path, *paths: Path, words: tuple[str, ...] = ("calm",)) -> str:
    """Write words into files; give the name of the run."""
    plan = build_plan([Proposal(path, words, {"calm": 0.5}, "m", "0" * 64) for path in paths], "overwrite")
    with open_journal(folder, "write") as journal:
        assert [result.status for result in apply_tasks(plan.tasks, journal)] == ["written"] * len(paths)
    return journal.name


def undo(folder: Path, name: str | None = None) -> list[Written]:
    run = choose_run(folder, name)
    plan = plan_undo(run, undone_files(read_runs(folder)[0])[run.name])
    with open_journal(folder, "undo", undoes=plan.run.name) as journal:
        return [*plan.others, *apply_tasks(plan.tasks, journal)]


def set_mood(path: Path) -> None:
    sound = FLAC(path)
    sound["MOOD"] = "mine"
    sound.save()


@pytest.fixture
def songs(music_file: MusicFile) -> list[Path]:
    paths = [music_file("flac", f"{n}.flac") for n in range(2)]
    sound = FLAC(paths[1])
    sound["Mood"] = ["old", "older"]
    sound.save()
    return paths


class TestUndo:
    def test_the_last_run_then_the_one_before(self, songs: list[Path], journal: Path) -> None:
        before = [read_fields(path) for path in songs]
        first, second = write(journal, *songs), write(journal, *songs, words=("dark",))
        assert read_fields(songs[0])["MOOD"] == ["dark"]

        undo(journal)
        assert read_fields(songs[0])["MOOD"] == ["calm"]
        undo(journal)
        assert [read_fields(path) for path in songs] == before
        runs, damaged = read_runs(journal)
        assert damaged == []
        undone = undone_files(runs)
        assert [undone[run.name] for run in runs] == [set(songs), set(songs), set(), set()]
        assert {run.name for run in runs} >= {first, second}
        with pytest.raises(JournalError, match="nothing to undo"):
            choose_run(journal, None)

    def test_an_undoing_can_be_undone(self, songs: list[Path], journal: Path) -> None:
        write(journal, *songs)
        written = [read_fields(path) for path in songs]
        undo(journal)
        (run,) = [run for run in read_runs(journal)[0] if run.command == "undo"]
        undo(journal, run.name)
        assert [read_fields(path) for path in songs] == written

    def test_after_the_undoing_of_an_undoing_the_run_stands_and_can_be_undone_again(
        self, songs: list[Path], journal: Path
    ) -> None:
        before = [read_fields(path) for path in songs]
        first = write(journal, *songs)
        undo(journal)
        undo(journal, list_runs(journal)[1])
        undone = undone_files(read_runs(journal)[0])
        assert [len(undone[name]) for name in list_runs(journal)] == [0, 2, 0]
        assert choose_run(journal, None).name == first
        undo(journal)
        assert [read_fields(path) for path in songs] == before
        undone = undone_files(read_runs(journal)[0])
        assert [len(undone[name]) for name in list_runs(journal)] == [2, 2, 0, 0]

    @pytest.mark.parametrize(
        ("change", "status"),
        [
            (lambda path: FLAC(path).delete(), "unchanged"),
            (set_mood, "failed"),
            (Path.unlink, "failed"),
        ],
    )
    def test_what_the_owner_changed_is_settled_and_the_run_before_can_be_undone(
        self, songs: list[Path], journal: Path, change: Callable[[Path], object], status: str
    ) -> None:
        before = read_fields(songs[1])
        first, _ = write(journal, songs[1]), write(journal, *songs, words=("dark",))
        change(songs[0])
        assert [result.status for result in undo(journal)] == [status, "written"]
        assert choose_run(journal, None).name == first
        undo(journal)
        assert read_fields(songs[1]) == before
        with pytest.raises(JournalError, match="nothing to undo"):
            choose_run(journal, None)

    def test_a_disk_that_is_not_there_is_no_reason_to_undo_another_run(
        self, songs: list[Path], journal: Path, tmp_path: Path
    ) -> None:
        disk = tmp_path / "disk"
        disk.mkdir()
        song = Path(shutil.move(songs[1], disk))
        first, second = write(journal, songs[0]), write(journal, song)
        disk.rename(tmp_path / "elsewhere")
        with pytest.raises(JournalError, match=f"run {second} is the last one, and 1 of the 1 .* run: {first}$"):
            choose_run(journal, None)
        assert undo(journal, first)[0].status == "written"
        (tmp_path / "elsewhere").rename(disk)
        assert choose_run(journal, None).name == second

    def test_files_that_have_other_names_are_no_reason_to_undo_another_run(
        self, songs: list[Path], journal: Path
    ) -> None:
        first, second = write(journal, *songs), write(journal, *songs, words=("dark",))
        renamed = [path.rename(path.with_name(f"new {path.name}")) for path in songs]
        with pytest.raises(JournalError, match=f"run {second} is the last one, and 2 of the 2 .* run: {first}$"):
            choose_run(journal, None)
        for path, new in zip(songs, renamed, strict=True):
            new.rename(path)
        assert choose_run(journal, None).name == second

    def test_another_file_under_the_name_is_no_reason_to_undo_another_run(
        self, songs: list[Path], journal: Path, tmp_path: Path
    ) -> None:
        other = tmp_path / "other.flac"
        soundfile.write(other, np.linspace(-0.5, 0.5, 22_050), 22_050)
        first, second = write(journal, songs[0]), write(journal, songs[1])
        renamed = songs[1].rename(tmp_path / "renamed.flac")
        other.rename(songs[1])
        with pytest.raises(JournalError, match=f"run {second} is the last one, and 1 of the 1 .* run: {first}$"):
            choose_run(journal, None)
        renamed.replace(songs[1])
        assert choose_run(journal, None).name == second

    def test_a_file_that_somebody_changed_is_left_alone(self, songs: list[Path], journal: Path) -> None:
        write(journal, *songs)
        sound = FLAC(songs[0])
        sound["MOOD"] = "mine"
        sound.save()
        results = {result.path: result for result in undo(journal)}
        assert results[songs[0]].status == "failed"
        assert results[songs[0]].reason == "it no longer holds what was written, but mine. It is left alone."
        assert FLAC(songs[0])["mood"] == ["mine"]
        assert read_fields(songs[1]) == {"Mood": ["old", "older"]}
        runs, _ = read_runs(journal)
        assert undone_files(runs)[runs[0].name] == {songs[1]}

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda sound: sound.update({"MOODBOOK_SCORES": "{}"}), "the mood that was written, but other scores"),
            (lambda sound: sound.pop("MOODBOOK_SCORES"), "the mood that was written, but other scores"),
            (
                lambda sound: sound.update({"MOOD": ["calm", "calm"]}),
                "the mood and the scores that were written, but other",
            ),
        ],
    )
    def test_where_the_mood_is_what_was_written_the_reason_says_what_is_not(
        self, songs: list[Path], journal: Path, change: Callable[[FLAC], object], reason: str
    ) -> None:
        write(journal, songs[0])
        sound = FLAC(songs[0])
        change(sound)
        sound.save()
        (result,) = undo(journal, list_runs(journal)[-1])
        assert result.status == "failed"
        assert reason in result.reason

    def test_other_tags_and_other_music_may_have_changed(
        self, songs: list[Path], journal: Path, music_file: MusicFile
    ) -> None:
        write(journal, *songs)
        sound = FLAC(songs[0])
        sound["title"] = "New title"
        sound.save()
        assert [result.status for result in undo(journal)] == ["written", "written"]
        assert FLAC(songs[0])["title"] == ["New title"]

    def test_files_that_are_gone_or_old_again(self, songs: list[Path], journal: Path, tmp_path: Path) -> None:
        shutil.copy2(songs[1], tmp_path / "backup")
        name = write(journal, *songs)
        songs[0].unlink()
        shutil.copy2(tmp_path / "backup", songs[1])
        statuses = {result.path: (result.status, result.reason) for result in undo(journal, name)}
        assert statuses[songs[0]][0] == "failed"
        assert "there is no such file" in statuses[songs[0]][1]
        assert statuses[songs[1]] == ("unchanged", "it holds again what it held before")

    def test_what_an_earlier_undoing_put_back_has_not_failed(
        self, songs: list[Path], journal: Path, music_file: MusicFile
    ) -> None:
        third = music_file("flac", "third.flac")
        before = [read_fields(path) for path in (*songs, third)]
        first, second = write(journal, *songs), write(journal, *songs, third, words=("dark",))
        third.rename(third.with_name("away.flac"))
        assert [result.status for result in undo(journal, second)] == ["failed", "written", "written"]
        undo(journal, first)
        third.with_name("away.flac").rename(third)
        results = {result.path: (result.status, result.reason) for result in undo(journal)}
        assert results == {
            songs[0]: ("unchanged", "already undone"),
            songs[1]: ("unchanged", "already undone"),
            third: ("written", ""),
        }
        assert [read_fields(path) for path in (*songs, third)] == before

    def test_a_link_that_points_elsewhere_since(self, songs: list[Path], journal: Path, tmp_path: Path) -> None:
        before, other = read_fields(songs[0]), read_fields(songs[1])
        link = tmp_path / "link.flac"
        link.symlink_to(songs[0])
        write(journal, link)
        link.unlink()
        link.symlink_to(songs[1])
        assert [result.path for result in undo(journal)] == [songs[0]]
        assert (read_fields(songs[0]), read_fields(songs[1])) == (before, other)

    def test_a_folder_that_was_moved_and_linked_to(self, songs: list[Path], journal: Path, tmp_path: Path) -> None:
        folder = tmp_path / "album"
        folder.mkdir()
        song = Path(shutil.move(songs[0], folder))
        name = write(journal, song)
        folder.rename(tmp_path / "moved")
        folder.symlink_to(tmp_path / "moved")
        assert [result.status for result in undo(journal)] == ["written"]
        assert undone_files(read_runs(journal)[0])[name] == {song}

    def test_a_run_that_does_not_exist(self, journal: Path) -> None:
        with pytest.raises(JournalError, match="there is no run 'x'"):
            choose_run(journal, "x")
        with pytest.raises(JournalError, match="is no name of a run"):
            choose_run(journal, "../x")
        assert list_runs(journal) == []


class TestAfterACrash:
    def crash(self, songs: list[Path], journal: Path, *, lines: int, torn: bytes = b"") -> str:
        """Leave a journal as a crash would: its first lines, and a part of the next."""
        name = write(journal, *songs)
        path = journal / f"{name}.jsonl"
        kept = path.read_bytes().splitlines(keepends=True)[:lines]
        path.write_bytes(b"".join(kept) + torn)
        return name

    def test_before_the_first_line(self, songs: list[Path], journal: Path) -> None:
        for song, torn in zip(songs, (b"", b'{"event": "run", "ver'), strict=True):
            name = self.crash([song], journal, lines=0, torn=torn)
            assert read_runs(journal) == ([], [])
            (finding,) = recover(journal)
            assert (finding.kind, finding.run, finding.needs_care) == ("journal removed", name, False)
            assert not (journal / f"{name}.jsonl").exists()

    def test_in_the_midst_of_a_line(self, songs: list[Path], journal: Path) -> None:
        name = self.crash(songs, journal, lines=4, torn=b'{"event": "begin", "n": 1, "pa')
        assert not read_run(journal, name).finished
        assert list(recover(journal)) == []  # Every file that was begun has its end.
        run = read_run(journal, name)
        assert run.finished
        assert [entry.outcome for entry in run.entries] == ["written"]

    def test_a_file_that_is_new_or_old_or_neither(self, songs: list[Path], journal: Path) -> None:
        before = songs[0].read_bytes()
        name = self.crash(songs[:1], journal, lines=2)
        (finding,) = recover(journal)
        assert (finding.kind, finding.path, finding.run) == ("file is new", songs[0], name)
        assert not finding.needs_care
        assert undo(journal)[0].status == "written"

        songs[0].write_bytes(before)
        self.crash(songs[:1], journal, lines=2)
        songs[0].write_bytes(before)
        (finding,) = recover(journal)
        assert finding.kind == "file is old"

        self.crash(songs[:1], journal, lines=2)
        sound = FLAC(songs[0])
        sound["mood"] = "mine"
        sound.save()
        (finding,) = recover(journal)
        assert (finding.kind, finding.needs_care) == ("file was changed", True)

        self.crash(songs[1:], journal, lines=2)
        songs[1].unlink()
        (finding,) = recover(journal)
        assert finding.kind == "file was changed"
        assert "it cannot be looked at" in finding.message

    def test_the_copy_is_removed_and_nothing_else(self, songs: list[Path], journal: Path) -> None:
        plan = build_plan([Proposal(path, ("calm",), {}, "m", "0" * 64) for path in songs], "overwrite")
        stranger = songs[0].with_name(".moodbook-notes.part")
        stranger.write_text("mine")
        copies = [new_copy_name(songs[0]), stranger]
        with open_journal(journal, "write") as opened:
            for task, copy in zip(plan.tasks, copies, strict=True):
                opened.begin(task, copy)
        copies[0].write_bytes(b"half")
        findings = list(recover(journal))
        assert [finding.kind for finding in findings] == ["copy removed", "file is old", "file is old"]
        assert not copies[0].exists()
        assert stranger.read_text() == "mine"
        assert list(recover(journal)) == []

    def test_a_copy_that_cannot_be_removed(
        self, songs: list[Path], journal: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (task,) = build_plan([Proposal(songs[0], ("calm",), {}, "m", "0" * 64)]).tasks
        copy = new_copy_name(songs[0])
        with open_journal(journal, "write") as opened:
            opened.begin(task, copy)
        copy.write_bytes(b"half")

        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "unlink", refuse)
        finding, _ = recover(journal)
        assert finding.needs_care
        assert "cannot be removed: Permission denied" in finding.message

    @pytest.mark.skipif(os.name != "posix", reason="needs locks")
    def test_a_run_that_goes_on_is_left_alone(self, songs: list[Path], journal: Path) -> None:
        (task,) = build_plan([Proposal(songs[0], ("calm",), {}, "m", "0" * 64)]).tasks
        copy = new_copy_name(songs[0])
        with open_journal(journal, "write") as opened:
            opened.begin(task, copy)
            copy.write_bytes(b"being written")
            (finding,) = recover(journal)
            assert finding.kind == "run goes on"
            assert copy.exists()
        assert [finding.kind for finding in recover(journal)] == ["copy removed", "file is old"]

    @pytest.mark.parametrize("line", [b"\xff\xfe\n", b'{"event": "jump"}\n', b"[]\n"])
    def test_a_damaged_journal_is_told_and_kept(self, songs: list[Path], journal: Path, line: bytes) -> None:
        good = write(journal, songs[0])
        bad = journal / "20200101-000000-000000-abcdef.jsonl"
        bad.write_bytes(line * 3)
        (finding,) = recover(journal)
        assert (finding.kind, finding.needs_care) == ("journal damaged", True)
        assert bad.read_bytes() == line * 3
        runs, damaged = read_runs(journal)
        assert [run.name for run in runs] == [good]
        what = "no line of a journal" if line.startswith(b"{") else "no JSON object"
        assert damaged == [f"the journal {str(bad)!r} is damaged in line 1: it is {what}"]

    def test_a_later_run_that_cannot_be_read_is_not_passed_over(self, songs: list[Path], journal: Path) -> None:
        first, second = write(journal, *songs), write(journal, *songs, words=("dark",))
        path = journal / f"{second}.jsonl"
        whole = path.read_bytes()
        newer = whole.replace(b'"version": 1', b'"version": 2', 1)
        for content, what in (
            (b"[]\n" * 3, "is damaged in line 1"),
            (newer, r"is of a newer Moodbook \(version 2; this one reads 1\)"),
        ):
            path.write_bytes(content)
            with pytest.raises(JournalError, match=r"nothing to undo .* journal"):
                choose_run(journal, None)  # The run before holds nothing that it wrote.
            with pytest.raises(JournalError, match=what):
                choose_run(journal, second)
        path.write_bytes(whole)
        undo(journal, second)
        assert choose_run(journal, None).name == first
        (journal / list_runs(journal)[-1]).with_suffix(".jsonl").unlink()
        path.write_bytes(newer)
        with pytest.raises(JournalError, match=rf"run {second} is later .*newer Moodbook.* name it .*: {first}$"):
            choose_run(journal, None)
        assert choose_run(journal, first).name == first

    def test_a_line_that_names_no_file(self, songs: list[Path], journal: Path) -> None:
        name = write(journal, songs[0])
        path = journal / f"{name}.jsonl"
        path.write_bytes(path.read_bytes().replace(b'"path": {"path"', b'"path": {"place"'))
        with pytest.raises(JournalError, match="names no file"):
            read_run(journal, name)

    def test_a_disk_that_is_not_there_keeps_the_run_open(
        self, songs: list[Path], journal: Path, tmp_path: Path
    ) -> None:
        disk = tmp_path / "disk"
        disk.mkdir()
        song = Path(shutil.move(songs[0], disk))
        self.crash([song], journal, lines=2)
        disk.rename(tmp_path / "elsewhere")
        assert list(recover(journal)) == []
        assert not read_runs(journal)[0][0].finished
        (tmp_path / "elsewhere").rename(disk)
        assert [finding.kind for finding in recover(journal)] == ["file is new"]
        assert undo(journal)[0].status == "written"

    @pytest.mark.parametrize("line", [2, 3, 4, 5])
    def test_no_damaged_line_is_passed_over(self, songs: list[Path], journal: Path, line: int) -> None:
        name = write(journal, *songs[:2])
        path = journal / f"{name}.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        for damaged in (lines[line - 1].replace(b'"event"', b'"evenu"'), lines[line - 1][:-4] + b"\n"):
            path.write_bytes(b"".join([*lines[: line - 1], damaged, *lines[line:]]))
            with pytest.raises(JournalError, match=r"is damaged(: it ends, and does not say| in line \d)"):
                read_run(journal, name)

    def test_a_journal_without_its_first_line(self, songs: list[Path], journal: Path) -> None:
        name = write(journal, songs[0])
        path = journal / f"{name}.jsonl"
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
        with pytest.raises(JournalError, match="its first line is missing"):
            read_run(journal, name)


class TestOtherPeoplesFiles:
    @pytest.mark.parametrize("name", ["notes.jsonl", "20200101-000000-abcdef.jsonl", "a.begins"])
    @pytest.mark.parametrize("content", [b"", b"{", b'{"my": "notes"}', b'{"my": "notes"}\n'])
    def test_under_names_of_their_own_are_not_looked_at(
        self, songs: list[Path], journal: Path, name: str, content: bytes
    ) -> None:
        journal.mkdir()
        (journal / name).write_bytes(content)
        write(journal, songs[0])
        assert list(recover(journal)) == []
        undo(journal)
        assert (journal / name).read_bytes() == content

    @pytest.mark.parametrize(
        "content", [b"\n", b"{}", b'{"my": "notes"}', b'{"my": "notes"}\n', b'{"event": "run"\n', b"\0"]
    )
    def test_under_the_name_of_a_run_are_told_and_kept(self, songs: list[Path], journal: Path, content: bytes) -> None:
        journal.mkdir()
        path = journal / "20200101-000000-000000-abcdef.jsonl"
        path.write_bytes(content)
        write(journal, songs[0])
        (finding,) = recover(journal)
        assert (finding.kind, finding.path, finding.needs_care) == ("journal damaged", path, True)
        undo(journal)
        assert path.read_bytes() == content

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
    def test_a_pipe_is_told_and_nobody_waits_for_it(self, songs: list[Path], journal: Path) -> None:
        journal.mkdir()
        pipes = [journal / f"20200101-000000-000000-abcdef.{suffix}" for suffix in ("begins", "jsonl")]
        for pipe in pipes:
            os.mkfifo(pipe)
        write(journal, songs[0])
        (finding,) = recover(journal)
        assert (finding.kind, finding.path, finding.needs_care) == ("journal damaged", pipes[1], True)
        assert "it is no regular file" in finding.message
        assert all(pipe.is_fifo() for pipe in pipes)


@pytest.mark.skipif(os.name != "posix", reason="needs locks")
class TestTwoProcesses:
    WRITER = """
import sys
from pathlib import Path
from moodbook.library.filetags import open_journal
with open_journal(Path(sys.argv[1]), "write", on_wait=lambda holder: print("waits for", holder, flush=True)) as journal:
    print("began", journal.name, flush=True)
    sys.stdin.read()
"""

    def start(self, journal: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", self.WRITER, str(journal)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def test_the_second_waits_for_the_first_however_that_ends(self, journal: Path) -> None:
        with self.start(journal) as first:
            assert first.stdout.readline().startswith("began")
            with self.start(journal) as second:
                assert second.stdout.readline() == f"waits for process {first.pid}\n"
                assert len(list_runs(journal)) == 1
                first.kill()
                assert second.stdout.readline().startswith("began")
                second.stdin.close()
        assert len(list_runs(journal)) == 2

    def test_a_run_has_no_name_before_it_is_locked_and_has_its_first_line(
        self, journal: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps: list[str] = []
        real = Path.rename

        def rename(self: Path, target: Path) -> Path:
            assert self.read_bytes().endswith(b"\n")
            assert list_runs(journal) == []
            assert list(recover(journal)) == []
            with self.open("rb") as other:
                assert not lock(other.fileno())
            steps.append(target.suffix)
            return real(self, target)

        monkeypatch.setattr(Path, "rename", rename)
        with open_journal(journal, "write"):
            assert [finding.kind for finding in recover(journal)] == ["run goes on"]
        assert steps == [".jsonl"]

    def test_what_was_cut_off_in_its_first_line_is_removed_by_the_next_run(self, journal: Path) -> None:
        journal.mkdir()
        for n, content in enumerate((b"", b'{"event": "run", "vers', b"mine")):
            (journal / f"20200101-000000-00000{n}-abcdef.begins").write_bytes(content)
        with open_journal(journal, "write"):
            pass
        assert [path.name for path in journal.glob("*.begins")] == ["20200101-000000-000002-abcdef.begins"]

    def test_a_new_journal_that_another_process_holds(self, journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("moodbook.library.filetags.journal.lock", lambda descriptor: False)
        with pytest.raises(JournalError, match="another process holds"), open_journal(journal, "write"):
            pass
        assert [path.name for path in journal.iterdir()] == [".lock"]


class TestPlaces:
    def test_a_folder_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        with (
            pytest.raises(JournalError, match="cannot write the journal"),
            open_journal(tmp_path / "file", "write"),
        ):
            pass
        with pytest.raises(JournalError, match="cannot list the journals"):
            list_runs(tmp_path / "file")

    def test_a_journal_that_cannot_be_read(self, journal: Path) -> None:
        (journal / "20200101-000000-000000-abcdef.jsonl").mkdir(parents=True)
        with pytest.raises(JournalError, match="cannot read the journal"):
            read_run(journal, "20200101-000000-000000-abcdef")
        (finding,) = recover(journal)
        assert finding.kind == "journal damaged"

    def test_nobody_else_reads_it(self, songs: list[Path], journal: Path) -> None:
        name = write(journal, songs[0])
        assert (journal / f"{name}.jsonl").stat().st_mode & 0o077 == 0

    def test_an_interrupted_run_leaves_the_file_and_no_copy(
        self, songs: list[Path], journal: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plan = build_plan([Proposal(path, ("calm",), {}, "m", "0" * 64) for path in songs], "overwrite")
        data = songs[0].read_bytes()

        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Listener, "objection", interrupt)
        with open_journal(journal, "write") as opened, pytest.raises(KeyboardInterrupt):
            list(apply_tasks(plan.tasks, opened))
        assert songs[0].read_bytes() == data
        assert sorted(path.name for path in songs[0].parent.glob("*")) == ["0.flac", "1.flac", "journal"]
        (run,), _ = read_runs(journal)
        assert [(entry.outcome, entry.reason) for entry in run.entries] == [
            ("failed", "interrupted: KeyboardInterrupt")
        ]
