"""A tag axis that carries its names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moodbook.errors import DataError
from moodbook.tags import TagSet, read_tags

TAGS = TagSet(("calm", "dark", "epic"))


def test_a_set_is_ordered_and_finds_its_columns() -> None:
    assert list(TAGS) == ["calm", "dark", "epic"]
    assert len(TAGS) == 3
    assert "dark" in TAGS
    assert "happy" not in TAGS
    assert TAGS.column("dark") == 1


def test_an_unknown_tag_is_named_with_the_known_ones() -> None:
    with pytest.raises(DataError, match="unknown tag 'happy'; the tags are: calm, dark, epic"):
        TAGS.column("happy")


@pytest.mark.parametrize(
    ("names", "message"),
    [(("calm", "calm"), "'calm' stands twice"), (("calm", " "), "empty name")],
)
def test_a_set_refuses_names_that_are_no_axis(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        TagSet(names)


def test_one_hot_marks_the_named_columns() -> None:
    assert TAGS.one_hot(["epic", "calm"]).tolist() == [True, False, True]


@given(st.permutations(TAGS.names))
def test_aligning_undoes_any_permutation(names: list[str]) -> None:
    columns = np.array([[TAGS.column(name) for name in names]])
    aligned = TAGS.align(columns, TagSet(tuple(names)))
    assert aligned.tolist() == [[0, 1, 2]]


def test_aligning_refuses_other_names_and_other_widths() -> None:
    with pytest.raises(DataError, match=r"missing \['epic'\], unexpected \['happy'\]"):
        TAGS.align(np.zeros((2, 3)), TagSet(("calm", "dark", "happy")))
    with pytest.raises(DataError, match="the array has 2 columns, its tag set 3 names"):
        TAGS.align(np.zeros((2, 2)), TAGS)


def test_values_by_name_become_a_vector_in_column_order() -> None:
    assert TAGS.vector({"epic": 3.0, "calm": 1.0, "dark": 2.0}).tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(DataError, match="values by tag do not fit"):
        TAGS.vector({"epic": 3.0})


def test_a_tag_list_drops_its_prefix(tmp_path: Path) -> None:
    path = tmp_path / "tags.txt"
    path.write_bytes(b"mood/theme---calm\r\nmood/theme---dark\r\n\r\nepic\r\n")
    assert read_tags(path) == TAGS


def test_a_tag_list_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read the tag list"):
        read_tags(tmp_path / "missing.txt")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(DataError, match="is empty; write one tag a line"):
        read_tags(tmp_path / "empty.txt")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match="cannot read the tag list"):
        read_tags(tmp_path / "latin.txt")


def test_a_tag_list_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "tags.txt"
    path.write_bytes(b"\xef\xbb\xbfcalm\ndark\nepic\n")
    assert read_tags(path) == TAGS
