"""What every data set promises, whatever it is read from."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.datasets.synthetic import write_jamendo, write_magnatagatune, write_music, write_text

from moodbook.datasets import SPLITS, Dataset, open_dataset
from moodbook.datasets.check import check
from moodbook.datasets.collection import ManifestRow, read_packages, write_manifest
from moodbook.datasets.immich import MOODS
from moodbook.datasets.places import data_root
from moodbook.datasets.registry import SOURCES, find_source, read_dataset
from moodbook.datasets.splits import group_of
from moodbook.errors import DataError
from moodbook.tags import TagSet


def write_immich(folder: Path) -> None:
    for number in range(28):
        write_music(folder / MOODS[number % 5] / f"{number}.ogg", 0.5, [MOODS[number % 5]], seed=number)


def write_csv(folder: Path, name: str = "index.csv") -> None:
    rows = ["track_id,path,tags,fold,group"]
    for number in range(15):
        write_music(folder / "audio" / f"{number}.ogg", 0.5, ["calm"], seed=number)
        rows.append(
            f"id{number},audio/{number}.ogg,{'calm;dark' if number % 2 else 'dark;calm;epic'},{number % 5},g{number}"
        )
    write_text(folder / name, "\n".join(rows))


def write_previews(folder: Path) -> None:
    write_music(folder / "A" / "one.ogg", 0.5, ["calm"], seed=0)
    for number in range(39):
        (folder / "B").mkdir(exist_ok=True)
        shutil.copy(folder / "A" / "one.ogg", folder / "B" / f"TR{number:03d}.ogg")


def write_collection(folder: Path, name: str = "open") -> None:
    rows = []
    for package in read_packages("small", name):
        for number in range(3):
            path = f"{package.name}/usr/{number}.ogg"
            write_music(folder / path, 0.5, ["calm"], seed=len(rows))
            rows.append(ManifestRow(path, path, package.name, "1", "0.5", "0" * 64, "CC0-1.0", "somebody"))
    write_manifest(folder, rows)


@dataclass(frozen=True)
class Case:
    """One way to have a data set: what writes it, how it is named (`{folder}` is filled in), and its tracks."""

    write: Callable[[Path], object]
    name: str
    tracks: int
    root: bool = True


CASES = {
    "immich": Case(write_immich, "immich", 28),
    "macleod": Case(lambda folder: write_csv(folder, "tracks.csv"), "macleod", 15),
    "macleod:3": Case(lambda folder: write_csv(folder, "tracks.csv"), "macleod:3", 15),
    "jamendo": Case(lambda folder: write_jamendo(folder, counts=(9, 6, 6), seconds=0.5), "jamendo-moodtheme", 21),
    "jamendo:4": Case(lambda folder: write_jamendo(folder, counts=(9, 6, 6), seconds=0.5), "jamendo-moodtheme:4", 21),
    "magnatagatune": Case(lambda folder: write_magnatagatune(folder, clips_per_folder=2), "magnatagatune", 15),
    "magnatagatune:standard": Case(
        lambda folder: write_magnatagatune(folder, clips_per_folder=2), "magnatagatune:standard", 31
    ),
    "msd": Case(write_previews, "msd", 40),
    "open": Case(write_collection, "open", 27),
    "speech": Case(lambda folder: write_collection(folder, "speech"), "speech", 15),
    "index": Case(write_csv, "{folder}/index.csv", 15, root=False),
    "folder-with-index": Case(write_csv, "{folder}", 15, root=False),
    "folder": Case(write_immich, "{folder}", 28, root=False),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folders: dict[object, Path] = {}

    def write(case: str) -> Path:
        key = case.split(":")[0]
        if key not in folders:
            folders[key] = tmp_path_factory.mktemp("set")
            CASES[case].write(folders[key])
        return folders[key]

    return write


@pytest.fixture(params=CASES)
def opened(request: pytest.FixtureRequest, written: Callable[[str], Path]) -> tuple[Case, Path]:
    return CASES[request.param], written(request.param)


def open_case(case: Case, folder: Path, **options: int) -> Dataset:
    return open_dataset(case.name.format(folder=folder), folder if case.root else None, **options)


def test_every_loader_keeps_its_word(opened: tuple[Case, Path]) -> None:
    case, folder = opened
    dataset = open_case(case, folder)
    ids = [track.track_id for track in dataset.tracks]
    assert len(ids) == len(set(ids)) == case.tracks
    assert all(track.path.is_file() for track in dataset.tracks)
    assert all(track.path.is_relative_to(folder) for track in dataset.tracks)
    assert all(len(set(track.tags)) == len(track.tags) for track in dataset.tracks)
    assert sum(len(dataset.split(split)) for split in SPLITS) == case.tracks
    assert dataset.split("train")
    assert dataset.split("validation")
    for split in SPLITS:
        tracks = dataset.split(split)
        assert dataset.ground_truth(tracks).shape == (len(tracks), len(dataset.tags))
    assert re.fullmatch("[0-9a-f]{64}", dataset.sha256)


def test_every_loader_gives_the_same_again(opened: tuple[Case, Path]) -> None:
    assert open_case(*opened) == open_case(*opened)
    assert open_case(*opened).sha256 == open_case(*opened).sha256


def test_every_loader_passes_the_check(opened: tuple[Case, Path]) -> None:
    errors = [finding for finding in check(open_case(*opened)) if finding.level == "error"]
    assert errors == []


def test_no_loader_but_magnatagatune_parts_a_group(opened: tuple[Case, Path]) -> None:
    case, folder = opened
    dataset = open_case(case, folder)
    sides = {(group_of(track), track.split) for track in dataset.tracks}
    parted = len(sides) - len({group for group, _ in sides})
    assert (parted > 0) == case.name.startswith("magnatagatune")


@pytest.mark.parametrize("name", SOURCES)
def test_every_named_set_states_its_terms(name: str) -> None:
    source = SOURCES[name]
    assert source.name == name
    assert all((source.licence, source.use, source.citation))
    assert source.tracks > 0
    assert source.hours > 0


@pytest.mark.parametrize("case", ["immich", "macleod", "jamendo", "magnatagatune", "msd", "open", "speech"])
def test_a_named_set_carries_its_terms(case: str, written: Callable[[str], Path]) -> None:
    dataset = open_case(CASES[case], written(case))
    source = SOURCES[CASES[case].name]
    assert (dataset.name, dataset.licence, dataset.citation) == (source.name, source.licence, source.citation)


@pytest.mark.parametrize("name", SOURCES)
def test_a_set_that_is_not_there_says_what_to_do(name: str, data_folder: Path) -> None:
    folder = data_folder / SOURCES[name].folder
    with pytest.raises(DataError, match=re.escape(f"data set '{name}' is not in '{folder}'; ")) as caught:
        open_dataset(name)
    assert f"moodbook data fetch {name}" in str(caught.value) or "Moodbook does not fetch" in str(caught.value)


def test_a_set_in_the_data_root_needs_no_folder(data_folder: Path, written: Callable[[str], Path]) -> None:
    data_folder.mkdir()
    (data_folder / "immich").symlink_to(written("immich"))
    assert len(open_dataset("immich")) == 28


def test_folds_of_macleod(written: Callable[[str], Path]) -> None:
    folder = written("macleod")
    dataset = open_dataset("macleod:3", folder)
    assert [track.track_id for track in dataset.split("test")] == ["id3", "id8", "id13"]
    assert [track.track_id for track in dataset.split("validation")] == ["id4", "id9", "id14"]
    assert open_dataset("macleod", folder).sha256 == open_dataset("macleod:0", folder).sha256
    assert open_dataset(folder / "tracks.csv", test_fold=3).sha256 == dataset.sha256


def test_the_real_folds_of_macleod(shared_data: Path) -> None:
    dataset = open_dataset("macleod", shared_data / "macleod")
    assert [len(dataset.split(split)) for split in SPLITS] == [91, 32, 30]
    assert len(dataset.tags) == 19
    assert len(open_dataset("macleod", shared_data / "macleod", min_tracks=8).tags) == 17


def test_previews_are_parted_in_the_proportion_of_the_paper(written: Callable[[str], Path]) -> None:
    dataset = open_dataset("msd", written("msd"))
    assert len(dataset.split("validation")) == 2  # 40 * 37,008 / 594,323 = 2.5
    assert dataset.split("test") == ()
    assert dataset.tags == TagSet(())


def test_previews_with_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("A", "B"):
        write_text(tmp_path / folder / "TR1.mp3", "")
    with pytest.raises(DataError, match="have one name"):
        open_dataset("msd", tmp_path)
    (tmp_path / "B" / "TR1.mp3").unlink()
    with pytest.raises(DataError, match="holds 1 previews"):
        open_dataset("msd", tmp_path)


def test_an_incomplete_immich_is_refused(tmp_path: Path) -> None:
    write_immich(tmp_path)
    next((tmp_path / "calm").iterdir()).unlink()
    with pytest.raises(DataError, match="holds 27 tracks, expected 28"):
        open_dataset("immich", tmp_path)


def test_rare_tags_are_left_out_before_splits_are_made(written: Callable[[str], Path]) -> None:
    folder = written("index")
    dataset = open_dataset(folder / "index.csv", min_tracks=9)
    assert dataset.tags.names == ("calm", "dark")
    assert dataset.dropped_tags == ("epic",)


def test_a_tag_without_tracks_stays_on_the_axis(written: Callable[[str], Path]) -> None:
    tags = TagSet(("none", "calm", "dark", "epic"))
    assert open_dataset(written("index") / "index.csv", tags=tags).tags == tags


def test_a_seed_changes_made_splits_only(written: Callable[[str], Path]) -> None:
    index = written("index") / "index.csv"
    assert len({open_dataset(index, seed=seed).sha256 for seed in range(4)}) > 1
    folder = written("jamendo")
    assert open_dataset("jamendo-moodtheme", folder, seed=1) == open_dataset("jamendo-moodtheme", folder)
    assert {track.split for track in read_dataset(index).tracks} == {None}


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("nothing", {}, "there is no data set 'nothing'; name one of immich, macleod, jamendo-moodtheme"),
        (
            "magnatagatune:other",
            {},
            "no variant 'other'; its variants are: magnatagatune:taiinn",
        ),
        ("immich:1", {}, "no variant '1'; it has no variants"),
        ("immich", {"test_fold": 1}, "brings its own tags and splits"),
        ("macleod", {"tags": TagSet(("a",))}, "or choose one of its variants: macleod:0, macleod:1"),
        ("{folder}", {"test_fold": 1}, "is read by its folder names"),
        ("{folder}", {"audio_root": "/x"}, "is read by its folder names"),
    ],
)
def test_what_does_not_go_together_is_said(tmp_path: Path, name: str, options: dict[str, object], reason: str) -> None:
    with pytest.raises(DataError, match=re.escape(reason)):
        open_dataset(name.format(folder=tmp_path), **options)  # type: ignore[arg-type]


def test_a_name_and_its_variant() -> None:
    found = find_source("magnatagatune:clean")
    assert found is not None
    assert (found.source.name, found.variant) == ("magnatagatune", "clean")
    assert find_source("music/index.csv") is None


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"MOODBOOK_DATA": "/data"}, "/data"),
        ("linux", {"XDG_DATA_HOME": "/xdg"}, "/xdg/moodbook"),
        ("linux", {}, "/home/x/.local/share/moodbook"),
        ("darwin", {}, "/home/x/Library/Application Support/moodbook"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/moodbook"),
        ("win32", {}, "/home/x/AppData/Local/moodbook"),
    ],
)
def test_the_data_root_is_where_the_system_wants_it(
    monkeypatch: pytest.MonkeyPatch, platform: str, variables: dict[str, str], expected: str
) -> None:
    for name in ("MOODBOOK_DATA", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/x"))
    assert data_root() == Path(expected)
