"""What a scan finds, keeps, and never does again."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import mutagen.flac
import numpy as np
import pytest
from mutagen.flac import FLAC, Picture
from tests.audio import worker_tasks
from tests.library.conftest import dump

from moodbook.audio import payload_hash
from moodbook.audio.worker import Limits
from moodbook.errors import DataError
from moodbook.library.catalogue import Catalogue
from moodbook.library.lookup import find_payload
from moodbook.library.scan import ScanSummary, absolute
from moodbook.library.scan import scan as scan_library
from moodbook.library.search import search
from moodbook.library.stats import measure
from moodbook.model import listening
from moodbook.model.bundle import Bundle
from moodbook.model.tagger import Tagger

Tree = Callable[[dict[str, str]], Path]
KINDS = ("new", "moved", "changed", "retagged", "unchanged", "failed")


@pytest.fixture
def scan(catalogue: Catalogue, tagger: Tagger) -> Callable[..., ScanSummary]:
    """Scan, and check that the kinds add up."""

    def run(*roots: Path, **options: object) -> ScanSummary:
        summary = scan_library(catalogue, roots, options.pop("tagger", tagger), **options)
        assert sum(getattr(summary, kind) for kind in KINDS) == summary.found
        return summary

    return run


def kinds(summary: ScanSummary) -> dict[str, int]:
    """The counts that are not zero."""
    counted = (*KINDS, "gone", "forgotten", "kept", "heard")
    return {kind: getattr(summary, kind) for kind in counted if getattr(summary, kind)}


def add_tag(path: Path, **tags: str) -> None:
    file = mutagen.flac.FLAC(path)
    file.update(tags)
    file.save(padding=lambda info: 5_000)


def test_a_tree_is_heard_once(tree: Tree, scan, catalogue: Catalogue, tagger: Tagger) -> None:
    root = tree({"a/lava.flac": "lava", "b/taiko.flac": "taiko", "cover.jpg": "lava"})

    assert kinds(scan(root)) == {"new": 2, "heard": 2}
    assert kinds(scan(root)) == {"unchanged": 2}
    found = {track.path: track for track in search(catalogue, "")}
    assert set(found) == {absolute(root / "a/lava.flac"), absolute(root / "b/taiko.flac")}
    for path, track in found.items():
        scores = tagger(path)
        # Decoded in another process, heard by the same engine: the very same numbers.
        assert list(track.probabilities.values()) == scores.probabilities.tolist()
        assert track.duration_seconds == scores.duration_seconds


def test_what_was_renamed_or_retagged_is_not_heard_again(tree: Tree, scan, catalogue: Catalogue) -> None:
    root = tree({"lava.flac": "lava", "taiko.flac": "taiko"})
    scan(root)
    (root / "lava.flac").rename(root / "renamed.flac")
    add_tag(root / "taiko.flac", artist="Somebody", mood="calm")

    assert kinds(scan(root)) == {"moved": 1, "retagged": 1}
    (taiko,) = search(catalogue, "artist:somebody, mood=CALM")
    assert taiko.path.name == "taiko.flac"
    assert [track.path.name for track in search(catalogue, "")] == ["renamed.flac", "taiko.flac"]
    assert kinds(scan(root)) == {"unchanged": 2}


def test_other_music_under_the_same_name_is_heard(tree: Tree, scan) -> None:
    root = tree({"a.flac": "lava"})
    scan(root)
    tree({"a.flac": "taiko"})

    assert kinds(scan(root)) == {"changed": 1, "heard": 1}


def test_duplicates_are_heard_once_and_seen(tree: Tree, scan, catalogue: Catalogue) -> None:
    root = tree({"a.flac": "lava", "b.flac": "lava", "c.flac": "taiko"})
    add_tag(root / "b.flac", title="Retagged copy")

    summary = scan(root)

    assert kinds(summary) == {"new": 3, "heard": 2}
    assert [[path.name for path in group] for group in summary.duplicates] == [["a.flac", "b.flac"]]
    assert [track.path.name for track in search(catalogue, "")] == ["a.flac", "c.flac"]
    assert [track.path.name for track in search(catalogue, "title:copy")] == ["b.flac"]


def test_what_is_gone_is_kept_until_it_is_to_be_forgotten(tree: Tree, scan, catalogue: Catalogue) -> None:
    root = tree({"a.flac": "lava", "sub/b.flac": "taiko"})
    scan(root)
    aside = root.parent / "aside"
    (root / "sub").rename(aside)

    assert kinds(scan(root)) == {"unchanged": 1, "gone": 1}
    assert [track.path.name for track in search(catalogue, "")] == ["a.flac"]
    assert kinds(scan(root)) == {"unchanged": 1}
    aside.rename(root / "sub")
    assert kinds(scan(root)) == {"unchanged": 2}
    assert len(search(catalogue, "")) == 2

    shutil.rmtree(root / "sub")
    assert kinds(scan(root, forget=True)) == {"unchanged": 1, "gone": 1, "forgotten": 1}
    contents = dump(catalogue.path)
    assert [len(contents[kind]) for kind in ("files", "payloads", "analyses")] == [1, 1, 1]


def test_a_disk_that_is_not_mounted_forgets_nothing(tree: Tree, scan, tmp_path: Path) -> None:
    root = tree({"one/a.flac": "lava", "two/b.flac": "taiko"})
    scan(root)
    (root / "two" / "b.flac").rename(tmp_path / "b.flac")

    assert kinds(scan(root / "one", root / "two", forget=True)) == {"unchanged": 1, "gone": 1, "kept": 1}
    assert kinds(scan(root, forget=True)) == {"unchanged": 1, "kept": 1}
    (tmp_path / "b.flac").rename(root / "two" / "b.flac")
    assert kinds(scan(root)) == {"unchanged": 1, "retagged": 1}
    shutil.rmtree(root / "two")
    assert kinds(scan(root / "two", forget=True)) == {"gone": 1, "kept": 1}
    assert kinds(scan(root, forget=True)) == {"unchanged": 1, "forgotten": 1}


def test_a_disk_that_took_its_mount_with_it_forgets_nothing(
    tree: Tree, scan, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = absolute(tree({"a.flac": "lava", "disk/album/b.flac": "taiko"}))
    mounts = {str(root / "disk"), "/"}
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) in mounts)
    scan(root)
    assert catalogue.known_files()[root / "disk/album/b.flac"].mount == root / "disk"
    shutil.rmtree(root / "disk")
    mounts.remove(str(root / "disk"))

    # What holds the mounts has music of its own, and the folder of the disk is gone, as udisks removes it.
    assert kinds(scan(root, forget=True)) == {"unchanged": 1, "gone": 1, "kept": 1}
    tree({"disk/other.flac": "rlyeh"})  # Written into the place of the disk while it is not there.
    assert kinds(scan(root, forget=True)) == {"unchanged": 1, "new": 1, "kept": 1, "heard": 1}
    mounts.add(str(root / "disk"))
    assert kinds(scan(root, forget=True)) == {"unchanged": 2, "forgotten": 1}


def test_a_disk_that_an_older_moodbook_did_not_enter_is_told_by_its_folder(
    tree: Tree, scan, catalogue: Catalogue
) -> None:
    root = tree({"a.flac": "lava", "disk/b.flac": "taiko", "album/c.flac": "rlyeh", "album/d.flac": "lava"})
    scan(root)
    with catalogue.transaction() as connection:
        connection.execute("UPDATE file SET ctime_ns = NULL, mount = NULL")
    shutil.rmtree(root / "disk")
    (root / "album" / "c.flac").unlink()

    assert kinds(scan(root, forget=True)) == {"unchanged": 2, "gone": 2, "forgotten": 1, "kept": 1}
    assert {path.name for path in catalogue.known_files()} == {"a.flac", "b.flac", "d.flac"}


def test_a_disk_that_goes_while_it_is_read_forgets_nothing(
    tree: Tree, scan, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = absolute(tree({"a.flac": "lava", "disk/b.flac": "taiko"}))
    mounts = {str(root / "disk"), "/"}
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) in mounts)
    scan(root)
    add_tag(root / "disk/b.flac", title="To be read again")

    def unplug(done: int, total: int) -> None:
        mounts.discard(str(root / "disk"))
        shutil.rmtree(root / "disk", ignore_errors=True)

    assert kinds(scan(root, forget=True, on_progress=unplug)) == {"unchanged": 1, "failed": 1, "gone": 1, "kept": 1}


def test_a_link_to_a_disk_that_is_not_there_marks_its_files(tree: Tree, scan, catalogue: Catalogue) -> None:
    root = tree({"a.flac": "lava"})
    link = root.parent / "link"
    link.symlink_to(root)
    scan(link)
    root.rename(root.parent / "aside")

    assert kinds(scan(link, forget=True)) == {"gone": 1, "kept": 1}
    assert search(catalogue, "") == []
    (root.parent / "aside").rename(root)
    assert kinds(scan(link)) == {"unchanged": 1}


def test_a_file_named_by_itself_that_is_gone_is_marked(tree: Tree, scan, catalogue: Catalogue) -> None:
    root = tree({"a.flac": "lava", "b.flac": "taiko"})
    scan(root)
    (root / "a.flac").unlink()

    assert kinds(scan(root / "a.flac", root / "b.flac")) == {"unchanged": 1, "gone": 1}
    assert [track.path.name for track in search(catalogue, "")] == ["b.flac"]


def test_a_file_that_was_written_back_to_size_time_and_inode_is_read(
    tree: Tree, scan, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    song = absolute(tree({"a.flac": "lava"}) / "a.flac")
    add_tag(song, artist="Ann")
    scan(song)
    before = song.stat()
    time.sleep(0.02)  # A file system's clock ticks 100 times a second and more.
    add_tag(song, artist="Bob")
    os.utime(song, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = song.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)

    assert kinds(scan(song)) == {"retagged": 1}
    assert [track.artist for track in search(catalogue, "")] == ["Bob"]
    assert find_payload(catalogue, song) == catalogue.known_files()[song].payload_id


def test_what_an_older_moodbook_entered_is_completed_and_not_read(tree: Tree, scan, catalogue: Catalogue) -> None:
    root = tree({"a.flac": "lava"})
    scan(root)
    (entered,) = catalogue.known_files().values()
    with catalogue.transaction() as connection:
        connection.execute("UPDATE file SET ctime_ns = NULL, mount = NULL")

    assert kinds(scan(root)) == {"unchanged": 1}
    assert list(catalogue.known_files().values()) == [entered]


def test_a_mistyped_name_is_no_scan(tree: Tree, scan, catalogue: Catalogue) -> None:
    root = tree({"a.flac": "lava"})
    with pytest.raises(DataError, match=r"there is no '.*nope'; name the folders"):
        scan(root / "nope")
    assert catalogue.known_files() == {}
    assert kinds(scan(root, root / "nope")) == {"new": 1, "heard": 1}
    (root / "a.flac").unlink()
    assert scan(root / "a.flac").absent == [root / "a.flac"]


def test_what_is_gone_below_a_linked_folder_is_seen(tree: Tree, scan, tmp_path: Path) -> None:
    root = tree({"a.flac": "lava", "b.flac": "taiko"})
    (tmp_path / "link").symlink_to(root)
    scan(tmp_path / "link")
    (root / "b.flac").unlink()

    assert kinds(scan(tmp_path / "link")) == {"unchanged": 1, "gone": 1}


def test_one_of_two_copies_that_is_gone_was_not_moved(tree: Tree, scan) -> None:
    root = tree({"a.flac": "lava", "b.flac": "lava"})
    scan(root)
    (root / "b.flac").unlink()

    assert kinds(scan(root)) == {"unchanged": 1, "gone": 1}


def test_other_folders_are_let_alone(tree: Tree, scan) -> None:
    root = tree({"one/a.flac": "lava", "two/b.flac": "taiko"})
    scan(root)

    assert kinds(scan(root / "one")) == {"unchanged": 1}
    assert kinds(scan(root / "one" / "a.flac", root / "two")) == {"unchanged": 2}


def test_a_folder_that_cannot_be_listed_has_lost_nothing(tree: Tree, scan, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree({"one/a.flac": "lava", "two/b.flac": "taiko"})
    scan(root)
    scandir = os.scandir

    def refuse(path: os.PathLike[str]) -> object:
        if Path(path).name == "two":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    summary = scan(root)
    assert kinds(summary) == {"unchanged": 1, "failed": 1}
    assert "cannot be listed: Permission denied" in summary.failures[0].reason


def test_failures_are_remembered_by_content(tree: Tree, scan, catalogue: Catalogue) -> None:
    root = tree({"bad.flac": "lava", "good.flac": "taiko"})
    damaged = (root / "bad.flac").read_bytes()[:20_000]
    (root / "bad.flac").write_bytes(damaged)
    asked: list[tuple[int, int]] = []

    first = scan(root)
    assert kinds(first) == {"new": 1, "failed": 1, "heard": 1}
    assert "truncated" in first.failures[0].reason
    # The same content under another name is the same failure, without a look at it.
    (root / "bad.flac").rename(root / "worse.flac")
    second = scan(root, on_progress=lambda done, total: asked.append((done, total)))
    assert (kinds(second), second.failures[0].reason) == (
        {"unchanged": 1, "failed": 1, "gone": 1},
        first.failures[0].reason,
    )
    assert asked[0] == (1, 2)
    assert kinds(scan(root)) == {"unchanged": 1, "failed": 1}
    assert kinds(scan(root, retry=True)) == {"unchanged": 1, "failed": 1}
    assert len(dump(catalogue.path)["failures"]) == 1

    tree({"worse.flac": "rlyeh"})
    assert kinds(scan(root)) == {"changed": 1, "unchanged": 1, "heard": 1}


def damage_beside_the_music(path: Path) -> bytes:
    """Make a flac file that libsndfile refuses for its picture; give the bytes that it had before."""
    picture = Picture()
    picture.data = b"x" * 2_000
    sound = FLAC(path)
    sound.add_picture(picture)
    sound.save()
    whole = path.read_bytes()
    place = whole.index(picture.write())
    path.write_bytes(whole[: place + 4] + b"\xff" * 4 + whole[place + 8 :])
    return whole


@pytest.mark.parametrize("copy_comes", ["in the same scan", "later", "under the same name"])
def test_damage_beside_the_music_is_not_held_against_a_whole_copy(
    tree: Tree, scan, catalogue: Catalogue, copy_comes: str
) -> None:
    """What libsndfile refuses is no part of what the music is known by."""
    root = tree({"bad.flac": "lava"})
    whole = damage_beside_the_music(root / "bad.flac")
    copy = root / ("bad.flac" if copy_comes == "under the same name" else "copy.flac")
    if copy_comes != "in the same scan":
        assert kinds(scan(root)) == {"failed": 1}
        assert kinds(scan(root)) == {"failed": 1}

    copy.write_bytes(whole)
    summary = scan(root)

    assert payload_hash(root / "bad.flac") == payload_hash(copy)
    assert (summary.failed, summary.heard) == (0, 1)
    assert dump(catalogue.path)["failures"] == []
    assert set(kinds(scan(root))) <= {"unchanged", "duplicates"}


def test_a_whole_copy_is_heard_after_a_kill(
    tree: Tree, scan, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree({"bad.flac": "lava"})
    whole = damage_beside_the_music(root / "bad.flac")
    assert kinds(scan(root)) == {"failed": 1}
    (root / "copy.flac").write_bytes(whole)
    with monkeypatch.context() as patch:

        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("moodbook.library.scan._Scan._hear", stop)
        with pytest.raises(KeyboardInterrupt):
            scan(root)

    assert kinds(scan(root))["heard"] == 1
    assert dump(catalogue.path)["failures"] == []


@pytest.mark.parametrize("how", ["another model", "--retry"])
def test_every_file_with_the_music_is_tried(
    how: str, tree: Tree, scan, catalogue: Catalogue, tagger: Tagger, make_bundle: Callable[..., Bundle]
) -> None:
    """The first of two files with one music fails; nobody has tried the second."""
    root = tree({"bad.flac": "lava"})
    (root / "copy.flac").write_bytes(damage_beside_the_music(root / "bad.flac"))
    other = Tagger(make_bundle("other", weights={name: 0.5 * value for name, value in tagger.bundle.weights.items()}))
    assert kinds(scan(root))["heard"] == 1
    if how == "--retry":  # As a Moodbook left it that held the failure against the music.
        model = catalogue.use_model(other.bundle)
        for file in catalogue.known_files().values():
            catalogue.enter_failure(file.payload_id, model, "damaged")
        assert scan(root, tagger=other).failed == 2

    summary = scan(root, tagger=other, retry=how == "--retry")

    assert (summary.failed, summary.heard) == (0, 1)


def test_retry_hears_what_has_another_name_now(tree: Tree, scan, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree({"a.flac": "lava"})
    with monkeypatch.context() as patch:
        patch.setattr("moodbook.model.engine.Engine.run", lambda self, log_mel: 1 / 0)
        assert kinds(scan(root)) == {"failed": 1}
    (root / "a.flac").rename(root / "b.flac")
    assert scan(root, retry=True).heard == 1


def test_retry_hears_what_failed(tree: Tree, scan, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree({"a.flac": "lava"})
    with monkeypatch.context() as patch:
        patch.setattr("moodbook.model.engine.Engine.run", lambda self, log_mel: 1 / 0)
        assert kinds(scan(root)) == {"failed": 1}

    assert kinds(scan(root)) == {"failed": 1}
    assert kinds(scan(root, retry=True)) == {"unchanged": 1, "heard": 1}
    assert kinds(scan(root)) == {"unchanged": 1}


def test_several_models_stand_side_by_side(
    tree: Tree, scan, catalogue: Catalogue, tagger: Tagger, make_bundle: Callable[..., Bundle]
) -> None:
    root = tree({"a.flac": "lava"})
    weights = {name: 0.5 * weight for name, weight in tagger.bundle.weights.items()}
    other = Tagger(make_bundle("other", weights=weights))
    scan(root)

    assert kinds(scan(root, tagger=other)) == {"unchanged": 1, "heard": 1}
    assert kinds(scan(root)) == {"unchanged": 1}
    for used in (tagger, other):
        model = catalogue.find_model(used.bundle.sha256[:10])
        (track,) = search(catalogue, "", model=model)
        assert list(track.probabilities.values()) == used(root / "a.flac").probabilities.tolist()
    # The one that scanned last answers.
    assert catalogue.find_model().sha256 == tagger.bundle.sha256


@pytest.mark.parametrize("before", ["int8", None], ids=["another", "of an older Moodbook"])
def test_what_was_heard_in_another_precision_is_heard_again_when_one_is_named(
    tree: Tree, scan, catalogue: Catalogue, tagger: Tagger, before: str | None
) -> None:
    now = tagger.engine.precision
    root = tree({"lava.flac": "lava", "taiko.flac": "taiko"})
    scan(root)
    heard = dump(catalogue.path)["analyses"]
    with catalogue.transaction() as connection:
        connection.execute(
            "UPDATE analysis SET precision = ?, probabilities = zeroblob(16) WHERE payload_id = 1", (before,)
        )
    assert kinds(scan(root)) == {"unchanged": 2}
    (tiny,) = [model for model in measure(catalogue, catalogue.find_model("tiny")).models if model.name == "tiny"]
    assert tiny.precisions == ({now: 1, before: 1} if before else {now: 1})
    assert tiny.recordings == 2

    assert kinds(scan(root, precision=now)) == {"unchanged": 2, "heard": 1}
    assert dump(catalogue.path)["analyses"] == heard
    assert kinds(scan(root, precision=now)) == {"unchanged": 2}


@pytest.mark.parametrize("stage", ["identify", "listen"])
def test_a_worker_that_dies_costs_one_file(tree: Tree, scan, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    root = tree({"a.flac": "lava", "deadly.flac": "rlyeh", "z.flac": "taiko"})
    if stage == "identify":
        monkeypatch.setattr("moodbook.library.scan.identify", worker_tasks.die_on_identity)
    else:
        monkeypatch.setattr(listening, "_listen_for_pool", worker_tasks.die_on_listening)

    summary = scan(root, jobs=2)

    assert kinds(summary) == {"new": 2, "failed": 1, "heard": 2}
    (failure,) = summary.failures
    assert (failure.path.name, failure.reason) == ("deadly.flac", "the decoder died on it (SIGSEGV). Re-encode it.")
    monkeypatch.undo()
    # What died in a decoder is remembered; what died before its content was known is tried again.
    again = {"unchanged": 2, "failed": 1} if stage == "listen" else {"unchanged": 2, "new": 1, "heard": 1}
    assert kinds(scan(root)) == again


def test_a_worker_that_hangs_costs_one_file(tree: Tree, scan, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree({"a.flac": "lava", "hanging.flac": "rlyeh", "z.flac": "taiko"})
    monkeypatch.setattr(listening, "_listen_for_pool", worker_tasks.die_on_listening)

    summary = scan(root, limits=Limits(stall_seconds=8.0))

    assert kinds(summary) == {"new": 2, "failed": 1, "heard": 2}
    assert "gave no sign for 8 s" in summary.failures[0].reason


def test_a_file_that_changes_while_it_is_heard_is_not_believed(
    tree: Tree, scan, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree({"growing.flac": "lava"})
    monkeypatch.setattr(listening, "_listen_for_pool", worker_tasks.grow_while_listening)

    summary = scan(root)

    assert kinds(summary) == {"failed": 1}
    assert summary.failures[0].reason.startswith("it changed while it was being read")
    contents = dump(catalogue.path)
    assert (contents["analyses"], contents["failures"]) == ([], [])
    monkeypatch.undo()
    assert kinds(scan(root)) in ({"retagged": 1, "heard": 1}, {"changed": 1, "heard": 1})


def test_progress_comes_to_its_end(tree: Tree, scan) -> None:
    root = tree({"a.flac": "lava", "b.flac": "lava", "c.flac": "taiko"})
    (root / "d.flac").write_bytes(b"not audio at all")
    told: list[tuple[int, int]] = []

    scan(root, on_progress=lambda done, total: told.append((done, total)))

    assert told[0] == (0, 4)
    assert told[-1] == (4, 4)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_one_name_for_one_file(tree: Tree, scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree({"a.flac": "lava"})
    (tmp_path / "link").symlink_to(root)
    monkeypatch.chdir(root)

    assert kinds(scan(Path())) == {"new": 1, "heard": 1}
    assert kinds(scan(root, tmp_path / "link", root / ".." / "music")) == {"unchanged": 1}


def test_a_file_that_was_named_and_is_gone_is_forgotten(tree: Tree, scan, catalogue: Catalogue) -> None:
    root = tree({"a.flac": "lava", "b.flac": "taiko"})
    scan(root)
    (root / "a.flac").unlink()

    summary = scan(root / "a.flac")
    assert kinds(summary) == {"gone": 1}
    assert summary.absent == [root / "a.flac"]

    summary = scan(root / "a.flac", forget=True)
    assert kinds(summary) == {"forgotten": 1}
    assert (summary.absent, summary.failures) == ([], [])
    assert list(catalogue.known_files()) == [root / "b.flac"]


def test_a_folder_that_was_named_and_is_gone_is_no_failed_file(tree: Tree, scan, tmp_path: Path) -> None:
    root = tree({"a.flac": "lava"})
    scan(root)
    root.rename(tmp_path / "aside")
    for _ in range(2):
        summary = scan(root, forget=True)
        assert summary.absent == [root]
        assert (summary.found, summary.failed, summary.forgotten, summary.kept) == (0, 0, 0, 1)


def test_a_name_that_does_not_exist_is_said(tree: Tree, scan, catalogue: Catalogue, tagger: Tagger) -> None:
    root = tree({"a.flac": "lava"})

    summary = scan(root / "nothing", root)

    assert kinds(summary) == {"new": 1, "heard": 1}
    assert summary.absent == [root / "nothing"]
    with pytest.raises(DataError, match="no folder was named"):
        scan_library(catalogue, [], tagger)


def test_a_summary_is_a_record(tree: Tree, scan) -> None:
    root = tree({"a.flac": "lava", "b.flac": "lava"})
    (root / "c.flac").write_bytes(b"")
    record = scan(root).to_dict()

    assert (record["found"], record["new"], record["failed"], record["heard"]) == (3, 2, 1, 1)
    assert [Path(entry["path"]).name for entry in record["duplicates"][0]] == ["a.flac", "b.flac"]
    assert record["failures"][0]["error"].startswith("the file is empty")
    assert np.isfinite(record["seconds"])


def test_the_last_file_of_a_folder_is_forgotten_where_it_is_named(tree: Tree, scan, catalogue: Catalogue) -> None:
    root = tree({"one/only.flac": "lava", "two/b.flac": "taiko"})
    scan(root)
    (root / "one/only.flac").unlink()

    assert kinds(scan(root / "one", forget=True)) == {"gone": 1, "kept": 1}
    assert kinds(scan(root / "one/only.flac", forget=True)) == {"forgotten": 1}
    assert set(catalogue.known_files()) == {absolute(root / "two/b.flac")}


def test_a_named_file_of_a_disk_that_is_not_mounted_is_kept(tree: Tree, scan, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree({"disk/a.flac": "lava"})
    mounts = {"/", str(absolute(root / "disk/a.flac").parent)}
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) in mounts)
    scan(root)
    mounts.remove(str(absolute(root / "disk/a.flac").parent))
    (root / "disk/a.flac").unlink()

    assert kinds(scan(root / "disk/a.flac", forget=True)) == {"gone": 1, "kept": 1}


def test_a_link_that_was_named_is_there_as_long_as_its_target_is(
    tree: Tree, scan, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree({"disk/b.flac": "lava", "music/a.flac": "taiko"})
    link = root / "music/link.flac"
    link.symlink_to(root / "disk/b.flac")
    mounts = {"/", str(absolute(root / "disk/b.flac").parent)}
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) in mounts)
    assert kinds(scan(link)) == {"new": 1, "heard": 1}

    assert kinds(scan(root / "music")) == {"new": 1, "heard": 1}
    assert not any(file.is_missing for file in catalogue.known_files().values())

    mounts.remove(str(absolute(root / "disk/b.flac").parent))
    (root / "disk/b.flac").unlink()
    assert scan(link, forget=True).kept == 1
    assert len(catalogue.known_files()) == 2


def test_what_cannot_be_heard_again_stays_as_it_was_heard(
    tree: Tree, scan, catalogue: Catalogue, tagger: Tagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree({"deadly.flac": "lava"})
    scan(root)
    with catalogue.transaction() as connection:
        connection.execute("UPDATE analysis SET precision = 'other'")
    monkeypatch.setattr(listening, "_listen_for_pool", worker_tasks.die_on_listening)

    assert kinds(scan(root, precision=tagger.engine.precision)) == {"failed": 1}

    assert catalogue.failed_payloads(catalogue.find_model()) == {}
    assert kinds(scan(root)) == {"unchanged": 1}
    monkeypatch.undo()
    assert kinds(scan(root, precision=tagger.engine.precision)) == {"unchanged": 1, "heard": 1}


def test_a_file_that_became_a_link_to_other_music_is_gone(tree: Tree, scan) -> None:
    root = tree({"music/a.flac": "lava", "music/b.flac": "taiko", "elsewhere/c.flac": "rlyeh"})
    scan(root / "music")
    (root / "music/b.flac").unlink()
    (root / "music/b.flac").symlink_to(root / "elsewhere/c.flac")

    assert kinds(scan(root / "music", forget=True)) == {"unchanged": 1, "gone": 1, "forgotten": 1}
