"""What the tests of the data sets share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.datasets.bad_server import BadServer, bad_server
from tests.datasets.synthetic import write_text

from moodbook.datasets.web import Patience


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data root, so that no test sees what the user has fetched."""
    folder = tmp_path / "moodbook-data"
    monkeypatch.setenv("MOODBOOK_DATA", str(folder))
    monkeypatch.setenv("no_proxy", "*")
    return folder


@pytest.fixture
def write_index(tmp_path: Path) -> Callable[[str], Path]:
    """Write an index file and give its path."""
    return lambda text: write_text(tmp_path / "index.csv", text)


@pytest.fixture
def impatient() -> Patience:
    """Patience for tests: short waits."""
    return Patience(attempts=4, timeout_seconds=0.3, back_off_seconds=0.01)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BadServer]:
    """A server of the folder ``served``."""
    folder = tmp_path / "served"
    folder.mkdir()
    with bad_server(folder) as running:
        yield running
