"""What the documents name exists."""

from __future__ import annotations

import functools
import importlib
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def _references(page: str) -> list[str]:
    return sorted(set(re.findall(r"`(moodbook(?:\.\w+)+)`", (DOCS / page).read_text(encoding="utf-8"))))


def _resolve(name: str) -> object:
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        return functools.reduce(getattr, parts[cut:], module)
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_every_object_that_a_page_names_can_be_imported(page: str) -> None:
    for name in _references(page):
        if "." in name:
            _resolve(name)


def test_the_method_names_its_code() -> None:
    assert len(_references("method.md")) > 30
