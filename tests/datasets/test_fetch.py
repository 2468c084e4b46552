from __future__ import annotations

import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.datasets.bad_server import BadServer, Behaviour
from tests.datasets.synthetic import (
    git_blob,
    sha256,
    write_bytes,
    write_jamendo,
    write_jamendo_release,
    write_magnatagatune,
    write_magnatagatune_release,
    write_text,
)

from moodbook.datasets import fetch_immich, fetching, open_dataset
from moodbook.datasets.fetch import FETCHERS, fetch, fetchable
from moodbook.datasets.fetch_jamendo import Release, fetch_jamendo, list_paths
from moodbook.datasets.fetching import FetchOptions, FetchResult, Quiet, run_jobs
from moodbook.datasets.immich import MOODS, WHEEL_SHA256
from moodbook.datasets.jamendo import SUBSETS
from moodbook.datasets.jamendo_pins import COMMIT, LIST_BLOBS
from moodbook.datasets.web import Patience
from moodbook.errors import FetchError

LOW = "autotagging_moodtheme/audio-low/autotagging_moodtheme_audio-low-{:02d}.tar"
LISTS = "data/download/autotagging_moodtheme_audio-low_sha256_{}.txt"


@dataclass
class Published:
    """A copy of MTG-Jamendo as its servers hold it."""

    original: Path
    paths: list[str]
    release: Release
    server: BadServer
    options: FetchOptions
    folder: Path
    said: list[str] = field(default_factory=list)

    def fetch(self, **options: object) -> FetchResult:
        return fetch_jamendo("jamendo-moodtheme", self.folder, replace(self.options, **options), Quiet(), self.release)

    def assert_complete(self) -> None:
        for path in self.paths:
            copy = self.folder / "audio-low" / path
            assert copy.read_bytes() == (self.original / "audio-low" / path).read_bytes()
        assert not [path for path in self.folder.rglob("*") if ".part" in path.name]
        dataset = open_dataset("jamendo-moodtheme", self.folder)
        assert len(dataset) == len(self.paths)
        assert all(track.path.is_file() for track in dataset.tracks)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("jamendo")
    return folder, write_jamendo(folder, counts=(3, 3, 3), seconds=1.0)


@pytest.fixture
def published(copy: tuple[Path, list[str]], server: BadServer, tmp_path: Path, impatient: Patience) -> Published:
    original, paths = copy
    blobs = write_jamendo_release(server.root, original)
    release = Release(server.url, server.url, blobs)
    return Published(original, paths, release, server, FetchOptions(patience=impatient), tmp_path / "here")


def test_a_data_set_is_fetched_whole(published: Published) -> None:
    result = published.fetch()
    assert result == FetchResult(published.folder, placed=9, present=0)
    published.assert_complete()
    assert len(list((published.folder / "archives").iterdir())) == 3


def test_a_second_run_fetches_nothing(published: Published) -> None:
    published.fetch()
    before = len(published.server.requests)
    assert published.fetch() == FetchResult(published.folder, placed=0, present=9)
    assert len(published.server.requests) == before


def test_archives_can_be_discarded(published: Published) -> None:
    published.fetch(discard_archives=True)
    published.assert_complete()
    assert list((published.folder / "archives").iterdir()) == []
    assert published.fetch(discard_archives=True).placed == 0


def test_only_what_is_missing_is_fetched_again(published: Published) -> None:
    published.fetch(discard_archives=True)
    lost = published.folder / "audio-low" / published.paths[1]
    lost.unlink()
    published.server.requests.clear()
    assert published.fetch() == FetchResult(published.folder, placed=1, present=8)
    published.assert_complete()
    asked = {path for method, path, _ in published.server.requests if method == "GET"}
    assert asked == {"/" + LOW.format(int(published.paths[1][:2]))}


def test_parts_and_lists_alone(published: Published) -> None:
    assert published.fetch(lists_only=True) == FetchResult(published.folder, 0, 0)
    assert len(open_dataset("jamendo-moodtheme:4", published.folder)) == 9
    assert published.fetch(parts=frozenset({1})).placed == 3
    assert {path.parent.name for path in (published.folder / "audio-low").rglob("*.mp3")} == {"01"}
    with pytest.raises(FetchError, match=r"no archive has one of the numbers \[77\]"):
        published.fetch(parts=frozenset({77}))


def test_an_archive_that_is_there_already_is_used(published: Published) -> None:
    published.fetch(lists_only=True)
    for number in range(3):
        write_bytes(
            published.folder / "archives" / Path(LOW.format(number)).name,
            (published.server.root / LOW.format(number)).read_bytes(),
        )
    published.server.requests.clear()
    published.fetch()
    published.assert_complete()
    assert not [request for request in published.server.requests if request[0] == "GET"]


def test_everything_that_can_go_wrong_once_goes_wrong_at_once(published: Published) -> None:
    server = published.server
    server.misbehave(LOW.format(0), Behaviour("cut", 5000), Behaviour("wrong-range"), Behaviour("corrupt"))
    server.misbehave(LOW.format(1), Behaviour("status", 503), Behaviour("stall"), Behaviour("cut", 9000))
    server.misbehave(LOW.format(2), Behaviour("cut", 9000), Behaviour("false-range"))
    server.misbehave(LISTS.format("tracks"), Behaviour("cut", 10), Behaviour("corrupt"))
    server.misbehave("data/tags/moodtheme_split.txt", Behaviour("drip", 1))
    published.fetch()
    published.assert_complete()


def test_one_archive_that_cannot_be_had_does_not_keep_the_others_away(published: Published) -> None:
    (published.server.root / LOW.format(1)).write_bytes(b"another archive")
    with pytest.raises(FetchError, match="is not the pinned file"):
        published.fetch(parallel=1)
    names = {path.parent.name for path in (published.folder / "audio-low").rglob("*.mp3")}
    assert names == {"00", "02"}
    assert not (published.folder / "archives" / Path(LOW.format(1)).name).exists()


def test_a_list_that_is_not_the_pinned_one_is_refused(published: Published) -> None:
    path = published.server.root / LISTS.format("tracks")
    path.write_bytes(path.read_bytes().replace(b"0", b"1"))
    with pytest.raises(FetchError, match=r"sha256_tracks\.txt is not the pinned file"):
        published.fetch()
    assert not (published.folder / "audio-low").exists()


def tamper(published: Published, kind: str, old: str, new: str) -> None:
    """Change a checksum list and its pin: a release that is wrong in itself."""
    path = published.server.root / LISTS.format(kind)
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))
    blobs = {name: git_blob((published.server.root / name).read_bytes()) for name in published.release.list_blobs}
    published.release = replace(published.release, list_blobs=blobs)


def test_a_track_that_is_not_the_listed_one_never_gets_its_name(published: Published) -> None:
    track = published.original / "audio-low" / published.paths[0]
    tamper(published, "tracks", sha256(track.read_bytes()), "0" * 64)
    with pytest.raises(FetchError, match=f"track {track.name} has checksum"):
        published.fetch()
    assert not (published.folder / "audio-low" / published.paths[0]).exists()
    assert not list(published.folder.rglob("*.part"))


def test_an_archive_with_a_file_that_is_not_listed_is_refused(published: Published) -> None:
    tamper(published, "tracks", published.paths[0], "00/999900.low.mp3")
    with pytest.raises(FetchError, match="which the list of tracks does not name"):
        published.fetch()


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("tracks", "00/", "../"),
        ("tracks", "00/", "/00/"),
        ("tars", "-00.tar", "-00.zip"),
        ("tars", " autotagging", " ../autotagging"),
        ("tars", " autotagging", "  autotagging"),
    ],
)
def test_a_list_with_dangerous_names_is_refused(published: Published, kind: str, old: str, new: str) -> None:
    tamper(published, kind, old, new)
    with pytest.raises(Exception, match=r"line \d: expected a SHA-256 and a new name"):
        published.fetch()


def test_room_is_asked_for_before_the_first_byte(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "free_bytes", lambda folder: 1000)
    with pytest.raises(FetchError, match=r"fetching needs 0\.0 GB.*--discard-archives"):
        published.fetch()
    assert not (published.folder / "archives").exists()


def test_a_wrong_mirror_says_so(published: Published) -> None:
    with pytest.raises(FetchError, match=r"404.*check the address \(--mirror\)"):
        published.fetch(mirror=f"{published.server.url}/nothing")


def test_three_failures_end_the_others() -> None:
    tried: list[int] = []

    def fail(job: int, stop: object) -> int:
        tried.append(job)
        raise FetchError(f"job {job}")

    with pytest.raises(FetchError, match=r"job 0 \(3 of 50 archives failed; the others were left\)"):
        run_jobs(range(50), fail, parallel=1)
    assert tried == [0, 1, 2]


def test_the_pinned_lists_are_all_that_the_subsets_need() -> None:
    needed = {
        path
        for subset in SUBSETS.values()
        for quality in ("audio", "audio-low")
        for path in list_paths(subset, quality)
    }
    assert needed == set(LIST_BLOBS)
    assert Release().lists_url.endswith(COMMIT)
    assert all(len(blob) == 40 for blob in LIST_BLOBS.values())


@pytest.fixture(scope="module")
def clips_copy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("magnatagatune")
    return folder, write_magnatagatune(folder, clips_per_folder=2)


@pytest.fixture
def magnatagatune(server: BadServer, clips_copy: tuple[Path, list[str]]) -> tuple[Path, list[str]]:
    write_magnatagatune_release(server.root, *clips_copy)
    return clips_copy


@pytest.mark.parametrize("discard", [False, True])
def test_magnatagatune_is_joined_and_unpacked(
    server: BadServer, tmp_path: Path, magnatagatune: tuple[Path, list[str]], impatient: Patience, discard: bool
) -> None:
    original, clips = magnatagatune
    server.misbehave("mp3.zip.002", Behaviour("cut", 5000), Behaviour("status", 503))
    options = FetchOptions(mirror=server.url, patience=impatient, discard_archives=discard)
    folder = tmp_path / "here"
    assert fetch("magnatagatune", folder, options) == FetchResult(folder, placed=32, present=0)
    for clip in clips:
        assert (folder / clip).read_bytes() == (original / clip).read_bytes()
    assert [path.name for path in sorted((folder / "archives").iterdir())] == (
        [] if discard else ["mp3.zip.001", "mp3.zip.002", "mp3.zip.003"]
    )
    assert fetch("magnatagatune", folder, options) == FetchResult(folder, placed=0, present=32)
    assert all(track.path.is_file() for track in open_dataset("magnatagatune:standard", folder).tracks)


def test_a_damaged_zip_is_refused_clip_by_clip(
    server: BadServer, tmp_path: Path, magnatagatune: tuple[Path, list[str]], impatient: Patience
) -> None:
    part = server.root / "mp3.zip.001"
    content = bytearray(part.read_bytes())
    content[2000] ^= 1
    part.write_bytes(content)
    folder = tmp_path / "here"
    with pytest.raises(FetchError, match=r"cannot unpack the joined parts: .*delete .*mp3\.zip\.001.*fetch again"):
        fetch("magnatagatune", folder, FetchOptions(mirror=server.url, patience=impatient))
    assert not list(folder.rglob("*.mp3"))


def test_a_zip_that_lacks_a_clip_is_refused(
    server: BadServer, tmp_path: Path, magnatagatune: tuple[Path, list[str]], impatient: Patience
) -> None:
    original, clips = magnatagatune
    write_magnatagatune_release(server.root, original, clips[:-1])
    with pytest.raises(FetchError, match="the zip lacks 1 of 32 clips"):
        fetch("magnatagatune", tmp_path / "here", FetchOptions(mirror=server.url, patience=impatient))


def write_wheel(path: Path, extra: dict[str, bytes] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(28):
            mood = MOODS[number % 5]
            archive.writestr(f"immich_memories_music/tracks/{mood}/{mood}_{number}.opus", f"music {number}")
        archive.writestr("immich_memories_music-0.1.0.dist-info/licenses/LICENSE-MUSIC", "MIT")
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return path


def test_a_wheel_is_unpacked_and_nothing_else_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = write_wheel(
        tmp_path / "x.whl",
        {
            "../evil.opus": b"x",
            "/etc/evil.opus": b"x",
            "immich_memories_music/tracks/calm/../../../evil.opus": b"x",
            "immich_memories_music/tracks/other/evil.opus": b"x",
            "immich_memories_music/tracks/calm/evil.py": b"x",
            "immich_memories_music/__init__.py": b"x",
        },
    )
    monkeypatch.setattr(fetch_immich, "WHEEL_SHA256", sha256(wheel.read_bytes()))
    folder = tmp_path / "here" / "immich"
    assert fetch("immich", folder, FetchOptions(archive=wheel)) == FetchResult(folder, placed=28, present=0)
    assert fetch("immich", folder, FetchOptions(archive=wheel)) == FetchResult(folder, placed=0, present=28)
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert written == {"LICENSE-MUSIC", *(f"{MOODS[n % 5]}/{MOODS[n % 5]}_{n}.opus" for n in range(28))}
    assert not list(tmp_path.rglob("evil*"))
    dataset = open_dataset("immich", folder)
    assert dataset.tags.names == MOODS
    assert dataset.licence == "MIT"


def test_another_wheel_is_refused(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path / "x.whl")
    with pytest.raises(FetchError, match=f"is not the pinned wheel.*expected {WHEEL_SHA256}"):
        fetch("immich", tmp_path / "here", FetchOptions(archive=wheel))
    with pytest.raises(FetchError, match="no file"):
        fetch("immich", tmp_path / "here", FetchOptions(archive=tmp_path / "none.whl"))
    assert not (tmp_path / "here").exists()


def write_pip(folder: Path, program: str) -> None:
    """Write a stand-in for pip."""
    write_text(folder / "pip" / "__init__.py", "")
    write_text(folder / "pip" / "__main__.py", program)


def test_pip_is_called_with_the_users_own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = write_wheel(tmp_path / "immich_memories_music-0.1.0-py3-none-any.whl")
    write_pip(
        tmp_path / "stub",
        "import pathlib, shutil, sys\n"
        f"pathlib.Path({str(tmp_path / 'called')!r}).write_text('\\n'.join(sys.argv[1:]))\n"
        f"shutil.copy({str(wheel)!r}, sys.argv[sys.argv.index('--dest') + 1])\n",
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stub"))
    monkeypatch.setattr(fetch_immich, "WHEEL_SHA256", sha256(wheel.read_bytes()))
    assert fetch("immich", tmp_path / "here").placed == 28
    called = (tmp_path / "called").read_text().splitlines()
    assert called[0] == "download"
    assert called[-1] == "immich-memories-music==0.1.0"
    assert "--no-deps" in called
    assert not [argument for argument in called if "://" in argument or "index" in argument]


def test_pip_asks_the_index_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pip(tmp_path / "stub", "import sys\nsys.exit('asked ' + ' '.join(sys.argv))\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stub"))
    with pytest.raises(FetchError, match=r"--index-url=https://mirror\.example/simple immich-memories-music==0\.1\.0"):
        fetch("immich", tmp_path / "here", FetchOptions(mirror="https://mirror.example/simple"))


@pytest.mark.parametrize(
    ("name", "option"),
    [("immich", {"lists_only": True}), ("magnatagatune", {"parts": frozenset({1})}), ("open", {"lists": "https://x"})],
)
def test_an_option_that_means_nothing_is_refused(tmp_path: Path, name: str, option: dict[str, object]) -> None:
    with pytest.raises(FetchError, match=f"the option {next(iter(option))} means nothing for the data set '{name}'"):
        fetch(name, tmp_path / "here", FetchOptions(**option))
    assert not (tmp_path / "here").exists()


def test_a_pip_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pip(tmp_path / "stub", "import sys\nprint('warning', file=sys.stderr)\nsys.exit('ERROR: no such thing')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stub"))
    with pytest.raises(FetchError, match=r"ERROR: no such thing.*--archive WHEEL"):
        fetch("immich", tmp_path / "here")


def test_what_cannot_be_fetched_says_what_to_do() -> None:
    with pytest.raises(FetchError, match="no data set 'nothing'; those that can be fetched: immich, jamendo"):
        fetch("nothing")
    for name in ("macleod", "msd"):
        with pytest.raises(FetchError, match=r"name the folder .*\(--audio DIR\)"):
            fetch(name)
    assert set(fetchable()) == set(FETCHERS)


def test_the_default_place_is_where_data_sets_are_looked_for(
    published: Published, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moodbook.datasets.fetch_jamendo.LIST_BLOBS", published.release.list_blobs)
    url = published.server.url
    options = replace(published.options, mirror=url, lists=url)
    assert fetch("jamendo-moodtheme", options=options).folder == data_folder / "mtg-jamendo"
    assert len(open_dataset("jamendo-moodtheme")) == 9


@pytest.mark.network
def test_the_real_wheel_is_the_pinned_one(tmp_path: Path) -> None:
    result = fetch("immich", tmp_path)
    assert result.placed == 28
    assert len(open_dataset("immich", tmp_path).tracks) == 28
