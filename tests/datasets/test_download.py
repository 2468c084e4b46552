from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tests.datasets.bad_server import BadServer, Behaviour
from tests.datasets.synthetic import sha256

from moodbook.datasets.download import Pin, download, git_blob_of, sha256_of
from moodbook.datasets.web import Patience, remote_bytes
from moodbook.errors import FetchError

CONTENT = bytes(range(256)) * 400
PIN = Pin(sha256(CONTENT))
NAME = "music.tar"


@pytest.fixture
def url(server: BadServer) -> str:
    (server.root / NAME).write_bytes(CONTENT)
    return f"{server.url}/{NAME}"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "here" / NAME


def assert_only(target: Path) -> None:
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == [NAME]


@pytest.mark.parametrize("pin", [PIN, None])
def test_a_file_arrives_whole(url: str, target: Path, pin: Pin | None, impatient: Patience) -> None:
    seen: list[int] = []
    download(url, target, pin, patience=impatient, advance=seen.append)
    assert_only(target)
    assert sum(seen) == len(CONTENT)


def test_a_file_that_is_there_and_right_is_not_asked_for(
    server: BadServer, url: str, target: Path, impatient: Patience
) -> None:
    download(url, target, PIN, patience=impatient)
    before = list(server.requests)
    download(url, target, PIN, patience=impatient)
    assert server.requests == before


def test_a_file_that_is_there_and_wrong_is_replaced(url: str, target: Path, impatient: Patience) -> None:
    target.parent.mkdir()
    target.write_bytes(b"something else")
    download(url, target, PIN, patience=impatient)
    assert_only(target)


def test_a_cut_connection_is_taken_up_where_it_broke(
    server: BadServer, url: str, target: Path, impatient: Patience
) -> None:
    server.misbehave(NAME, Behaviour("cut", 30_000), Behaviour("cut", 20_000))
    seen: list[int] = []
    download(url, target, PIN, patience=impatient, advance=seen.append)
    assert_only(target)
    assert server.ranges(NAME) == [None, "bytes=30000-", "bytes=50000-"]
    assert sum(seen) == len(CONTENT)


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour("ignore-range"),
        Behaviour("wrong-range"),
        Behaviour("false-range"),
        Behaviour("corrupt"),
        Behaviour("stall"),
        Behaviour("drip", 10),
        Behaviour("status", 503),
        Behaviour("status", 429, (("Retry-After", "0"),)),
        Behaviour("status", 500),
    ],
    ids=lambda behaviour: f"{behaviour.kind}-{behaviour.count}",
)
@pytest.mark.parametrize("begun", [False, True], ids=["new", "begun"])
def test_a_server_that_misbehaves_once_is_survived(
    server: BadServer, url: str, target: Path, impatient: Patience, behaviour: Behaviour, begun: bool
) -> None:
    server.misbehave(NAME, *([Behaviour("cut", 40_000)] if begun else []), behaviour)
    download(url, target, PIN, patience=impatient)
    assert_only(target)


def test_a_range_that_begins_elsewhere_is_never_joined(
    server: BadServer, url: str, target: Path, impatient: Patience
) -> None:
    """Without a checksum the range itself must give the lie away."""
    etag = ("ETag", '"one"')
    server.misbehave(NAME, Behaviour("cut", 40_000, (etag,)), Behaviour("wrong-range", 0, (etag,)))
    download(url, target, patience=impatient)
    assert_only(target)
    assert server.ranges(NAME) == [None, "bytes=40000-", None]


def test_without_checksum_or_version_nothing_is_resumed(
    server: BadServer, url: str, target: Path, impatient: Patience
) -> None:
    server.misbehave(NAME, Behaviour("cut", 40_000))
    download(url, target, patience=impatient)
    assert_only(target)
    assert server.ranges(NAME) == [None, None]


def test_a_part_left_by_a_killed_process_is_taken_up(
    server: BadServer, url: str, target: Path, impatient: Patience
) -> None:
    target.parent.mkdir()
    target.with_name(NAME + ".part").write_bytes(CONTENT[:1234])
    download(url, target, PIN, patience=impatient)
    assert_only(target)
    assert server.ranges(NAME) == ["bytes=1234-"]


def test_a_whole_part_left_by_a_killed_process_needs_no_byte_more(
    server: BadServer, url: str, target: Path, impatient: Patience
) -> None:
    target.parent.mkdir()
    target.with_name(NAME + ".part").write_bytes(CONTENT)
    download(url, target, PIN, patience=impatient)
    assert_only(target)
    assert server.ranges(NAME) == [f"bytes={len(CONTENT)}-"]


def test_a_part_longer_than_the_file_is_thrown_away(url: str, target: Path, impatient: Patience) -> None:
    target.parent.mkdir()
    target.with_name(NAME + ".part").write_bytes(CONTENT + b"more")
    download(url, target, PIN, patience=impatient)
    assert_only(target)


def test_a_wrong_file_is_refused_and_leaves_nothing(
    server: BadServer, url: str, target: Path, impatient: Patience
) -> None:
    server.misbehave(NAME, *[Behaviour("corrupt")] * 9)
    with pytest.raises(FetchError, match=f"expected {PIN.expected}"):
        download(url, target, PIN, patience=impatient)
    assert list(target.parent.iterdir()) == []
    assert len(server.ranges(NAME)) == 2


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_final_and_names_the_address(
    server: BadServer, url: str, target: Path, impatient: Patience, status: int
) -> None:
    server.misbehave(NAME, *[Behaviour("status", status)] * 9)
    with pytest.raises(FetchError, match=rf"{url}.*{status}"):
        download(url, target, PIN, patience=impatient)
    assert len(server.ranges(NAME)) == 1
    assert not target.exists()


@pytest.mark.parametrize("behaviour", [Behaviour("status", 503), Behaviour("stall"), Behaviour("cut", 0)])
def test_a_server_that_never_works_is_given_up_with_the_part_kept(
    server: BadServer, url: str, target: Path, impatient: Patience, behaviour: Behaviour
) -> None:
    server.misbehave(NAME, Behaviour("cut", 500), *[behaviour] * 20)
    with pytest.raises(FetchError, match="4 times in a row; what arrived is kept"):
        download(url, target, PIN, patience=impatient)
    assert not target.exists()
    assert target.with_name(NAME + ".part").read_bytes() == CONTENT[:500]


def test_a_server_that_starts_again_and_again_is_given_up(
    server: BadServer, url: str, target: Path, impatient: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It brings much each time, but never more than before: no progress, though each attempt looks like some."""
    monkeypatch.setattr("moodbook.datasets.download._PROGRESS_BYTES", 1000)
    cuts = [Behaviour("cut", 3000), Behaviour("cut", 9000)] * 10
    server.misbehave(NAME, *cuts)
    with pytest.raises(FetchError, match="4 times in a row"):
        download(url, target, patience=impatient)
    assert len(server.ranges(NAME)) == 5


def test_an_unknown_length_is_taken_only_with_a_checksum(
    server: BadServer, url: str, target: Path, impatient: Patience
) -> None:
    server.misbehave(NAME, Behaviour("no-length"))
    with pytest.raises(FetchError, match="does not say how long"):
        download(url, target, patience=impatient)
    assert not target.exists()
    server.misbehave(NAME, Behaviour("no-length"))
    download(url, target, PIN, patience=impatient)
    assert_only(target)


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://127.0.0.1/x", "data:,x", "/etc/hostname"])
def test_only_http_is_spoken(address: str, target: Path, impatient: Patience) -> None:
    with pytest.raises(FetchError, match="http"):
        download(address, target, patience=impatient)
    assert not target.exists()


def test_a_redirect_away_from_http_is_not_followed(
    server: BadServer, url: str, target: Path, impatient: Patience
) -> None:
    server.misbehave(NAME, *[Behaviour("redirect")] * 9)
    with pytest.raises(FetchError):
        download(url, target, PIN, patience=impatient)
    assert not target.exists()


def test_nobody_listening_is_said(target: Path) -> None:
    with pytest.raises(FetchError, match="cannot be reached"):
        download("http://127.0.0.1:9/x", target, PIN, patience=Patience(attempts=2, back_off_seconds=0.0))


def test_stopping_keeps_what_arrived(server: BadServer, url: str, target: Path, impatient: Patience) -> None:
    server.misbehave(NAME, Behaviour("cut", 500))
    stop = threading.Event()
    with pytest.raises(FetchError, match="stopped"):
        download(url, target, PIN, patience=impatient, advance=lambda count: stop.set(), stop=stop)
    assert not target.exists()
    assert target.with_name(NAME + ".part").read_bytes() == CONTENT[:500]
    assert len(server.ranges(NAME)) == 1


def test_an_unwritable_place_is_said(url: str, tmp_path: Path, impatient: Patience) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FetchError, match="cannot make the folder"):
        download(url, tmp_path / "file" / "below", PIN, patience=impatient)


def test_the_length_is_asked_for(server: BadServer, url: str, impatient: Patience) -> None:
    assert remote_bytes(url, impatient) == len(CONTENT)
    assert server.requests == [("HEAD", f"/{NAME}", None)]
    with pytest.raises(FetchError, match="404"):
        remote_bytes(f"{server.url}/other", impatient)


def test_waits_double_up_to_a_minute() -> None:
    patience = Patience(back_off_seconds=1.0)
    assert [patience.wait_seconds(failures) for failures in (1, 2, 3, 7, 50)] == [1, 2, 4, 60, 60]


def test_checksums(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"hello\n")
    assert sha256_of(path) == "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    # What `git hash-object` prints for the same bytes.
    assert git_blob_of(path) == "ce013625030ba8dba906f756967f9e9ca394464a"
