"""A whole experiment on twelve tones: what it writes, what it scores, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from moodbook.datasets import Dataset, open_dataset
from moodbook.errors import DataError, TrainingError
from moodbook.evaluation.metrics import evaluate
from moodbook.evaluation.submission import read_table
from moodbook.evaluation.thresholds import read_thresholds
from moodbook.features import segments
from moodbook.model.bundle import read_bundle
from moodbook.model.engine import Engine
from moodbook.networks.vqvae import VQVAE
from moodbook.training import table_2
from moodbook.training.experiment import Experiment
from moodbook.training.machine import Machine
from moodbook.training.outcome import Outcome
from moodbook.training.progress import Display
from moodbook.training.recipe import Recipe, read_recipe
from moodbook.training.reproduce import open_experiment, reproduce, train_tagger, train_vqvae
from moodbook.training.run_folder import CACHE, STEP_1
from moodbook.training.tagger import segment_logits

KINDS = ("fixed-cnn", "updated-gru", "vggish", "popularity")


class Told(Display):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module", params=KINDS)
def finished(request: pytest.FixtureRequest, small_set: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of each kind of system."""
    from tests.training.conftest import narrow_recipe

    folder = tmp_path_factory.mktemp("run") / request.param
    reproduce(narrow_recipe(request.param), small_set, folder)
    return folder


def test_the_folder_tells_the_whole_story(finished: Path, small_set: Dataset) -> None:
    recipe = read_recipe(finished / "recipe.toml")
    run = json.loads((finished / "run.json").read_text())
    assert run["identity"]["recipe"] == recipe.model_dump(mode="json")
    assert run["identity"]["data_sha256"] == small_set.sha256
    assert run["seed"] == recipe.seed
    assert {"moodbook", "python", "torch", "numpy"} <= run["versions"].keys()
    assert run["git"] is None or len(run["git"].removesuffix("-dirty")) == 40
    expected = [(step, epoch) for step in _steps(recipe) for epoch in (1, 2)]
    rows = [json.loads(line) for line in _lines(finished / "metrics.jsonl")]
    assert [(row["step"], row["epoch"]) for row in rows] == expected
    report = json.loads((finished / "report.json").read_text())
    assert report["tracks"] == {"train": 6, "validation": 3, "test": 3}
    assert [step["step"] for step in report["steps"]] == _steps(recipe)
    assert report["unreadable"] == []
    assert report["unreached_precision"] is None
    low, high = report["calibration_interval"]
    assert low <= report["calibration_error"] <= high
    fixed = recipe.vqvae is not None and not recipe.step_2.update_vqvae
    assert (report["codebook"] is not None) == fixed
    if fixed:
        card = (finished / "bundle" / "README.md").read_text()
        assert f"| validation | reconstruction | {report['codebook']['reconstruction']:.4f} |" in card
    assert not list(finished.rglob("*.part"))
    assert not list(finished.rglob("*.pkl"))
    assert not list(finished.rglob("checkpoint*"))


def test_scores_are_those_of_the_stored_predictions_and_thresholds(finished: Path, small_set: Dataset) -> None:
    report = json.loads((finished / "report.json").read_text())
    thresholds = read_thresholds(finished / "thresholds.json")
    for split in ("validation", "test"):
        table, tracks = read_table(finished / f"{split}.csv"), small_set.split(split)
        assert table.track_ids == tuple(track.track_id for track in tracks)
        assert table.tags == small_set.tags
        scores = evaluate(small_set.ground_truth(tracks), table.values, small_set.tags, thresholds=thresholds)
        assert scores.to_json() == report[split]


def test_the_bundle_gives_the_scores_of_the_run(finished: Path, small_set: Dataset) -> None:
    from moodbook import audio

    bundle = read_bundle(finished / "bundle")
    assert bundle.tags == small_set.tags
    assert bundle.thresholds == read_thresholds(finished / "thresholds.json")
    assert bundle.config.card.licence == "CC0-1.0"
    assert bundle.config.card.tracks == {"train": 6, "validation": 3, "test": 3}
    assert bundle.config.card.credits == ("The tests.",)
    assert bundle.config.card.provenance.data_sha256 == small_set.sha256
    assert bundle.config.card.metrics["test"]["roc_auc_macro"] >= 0
    table, engine = read_table(finished / "test.csv"), Engine(bundle)
    for row, track in enumerate(small_set.split("test")):
        parts = segments(audio.load(track.path), bundle.features)
        # The cache holds float16, the engine reads the audio itself.
        rounded = parts.log_mel.astype(np.float16).astype(np.float32)
        np.testing.assert_allclose(engine.run(rounded).probabilities[0], table.values[row], atol=2e-4)


def test_the_report_prints_every_figure_with_its_interval(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    report = reproduce(narrow("popularity"), small_set, tmp_path / "run")
    text = report.to_text()
    assert text == (tmp_path / "run" / "report.txt").read_text()
    assert text.startswith("popularity on tones: 6 train, 3 validation, 3 test tracks, 2 tags, seed 0\n")
    # Every track has one of two tags alone or both; "high" is on 4 of 6 training tracks, on 2 of 3 in test.
    assert "ROC-AUC     0.5000 [0.500, 0.500]" in text
    low, high = report.intervals["macro"]["pr_auc"].low, report.intervals["macro"]["pr_auc"].high
    assert low <= report.test.macro.pr_auc <= high
    assert report.test.micro.precision == pytest.approx(2 / 3)
    few = "Note: intervals from 3 tracks come out too narrow, and the figures say little; score 20 or more.\n"
    assert few in text
    assert report.to_json()["interval_note"] == few.removeprefix("Note: ").removesuffix(".\n")
    card = (tmp_path / "run" / "bundle" / "README.md").read_text()
    assert f"- Its test figures: {few.removeprefix('Note: ')}" in card
    many = replace(report, tracks={**report.tracks, "test": 20})
    assert "too narrow" not in many.to_text()
    # Of twenty tracks in four groups four are drawn, not twenty.
    in_groups = replace(many, groups=4)
    assert few.replace("3 tracks", "4 groups of tracks") in in_groups.to_text()
    table = table_2.Table2({"popularity": in_groups}).to_text()
    assert "\nIn brackets: 95% intervals, bootstrap over groups of tracks. Our thresholds" in table
    assert few.replace("3 tracks", "4 groups of tracks") in table
    assert report.to_json() == json.loads((tmp_path / "run" / "report.json").read_text())


def test_one_test_group_has_no_intervals_and_no_line_on_them(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    tracks = tuple(replace(track, group="one" if track.split == "test" else None) for track in small_set.tracks)
    report = reproduce(narrow("popularity"), replace(small_set, tracks=tracks), tmp_path / "run")
    said = report.to_text() + table_2.Table2({"popularity": report}).to_text()
    assert "In brackets" not in said
    assert said.count("\nNo intervals: a bootstrap needs two groups of tracks at least. ") == 2
    assert "too narrow" not in said
    document = report.to_json()
    assert (document["intervals"], document["interval"], document["interval_note"]) == ({}, None, None)


def test_a_precision_that_no_threshold_reaches_is_said_to_decide_nothing(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    # Three validation tracks give fewer decisions than a precision can be told from.
    step_2 = narrow("vggish").step_2.model_copy(update={"decision_precision": 0.99})
    report = reproduce(narrow("vggish").model_copy(update={"step_2": step_2}), small_set, tmp_path / "run")
    said = (
        "Nothing is decided: no threshold reaches the precision 0.99 that the recipe asks for with 10 decisions or more"
    )
    assert f"\n{said} on validation. Lower step_2.decision_precision.\n" in report.to_text()
    assert json.loads((tmp_path / "run" / "report.json").read_text())["unreached_precision"] == 0.99
    bundle = read_bundle(tmp_path / "run" / "bundle")
    assert any(note.startswith(said) for note in bundle.config.card.notes)
    assert set(bundle.thresholds.values()) == {1.0}


def test_cached_codes_give_the_scores_of_encoding_again(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = _open(narrow("fixed-cnn"), small_set, tmp_path / "run")
    prepared = experiment.prepare(("train", "validation"), labelled=True)
    learned = experiment.step_1(prepared)
    encoded: list[int] = []
    encode = VQVAE.encode
    monkeypatch.setattr(VQVAE, "encode", lambda self, x: encoded.append(len(x)) or encode(self, x))
    tagger = experiment.step_2(prepared, learned)
    # Each of the nine segments once, and no more however many epochs there are.
    assert sum(encoded) == 9
    from_codes = Outcome(experiment, prepared, tagger).probabilities("validation")
    assert sum(encoded) == 9
    log_mel = experiment.examples(prepared, "validation", labelled=False)
    tagger.network.eval()
    with torch.no_grad():
        again = torch.sigmoid(tagger.network(log_mel.batch(np.arange(3), torch.device("cpu")).inputs).logits).numpy()
    assert sum(encoded) == 12
    np.testing.assert_array_equal(from_codes, again)
    coded = log_mel.with_inputs(tagger.cached.codes.codes)
    np.testing.assert_array_equal(
        torch.sigmoid(torch.from_numpy(segment_logits(tagger.network, coded, Machine(), 2, "float32"))), again
    )


def test_a_fixed_vqvae_leaves_step_2_as_it_came(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    reproduce(narrow("fixed-cnn"), small_set, tmp_path / "run")
    first, second = (load_file(tmp_path / "run" / step / "weights.safetensors") for step in ("step-1", "step-2"))
    for name, value in first.items():
        assert torch.equal(second[f"vqvae.{name}"], value), name


def test_a_track_that_cannot_be_read_is_reported_and_left_out(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    broken, missing = tmp_path / "broken.wav", tmp_path / "missing.wav"
    broken.write_bytes(b"RIFF no music")
    tracks = list(small_set.tracks)
    tracks[0], tracks[11] = replace(tracks[0], path=broken), replace(tracks[11], path=missing)
    told = Told()
    dataset = replace(small_set, tracks=tuple(tracks))
    report = reproduce(narrow("popularity"), dataset, tmp_path / "run", display=told)
    assert [skipped.track_id for skipped in report.unreadable] == ["t0", "t11"]
    assert report.tracks == {"train": 5, "validation": 3, "test": 2}
    assert read_table(tmp_path / "run" / "test.csv").track_ids == ("t9", "t10")
    assert "Left out, cannot be read: 2 tracks:\n  t0: " in report.to_text()
    assert any(line.startswith("left out, cannot be read: t11: ") for line in told.lines)


def test_labels_that_cannot_be_learned_from_stop_the_run_before_any_work(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    tracks = small_set.tracks
    unknown = replace(small_set, tracks=(replace(tracks[0], tags=("loud",)), *tracks[1:]))
    with pytest.raises(DataError, match="track 't0' of data set 'tones' has the unknown tag 'loud'"):
        reproduce(narrow("fixed-cnn"), unknown, tmp_path / "one")
    twice = replace(small_set, tracks=(replace(tracks[0], track_id="t1"), *tracks[1:]))
    with pytest.raises(DataError, match="two tracks have the id 't1'"):
        reproduce(narrow("fixed-cnn"), twice, tmp_path / "one")
    assert not (tmp_path / "one").exists()
    alike = replace(small_set, tracks=tuple(replace(track, tags=("high",)) for track in tracks))
    with pytest.raises(TrainingError, match="no tag divides the 3 validation tracks"):
        reproduce(narrow("fixed-cnn"), alike, tmp_path / "two")
    assert not (tmp_path / "two").exists()
    # Two of three validation tracks are alike; of the third nothing is known before it is heard.
    unread = replace(tracks[6], path=tmp_path / "missing.wav", tags=("low",))
    alike = replace(alike, tracks=(*alike.tracks[:6], unread, *alike.tracks[7:]))
    with pytest.raises(TrainingError, match="no tag divides the 2 validation tracks"):
        reproduce(narrow("fixed-cnn"), alike, tmp_path / "three")
    assert (tmp_path / "three" / CACHE).exists()
    assert not (tmp_path / "three" / STEP_1).exists()


def test_an_empty_split_stops_the_run_before_any_work(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    for kept, message in (
        (("train", "validation"), "data set 'tones' has no test track. Name the split of every track in the column"),
        (("test",), "data set 'tones' has no train and no validation track. "),
    ):
        some = replace(small_set, tracks=tuple(track for track in small_set.tracks if track.split in kept))
        with pytest.raises(TrainingError, match=message):
            reproduce(narrow("fixed-cnn"), some, tmp_path / kept[0])
        assert not (tmp_path / kept[0]).exists()


@pytest.mark.parametrize("name", ["fixed-cnn", "popularity"])
def test_tracks_without_tags_are_not_learned_from(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path, name: str
) -> None:
    untagged = replace(small_set, tracks=tuple(replace(track, tags=()) for track in small_set.tracks))
    with pytest.raises(DataError, match="data set 'tones': no track has a tag"):
        reproduce(narrow(name), untagged, tmp_path / "run")
    assert not (tmp_path / "run" / CACHE).exists()


def test_short_tracks_can_be_dropped(small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = narrow("popularity", data={"short_tracks": "drop"})
    with pytest.raises(TrainingError, match="data set 'tones': none of the 6 train tracks can be used"):
        reproduce(recipe, small_set, tmp_path / "run")


def test_a_folder_that_is_there_is_not_touched_without_resume(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(TrainingError) as caught:
        reproduce(narrow("popularity"), small_set, tmp_path)
    assert str(caught.value) == (
        f"'{tmp_path}' is there already. Pass --resume to go on with the run in it, or name another folder"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_finished_run_resumed_gives_the_same_report_and_trains_nothing(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = reproduce(narrow("vggish"), small_set, tmp_path / "run", resume=True)
    written = (tmp_path / "run" / "test.csv").read_bytes()
    monkeypatch.setattr(torch.optim, "Adam", lambda *_, **__: pytest.fail("trained again"))
    again = reproduce(narrow("vggish"), small_set, tmp_path / "run", resume=True)
    assert again.to_json() == first.to_json()
    assert (tmp_path / "run" / "test.csv").read_bytes() == written


def test_a_run_of_an_older_version_goes_on_where_dials_came_later(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    first = reproduce(narrow("fixed-cnn"), small_set, folder)
    for path in (folder / "run.json", folder / "step-1" / "step.json", folder / "step-2" / "step.json"):
        record = json.loads(path.read_text())
        recipe = record["identity"]["recipe"]
        del recipe["vqvae"]["semantic_features"], recipe["features"]["center_padding"], recipe["step_2"]["folds"]
        path.write_text(json.dumps(record))
    assert reproduce(narrow("fixed-cnn"), small_set, folder, resume=True).to_json() == first.to_json()
    with pytest.raises(TrainingError, match=r"belongs to another run: recipe\.vqvae\.width is 4 there and 5 now\. "):
        reproduce(narrow("fixed-cnn", vqvae={"width": 5, "codebook_size": 8}), small_set, folder, resume=True)


def test_a_step_is_not_resumed_on_other_tracks_than_it_learned_from(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    late = tmp_path / "late.wav"
    tracks = (replace(small_set.tracks[0], path=late), *small_set.tracks[1:])
    dataset = replace(small_set, tracks=tracks)
    reproduce(narrow("vggish"), dataset, tmp_path / "run")
    late.write_bytes(small_set.tracks[0].path.read_bytes())
    with pytest.raises(TrainingError, match="usable_train is 5 there and 6 now"):
        reproduce(narrow("vggish"), dataset, tmp_path / "run", resume=True)


def test_other_data_or_another_recipe_is_not_resumed(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    reproduce(narrow("popularity"), small_set, folder)
    other = replace(small_set, tracks=small_set.tracks[::-1])
    with pytest.raises(TrainingError) as caught:
        reproduce(narrow("popularity", seed=4), other, folder, resume=True)
    assert str(caught.value) == (
        f'\'{folder}\' belongs to another run: data_sha256 is "{small_set.sha256}" there and "{other.sha256}" now; '
        "recipe.seed is 0 there and 4 now. Resume with what it was begun with, or name another folder"
    )


def test_step_1_and_step_2_can_be_trained_apart(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = narrow("fixed-cnn")
    unlabelled = replace(small_set, tracks=tuple(replace(track, tags=()) for track in small_set.tracks))
    first = train_vqvae(recipe, unlabelled, tmp_path / "one", cache=tmp_path / "cache")
    second = train_tagger(recipe, small_set, tmp_path / "two", vqvae=tmp_path / "one", cache=tmp_path / "cache")
    assert (first.summary.step, second.summary.step) == (1, 2)
    assert (first.unreadable, second.unreadable) == ((), ())
    whole = reproduce(recipe, small_set, tmp_path / "whole", cache=tmp_path / "cache")
    assert [step.best for step in whole.steps] == [first.summary.best, second.summary.best]
    apart, together = (load_file(tmp_path / run / "step-2" / "weights.safetensors") for run in ("two", "whole"))
    assert all(torch.equal(apart[name], together[name]) for name in together)


def test_a_vqvae_of_another_kind_is_not_taken(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    train_vqvae(narrow("fixed-cnn"), small_set, tmp_path / "one")
    with pytest.raises(TrainingError, match=r"features.center_padding is \"constant\" there and \"reflect\" now"):
        train_tagger(
            narrow("fixed-cnn", features={"center_padding": "reflect"}),
            small_set,
            tmp_path / "two",
            vqvae=tmp_path / "one",
        )
    with pytest.raises(TrainingError, match=r"vqvae.type is 1 there and 2 now"):
        reproduce(narrow("updated-gru"), small_set, tmp_path / "two", vqvae=tmp_path / "one" / "step-1")
    with pytest.raises(TrainingError, match="recipe 'vggish' has no VQ-VAE to load"):
        reproduce(narrow("vggish"), small_set, tmp_path / "two", vqvae=tmp_path / "one")
    with pytest.raises(TrainingError, match="holds no finished step 1 and no model; train one with: moodbook"):
        reproduce(narrow("fixed-cnn"), small_set, tmp_path / "two", vqvae=tmp_path)
    assert not (tmp_path / "two").exists()


def test_a_recipe_without_a_vqvae_has_no_step_1(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="recipe 'vggish' trains no VQ-VAE, so it has no step 1"):
        train_vqvae(narrow("vggish"), small_set, tmp_path / "run")


def test_folds_are_no_step_alone(small_set: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="recipe 'own' makes its model of 4 folds, and this step alone would"):
        train_tagger(read_recipe("own"), small_set, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_step_1_alone_could_not_read_is_reported_too(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    for track in small_set.tracks:
        shutil.copy(track.path, tmp_path)
    rows = [f"{track.track_id},{track.path.name},high,{track.split}\n" for track in small_set.tracks]
    index = tmp_path / "elsewhere.csv"
    index.write_text("".join(["track_id,path,tags,split\n", *rows, "gone,gone.wav,high,train\n"]))
    recipe = narrow("fixed-cnn")
    assert recipe.step_1 is not None
    recipe = recipe.model_copy(update={"step_1": recipe.step_1.model_copy(update={"data": str(index)})})
    step = train_vqvae(recipe, small_set, tmp_path / "one")
    assert [skipped.track_id for skipped in step.unreadable] == ["gone"]
    assert (step.folder / "weights.safetensors").is_file()
    # Where the run's own data set is that of step 1 as well, each track counts once.
    same = train_vqvae(recipe, open_dataset(str(index)), tmp_path / "same")
    assert [skipped.track_id for skipped in same.unreadable] == ["gone"]
    report = reproduce(recipe, small_set, tmp_path / "whole")
    assert [skipped.track_id for skipped in report.unreadable] == ["gone"]


def test_the_table_has_every_row_beside_the_published_one(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"popularity": "popularity", "run-2": "fixed-cnn", "run-4": "fixed-cnn"}
    monkeypatch.setattr(table_2, "PUBLISHED", {name: table_2.PUBLISHED[name] for name in rows})
    monkeypatch.setattr(table_2, "read_recipe", lambda name: narrow(rows[name]))
    told = Told()
    table = table_2.reproduce_table_2(small_set, tmp_path / "table", display=told)
    # Runs 2 and 4 share step 1: it is trained once, and its codes are made once.
    assert sum(line.startswith("step 1 epoch") for line in told.lines) == 2
    assert "step 1: the VQ-VAE is given" in told.lines
    assert len(list((tmp_path / "table" / "cache").glob("codes-*"))) == 1
    lines = table.to_text().splitlines()
    assert lines[0] == "Table 2 on tones: 6 train, 3 validation, 3 test tracks, 2 tags"
    assert [line.split()[0] for line in lines[3:9]] == [
        "Popularity",
        "published",
        "Run-2",
        "published",
        "Run-4",
        "published",
    ]
    assert lines[8].split() == ["published", "0.7207", "0.1077", "0.1068", "->", "0.1602", "0.1522", "->", "0.1663"]
    assert lines[-1] == "The published rows are of 4,231 test tracks of jamendo-moodtheme: other data do not compare."
    assert json.loads((tmp_path / "table" / "table-2.json").read_text()) == table.to_json()
    given = tmp_path / "table" / "run-2"
    again = table_2.reproduce_table_2(small_set, tmp_path / "again", vqvae=[given], cache=tmp_path / "table" / "cache")
    assert again.reports["run-4"].test == table.reports["run-4"].test
    assert not (tmp_path / "again" / "run-2" / "step-1").exists()


def test_the_published_rows_are_those_of_the_arrays(shared_data: Path) -> None:
    folders = {
        "run-1": "run_1_vqvae+gru",
        "run-2": "run_3_fixed_vqvae+gru",
        "run-3": "run_2_vqvae+cnn",
        "run-4": "run_4_fixed_vqvae+cnn",
        "run-5": "run_5_one_hot_gru",
    }
    for name, folder in folders.items():
        (results,) = (shared_data / "mediaeval2019" / "taiinn" / folder).glob("results*.tsv")
        figures = dict(line.split("\t") for line in results.read_text().splitlines() if "\t" in line)
        row = table_2.PUBLISHED[name]
        for key, ours in (("ROC-AUC-macro", row.roc_auc), ("PR-AUC-macro", row.pr_auc), ("F-score-macro", row.f_macro)):
            assert float(figures[key]) == pytest.approx(ours, abs=6e-5), (name, key)


def _open(recipe: Recipe, dataset: Dataset, folder: Path) -> Experiment:
    return open_experiment(recipe, dataset, folder, False, None, None, None, 300.0)


def _steps(recipe: Recipe) -> list[int]:
    if recipe.classifier.kind == "popularity":
        return []
    return [2] if recipe.vqvae is None else [1, 2]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
