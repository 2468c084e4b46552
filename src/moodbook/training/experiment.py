"""The stages of a run, each a call that takes what the one before it gave."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from moodbook.datasets.cache import SkippedTrack
from moodbook.datasets.dataset import Dataset, Split, Track
from moodbook.datasets.registry import open_dataset
from moodbook.errors import DataError, TrainingError
from moodbook.model.presence import Presence
from moodbook.networks.config import PopularityConfig
from moodbook.networks.tagger import TaggingNetwork
from moodbook.training.cached import Cached, cache_segments
from moodbook.training.calibration import fit_scaling, fold_in
from moodbook.training.examples import Examples
from moodbook.training.folds import HeldOut, become_mean, folds_of, join
from moodbook.training.given import (
    LearnedVQVAE,
    is_finished,
    open_start,
    open_vqvae,
    read_start_recipe,
    read_step,
    recorded_start,
    rounded,
)
from moodbook.training.loop import finished, train_step
from moodbook.training.machine import Machine, resolve_precision
from moodbook.training.prepared import Prepared, prepare, split_up
from moodbook.training.presence import require_music
from moodbook.training.progress import Display
from moodbook.training.recipe import Recipe, StepConfig
from moodbook.training.run_folder import CACHE, METRICS, START, STEP_1, STEP_2, MetricsLog, begin_run, require_place
from moodbook.training.step import Plan, StepSummary
from moodbook.training.tagger import (
    LearnedTagger,
    Step2,
    require_measurable,
    segment_logits,
)
from moodbook.training.teacher.lesson import prepare_lesson
from moodbook.training.teacher.teacher import Teacher
from moodbook.training.vqvae import Step1

LEARNED_FROM: tuple[Split, ...] = ("train", "validation")
"""The splits that a training step may see."""


class Experiment:
    """One run in one folder.

    Args:
        recipe: What to do.
        dataset: On what; every track has a split.
        folder: The folder of the run.
        machine: The processes and the device.
        display: Shows the progress.
        resume: Go on with the run that is in the folder.
        cache: Where features and codes are kept; default: in the folder of the run.
        vqvae: A finished step 1 to use instead of training one, or instead of the model that the recipe names: its
            folder, that of its run, or a model.
        checkpoint_seconds: Longest time between two checkpoints.

    Raises:
        TrainingError: The folder is taken or holds another run, or `vqvae` is not a finished step 1 of this VQ-VAE.
    """

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        folder: Path,
        machine: Machine,
        display: Display,
        *,
        resume: bool,
        cache: Path | None,
        vqvae: str | Path | None,
        checkpoint_seconds: float,
    ) -> None:
        dataset = dataset.with_min_tracks(recipe.data.min_tracks)
        self.recipe, self.dataset, self.folder, self.machine, self.display = recipe, dataset, folder, machine, display
        self._resume, self._checkpoint_seconds = resume, checkpoint_seconds
        self.unreadable: dict[SkippedTrack, None] = {}  # Of every data set of the run, each once, as it is prepared.
        self._cache = folder / CACHE if cache is None else cache
        self._metrics = MetricsLog(folder / METRICS)
        given = recipe.pretrained if vqvae is None else vqvae
        self._given = None if given is None else open_vqvae(recipe, given)
        self._start, self._start_sha256 = None, None
        if self._given is None:
            self._start, self._start_sha256 = open_start(recipe, recorded_start(folder))
        self._start_recipe = read_start_recipe(recipe) if self._given is None else None
        self.identity = self._identity()
        if machine.is_main:
            require_place(folder, self.identity, resume)
        machine.wait()

    def prepare(self, splits: Sequence[Split], *, labelled: bool) -> Prepared:
        """Compute the features of some splits, once; what would stop a later stage is found here.

        Args:
            splits: The splits that the run needs.
            labelled: Whether it needs their tags.

        Raises:
            DataError: Two tracks share an id, no track has a tag, one has an unknown tag, the data set that step 1
                learns from is not here, or the disk has no room.
            TrainingError: A split has no track that can be used, or what stops the training cannot be measured.
            ModelError: The teacher that step 1 will learn from is not here.
        """
        self._require_step_1()
        tracks = split_up(self.dataset, splits)
        if labelled and not self.dataset.ground_truth(self.dataset.tracks).any():
            raise DataError(
                f"data set '{self.dataset.name}': no track has a tag, and tags are what is learned and scored; name "
                "them in its index"
            )
        watched = labelled and not isinstance(self.recipe.classifier, PopularityConfig)
        if watched:  # Before hours of listening; what cannot be read may still take away what divided them.
            self._require_measurable(tracks)
        self._begin()
        prepared = prepare(self.dataset, splits, self.recipe, self._cache, self.display)
        self.unreadable |= dict.fromkeys(prepared.unreadable)
        if watched:
            self._require_measurable(prepared.tracks)
        return prepared

    def _begin(self) -> None:
        """Record the run in its folder: when nothing that can be known before listening stands against it."""
        if self.machine.is_main:
            dataset = self.dataset
            about: dict[str, Any] = {
                "data": {
                    "name": dataset.name,
                    "licence": dataset.licence,
                    "citation": dataset.citation,
                    "tags": list(dataset.tags),
                    "dropped_tags": list(dataset.dropped_tags),
                    "dropped_tracks": list(dataset.dropped_tracks),
                }
            }
            if self._start is not None:
                about["start_credits"] = list(self._start.credits(learned_on=True))
            begin_run(self.folder, self.recipe, self.identity, about)
        self.machine.wait()

    def _require_step_1(self) -> None:
        """Find out whether what step 1 will learn from is here: its own data set, its teacher."""
        dials = self.recipe.step_1
        if dials is None or self._given is not None:
            return
        if self.other_data is not None:
            split_up(self.other_data, LEARNED_FROM)
        first = None if self._start_recipe is None else self._start_recipe.step_1
        if not is_finished(self.folder):
            for step in (dials, first):
                if step is not None and step.teacher is not None:
                    Teacher.load(step.teacher)

    def _require_measurable(self, tracks: Mapping[Split, tuple[Track, ...]]) -> None:
        folds = self.recipe.step_2.folds
        cut = folds_of(tracks["train"], tracks["validation"], folds, self.recipe.seed)
        for number, fold in enumerate(cut, start=1):
            require_measurable(self.dataset.ground_truth(fold.held_out), number, folds)

    def examples(self, prepared: Prepared, split: Split, *, labelled: bool) -> Examples:
        """Give the segments of a split, with the tags of their tracks or without."""
        tracks = prepared.tracks[split]
        number = {track.track_id: index for index, track in enumerate(tracks)}
        rows = np.array(
            [row for row, track_id in enumerate(prepared.features.track_ids) if track_id in number], dtype=np.int64
        )
        return Examples(
            inputs=prepared.features.log_mel,
            rows=rows,
            tracks=np.array([number[prepared.features.track_ids[row]] for row in rows], dtype=np.int64),
            filled=prepared.features.filled[rows],
            ground_truth=self.dataset.ground_truth(tracks).astype(np.float32) if labelled else None,
        )

    def ground_truth(self, prepared: Prepared, split: Split) -> Bool[np.ndarray, "tracks tags"]:
        """Give the tags of the tracks of a split."""
        return self.dataset.ground_truth(prepared.tracks[split])

    def step_1(self, prepared: Prepared) -> LearnedVQVAE:
        """Train the VQ-VAE, or take the one that was given.

        Raises:
            TrainingError: The recipe has no VQ-VAE, or training cannot start, resume or go on.
        """
        if self._given is not None:
            whose = "given" if self._given.model is None else f"that of the model '{self._given.model.name}'"
            self.display.note(f"step 1: the VQ-VAE is {whose}")
            return self._given
        self.train_vqvae(prepared)
        return read_step(self.folder)

    def train_vqvae(self, prepared: Prepared) -> StepSummary:
        """Train the VQ-VAE, on the data of the run or on what the recipe names for step 1.

        Raises:
            TrainingError: The recipe has no VQ-VAE, or training cannot start, resume or go on.
        """
        if self.recipe.vqvae is None or self.recipe.step_1 is None:
            raise TrainingError(f"recipe '{self.recipe.name}' trains no VQ-VAE, so it has no step 1")
        if self._elsewhere is not None:
            other, others_prepared = self._elsewhere
            return other.train_vqvae(others_prepared)
        dials = self.recipe.step_1
        plan = self._plan(dials, STEP_1, prepared)
        if (summary := finished(Step1.number, plan, self.display)) is not None:
            return summary
        train, validation = (self.examples(prepared, split, labelled=False) for split in LEARNED_FROM)
        if dials.segments_a_track:
            train, validation = (examples.at_most(dials.segments_a_track) for examples in (train, validation))
        if dials.teacher is not None:
            lesson = prepare_lesson(
                dials.teacher,
                prepared.features,
                [track for of_split in prepared.tracks.values() for track in of_split],
                self._cache,
                self.machine,
                plan.precision,
                self.display,
                once=dials.asks_once,
            )
            train, validation = replace(train, lesson=lesson), replace(validation, lesson=lesson)
        start = self._start if self._start_recipe is None else self._first(self._start_recipe)
        weights = None if start is None else start.weights
        step = Step1(self.recipe.vqvae, self.recipe.seed, train, validation, dials, weights)
        return train_step(step, plan, self.machine, self._metrics, self.display)

    def _first(self, recipe: Recipe) -> LearnedVQVAE:
        """Train the step 1 from which that of this run learns on: a run of its own, in the folder of the step."""
        self.display.note(f"step 1 of recipe '{recipe.name}' comes first")
        folder = self.folder / STEP_1 / START
        first = Experiment(
            recipe,
            self.dataset,
            folder,
            self.machine,
            self.display,
            resume=self._resume or folder.exists(),
            cache=self._cache,
            vqvae=None,
            checkpoint_seconds=self._checkpoint_seconds,
        )
        first.train_vqvae(first.prepare(LEARNED_FROM, labelled=False))
        return read_step(folder)

    def step_2(self, prepared: Prepared, learned: LearnedVQVAE | None) -> LearnedTagger:
        """Train the classifier; a fixed VQ-VAE encodes each segment once and never again.

        Raises:
            TrainingError: Training cannot start, resume or go on.
        """
        recipe = self.recipe
        fixed = learned is not None and not recipe.step_2.update_vqvae
        if learned is not None:
            learned = replace(learned, weights=rounded(learned.weights, recipe.storage))
        cached = None
        if learned is not None and fixed:
            cached = cache_segments(prepared.features, recipe, learned.weights, self._cache, self.machine, self.display)
        train, validation = (prepared.tracks[split] for split in LEARNED_FROM)
        networks, summaries, held_out = [], [], []
        for number, fold in enumerate(folds_of(train, validation, recipe.step_2.folds, recipe.seed), start=1):
            here = replace(prepared, tracks={**prepared.tracks, "train": fold.train, "validation": fold.held_out})
            network, summary = self._classifier(here, learned, cached, number)
            networks.append(network)
            summaries.append(summary)
            if recipe.step_2.calibrate or recipe.step_2.folds > 1:
                examples = self.inputs(here, "validation", cached)
                logits = segment_logits(network, examples, self.machine, recipe.step_2.batch_size, "float32")
                held_out.append(HeldOut(fold.held_out, examples, logits))
        network, said = networks[0], join(held_out) if held_out else None
        if len(networks) > 1:
            become_mean(network, networks[1:])
        if recipe.step_2.calibrate and said is not None:
            scaling = fit_scaling(said.logits, said.examples, self.dataset.ground_truth(said.tracks))
            self.display.note(f"calibrated: logits times {scaling.slope:.3f}, plus {scaling.shift:.3f}")
            fold_in(network, scaling)
            said = said.scaled(scaling)
        network.load_state_dict(rounded(network.state_dict(), recipe.storage))
        return LearnedTagger(network, tuple(summaries), cached, said)

    def _classifier(
        self, prepared: Prepared, learned: LearnedVQVAE | None, cached: Cached | None, fold: int
    ) -> tuple[TaggingNetwork, StepSummary]:
        """Train the classifier of one fold, counted from 1; each but the first has a folder in that of the step."""
        recipe = self.recipe
        folder, metrics = STEP_2, self._metrics
        if fold > 1:
            folder = f"{STEP_2}/fold-{fold}"
            metrics = MetricsLog(self.folder / folder / METRICS)
            self.display.note(f"fold {fold} of {recipe.step_2.folds}")
        step = Step2(
            recipe.network,
            len(self.dataset.tags),
            recipe.seed,
            self.inputs(prepared, "train", cached),
            self.inputs(prepared, "validation", cached),
            recipe.step_2.batch_size,
            None if learned is None else learned.weights,
            recipe.step_2.update_vqvae,
            recipe.step_2.start_at_prior,
        )
        plan = self._plan(recipe.step_2, folder, prepared)
        summary = train_step(step, plan, self.machine, metrics, self.display)
        step.network.to(self.machine.device)
        return step.network, summary

    def require_other_data(self) -> None:
        """Find out before hours are spent whether the data sets are here that `presence` will learn from.

        Raises:
            DataError: One is not.
            TrainingError: One lacks a split.
        """
        if self.speech is not None and self.other_data is not None:
            split_up(self.other_data, LEARNED_FROM)

    def require_music(self, prepared: Prepared) -> None:
        """Find out before anything is trained whether `presence` will have music enough.

        Raises:
            DataError: The data set that step 1 learns from is not here, or the disk has no room for its features.
            TrainingError: There is too little.
        """
        if self.speech is not None:
            require_music(*(sum(len(rows) for _, rows in of_split) for of_split in self.music(prepared)))

    @property
    def lent_presence(self) -> Presence | None:
        """What the model whose VQ-VAE is used here has learned of what is no music: it holds for this run, too."""
        if self.recipe.presence is None or self._given is None or self.recipe.step_2.update_vqvae:
            return None
        return None if self._given.model is None else self._given.model.presence

    def music(self, prepared: Prepared) -> list[list[tuple[np.ndarray, Int[np.ndarray, " rows"]]]]:
        """Give, for train and validation, the features of each data set at hand and the rows of its whole segments."""

        def of(source: Experiment, there: Prepared, split: Split) -> tuple[np.ndarray, Int[np.ndarray, " rows"]]:
            examples = source.examples(there, split, labelled=False)
            return there.features.log_mel, examples.rows[examples.filled == 1]

        sources = [(self, prepared), *([] if self._elsewhere is None else [self._elsewhere])]
        return [[of(source, there, split) for source, there in sources] for split in LEARNED_FROM]

    @cached_property
    def speech(self) -> Dataset | None:
        """The speech that `presence` will learn from; None where it learns nothing: it is not wanted, or lent."""
        recipe = self.recipe.presence
        if recipe is None or self.lent_presence is not None:
            return None
        return open_dataset(recipe.speech, seed=self.recipe.seed)

    @cached_property
    def other_data(self) -> Dataset | None:
        """The data set of its own that the recipe gives step 1; `presence` learns from its music, too."""
        data = None if self.recipe.step_1 is None else self.recipe.step_1.data
        return None if data is None else open_dataset(data, seed=self.recipe.seed)

    @cached_property
    def _elsewhere(self) -> tuple[Experiment, Prepared] | None:
        """Listen to the data set that step 1 has of its own: an experiment in the folder of the step."""
        if self.other_data is None:
            return None
        other = Experiment(
            self.recipe.for_step_1(),
            self.other_data,
            self.folder / STEP_1,
            self.machine,
            self.display,
            resume=self._resume or (self.folder / STEP_1).exists(),
            cache=None,
            vqvae=None,
            checkpoint_seconds=self._checkpoint_seconds,
        )
        # Not its own `prepare`: where step 1 is given, only the music is wanted, and no teacher.
        other._begin()
        prepared = prepare(other.dataset, LEARNED_FROM, other.recipe, other._cache, self.display)
        self.unreadable |= dict.fromkeys(prepared.unreadable)
        return other, prepared

    def inputs(self, prepared: Prepared, split: Split, cached: Cached | None) -> Examples:
        """Give the segments of a split with their tags, as the classifier hears them: log-mel, or what is cached."""
        examples = self.examples(prepared, split, labelled=True)
        return examples if cached is None else examples.with_inputs(cached.inputs)

    def _plan(self, config: StepConfig, folder: str, prepared: Prepared) -> Plan:
        # What a step learned from belongs to what it is: an audio file that was missing or broken may be whole by now.
        learned_from = {split: [track.track_id for track in prepared.tracks[split]] for split in LEARNED_FROM}
        usable = {f"usable_{split}": len(tracks) for split, tracks in learned_from.items()}
        content = json.dumps(learned_from).encode()
        return Plan(
            config=config,
            precision=resolve_precision(config.precision, self.machine.device),
            seed=self.recipe.seed,
            folder=self.folder / folder,
            identity=self.identity | usable | {"usable_sha256": hashlib.sha256(content).hexdigest()},
            resume=self._resume,
            checkpoint_seconds=self._checkpoint_seconds,
        )

    def _identity(self) -> dict[str, Any]:
        steps = {"step_1": self.recipe.step_1, "step_2": self.recipe.step_2}
        if isinstance(self.recipe.classifier, PopularityConfig):
            steps = {}
        asks_once = self._given is None and self.recipe.step_1 is not None and self.recipe.step_1.asks_once
        return {
            "recipe": self.recipe.model_dump(mode="json"),
            "data_sha256": self.dataset.sha256,
            "vqvae_sha256": None if self._given is None else self._given.sha256,
            **({} if self._start_sha256 is None else {"start_sha256": self._start_sha256}),
            **({"teacher_is_asked": "once"} if asks_once else {}),
            **({} if self._start_recipe is None else {"start_recipe": self._start_recipe.model_dump(mode="json")}),
            "precision": {
                name: resolve_precision(step.precision, self.machine.device)
                for name, step in steps.items()
                if step is not None
            },
            "processes": self.machine.processes,
        }
