from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from moodbook.datasets import rowstore
from moodbook.datasets.rowstore import Layout, RowWriter, locked, open_rows, require_space
from moodbook.errors import DataError

LAYOUT = Layout("key", (3, 4), np.dtype("<i2"))
BATCHES = [np.arange(24 * n, 24 * (n + 1), dtype="<i2").reshape(2, 3, 4) for n in range(5)]
ALL = np.concatenate(BATCHES)


def write(folder: Path, batches: int = 5, finish: bool = True) -> None:
    with RowWriter(folder, LAYOUT) as writer:
        for number in range(len(writer.notes), batches):
            writer.append(BATCHES[number], {"number": number})
        if finish:
            writer.finish({"kind": "test"})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(tmp_path)
    stored = open_rows(tmp_path)
    np.testing.assert_array_equal(stored.rows, ALL)
    assert stored.rows.dtype == np.dtype("<i2")
    assert stored.manifest["kind"] == "test"
    assert sorted(contents(tmp_path)) == ["manifest.json", "rows.npy"]
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy", allow_pickle=False), ALL)


def test_rows_cannot_be_changed_by_their_reader(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(ValueError, match="read-only"):
        open_rows(tmp_path).rows[0] = 0


def test_a_store_without_rows(tmp_path: Path) -> None:
    write(tmp_path, batches=0)
    assert open_rows(tmp_path).rows.shape == (0, 3, 4)


def test_the_numpy_header_never_changes_its_length() -> None:
    for layout in (LAYOUT, Layout("k", (128, 1024), np.dtype("<f2"))):
        assert {len(layout.header(rows)) for rows in (0, 9, 10_000_000_000)} == {128}


@pytest.mark.parametrize("batches", range(6))
def test_a_store_goes_on_where_it_stopped(tmp_path: Path, batches: int) -> None:
    write(tmp_path / "unbroken")
    write(tmp_path / "broken", batches, finish=False)
    writer = RowWriter(tmp_path / "broken", LAYOUT)
    assert [note["number"] for note in writer.notes] == list(range(batches))
    assert writer.rows == 2 * batches
    writer.close()
    write(tmp_path / "broken")
    assert contents(tmp_path / "broken") == contents(tmp_path / "unbroken")


def truncate_rows(folder: Path) -> None:
    path = folder / "rows.partial"
    path.write_bytes(path.read_bytes()[:-1])


def flip_a_late_bit(folder: Path) -> None:
    path = folder / "rows.partial"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def tear_the_journal(folder: Path) -> None:
    path = folder / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-3])


def garble_the_journal(folder: Path) -> None:
    path = folder / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = b"\0\0\0\n"
    path.write_bytes(b"".join(lines))


def lose_the_rows(folder: Path) -> None:
    (folder / "rows.partial").unlink()


def lose_the_journal(folder: Path) -> None:
    (folder / "journal.jsonl").unlink()


def add_unfinished_rows(folder: Path) -> None:
    with (folder / "rows.partial").open("ab") as file:
        file.write(b"half a row")


def stop_before_the_manifest(folder: Path) -> None:
    content = (folder / "rows.partial").read_bytes()
    (folder / "rows.npy").write_bytes(LAYOUT.header(6) + content[128:])
    (folder / "rows.partial").unlink()


@pytest.mark.parametrize(
    ("accident", "kept"),
    [
        (truncate_rows, 2),
        (flip_a_late_bit, 2),
        (tear_the_journal, 2),
        (garble_the_journal, 1),
        (lose_the_rows, 0),
        (lose_the_journal, 0),
        (add_unfinished_rows, 3),
        (stop_before_the_manifest, 3),
    ],
)
def test_after_an_accident_only_whole_batches_count(
    tmp_path: Path, accident: Callable[[Path], None], kept: int
) -> None:
    write(tmp_path / "unbroken")
    write(tmp_path / "broken", batches=3, finish=False)
    accident(tmp_path / "broken")
    writer = RowWriter(tmp_path / "broken", LAYOUT)
    assert len(writer.notes) == kept
    writer.close()
    write(tmp_path / "broken")
    assert contents(tmp_path / "broken") == contents(tmp_path / "unbroken")


@pytest.mark.parametrize(
    "other",
    [
        Layout("other", (3, 4), np.dtype("<i2")),
        Layout("key", (4, 3), np.dtype("<i2")),
        Layout("key", (3, 4), np.dtype("<u2")),
    ],
)
def test_another_layout_is_not_continued(tmp_path: Path, other: Layout) -> None:
    write(tmp_path, batches=3, finish=False)
    writer = RowWriter(tmp_path, other)
    assert (writer.notes, writer.rows) == ([], 0)
    writer.close()


@pytest.mark.parametrize("name", ["rows.npy", "manifest.json"])
def test_every_damaged_byte_is_noticed(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    path = tmp_path / name
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="damaged"):
            open_rows(tmp_path)
    for damaged_content in (content[:-2], content + b"x", b""):
        path.write_bytes(damaged_content)
        with pytest.raises(DataError, match="damaged"):
            open_rows(tmp_path)


def test_opening_without_verification_still_looks_at_the_size(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "rows.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert open_rows(tmp_path, verify=False).rows.shape == ALL.shape
    path.write_bytes(content[:-1])
    with pytest.raises(DataError, match="367 bytes, expected 368 for 10 rows"):
        open_rows(tmp_path, verify=False)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing was built there"):
        open_rows(tmp_path)
    write(tmp_path, batches=2, finish=False)
    with pytest.raises(DataError, match="not finished"):
        open_rows(tmp_path)
    write(tmp_path)
    (tmp_path / "rows.npy").unlink()
    with pytest.raises(DataError, match=r"cannot read '.*rows.npy'"):
        open_rows(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps([]))
    with pytest.raises(DataError, match="no JSON object"):
        open_rows(tmp_path)


def test_rows_of_another_shape_are_refused(tmp_path: Path) -> None:
    writer = RowWriter(tmp_path, LAYOUT)
    with pytest.raises(DataError, match=r"\(4, 3\).*does not fit a store of \(3, 4\)"):
        writer.append(np.zeros((1, 4, 3), "<i2"), None)
    with pytest.raises(DataError, match="float32"):
        writer.append(np.zeros((1, 3, 4), np.float32), None)
    writer.close()


def test_a_full_disk_is_said_before_the_work(tmp_path: Path) -> None:
    require_space(tmp_path / "not" / "there" / "yet", 1, "a small cache")
    with pytest.raises(DataError, match=r"a large cache needs 1000000000\.0 GB in"):
        require_space(tmp_path, 10**18, "a large cache")


def test_one_process_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    class WaitedError(Exception):
        pass

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise WaitedError

    monkeypatch.setattr(rowstore.time, "sleep", wait)
    with locked(tmp_path), pytest.raises(WaitedError), locked(tmp_path):
        pass
    with locked(tmp_path):
        assert len(waits) == 3


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_every_sync_or_rename_that_fails_leaves_a_store_to_go_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    write(tmp_path / "unbroken")
    where = (rowstore.os, "fsync") if call == "fsync" else (Path, "replace")
    real = getattr(*where)
    failures = 0
    for fails_at in range(1, 20):
        folder = tmp_path / f"{fails_at}"
        calls = 0

        def fail(*arguments: object, at: int = fails_at) -> object:
            nonlocal calls
            calls += 1
            if calls == at:
                raise OSError(28, "No space left on device")
            return real(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(*where, fail)
            try:
                write(folder)
            except DataError as error:
                failures += 1
                assert "No space left on device" in str(error)  # noqa: PT017
        write(folder)
        assert contents(folder) == contents(tmp_path / "unbroken")
        if calls < fails_at:
            break
    assert failures >= 2


def test_an_unwritable_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot write to"), locked(tmp_path / "file"):
        pass
