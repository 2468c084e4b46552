"""A tag axis that carries its names.

Every array with a tag axis in Moodbook travels with a `TagSet`. The five published runs of the 2019 system lost their
F-scores because thresholds were stored in one tag order and applied in another; a `TagSet` makes that impossible to do
silently.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped

from moodbook.errors import DataError
from moodbook.vocabularies import meant


@dataclass(frozen=True)
class TagSet:
    """An ordered set of distinct tag names.

    Args:
        names: The names, in column order.

    Raises:
        DataError: A name is empty or stands twice.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        seen: set[str] = set()
        for name in self.names:
            if not name.strip():
                raise DataError("a tag set holds an empty name; name every tag")
            if name in seen:
                raise DataError(f"tag {name!r} stands twice in the tag set; name every tag once")
            seen.add(name)

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def column(self, name: str) -> int:
        """Give the column of a tag.

        Raises:
            DataError: The tag is not in the set.
        """
        try:
            return self.names.index(name)
        except ValueError:
            guess = meant(name)
            hint = f" did you mean {guess!r}?" if guess in self.names else ""
            raise DataError(f"unknown tag {name!r};{hint} the tags are: {', '.join(self.names)}") from None

    def one_hot(self, names: Iterable[str]) -> Bool[np.ndarray, " tags"]:
        """Mark the columns of the given names.

        Raises:
            DataError: A name is not in the set.
        """
        row = np.zeros(len(self), dtype=bool)
        for name in names:
            row[self.column(name)] = True
        return row

    def align(self, array: Shaped[np.ndarray, "*rows tags"], tags: TagSet) -> Shaped[np.ndarray, "*rows tags"]:
        """Reorder the last axis of an array from the order of `tags` to the order of this set.

        Raises:
            DataError: The two sets do not hold the same names, or the array has another number of columns.
        """
        if array.shape[-1] != len(tags):
            raise DataError(f"the array has {array.shape[-1]} columns, its tag set {len(tags)} names")
        if set(self.names) != set(tags.names):
            missing = sorted(set(self.names) - set(tags.names))
            extra = sorted(set(tags.names) - set(self.names))
            raise DataError(f"the tag sets differ: missing {missing or 'none'}, unexpected {extra or 'none'}")
        return array[..., [tags.column(name) for name in self.names]]

    def vector(self, by_name: Mapping[str, float]) -> np.ndarray:
        """Turn a mapping by tag name into a float64 vector in column order.

        Raises:
            DataError: The mapping lacks a tag of this set or names one outside it.
        """
        if set(by_name) != set(self.names):
            missing = sorted(set(self.names) - set(by_name))
            extra = sorted(set(by_name) - set(self.names))
            raise DataError(f"values by tag do not fit: missing {missing or 'none'}, unexpected {extra or 'none'}")
        return np.array([by_name[name] for name in self.names], dtype=np.float64)


def read_tags(path: str | Path) -> TagSet:
    """Read a tag list, one name a line (a prefix such as ``mood/theme---`` is dropped).

    Raises:
        DataError: The file cannot be read, is empty or holds a name twice.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the tag list '{path}': {error}") from error
    names = tuple(line.strip().split("---")[-1] for line in text.splitlines() if line.strip())
    if not names:
        raise DataError(f"the tag list '{path}' is empty; write one tag a line")
    return TagSet(names)
