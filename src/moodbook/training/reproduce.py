"""One command, one experiment: index, check, features, step 1, step 2, thresholds, test, bundle, report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from moodbook.datasets.cache import SkippedTrack
from moodbook.datasets.check import check
from moodbook.datasets.dataset import SPLITS, Dataset, Track
from moodbook.errors import TrainingError
from moodbook.evaluation.calibration import expected_calibration_error
from moodbook.evaluation.metrics import evaluate
from moodbook.evaluation.thresholds import clear_of_scores, decide, fit_precision_threshold, fit_thresholds
from moodbook.model.bundle import popularity_weights, write_bundle
from moodbook.model.card import NAME_PATTERN, Card, Provenance
from moodbook.model.presence import Presence
from moodbook.networks.config import PopularityConfig
from moodbook.tags import TagSet
from moodbook.training.checkpoint import write_json, write_text
from moodbook.training.experiment import Experiment
from moodbook.training.given import LearnedVQVAE, credit_music
from moodbook.training.machine import Machine, tuned_processor
from moodbook.training.outcome import Outcome
from moodbook.training.progress import Display
from moodbook.training.recipe import Recipe
from moodbook.training.report import Report, calibration_interval, score_intervals
from moodbook.training.run_folder import (
    BUNDLE,
    REPORT,
    STEP_1,
    STEP_2,
    THRESHOLDS,
    versions,
    write_probabilities,
)
from moodbook.training.step import CHECKPOINT_SECONDS, StepSummary
from moodbook.training.tagger import LearnedTagger, popularity

POPULARITY_THRESHOLD = 0.5
"""The popularity baseline says 1 or 0: it decides the tag it says 1 to, as its published decisions do."""


@dataclass(frozen=True)
class StepAlone:
    """A step that was run alone.

    Args:
        summary: How it ended.
        folder: Where its weights lie.
        unreadable: Tracks that were left out because their audio cannot be read.
    """

    summary: StepSummary
    folder: Path
    unreadable: tuple[SkippedTrack, ...]


def reproduce(
    recipe: Recipe,
    dataset: Dataset,
    run_folder: str | Path,
    *,
    resume: bool = False,
    display: Display | None = None,
    cache: str | Path | None = None,
    vqvae: str | Path | None = None,
    name: str | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Report:
    """Run a whole experiment.

    Nothing is chosen on the test split: epochs and thresholds come from validation, and test is scored once, last. A
    track that cannot be read is left out and named in the report. Under ``accelerate launch`` or ``torchrun`` the
    processes share each batch; the first one writes.

    Args:
        recipe: What to do.
        dataset: On what; every track has a split.
        run_folder: Where everything is written (`moodbook.training.run_folder` lists it).
        resume: Go on with the run that is in the folder, or begin one.
        display: Shows the progress; default: nothing.
        cache: Where features and codes are kept; default: in the run folder. Runs on the same data can share one.
        vqvae: A finished step 1 to use instead of training one: its folder, that of its run, or a model (the name of
            one that comes with Moodbook, or its folder). Default: the model that the recipe names, if any.
        name: What the model is called; default: as the recipe.
        checkpoint_seconds: Longest time between two checkpoints.

    Returns:
        The report, as written to ``report.json``.

    Raises:
        TrainingError: The folder is taken or holds another run, the name cannot name a model, or training cannot start,
            resume or go on.
        DataError: A data set cannot be used or is not here, or the disk has no room.
        ModelError: The model that lends its VQ-VAE is damaged, or the teacher of step 1 is not here.
    """
    name = recipe.name if name is None else name
    if not re.fullmatch(NAME_PATTERN, name):
        raise TrainingError(f"'{name}' cannot name a model; begin with a letter or digit, go on with those and ._+-")
    with tuned_processor():
        experiment = open_experiment(recipe, dataset, run_folder, resume, display, cache, vqvae, checkpoint_seconds)
        experiment.require_other_data()
        dataset = experiment.dataset  # Without the tags that the recipe leaves out.
        findings = check(dataset, compare=False)
        for finding in findings:
            concerned = f" ({len(finding.track_ids)} tracks)" if finding.track_ids else ""
            experiment.display.note(f"{finding.level}, {finding.kind}: {finding.message}{concerned}")
        prepared = experiment.prepare(SPLITS, labelled=True)
        experiment.require_music(prepared)
        learned, tagger = None, None
        if not isinstance(recipe.classifier, PopularityConfig):
            learned = experiment.step_1(prepared) if recipe.vqvae is not None else None
            tagger = experiment.step_2(prepared, learned)
        outcome = Outcome(experiment, prepared, tagger)
        held_out, held_out_scores = outcome.held_out()
        scores = outcome.probabilities("test")
        learned_presence = outcome.presence()
        codebook = outcome.codebook()
    if experiment.machine.is_main:
        # Always anew: what an earlier run wrote may be the scores of other weights.
        for split, tracks, said in (
            ("validation", held_out, held_out_scores),
            ("test", prepared.tracks["test"], scores),
        ):
            write_probabilities(
                experiment.folder / f"{split}.csv", [track.track_id for track in tracks], said, dataset.tags
            )
    held_out_truth, truth = dataset.ground_truth(held_out), experiment.ground_truth(prepared, "test")
    thresholds = _thresholds(recipe, dataset.tags, held_out_truth, held_out_scores)
    decisions = decide(scores, thresholds, dataset.tags)
    groups = _groups(prepared.tracks["test"])
    report = Report(
        name=name,
        source=recipe.source,
        data=dataset.name,
        data_sha256=dataset.sha256,
        seed=recipe.seed,
        tracks={split: len(tracks) for split, tracks in prepared.tracks.items()},
        tags=dataset.tags,
        test=evaluate(truth, scores, dataset.tags, thresholds=thresholds),
        validation=evaluate(held_out_truth, held_out_scores, dataset.tags, thresholds=thresholds),
        presence=None if learned_presence is None else learned_presence[1],
        codebook=codebook,
        calibration_error=expected_calibration_error(truth, scores),
        intervals=score_intervals(truth, scores, decisions, dataset.tags, recipe.seed, groups),
        calibration_interval=calibration_interval(truth, scores, recipe.seed, groups),
        groups=None if groups is None else len(set(groups)),
        steps=_summaries(learned, tagger),
        never_decided=_never_decided(recipe, dataset.tags, held_out_truth),
        unreached_precision=_unreached_precision(recipe, decide(held_out_scores, thresholds, dataset.tags)),
        unreadable=tuple(experiment.unreadable),
        dropped=prepared.dropped,
        rare_tags=dataset.dropped_tags,
        rare_tracks=dataset.dropped_tracks,
        findings=tuple(findings),
    )
    if experiment.machine.is_main:
        presence = None if learned_presence is None else learned_presence[0]
        _write(outcome, thresholds, presence, learned, report)
    experiment.machine.wait()
    return report


def train_vqvae(
    recipe: Recipe,
    dataset: Dataset,
    run_folder: str | Path,
    *,
    resume: bool = False,
    display: Display | None = None,
    cache: str | Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> StepAlone:
    """Run step 1 alone, on music that needs no labels; `reproduce` and `train_tagger` take the result.

    Args:
        recipe: A recipe with a VQ-VAE.
        dataset: Its train and validation splits are used; tags are ignored.
        run_folder: Where everything is written; the VQ-VAE lies in ``step-1``.
        resume: Go on with the run that is in the folder, or begin one.
        display: Shows the progress; default: nothing.
        cache: Where features are kept; default: in the run folder.
        checkpoint_seconds: Longest time between two checkpoints.

    Raises:
        TrainingError: As `reproduce`, or the recipe trains no VQ-VAE.
        DataError: As `reproduce`.
    """
    if recipe.step_1 is None:
        raise TrainingError(f"recipe '{recipe.name}' trains no VQ-VAE, so it has no step 1; name another recipe")
    with tuned_processor():
        experiment = open_experiment(recipe, dataset, run_folder, resume, display, cache, None, checkpoint_seconds)
        summary = experiment.train_vqvae(experiment.prepare(("train", "validation"), labelled=False))
    folder = experiment.folder / STEP_1
    if recipe.step_1.data is not None:  # Then the step is a run of its own, in its folder.
        folder /= STEP_1
    return StepAlone(summary, folder, tuple(experiment.unreadable))


def train_tagger(
    recipe: Recipe,
    dataset: Dataset,
    run_folder: str | Path,
    *,
    vqvae: str | Path | None = None,
    resume: bool = False,
    display: Display | None = None,
    cache: str | Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> StepAlone:
    """Run step 2 without any test, on a finished step 1 where one is given.

    The weights are as training left them: what is calibrated, rounded or the mean of folds is made by `reproduce`.

    Args:
        recipe: A recipe with a network, without folds.
        dataset: Its train and validation splits are used.
        run_folder: Where everything is written; the weights lie in ``step-2``.
        vqvae: A finished step 1: its folder, that of its run, or a model. Without it a recipe with a VQ-VAE trains one.
        resume: Go on with the run that is in the folder, or begin one.
        display: Shows the progress; default: nothing.
        cache: Where features and codes are kept; default: in the run folder.
        checkpoint_seconds: Longest time between two checkpoints.

    Raises:
        TrainingError: As `reproduce`, or the recipe has folds.
        DataError: As `reproduce`.
    """
    if isinstance(recipe.classifier, PopularityConfig):
        raise TrainingError(f"recipe '{recipe.name}' counts tags and has nothing to train; run `moodbook reproduce`")
    if recipe.step_2.folds > 1:
        raise TrainingError(
            f"recipe '{recipe.name}' makes its model of {recipe.step_2.folds} folds, and this step alone would leave "
            "them apart; run `moodbook reproduce`, or set step_2.folds = 1"
        )
    with tuned_processor():
        experiment = open_experiment(recipe, dataset, run_folder, resume, display, cache, vqvae, checkpoint_seconds)
        prepared = experiment.prepare(("train", "validation"), labelled=True)
        learned = experiment.step_1(prepared) if recipe.vqvae is not None else None
        (summary,) = experiment.step_2(prepared, learned).summaries
    return StepAlone(summary, experiment.folder / STEP_2, tuple(experiment.unreadable))


def open_experiment(
    recipe: Recipe,
    dataset: Dataset,
    run_folder: str | Path,
    resume: bool,
    display: Display | None,
    cache: str | Path | None,
    vqvae: str | Path | None,
    checkpoint_seconds: float,
) -> Experiment:
    """Open the folder of a run for the stages of `Experiment`; only the main process shows anything.

    Raises:
        TrainingError: The folder is taken or holds another run, or `vqvae` is not a finished step 1 of this VQ-VAE.
    """
    machine = Machine()
    return Experiment(
        recipe,
        dataset,
        Path(run_folder),
        machine,
        display if display is not None and machine.is_main else Display(),
        resume=resume,
        cache=None if cache is None else Path(cache),
        vqvae=vqvae,
        checkpoint_seconds=checkpoint_seconds,
    )


def _thresholds(
    recipe: Recipe,
    tags: TagSet,
    ground_truth: Bool[np.ndarray, "tracks tags"],
    probabilities: Float32[np.ndarray, "tracks tags"],
) -> dict[str, float]:
    """Fit one threshold a tag on held-out tracks; a tag that none of them has gets one that nothing exceeds."""
    if isinstance(recipe.classifier, PopularityConfig):
        return dict.fromkeys(tags, POPULARITY_THRESHOLD)
    if recipe.step_2.decision_precision is not None:
        return fit_precision_threshold(ground_truth, probabilities, tags, recipe.step_2.decision_precision)
    fitted = fit_thresholds(ground_truth, probabilities, tags, without_positives="never")
    return clear_of_scores(fitted, probabilities, tags)


def _groups(tracks: Sequence[Track]) -> list[str] | None:
    """Name what each track must be drawn with; None where every track is on its own."""
    if all(track.group is None for track in tracks):
        return None
    return [track.group or track.track_id for track in tracks]


def _never_decided(recipe: Recipe, tags: TagSet, ground_truth: Bool[np.ndarray, "tracks tags"]) -> tuple[str, ...]:
    if isinstance(recipe.classifier, PopularityConfig) or recipe.step_2.decision_precision:
        return ()
    return tuple(tag for column, tag in enumerate(tags) if not ground_truth[:, column].any())


def _unreached_precision(recipe: Recipe, held_out: Bool[np.ndarray, "tracks tags"]) -> float | None:
    """Give the precision that is asked for where no threshold reaches it, so that even held-out tracks have no word."""
    return None if held_out.any() else recipe.step_2.decision_precision


def _summaries(learned: LearnedVQVAE | None, tagger: LearnedTagger | None) -> tuple[StepSummary, ...]:
    first = None if learned is None else learned.summary
    return (() if first is None else (first,)) + (() if tagger is None else tagger.summaries)


def _credits(experiment: Experiment, learned: LearnedVQVAE | None, presence_learned: bool) -> tuple[str, ...]:
    """Name whose music and whose work a model stands on.

    Args:
        experiment: What was done, on what.
        learned: What step 1 had learned, here or elsewhere.
        presence_learned: Whether what is no music was learned here, and so from other music too.
    """
    recipe, dataset = experiment.recipe, experiment.dataset
    credits, known = [dataset.citation], {dataset.sha256}
    if learned is not None:
        credits += learned.credits(known, learned_on=recipe.step_2.update_vqvae)
        if learned.summary is not None:
            known.add(str(learned.summary.identity.get("data_sha256")))
    if presence_learned and (speech := experiment.speech) is not None:
        credits.append(credit_music("What is no music was learned from", speech.name, speech.licence, speech.citation))
    other = experiment.other_data if presence_learned else None
    if other is not None and other.sha256 not in known:
        credits.append(credit_music("What is music was learned from", other.name, other.licence, other.citation))
    return tuple(credit for credit in dict.fromkeys(credits) if credit)


def _write(
    outcome: Outcome,
    thresholds: Mapping[str, float],
    presence: Presence | None,
    learned: LearnedVQVAE | None,
    report: Report,
) -> None:
    experiment, tagger = outcome.experiment, outcome.tagger
    folder, recipe, dataset = experiment.folder, experiment.recipe, experiment.dataset
    write_json(folder / THRESHOLDS, thresholds)
    if tagger is None:
        most_frequent = dataset.tags.names[
            int(np.argmax(popularity(experiment.ground_truth(outcome.prepared, "train"))))
        ]
        weights: Mapping[str, np.ndarray] = popularity_weights(dataset.tags, most_frequent)
    else:
        weights = {name: value.cpu().numpy() for name, value in tagger.network.state_dict().items()}
    notes = list(recipe.notes)
    if recipe.step_2.folds > 1:
        notes.append(
            f"The mean of {recipe.step_2.folds} classifiers, each of which left out a part of the train and validation "
            "tracks; calibration, thresholds and the validation figures stand on what each says of its part."
        )
    if learned is not None and learned.model is not None and presence is not None and report.presence is None:
        notes.append(
            f"It tells music from noise and speech as the model '{learned.model.name}' does, whose codes are the same."
        )
    if report.never_decided:
        notes.append(f"Tags that no validation track has are never decided: {', '.join(report.never_decided)}.")
    if report.nothing_decided is not None:
        notes.append(report.nothing_decided)
    if report.too_narrow is not None:
        notes.append(f"Its test figures: {report.too_narrow}.")
    write_bundle(
        folder / BUNDLE,
        network=recipe.network,
        weights=weights,
        tags=dataset.tags,
        thresholds=thresholds,
        features=recipe.features,
        embedding=outcome.embedding(),
        presence=presence,
        storage=recipe.storage,
        card=Card(
            name=report.name,
            summary=f"Tags of '{dataset.name}' by recipe {recipe.name}. {recipe.source}".strip()[:2000],
            licence=dataset.licence,
            provenance=Provenance(
                recipe=recipe.name,
                recipe_settings=recipe.model_dump(mode="json"),
                data=dataset.name,
                data_sha256=dataset.sha256,
                seed=recipe.seed,
                versions=versions(),
            ),
            tracks=dict(report.tracks),
            credits=_credits(experiment, learned, report.presence is not None),
            metrics=report.card_metrics(),
            notes=tuple(notes),
        ),
        overwrite=True,
    )
    write_json(folder / REPORT, report.to_json())
    write_text(folder / "report.txt", report.to_text())
