"""Reading submissions: by name where there are names, and a typed refusal of everything else."""

from __future__ import annotations

import pickle
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moodbook.errors import DataError, MoodbookError
from moodbook.evaluation.reference import (
    distinct_names,
    read_decisions,
    read_predictions,
    read_reference,
)
from moodbook.evaluation.submission import (
    Table,
    align,
    mean_of,
    read_artists,
    read_table,
    read_track_list,
    to_bool,
)
from moodbook.evaluation.thresholds import read_thresholds
from moodbook.tags import TagSet, read_tags

TAGS = TagSet(("calm", "happy"))
OFFICIAL = (
    "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\r\n"
    "track_0000003\tartist_000001\talbum_000001\t03/3.mp3\t195.0\tmood/theme---calm\tmood/theme---happy\r\n"
    "track_0000001\tartist_000001\talbum_000001\t01/1.mp3\t201.8\tmood/theme---happy\r\n"
    "track_0000002\tartist_000002\talbum_000009\t02/2.mp3\t88.5\tmood/theme---eerie\tmood/theme---calm\r\n"
)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    path = tmp_path / "test.tsv"
    path.write_text(OFFICIAL, encoding="utf-8", newline="")
    return path


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_official_list_is_read_with_its_variable_columns(official: Path):
    listed = read_track_list(official)
    assert listed.track_ids == ("track_0000003", "track_0000001", "track_0000002")
    assert listed.artists == ("artist_000001", "artist_000001", "artist_000002")
    assert listed.durations_seconds == (195.0, 201.8, 88.5)
    assert listed.paths == ("03/3.mp3", "01/1.mp3", "02/2.mp3")
    assert listed.tags == (("calm", "happy"), ("happy",), ("eerie", "calm"))
    assert listed.ground_truth(TAGS).tolist() == [[True, True], [False, True], [True, False]]


def test_an_index_with_joined_tags_is_a_track_list(tmp_path: Path):
    path = write(tmp_path / "i.csv", 'track_id,path,tags,split,group\na,a.ogg,calm;happy,test,x\nb,"b, c.ogg",,test,\n')
    listed = read_track_list(path)
    assert listed.tags == (("calm", "happy"), ())
    assert listed.artists == ("x", "track b")  # An unknown artist is nobody else's.
    assert listed.paths == ("a.ogg", "b, c.ogg")


def test_a_plain_list_of_ids_is_a_track_list(tmp_path: Path):
    listed = read_track_list(write(tmp_path / "ids.txt", "b\n\na\n"))
    assert listed.track_ids == ("b", "a")
    assert read_track_list(write(tmp_path / "headed.txt", "id\nb\na\n")).track_ids == ("b", "a")
    with pytest.raises(DataError, match="holds no tags"):
        listed.ground_truth(TAGS)


def test_a_table_finds_rows_and_columns_by_name(tmp_path: Path, official: Path):
    path = write(
        tmp_path / "p.csv",
        "track_id,mood/theme---happy,calm\ntrack_0000001,.1,.2\ntrack_0000002,.3,.4\ntrack_0000003,.5,.6\n",
    )
    read = read_predictions(path, read_reference(official, TAGS))
    assert read.keyed
    assert read.probabilities.tolist() == [[0.6, 0.5], [0.2, 0.1], [0.4, 0.3]]


def test_an_npy_is_taken_by_position(tmp_path: Path, official: Path):
    array = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.save(tmp_path / "p.npy", array)
    read = read_predictions(tmp_path / "p.npy", read_reference(official, TAGS))
    assert not read.keyed
    assert np.array_equal(read.probabilities, array)
    assert read.probabilities.dtype == np.float64


def test_a_tsv_without_ids_keeps_its_tag_names(tmp_path: Path):
    table = read_table(write(tmp_path / "p.tsv", "happy\tcalm\n0.1\t0.2\n"))
    assert table.track_ids is None
    assert table.tags == TagSet(("happy", "calm"))
    assert align(table, TAGS, None, 1, "predictions").tolist() == [[0.2, 0.1]]


def test_tags_may_be_numbers_where_the_header_names_the_track(tmp_path: Path):
    assert read_table(write(tmp_path / "p.csv", "track_id,80,90\na,0.1,0.2\n")).tags == TagSet(("80", "90"))


def test_an_index_that_pandas_wrote_without_a_name_is_the_track_id(tmp_path: Path):
    table = read_table(write(tmp_path / "p.csv", ",happy,calm\nb,0.1,0.2\na,0.3,0.4\n"))
    assert table.track_ids == ("b", "a")
    assert table.tags == TagSet(("happy", "calm"))
    # Ids may be numbers; only a count of the rows is none.
    assert read_table(write(tmp_path / "n.csv", ",calm\n1,0.1\n0,0.2\n")).track_ids == ("1", "0")


@pytest.mark.parametrize("name", ["p.CSV", "p.Tsv"])
def test_endings_in_capitals_are_read(tmp_path: Path, name: str):
    delimiter = "," if name == "p.CSV" else "\t"
    path = write(tmp_path / name, "track_id,calm,happy\na,0.1,0.2\n".replace(",", delimiter))
    assert read_table(path).values.tolist() == [[0.1, 0.2]]
    official = write(tmp_path / "TEST.TSV", OFFICIAL)
    assert read_reference(official, TAGS).left_out_tags == ("eerie",)
    np.save(tmp_path / "p.npy", np.ones((3, 2)))
    (tmp_path / "p.npy").rename(tmp_path / "P.NPY")
    assert read_table(tmp_path / "P.NPY").values.shape == (3, 2)
    for thresholds, text in (("T.JSON", '{"calm": 0.1}'), ("T.TXT", "calm\t0.1\n")):
        assert read_thresholds(write(tmp_path / thresholds, text)) == {"calm": 0.1}


def test_decisions_are_bool_from_any_spelling(tmp_path: Path, official: Path):
    reference = read_reference(official, TAGS)
    csv = write(
        tmp_path / "d.csv", "track_id,calm,happy\ntrack_0000001,True,0\ntrack_0000002,1,false\ntrack_0000003,0,1.0\n"
    )
    assert read_decisions(csv, reference).tolist() == [[False, True], [True, False], [True, False]]
    np.save(tmp_path / "d.npy", np.array([[1, 0], [0, 1], [1, 1]], dtype=np.uint8))
    assert read_decisions(tmp_path / "d.npy", reference).dtype == np.bool_


def test_the_reference_takes_what_the_list_knows(official: Path):
    reference = read_reference(official, TAGS)
    assert reference.track_ids == ("track_0000003", "track_0000001", "track_0000002")
    assert reference.artists == ("artist_000001", "artist_000001", "artist_000002")
    assert reference.left_out_tags == ("eerie",)


def test_tracks_name_and_order_the_rows_of_a_keyed_truth(tmp_path: Path, official: Path):
    tracks = write(tmp_path / "ids.txt", "track_0000001\ntrack_0000002\ntrack_0000003\n")
    reference = read_reference(official, TAGS, tracks=tracks)
    assert reference.ground_truth.tolist() == [[False, True], [True, False], [True, True]]


def test_tracks_name_the_rows_of_an_npy_truth(tmp_path: Path, official: Path):
    np.save(tmp_path / "g.npy", np.array([[1, 1], [0, 1], [1, 0]], dtype=bool))
    reference = read_reference(tmp_path / "g.npy", TAGS, tracks=official)
    assert reference.track_ids is not None
    assert np.array_equal(reference.ground_truth, read_reference(official, TAGS).ground_truth)


def test_artists_come_from_a_table_of_their_own(tmp_path: Path, official: Path):
    artists = write(
        tmp_path / "a.csv", "track_id,artist\ntrack_0000001,x\ntrack_0000002,y\ntrack_0000003,z\ntrack_0000009,w\n"
    )
    assert read_reference(official, TAGS, artists=artists).artists == ("z", "x", "y")
    short = write(tmp_path / "s.csv", "track_id,artist\ntrack_0000001,x\n")
    with pytest.raises(DataError, match="lacks the artist of 2 tracks"):
        read_reference(official, TAGS, artists=short)
    with pytest.raises(DataError, match="names no tracks"):
        read_artists(artists, None)
    with pytest.raises(DataError, match="expected a column 'artist'"):
        read_artists(write(tmp_path / "n.csv", "track_id,year\na,1999\n"), ["a"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("track_0000001,.1,.2\ntrack_0000002,.3,.4\n", "1 missing (for example 'track_0000003'), 0 unexpected"),
        (
            "track_0000001,.1,.2\ntrack_0000002,.3,.4\ntrack_0000003,.5,.6\nx,.5,.6\n",
            "0 missing, 1 unexpected (for example 'x')",
        ),
        ("track_0000001,.1,.2\ntrack_0000001,.3,.4\n", "track 'track_0000001' stands twice"),
        ("track_0000001,.1\n", "line 2: expected 3 fields as in the header, got 2"),
        ("track_0000001,.1,high\n", "line 2: expected a number in every field"),
        ("track_0000001,.1,\n", "line 2: expected a number in every field"),
        (",.1,.2\n", "a track id is empty"),
    ],
)
def test_bad_rows_are_refused(tmp_path: Path, official: Path, rows: str, message: str):
    path = write(tmp_path / "p.csv", "track_id,calm,happy\n" + rows)
    with pytest.raises(DataError) as refusal:
        read_predictions(path, read_reference(official, TAGS))
    assert message in str(refusal.value)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.csv", "", "is empty"),
        ("p.csv", "0.1,0.2\n0.3,0.4\n", "expected a header line with tag names"),
        ("p.csv", "track_id\na\n", "expected a header line with tag names"),
        ("p.csv", "track_1,0.1,0.2\ntrack_2,0.3,0.4\n", "expected a header line with tag names"),
        ("p.csv", "track_id;calm\na;0.1\n", "expected fields separated by commas, got the line 'track_id;calm'"),
        ("p.tsv", "track_id,calm\na,0.1\n", "expected fields separated by tabs"),
        ("p.csv", "track_id,calm,calm\na,1,2\n", "stands twice in the tag set"),
        ("p.csv", ",calm,happy\n0,0.1,0.2\n1,0.3,0.4\n", "counts the rows from 0, as the index that pandas writes"),
        ("p.csv", 'track_id,calm\n"a,1\n', "cannot read"),
        ("p.parquet", "x", "expected a file ending in .npy, .csv or .tsv"),
        ("p.npy", "not an array", "is no npy file"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, name: str, text: str, message: str):
    with pytest.raises(DataError) as refusal:
        read_table(write(tmp_path / name, text))
    assert message in str(refusal.value)


def test_other_tags_and_shapes_are_refused(tmp_path: Path, official: Path):
    reference = read_reference(official, TAGS)
    path = write(tmp_path / "p.csv", "track_id,calm,sad\ntrack_0000001,1,2\n")
    with pytest.raises(DataError, match=r"missing \['happy'\], unexpected \['sad'\]"):
        read_predictions(path, reference)
    for shape, message in (((2, 3), "looks transposed"), ((4, 2), r"expected shape \(3, 2\), got \(4, 2\)")):
        np.save(tmp_path / "p.npy", np.zeros(shape))
        with pytest.raises(DataError, match=message):
            read_predictions(tmp_path / "p.npy", reference)
    np.save(tmp_path / "p.npy", np.zeros((3, 2, 1)))
    with pytest.raises(DataError, match="expected shape"):
        read_predictions(tmp_path / "p.npy", reference)


def test_names_without_a_keyed_truth_are_refused():
    table = Table(Path("p.csv"), np.zeros((1, 2)), ("a",), TAGS)
    with pytest.raises(DataError, match="give the track list of the ground truth"):
        align(table, TAGS, None, 1, "predictions")


def test_a_list_of_other_tags_is_refused(official: Path):
    with pytest.raises(DataError, match=r"no track of .* has any of the 1 tags, but calm, eerie, happy"):
        read_reference(official, TagSet(("rock",)))


def test_probabilities_are_no_decisions(tmp_path: Path):
    np.save(tmp_path / "d.npy", np.array([[0.0, 0.25], [1.0, 0.5]]))
    with pytest.raises(DataError, match=r"expected only 0 and 1, got 0\.25 and 1 more"):
        to_bool(read_table(tmp_path / "d.npy"), "decisions")


def test_a_pickle_in_an_npy_is_never_opened(tmp_path: Path):
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "sprung",))  # type: ignore[return-value]

    np.save(tmp_path / "trap.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    (tmp_path / "plain.npy").write_bytes(pickle.dumps(Trap()))
    for name in ("trap.npy", "plain.npy"):
        with pytest.raises(DataError):
            read_table(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_lying_and_truncated_arrays_are_refused_before_memory_is_taken(tmp_path: Path):
    path = tmp_path / "p.npy"
    np.save(path, np.zeros((3, 2)))
    whole = path.read_bytes()
    path.write_bytes(whole[:-8])
    with pytest.raises(DataError, match="cannot read"):
        read_table(path)
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (900000000, 5600), }"
    path.write_bytes(b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n" + b"\0" * 64)
    with pytest.raises(DataError, match="cannot read"):
        read_table(path)
    np.save(path, np.array([["a"]]))
    with pytest.raises(DataError, match="expected an array of numbers or bool, got <U1"):
        read_table(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,tags\na.ogg,calm\n", "expected a column 'track_id'"),
        ("track_id,tags\na\n", "line 2: expected 2 fields"),
        ("track_id,duration\na,long\n", "expected durations in seconds"),
        ("track_id,tags\na,calm\na,happy\n", "track 'a' stands twice"),
    ],
)
def test_bad_track_lists_are_refused(tmp_path: Path, text: str, message: str):
    with pytest.raises(DataError, match=message):
        read_track_list(write(tmp_path / "l.csv", text))


def test_systems_are_named_apart():
    assert distinct_names([Path("a/p.npy"), Path("b/p.npy"), Path("b/q.csv")]) == ["a/p", "b/p", "q"]
    assert distinct_names([Path("x/p.npy"), Path("x/p.csv")]) == ["p.npy", "p.csv"]
    assert distinct_names([Path("1/x/p.npy"), Path("2/x/p.npy")]) == ["1/x/p.npy", "2/x/p.npy"]
    assert distinct_names([Path("x/p.npy"), Path("x/p.npy"), Path("p.npy")]) == ["x/p", "x/p (2)", "/p"]


def test_the_mean_is_cell_by_cell():
    assert mean_of([np.array([[0.0, 1.0]]), np.array([[0.5, 0.0]])]).tolist() == [[0.25, 0.5]]


@settings(max_examples=150, deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=200).map(lambda tail: b"\x93NUMPY\x01\x00" + tail),
        st.binary(max_size=60).map(lambda tail: b"track_id,calm,happy\n" + tail),
        st.text(max_size=200).map(lambda text: text.encode()),
    ),
    suffix=st.sampled_from([".npy", ".csv", ".tsv", ".json", ".txt"]),
)
def test_any_bytes_give_a_result_or_a_declared_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
):
    path = tmp_path_factory.getbasetemp() / f"fuzz{suffix}"
    path.write_bytes(content)
    for read in (read_table, read_track_list, read_thresholds, read_tags):
        with suppress(MoodbookError):
            read(path)
