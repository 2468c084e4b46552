"""Measure systems on the same splits, with the same metrics: what `docs/results.md` shows (`make results`).

    python benchmarks/results.py                                     every bench whose data is here
    python benchmarks/results.py --bench macleod --only probe-mel    some of it
    python benchmarks/results.py --vqvae runs/open --plain-vqvae runs/plain   with finished steps 1, trained by
                                                                     `moodbook train vqvae`, instead of training them
    python benchmarks/results.py --vqvae open --start-vqvae BEFORE   ours on the model that comes with Moodbook, and
                                                                     on the one that its step 1 began with
    python benchmarks/results.py --trials --start-vqvae BEFORE       the trials of experiment 13 too

Benches: `macleod` (Kevin MacLeod's own words with 8 tracks or more; each of the five folds is the test once, the next
one the validation; scores are means over the five tests) and `taffc` (112 moods of AllMusic, the split
by artist that its list fixes; `moodbook data` does not fetch it). Everything is chosen on validation. Lists and
MacLeod's audio are looked for in $MOODBOOK_SHARED/data. What is computed stays in --work and is not computed again, by
the name and seed of the system alone: give another step 1 another --work. A system that is not there yet is a dash.

Without --vqvae and --plain-vqvae steps 1 are trained too: hours on a GPU, days without.

Probes are logistic regressions, C chosen on validation: on mean, spread and movement of the log-mel (`probe-mel`), and
on musicnn's last hidden layer (`probe-musicnn`). The others are recipes. The paper's runs are its systems at a quarter
of its width, VQ-VAE and classifier, on the step 1 of `open-start` without the teacher; they and VGG-ish hear whole
tracks as ours does and have its rate and start, and crops (which help a CNN head: experiment 3), and stop after five
epochs without gain.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from moodbook.datasets import Dataset, open_dataset
from moodbook.datasets.cache import FeatureCache
from moodbook.errors import MoodbookError
from moodbook.evaluation.intervals import interval, resample_counts, resample_ranks
from moodbook.evaluation.metrics import evaluate, roc_auc
from moodbook.features import DEFAULT_FEATURES
from moodbook.networks.config import CNNConfig, GRUConfig
from moodbook.tags import TagSet, read_tags
from moodbook.training.given import fits
from moodbook.training.progress import Display
from moodbook.training.recipe import Recipe, read_recipe
from moodbook.training.reproduce import reproduce
from moodbook.training.teacher.hearing import TeacherHearing
from moodbook.training.teacher.teacher import Teacher

SHARED = Path(os.environ.get("MOODBOOK_SHARED", Path(__file__).parents[2] / "shared")) / "data"
SEEDS = (0, 1, 2)
STRENGTHS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""C of the logistic regression, from the smoothest to the sharpest."""
RESAMPLES = 1000
KEYS = ("ROC-AUC-macro", "PR-AUC-macro")
OURS = "open"
ROWS = {
    "popularity": "popularity",
    "probe-mel": "mel statistics + logistic regression",
    "probe-musicnn": "musicnn's features + logistic regression",
    "vggish": "VGG-ish, from scratch",
    "run-1": "Run-1 at a quarter of its width: VQ-VAE + GRU",
    "run-2": "Run-2 at a quarter of its width: fixed VQ-VAE + GRU",
    "run-3": "Run-3 at a quarter of its width: VQ-VAE + CNN",
    "run-4": "Run-4 at a quarter of its width: fixed VQ-VAE + CNN",
    "run-5": "Run-5 at a quarter of its width: VQ-VAE Type-2 + GRU",
    OURS: "ours (recipe `open` without folds)",
    "open-folds": "ours on folds, which learn from validation too",
    "open-start": "ours before its step 1 learned on (recipe `open-start`)",
}
TRIALS = {
    "learning-1e-4": "ours, the VQ-VAE learns on in step 2, rate 1e-4",
    "learning-3e-4": "the same, rate 3e-4",
    "learning-1e-3": "the same, rate 1e-3",
    "taught-run-2": "the head of Run-2 on the step 1 of ours",
    "taught-run-4": "the head of Run-4 on the step 1 of ours",
    "wide-128": "ours, width 128, K = 1,024",
    "wide-256": "ours, width 256, K = 1,024",
}
"""One dial of ours turned at a time, as it was before its step 1 learned on (--start-vqvae)."""
MEANS = {
    "mean-open": ("ours, mean of its seeds' logits", (OURS,)),
    "mean-vggish": ("VGG-ish, mean of its seeds' logits", ("vggish",)),
    "mean-both": ("ours and VGG-ish, mean of all their logits", (OURS, "vggish")),
}
"""Systems made of the predictions of others."""


@dataclass(frozen=True)
class Bench:
    """A data set with its splits; `parts` are data sets whose test tracks are scored together."""

    name: str
    tags: TagSet
    parts: tuple[Dataset, ...]


def macleod() -> Bench:
    parts = tuple(open_dataset(f"macleod:{fold}", SHARED / "macleod", min_tracks=8) for fold in range(5))
    return Bench("macleod", parts[0].tags, parts)


def taffc(audio: Path) -> Bench:
    folder = SHARED / "taffc4q"
    tags = read_tags(folder / "moods.txt")
    whole = open_dataset(folder / "tracks.csv", audio)
    # The list names every mood; those too rare to learn and score are no part of the bench.
    kept = tuple(replace(track, tags=tuple(t for t in track.tags if t in tags.names)) for track in whole.tracks)
    return Bench("taffc", tags, (replace(whole, tracks=kept, tags=tags),))


Predict = Callable[[Dataset, Path, int], np.ndarray]
"""Data set, folder to work in and seed to the probabilities of the test tracks."""


def probe(features_of: Callable[[Dataset, Path], dict[str, np.ndarray]]) -> Predict:
    """Give a logistic regression on one vector a track."""

    def predict(dataset: Dataset, work: Path, seed: int) -> np.ndarray:
        from sklearn.linear_model import LogisticRegression

        vectors = features_of(dataset, work)
        inputs = {s: np.stack([vectors[t.track_id] for t in dataset.split(s)]) for s in ("train", "validation", "test")}
        truth = {s: dataset.ground_truth(dataset.split(s)) for s in inputs}
        mean, spread = inputs["train"].mean(axis=0), inputs["train"].std(axis=0) + 1e-6
        inputs = {s: (x - mean) / spread for s, x in inputs.items()}
        best, chosen = -1.0, np.zeros(0)
        for strength in STRENGTHS:
            scores = {s: np.zeros(truth[s].shape) for s in ("validation", "test")}
            for column in range(len(dataset.tags)):
                learned = truth["train"][:, column]
                if not learned.any():
                    continue
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # Where it has not converged, validation says so.
                    model = LogisticRegression(C=strength, max_iter=300).fit(inputs["train"], learned)
                for s in scores:
                    scores[s][:, column] = model.predict_proba(inputs[s])[:, 1]
            reached = np.nanmean(list(_defined_auc(truth["validation"], scores["validation"])))
            if reached > best:
                best, chosen = float(reached), scores["test"]
        return chosen

    return predict


def _defined_auc(truth: np.ndarray, scores: np.ndarray) -> Iterator[float]:
    for column in range(truth.shape[1]):
        if 0 < truth[:, column].sum() < len(truth):
            yield float(roc_auc(truth[:, column], scores[:, column]))


def _features(dataset: Dataset, work: Path) -> FeatureCache:
    return FeatureCache.build(dataset.tracks, work / "cache", DEFAULT_FEATURES, segments="all")


def mel_statistics(dataset: Dataset, work: Path) -> dict[str, np.ndarray]:
    """Mean, standard deviation and mean movement of each band over the track's music."""
    features = _features(dataset, work)
    frames: dict[str, list[np.ndarray]] = {}
    for track_id, log_mel, filled in zip(features.track_ids, features.log_mel, features.filled, strict=True):
        heard = max(2, round(float(filled) * log_mel.shape[1]))
        frames.setdefault(track_id, []).append(np.asarray(log_mel[:, :heard], dtype=np.float32))
    joined = {track_id: np.concatenate(parts, axis=1) for track_id, parts in frames.items()}
    return {
        track_id: np.concatenate([x.mean(axis=1), x.std(axis=1), np.abs(np.diff(x, axis=1)).mean(axis=1)])
        for track_id, x in joined.items()
    }


def musicnn_embedding(dataset: Dataset, work: Path) -> dict[str, np.ndarray]:
    """Mean over the track of musicnn's last hidden layer, three seconds at a time; kept, for folds share the tracks."""
    features = _features(dataset, work)
    place = work / "musicnn" / f"{features.key}.npy"
    if not place.is_file():
        hearing = TeacherHearing.build(features, dataset.tracks, work / "cache").log_mel
        teacher = Teacher.load("musicnn")
        said = [teacher(torch.from_numpy(np.array(heard))[None])[0].numpy() for heard in hearing]
        place.parent.mkdir(parents=True, exist_ok=True)
        np.save(place, np.stack(said))
    tracks: dict[str, list[np.ndarray]] = {}
    for track_id, windows in zip(features.track_ids, np.load(place), strict=True):
        tracks.setdefault(track_id, []).append(windows[~np.isnan(windows).any(axis=1)])
    return {track_id: np.concatenate(parts).mean(axis=0) for track_id, parts in tracks.items()}


def trained(recipe: Recipe, vqvae: str | Path | None) -> Predict:
    """Give the test predictions of a recipe, whole tracks; a finished run is not trained again."""

    def predict(dataset: Dataset, work: Path, seed: int) -> np.ndarray:
        run = work / "runs" / f"{recipe.name}-{dataset.name.replace(':', '-')}-{dataset.sha256[:8]}-{seed}"
        given = vqvae if recipe.vqvae is not None else None
        seeded = recipe.model_copy(update={"seed": seed})
        reproduce(seeded, dataset, run, resume=True, cache=work / "cache", vqvae=given, display=Display())
        lines = (run / "test.csv").read_text(encoding="utf-8").splitlines()[1:]
        by_id = {line.split(",")[0]: [float(v) for v in line.split(",")[1:]] for line in lines}
        return np.array([by_id[track.track_id] for track in dataset.split("test")])

    return predict


def alone(name: str = OURS) -> Recipe:
    """Give ours as it is measured: the benches have chosen their tags, and do not measure what is music.

    Beside systems that learn from the train split alone, ours does too; before and after it learned on alike, at one
    rate and without crops.
    """
    ours = read_recipe(name)
    data = ours.data.model_copy(update={"min_tracks": 0})
    step_2 = ours.step_2.model_copy(update={"folds": 1, "learning_rate": 1e-3, "random_crops": False})
    return ours.model_copy(
        update={"name": name, "data": data, "presence": None, "storage": "float32", "step_2": step_2}
    )


def systems(
    vqvae: str | None, plain: Path | None, plain_type_2: Path | None, start: str | None
) -> dict[str, tuple[Predict, tuple[int, ...]]]:
    """Every system by name, and the seeds it is measured with."""
    ours = alone()
    folds = ours.model_copy(update={"name": "open-folds", "step_2": read_recipe("open").step_2})
    return {
        "popularity": (trained(_beside(ours, "popularity"), None), (0,)),
        "probe-mel": (probe(mel_statistics), (0,)),
        "probe-musicnn": (probe(musicnn_embedding), (0,)),
        "vggish": (trained(_beside(ours, "vggish"), None), SEEDS),
        **{
            f"run-{number}": (trained(_beside(ours, f"run-{number}"), plain_type_2 if number == 5 else plain), SEEDS)
            for number in range(1, 6)
        },
        OURS: (trained(ours, vqvae), SEEDS),
        "open-folds": (trained(folds, vqvae), SEEDS),
        **({} if start is None else {"open-start": (trained(alone("open-start"), start), SEEDS)}),
    }


def trials(vqvae: str | None, wide: dict[int, Path]) -> dict[str, tuple[Predict, tuple[int, ...]]]:
    """Every trial by name; those of a width whose step 1 is not given are left out."""
    ours = alone("open-start")
    ours = ours.model_copy(update={"step_2": ours.step_2.model_copy(update={"random_crops": True})})
    found: dict[str, tuple[Predict, tuple[int, ...]]] = {}
    for rate in ("1e-4", "3e-4", "1e-3"):
        step_2 = ours.step_2.model_copy(update={"update_vqvae": True, "learning_rate": float(rate)})
        recipe = ours.model_copy(update={"name": f"learning-{rate}", "step_2": step_2})
        found[recipe.name] = trained(recipe, vqvae), SEEDS
    for name in ("run-2", "run-4"):
        update = {"name": f"taught-{name}", "vqvae": ours.vqvae, "step_1": ours.step_1}
        recipe = _beside(ours, name).model_copy(update=update)
        found[recipe.name] = trained(recipe, vqvae), SEEDS
    for width, given in wide.items():
        if ours.vqvae is not None:
            wider = ours.vqvae.model_copy(update={"width": width, "codebook_size": 1024})
            recipe = ours.model_copy(update={"name": f"wide-{width}", "vqvae": wider})
            found[recipe.name] = trained(recipe, given), SEEDS
    return found


def mean_of(predictions: list[np.ndarray]) -> np.ndarray:
    """Give the probabilities of the mean of logits."""
    clipped = np.clip(np.stack(predictions).astype(np.float64), 1e-6, 1 - 1e-6)
    mean: np.ndarray = 1 / (1 + np.exp(-np.log(clipped / (1 - clipped)).mean(axis=0)))
    return mean


def _beside(ours: Recipe, name: str) -> Recipe:
    """Give a system of the paper on the music, the step 1 and the training of ours."""
    recipe, first = read_recipe(name), read_recipe("open-start").step_1
    learning = {
        "random_crops": True,
        "max_epochs": 30,
        "patience": 5,
        "folds": 1,
        "update_vqvae": recipe.step_2.update_vqvae,
    }
    plainly = {"calibrate": False, "decision_precision": None}
    update: dict[str, object] = {
        "data": ours.data,
        "features": ours.features,
        "step_2": ours.step_2.model_copy(update={**learning, **plainly}),
    }
    if recipe.vqvae is not None and ours.vqvae is not None and first is not None:
        sizes = {"width": ours.vqvae.width, "codebook_size": ours.vqvae.codebook_size}
        update["vqvae"] = recipe.vqvae.model_copy(update=sizes)
        update["step_1"] = first.model_copy(update={"teacher": None})
    if isinstance(recipe.classifier, GRUConfig):
        update["classifier"] = recipe.classifier.model_copy(update={"hidden": 64, "dense": (128, 64)})
    elif isinstance(recipe.classifier, CNNConfig):
        update["classifier"] = recipe.classifier.model_copy(update={"channels": 2, "hidden": 64, "dense": 64})
    return recipe.model_copy(update=update)


def measure(bench: Bench, name: str, seed: int, predict: Predict, work: Path, compute: bool) -> np.ndarray | None:
    """Give the predictions for all test tracks of a bench, computed or as they were computed before."""
    place = work / "predictions" / f"{bench.name}-{name}-{seed}.npy"
    if place.is_file():
        stored: np.ndarray = np.load(place)
        return stored
    if not compute:
        return None
    print(f"{bench.name}: {name}, seed {seed}", file=sys.stderr, flush=True)
    whole = np.concatenate([predict(part, work, seed) for part in bench.parts])
    place.parent.mkdir(parents=True, exist_ok=True)
    np.save(place, whole)
    return whole


def table(bench: Bench, predictions: dict[str, list[np.ndarray]], rows: dict[str, str]) -> str:
    """Draw a table of one bench: mean over parts and seeds, interval, difference to ours.

    Each part is scored on its own: scores of two trainings are not on one scale. A resample draws artists in each part.
    """
    ends = np.cumsum([0, *(len(part.split("test")) for part in bench.parts)])
    drawn: dict[str, dict[str, np.ndarray]] = {name: {} for name in predictions}
    official: dict[str, dict[str, float]] = {name: {} for name in predictions}
    positives = 0
    for number, part in enumerate(bench.parts):
        tracks = part.split("test")
        truth = part.ground_truth(tracks)
        positives += int(truth.sum())
        counts = resample_counts(len(tracks), RESAMPLES, number, [track.group or track.track_id for track in tracks])
        for name, runs in predictions.items():
            here = [run[ends[number] : ends[number + 1]] for run in runs]
            ranks = [resample_ranks(truth, one, bench.tags, counts).by_name() for one in here]
            scores = [evaluate(truth, one, bench.tags).official() for one in here]
            for key in KEYS:
                share = np.mean([one[key] for one in ranks], axis=0) / len(bench.parts)
                drawn[name][key] = drawn[name].get(key, 0.0) + share
                score = float(np.mean([one[key] for one in scores])) / len(bench.parts)
                official[name][key] = official[name].get(key, 0.0) + score
    prevalence = positives / (ends[-1] * len(bench.tags))
    lines = [
        f"### {bench.name}: {ends[-1]} test tracks, {len(bench.tags)} tags, prevalence {prevalence:.3f}",
        "",
        "| system | seeds | ROC-AUC macro | PR-AUC macro | ours minus it, ROC-AUC | ours minus it, PR-AUC |",
        "|---|---|---|---|---|---|",
    ]
    for name, title in rows.items():
        if name not in predictions:
            lines.append(f"| {title} | 0 | - | - | - | - |")
            continue
        cells = [title, str(len(predictions[name]))]
        for key in KEYS:
            around = interval(official[name][key], drawn[name][key])
            cells.append(f"{official[name][key]:.3f} [{around.low:.3f}, {around.high:.3f}]")
        for key in KEYS:
            if name == OURS or OURS not in predictions:
                cells.append("")
                continue
            difference = official[OURS][key] - official[name][key]
            around = interval(difference, drawn[OURS][key] - drawn[name][key], bounded=False)
            clear = " **clear**" if around.low > 0 or around.high < 0 else ""
            cells.append(f"{difference:+.3f} [{around.low:+.3f}, {around.high:+.3f}]{clear}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", nargs="*", choices=("macleod", "taffc"), default=("macleod", "taffc"))
    parser.add_argument(
        "--only", nargs="*", choices=(*ROWS, *TRIALS), default=(*ROWS, *TRIALS), help="compute these alone"
    )
    parser.add_argument("--work", type=Path, default=Path("runs/results"), help="where everything is kept")
    parser.add_argument("--taffc-audio", type=Path, default=None, help="folder with Q1 ... Q4 of the TAFFC clips")
    parser.add_argument("--vqvae", default=None, help="a finished step 1 of the recipe `open`, or a model")
    parser.add_argument("--start-vqvae", default=None, help="the same of the recipe `open-start`")
    parser.add_argument(
        "--plain-vqvae", type=Path, default=None, help="the same without a teacher, for the paper's runs"
    )
    parser.add_argument("--plain-type-2", type=Path, default=None, help="the same of Type-2, for Run-5")
    parser.add_argument("--trials", action="store_true", help="measure the trials too, in a table of their own")
    parser.add_argument("--vqvae-128", type=Path, default=None, help="a finished step 1 of width 128, for a trial")
    parser.add_argument("--vqvae-256", type=Path, default=None, help="the same of width 256")
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS, help="compute these alone")
    arguments = parser.parse_args()
    plain, wide = (arguments.plain_vqvae, arguments.plain_type_2), (arguments.vqvae_128, arguments.vqvae_256)
    recipes = ((arguments.vqvae, OURS), (arguments.start_vqvae, "open-start"))
    for given, recipe in recipes:
        try:
            if given is not None and not fits(read_recipe(recipe), given):
                parser.error(f"'{given}' is not a step 1 of recipe '{recipe}'")
        except MoodbookError as error:
            parser.error(str(error))
    for given in (*plain, *wide, arguments.taffc_audio):
        if given is not None and not given.is_dir():
            parser.error(f"there is no folder '{given}'")
    benches = []
    if "macleod" in arguments.bench and (SHARED / "macleod").is_dir():
        benches.append(macleod())
    if "taffc" in arguments.bench and arguments.taffc_audio is not None:
        benches.append(taffc(arguments.taffc_audio))
    if not benches:
        print(f"skipped: no data of these benches (macleod is {SHARED / 'macleod'}; taffc needs --taffc-audio)")
        return 0
    for bench in benches:
        predictions: dict[str, list[np.ndarray]] = {}
        all_systems = systems(arguments.vqvae, *plain, arguments.start_vqvae)
        if arguments.trials:
            wide = {128: arguments.vqvae_128, 256: arguments.vqvae_256}
            all_systems |= trials(
                arguments.start_vqvae, {width: given for width, given in wide.items() if given is not None}
            )
        for name, (predict, seeds) in all_systems.items():
            for seed in seeds:
                compute = name in arguments.only and seed in arguments.seeds
                scores = measure(bench, name, seed, predict, arguments.work, compute)
                if scores is not None:
                    predictions.setdefault(name, []).append(scores)
        print(table(bench, predictions, ROWS) + "\n", flush=True)
        if arguments.trials:
            for name, (_, parts) in MEANS.items():
                if all(part in predictions for part in parts):
                    predictions[name] = [mean_of([one for part in parts for one in predictions[part]])]
            rows = TRIALS | {name: title for name, (title, _) in MEANS.items()}
            print(table(bench, predictions, rows) + "\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
