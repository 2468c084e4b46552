from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.datasets.synthetic import write_bytes, write_jamendo, write_music, write_text
from typer.testing import CliRunner

from moodbook.cli import data as verb

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data root, so that no test sees what the user has fetched."""
    monkeypatch.setenv("MOODBOOK_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        write_music(tmp_path / f"{name}.ogg", 25.0, [name], seed=ord(name))
    return write_text(tmp_path / "index.csv", "track_id,path,tags\na,a.ogg,calm\nb,b.ogg,dark\n")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the verbs believe that they print to a wide terminal."""
    monkeypatch.setattr(verb, "_wants_json", lambda as_json: as_json)
    monkeypatch.setenv("COLUMNS", "200")


def lines(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


def test_a_sound_index_ends_with_0(index: Path) -> None:
    result = RUNNER.invoke(verb.data, ["check", str(index)])
    assert result.exit_code == 0, result.output
    (summary,) = lines(result.stdout)
    assert {name: summary[name] for name in ("dataset", "tracks", "tags", "errors", "warnings")} == {
        "dataset": "index",
        "tracks": 2,
        "tags": 2,
        "errors": 0,
        "warnings": 0,
    }


def test_files_that_fail_end_with_1(index: Path, tmp_path: Path) -> None:
    (tmp_path / "a.ogg").unlink()
    write_bytes(tmp_path / "b.ogg", b"no music")
    result = RUNNER.invoke(verb.data, ["check", str(index), "--json"])
    assert result.exit_code == 1
    summary, *findings = lines(result.stdout)
    assert summary["errors"] == 2
    assert [(finding["kind"], finding["track_ids"]) for finding in findings] == [
        ("unreadable", ["b"]),
        ("missing", ["a"]),
    ]


@pytest.mark.usefixtures("terminal")
def test_a_terminal_sees_a_table(index: Path, tmp_path: Path) -> None:
    (tmp_path / "a.ogg").unlink()
    result = RUNNER.invoke(verb.data, ["check", str(index)])
    assert result.exit_code == 1
    assert "missing" in result.stdout
    assert "index: 2 tracks, 2 tags, 1 errors, 0 warnings" in result.stdout


@pytest.mark.usefixtures("terminal")
def test_long_lists_of_tracks_are_cut_for_the_eye(tmp_path: Path) -> None:
    rows = [f"[bold]{number},{number}.mp3,calm" for number in range(7)]
    for number in range(7):
        write_music(tmp_path / f"{number}.mp3", 1.0, ["calm"], seed=number)
    index = write_text(tmp_path / "index.csv", "\n".join(["track_id,path,tags", *rows]))
    result = RUNNER.invoke(verb.data, ["check", str(index)])
    assert result.exit_code == 0
    assert "[bold]0, [bold]1, [bold]2 and 4 more" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["check", "nothing"], "there is no data set 'nothing'"),
        (["check", "immich"], "run: moodbook data fetch immich|with: moodbook data fetch immich"),
        (["fetch", "nothing"], "there is no data set 'nothing'; those that can be fetched"),
        (["fetch", "macleod"], "Moodbook does not fetch it"),
        (["fetch", "open", "--small", "--full"], "--small and --full exclude each other"),
        (["fetch", "jamendo-moodtheme", "--parts", "1-x"], "parts '1-x': write numbers and ranges"),
        (["fetch", "jamendo-moodtheme", "--parts", "100"], "parts '100': write numbers and ranges from 0 to 99"),
    ],
)
def test_a_run_that_fails_ends_with_2_and_one_line(arguments: list[str], reason: str) -> None:
    result = RUNNER.invoke(verb.data, arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert any(part in result.stderr for part in reason.split("|"))


def test_options_reach_the_check(index: Path, tmp_path: Path) -> None:
    tag_list = write_text(tmp_path / "tags.txt", "calm\nother\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    result = RUNNER.invoke(
        verb.data, ["check", str(index), "--audio", str(elsewhere), "--tags", str(tag_list), "--no-compare", "--decode"]
    )
    assert result.exit_code == 1
    assert {finding["kind"] for finding in lines(result.stdout)[1:]} == {"missing", "unknown-tag"}


def test_the_list_tells_what_is_here(data_folder: Path) -> None:
    write_jamendo(data_folder / "mtg-jamendo", audio=False)
    result = RUNNER.invoke(verb.data, ["list"])
    assert result.exit_code == 0
    rows = {row["name"]: row for row in lines(result.stdout)}
    assert rows["jamendo-moodtheme"]["here"] is True
    assert rows["immich"]["here"] is False
    assert rows["macleod"]["fetchable"] is False
    assert rows["magnatagatune"]["variants"] == ["taiinn", "standard", "clean"]


@pytest.mark.usefixtures("terminal")
def test_the_list_is_a_table_on_a_terminal() -> None:
    result = RUNNER.invoke(verb.data, ["list"])
    assert result.exit_code == 0
    for expected in ("immich", "17,982", "CC BY 3.0", "may be used for"):
        assert expected in result.stdout


def test_fetching_tells_what_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from moodbook.datasets import fetch
    from moodbook.datasets.fetching import FetchOptions, FetchResult, Progress

    asked: list[tuple[str, Path, FetchOptions]] = []

    def stand_in(name: str, folder: Path, options: FetchOptions, progress: Progress) -> FetchResult:
        asked.append((name, folder, options))
        progress.say("stage")
        progress.expect(10)
        progress.advance(10)
        return FetchResult(folder, placed=5, present=2)

    monkeypatch.setattr(fetch, "FETCHERS", {"jamendo-moodtheme": stand_in})
    arguments = ["fetch", "jamendo-moodtheme", "--to", str(tmp_path), "--mirror", "http://m", "--lists", "http://l"]
    arguments += ["--quality", "audio", "--parts", "0-2,42", "--discard-archives", "--parallel", "3"]
    result = RUNNER.invoke(verb.data, arguments)
    assert result.exit_code == 0, result.output
    assert lines(result.stdout) == [
        {"dataset": "jamendo-moodtheme", "folder": str(tmp_path), "placed": 5, "present": 2}
    ]
    assert "stage" in result.stderr
    ((name, folder, options),) = asked
    assert (name, folder) == ("jamendo-moodtheme", tmp_path)
    assert options == FetchOptions(
        mirror="http://m",
        lists="http://l",
        quality="audio",
        parts=frozenset({0, 1, 2, 42}),
        discard_archives=True,
        parallel=3,
    )
