"""`moodbook evaluate`: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from moodbook.cli.evaluate import EvaluateCommand, evaluate

TAGS = ("calm", "epic", "happy")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small task: an official list, tags, and systems as npy and as CSV in another order."""
    generator = np.random.default_rng(0)
    truth = generator.random((120, 3)) < 0.3
    truth[:, 0] |= ~truth.any(axis=1)
    lines = ["TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS"]
    for row in range(120):
        tags = "\t".join(f"mood/theme---{TAGS[k]}" for k in np.flatnonzero(truth[row]))
        lines.append(f"track_{row:07d}\tartist_{row // 6:06d}\talbum_1\t00/{row}.mp3\t{100 + row}.0\t{tags}")
    (tmp_path / "test.tsv").write_text("\r\n".join(lines) + "\r\n", encoding="utf-8", newline="")
    (tmp_path / "tags.txt").write_text("".join(f"mood/theme---{tag}\n" for tag in TAGS), encoding="utf-8")
    scores = 1 / (1 + np.exp(1.5 - 2 * truth - generator.normal(size=truth.shape)))
    np.save(tmp_path / "truth.npy", truth)
    np.save(tmp_path / "a.npy", scores.astype(np.float32))
    np.save(tmp_path / "b.npy", scores + 0.1 * generator.random(scores.shape))
    np.save(tmp_path / "d.npy", scores > 0.4)
    order = generator.permutation(120)
    rows = [f"track_{row:07d},{','.join(repr(float(scores[row, k])) for k in (2, 0, 1))}" for row in order]
    (tmp_path / "a.csv").write_text("track_id,happy,calm,epic\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "t.json").write_text('{"happy": 0.4, "calm": 0.4, "epic": 0.4}', encoding="utf-8")
    return tmp_path


def run(folder: Path, line: str, *, truth: str = "test.tsv") -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command("evaluate", cls=EvaluateCommand)(evaluate)
    words = ["-g", truth, "-l", "tags.txt", *line.split(), "--resamples", "40"]
    arguments = [str(folder / word) if (folder / word).exists() or word.endswith(".html") else word for word in words]
    return CliRunner().invoke(app, arguments)


def document(folder: Path, line: str, *, truth: str = "test.tsv") -> dict:
    result = run(folder, line + " --json", truth=truth)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_table_by_name_scores_as_the_array_by_position(folder: Path):
    by_name = document(folder, "-p a.csv")
    by_position = document(folder, "-p a.npy")
    for score, value in by_name["systems"][0]["scores"].items():
        assert value == pytest.approx(by_position["systems"][0]["scores"][score], abs=1e-6)
    assert [finding["kind"] for finding in by_name["systems"][0]["audit"]] == []
    assert [finding["kind"] for finding in by_position["systems"][0]["audit"]] == ["rows-not-keyed"]
    assert by_name["artists"] == 20


def test_the_readings_of_f_follow_what_is_handed_in(folder: Path):
    plain = document(folder, "-p a.csv")["systems"][0]
    assert [column["name"] for column in plain["f_columns"]] == ["official", "honest"]
    assert plain["decided_by"] == "thresholds fitted on this ground truth"
    handed = document(folder, "-p a.csv -t t.json -d d.npy")["systems"][0]
    assert [column["name"] for column in handed["f_columns"]] == ["official", "submitted", "honest"]
    by_thresholds = document(folder, "-p a.csv -t t.json")["systems"][0]
    assert by_thresholds["f_columns"][1]["scores"] == handed["f_columns"][1]["scores"]
    assert handed["audit"] == []


def test_validation_predictions_give_the_honest_f(folder: Path):
    found = document(folder, "-p a.csv --validation-ground-truth truth.npy --validation-predictions b.npy")
    assert found["systems"][0]["f_columns"][-1]["meaning"] == "thresholds fitted on validation predictions"


def test_several_systems_follow_one_option(folder: Path):
    found = document(folder, "-p a.csv --compare b.npy a.npy --mean a.npy b.npy")
    names = [system["name"] for system in found["systems"]]
    assert names == ["a.csv", "b", "a.npy", "mean of a.npy and b"]
    pairs = list(combinations(names, 2))
    assert list(dict.fromkeys((one["first"], one["second"]) for one in found["differences"])) == pairs
    # Four scores of ranks and, as nothing was submitted, two of the honest reading.
    assert len(found["differences"]) == 6 * len(pairs)
    repeated = document(folder, "-p a.csv --compare b.npy --compare a.npy --mean a.npy --mean b.npy")
    assert repeated == found


def test_every_system_brings_its_own_decisions_and_thresholds(folder: Path):
    (folder / "low.txt").write_text("calm\t0.2\nepic\t0.2\nhappy\t0.2\n", encoding="utf-8")
    line = "-p a.csv --compare b.npy a.npy --mean a.npy b.npy -d d.npy - - -t - low.txt --thresholds t.json"
    found = document(folder, line)["systems"]
    how = ["the decisions handed in", *["the thresholds handed in, applied by tag name"] * 2]
    assert [system["decided_by"] for system in found] == [*how, "thresholds fitted on this ground truth"]
    alone = document(folder, "-p b.npy -t low.txt")["systems"][0]
    for key in ("scores", "f_columns", "intervals", "audit"):
        assert found[1][key] == alone[key]


def test_every_system_brings_its_own_validation(folder: Path):
    line = "-p a.csv --compare b.npy --validation-ground-truth truth.npy --validation-predictions - a.npy"
    found = document(folder, line)
    meanings = [system["f_columns"][-1]["meaning"] for system in found["systems"]]
    assert meanings[0].startswith("thresholds fitted on the other half")
    assert meanings[1] == "thresholds fitted on validation predictions"
    # What was fitted in different places is not compared.
    assert [one["reading"] for one in found["differences"]] == [None] * 4


def test_the_same_scores_with_other_decisions_are_told_apart(folder: Path):
    found = document(folder, "-p a.npy --compare a.npy -t t.json -d - d.npy")
    assert [system["name"] for system in found["systems"]] == ["a", "a (2)"]
    assert {(one["first"], one["second"]) for one in found["differences"]} == {("a", "a (2)")}


def test_files_in_capitals_are_read(folder: Path):
    wanted = document(folder, "-p a.csv -t t.json -d d.npy")
    for name in ("a.csv", "t.json", "d.npy", "test.tsv"):
        (folder / name).rename(folder / name.upper())
    line = "-p A.CSV -t T.JSON -d D.NPY"
    result = run(folder, line + " --json", truth="TEST.TSV")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["systems"][0].pop("name") == "A"
    assert wanted["systems"][0].pop("name") == "a"
    assert found == wanted


def test_the_mean_alone_is_the_system_judged(folder: Path):
    found = document(folder, "--mean a.npy b.npy")
    assert [system["name"] for system in found["systems"]] == ["mean of a and b"]
    mean = (np.load(folder / "a.npy").astype(float) + np.load(folder / "b.npy")) / 2
    np.save(folder / "mean.npy", mean)
    assert document(folder, "-p mean.npy")["systems"][0]["scores"] == found["systems"][0]["scores"]


def test_duplicates_by_file_and_by_themselves(folder: Path):
    (folder / "same.csv").write_text("track_0000001,track_0000002\n", encoding="utf-8")
    assert document(folder, "-p a.csv --count-duplicates-once same.csv")["duplicates_left_out"] == 1
    scores = np.load(folder / "a.npy")
    scores[7] = scores[3]
    np.save(folder / "twin.npy", scores)
    assert document(folder, "-p twin.npy --count-duplicates-once auto", truth="truth.npy")["duplicates_left_out"] == 1
    # The list knows that the two are of different length.
    assert document(folder, "-p twin.npy --count-duplicates-once auto")["duplicates_left_out"] == 0


def test_the_tables_and_the_report(folder: Path):
    result = run(folder, "-p a.csv -t t.json --compare b.npy --report r.html")
    assert result.exit_code == 0, result.stderr
    for words in (
        "protocol mediaeval2019, 120 tracks, 3 tags, 20 artists",
        "official (oracle)",
        "nothing found",
        "a - b",
    ):
        assert words in result.stdout
    assert "<h1>a</h1>" in (folder / "r.html").read_text(encoding="utf-8")


def test_tags_left_out_are_said_on_stderr(folder: Path):
    (folder / "two.txt").write_text("calm\nepic\n", encoding="utf-8")
    np.save(folder / "two.npy", np.load(folder / "a.npy")[:, :2])
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command("evaluate", cls=EvaluateCommand)(evaluate)
    arguments = ["-g", "test.tsv", "-l", "two.txt", "-p", "two.npy"]
    result = CliRunner().invoke(
        app, [str(folder / word) if (folder / word).exists() else word for word in arguments] + ["--resamples", "0"]
    )
    assert result.exit_code == 0
    assert "1 tags of" in result.stderr
    assert "left out: happy" in result.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "nothing to judge: give --predictions"),
        ("--mean a.npy", "--mean needs two systems at least"),
        ("-p absent.npy", "cannot read 'absent.npy'"),
        ("-p a.csv -t a.csv", "expected a tag, a tab and a number"),
        ("-p a.csv -d a.npy", "probabilities belong to --predictions"),
        ("-p a.csv -t t.json t.json", "--thresholds: expected a file each for 1 systems at most (a), got 2"),
        ("-p a.csv --compare b.npy -d - d.npy d.npy", "--decisions: expected a file each for 2 systems"),
        ("-p a.csv --validation-predictions a.csv", "together"),
        ("-p a.csv --count-duplicates-once a.csv", "is not among the 120 tracks"),
    ],
)
def test_what_cannot_be_judged_ends_with_two_and_one_line(folder: Path, line: str, message: str):
    result = run(folder, line)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.startswith("moodbook: ")
    assert result.stdout == ""


def test_scores_that_are_not_finite_end_with_two(folder: Path):
    scores = np.load(folder / "a.npy")
    scores[4, 2] = np.nan
    np.save(folder / "nan.npy", scores)
    result = run(folder, "-p nan.npy --json")
    assert result.exit_code == 2
    message = "1 of 360 predictions are not finite numbers, in 1 of 3 tags (happy)"
    assert f"nan: {message}" in result.stderr
    (system,) = json.loads(result.stdout)["systems"]
    assert system["name"] == "nan"
    (finding,) = system["audit"]
    assert (finding["kind"], finding["level"]) == ("not-finite", "error")
    assert finding["message"].startswith(message)
    assert finding["evidence"] == {"cells": 1, "tags": ["happy"]}


def test_a_wrong_shape_is_a_finding_in_the_document(folder: Path):
    np.save(folder / "turned.npy", np.load(folder / "a.npy").T)
    result = run(folder, "-p a.npy --compare turned.npy --json")
    assert result.exit_code == 2
    (system,) = json.loads(result.stdout)["systems"]
    (finding,) = system["audit"]
    assert (finding["kind"], finding["level"]) == ("wrong-shape", "error")
    assert finding["evidence"] == {"expected": "(120, 3)", "got": "(3, 120)"}
    assert finding["message"] in result.stderr


def test_any_other_error_is_a_document_too(folder: Path):
    result = run(folder, "-p absent.npy --json")
    assert result.exit_code == 2
    found = json.loads(result.stdout)
    assert found["systems"] == []
    assert result.stderr == f"moodbook: {found['error']}\n"


def test_an_unknown_protocol_lists_the_known(folder: Path):
    result = run(folder, "-p a.csv --protocol mirex")
    assert result.exit_code == 2
    assert "mediaeval2019" in result.stderr


def test_the_same_command_prints_the_same_document(folder: Path):
    first = run(folder, "-p a.csv --compare b.npy --json")
    assert first.stdout == run(folder, "-p a.csv --compare b.npy --json").stdout
