from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.datasets.synthetic import write_bytes

from moodbook.datasets.dataset import Track
from moodbook.datasets.index import read_folder, read_index
from moodbook.errors import DataError
from moodbook.tags import TagSet

WriteIndex = Callable[[str], Path]

GOOD = "track_id,path,tags\n1,a/1.mp3,calm;dark\n2,2.mp3,calm\n"


def test_a_plain_index(write_index: WriteIndex, tmp_path: Path) -> None:
    dataset = read_index(write_index(GOOD))
    assert dataset.name == "index"
    assert dataset.tags.names == ("calm", "dark")
    assert dataset.tracks == (
        Track("1", tmp_path / "a" / "1.mp3", ("calm", "dark")),
        Track("2", tmp_path / "2.mp3", ("calm",)),
    )


def test_audio_root_tags_and_name_can_be_given(write_index: WriteIndex) -> None:
    dataset = read_index(write_index(GOOD), "/music", tags=TagSet(("dark", "calm", "other")), name="mine")
    assert dataset.tracks[1].path == Path("/music/2.mp3")
    assert dataset.tags.names == ("dark", "calm", "other")
    assert dataset.name == "mine"


def test_every_column_in_any_order_and_further_ones(write_index: WriteIndex) -> None:
    text = "bpm,split,tags,group,path,track_id\n120,test,x,artist,1.mp3,1\n90,train,,,2.mp3,2\n"
    first, second = read_index(write_index(text)).tracks
    assert (first.split, first.group, first.tags) == ("test", "artist", ("x",))
    assert (second.split, second.group, second.tags) == ("train", None, ())


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("\n", "\r\n"),
        "\ufeff" + GOOD,
        "\ufeff" + GOOD.replace("\n", "\r\n"),
        GOOD.replace("1.mp3", '"a/../a/1.mp3"').replace("a/a/", "a/").replace('a/"', '"'),
        GOOD.replace("calm;dark", " calm ; dark ;; calm "),
        "\n\n" + GOOD + "\n\n",
        GOOD.removesuffix("\n"),
        GOOD.replace("track_id", ' "track_id" ').replace(' "', '"').replace('" ', '"'),
    ],
    ids=["crlf", "bom", "bom-crlf", "quoted", "blanks-and-repeats", "empty-lines", "no-last-newline", "quoted-header"],
)
def test_the_same_index_written_otherwise(write_index: WriteIndex, text: str) -> None:
    dataset = read_index(write_index(text))
    assert dataset.sha256 == read_index(write_index(GOOD)).sha256


def test_ids_tags_and_paths_beyond_ascii_and_with_commas(write_index: WriteIndex, tmp_path: Path) -> None:
    (only,) = read_index(write_index('track_id,path,tags\n"a,""b""","Ünder, ground/ä.mp3",träumerisch\n')).tracks
    assert only == Track('a,"b"', tmp_path / "Ünder, ground" / "ä.mp3", ("träumerisch",))


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", None, "the file is empty; its first line must name the columns track_id, path, tags"),
        ("\n\n", None, "the file is empty"),
        ("track_id,path,tags\n", None, "there is a header and no track"),
        ("id,path\n1,1.mp3\n", 1, "no column 'track_id', 'tags'"),
        ("track_id\tpath\ttags\n", 1, "no column 'track_id', 'path', 'tags'"),
        ("track_id,path,tags,path\n", 1, "the column 'path' stands twice"),
        (GOOD + "1,3.mp3,x\n", 4, "track_id '1' stands on line 2 already"),
        (GOOD + ",3.mp3,x\n", 4, "the track_id is empty"),
        (GOOD + "3,,x\n", 4, "the path is empty"),
        (GOOD + "3,3.mp3\n", 4, "2 fields, expected 3"),
        (GOOD + "3,3.mp3,x,y\n", 4, "4 fields, expected 3"),
        (GOOD + "3,../3.mp3,x\n", 4, "leads out of the audio root"),
        (GOOD + "3,a/../../3.mp3,x\n", 4, "leads out of the audio root"),
        (GOOD + "3,.,x\n", 4, "leads out of the audio root"),
        (GOOD + "3,/etc/passwd,x\n", 4, "is absolute"),
        (GOOD + "3,C:\\music\\3.mp3,x\n", 4, "is absolute"),
        (GOOD + "3,\\\\host\\music\\3.mp3,x\n", 4, "is absolute"),
        (GOOD + "3,3.mp3\0,x\n", 4, "NUL"),
        (GOOD + '"3,3.mp3,x\n', 4, "not valid CSV"),
        (GOOD + '3,"3"".mp3"x,x\n', 4, "not valid CSV"),
        ("track_id,path,tags,split\n1,1.mp3,x,train\n2,2.mp3,x,dev\n", 3, "unknown split 'dev'; write one of train, v"),
        ("track_id,path,tags,split\n1,1.mp3,x,train\n2,2.mp3,x,\n", 3, "unknown split ''"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(write_index: WriteIndex, text: str, line: int | None, reason: str) -> None:
    path = write_index(text)
    with pytest.raises(DataError) as caught:
        read_index(path)
    where = f"{path}, line {line}: " if line is not None else f"{path}: "
    assert str(caught.value).startswith(where)
    assert reason in str(caught.value)


def test_a_value_over_two_lines_does_not_shift_the_line_numbers(write_index: WriteIndex) -> None:
    path = write_index('track_id,path,tags,note\n1,1.mp3,x,"one\ntwo"\n1,2.mp3,x,\n')
    with pytest.raises(DataError, match="line 4: track_id '1' stands on line 2 already"):
        read_index(path)


def test_another_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "latin.csv", GOOD.encode() + "3,ä.mp3,x\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"line 4: not UTF-8 \(byte 0xe4\); save the file as UTF-8"):
        read_index(path)
    path = write_bytes(tmp_path / "utf16.csv", GOOD.encode("utf-16"))
    with pytest.raises(DataError, match="line 1: not UTF-8"):
        read_index(path)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read '.*none.csv': No such file"):
        read_index(tmp_path / "none.csv")
    with pytest.raises(DataError, match="Is a directory"):
        read_index(tmp_path)


FOLDS = "track_id,path,tags,fold,group\n" + "".join(f"{n},{n}.mp3,x,{n % 4},g{n % 4}\n" for n in range(8))


def test_folds_become_splits(write_index: WriteIndex) -> None:
    path = write_index(FOLDS)
    by_fold = {0: "test", 1: "validation", 2: "train", 3: "train"}
    assert [track.split for track in read_index(path, test_fold=0).tracks] == [by_fold[n % 4] for n in range(8)]
    around = {3: "test", 0: "validation", 1: "train", 2: "train"}
    assert [track.split for track in read_index(path, test_fold=3).tracks] == [around[n % 4] for n in range(8)]
    assert {track.split for track in read_index(path).tracks} == {None}


@pytest.mark.parametrize(
    ("text", "fold", "reason"),
    [
        (FOLDS, 7, "no fold 7; the folds are 0, 1, 2, 3"),
        (FOLDS.replace(",3,", ",x,"), 0, "line 5: the fold 'x' is no number"),
        (FOLDS.replace(",3,", ",1,").replace(",2,", ",1,"), 0, "2 folds; three are needed"),
        (GOOD, 0, "no column 'fold'"),
    ],
)
def test_wrong_folds(write_index: WriteIndex, text: str, fold: int, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read_index(write_index(text), test_fold=fold)


def test_folder_names_are_tags(tmp_path: Path) -> None:
    for name in ("happy/b.mp3", "calm/one/a.flac", "calm/notes.txt", "happy/a.wav"):
        write_bytes(tmp_path / "music" / name, b"")
    dataset = read_folder(tmp_path / "music")
    assert dataset.name == "music"
    assert [(track.track_id, track.tags) for track in dataset.tracks] == [
        ("calm/one/a.flac", ("calm",)),
        ("happy/a.wav", ("happy",)),
        ("happy/b.mp3", ("happy",)),
    ]
    assert all(track.path.is_file() for track in dataset.tracks)


def test_a_folder_must_hold_tag_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no folder"):
        read_folder(tmp_path / "none")
    with pytest.raises(DataError, match="holds no audio file"):
        read_folder(tmp_path)
    write_bytes(tmp_path / "loose.mp3", b"")
    with pytest.raises(DataError, match=r"loose.mp3' lies beside the tag folders"):
        read_folder(tmp_path)


@pytest.mark.parametrize("name", ["calm/one.mp3", "calm/more", "more"])
def test_links_are_refused_and_not_left_out_without_a_word(tmp_path: Path, name: str) -> None:
    elsewhere = write_bytes(tmp_path / "elsewhere" / "one.mp3", b"")
    write_bytes(tmp_path / "music" / "calm" / "two.mp3", b"")
    (tmp_path / "music" / name).symlink_to(elsewhere if name.endswith(".mp3") else elsewhere.parent)
    with pytest.raises(DataError, match=rf"{name}' is a link; links below a folder are not followed"):
        read_folder(tmp_path / "music")
