"""Simulated submissions: honest ones of every quality, and the arrays to plant frauds in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jaxtyping
import numpy as np
import pytest

from moodbook.evaluation.findings import Evidence, Validation
from moodbook.evaluation.thresholds import decide, fit_thresholds
from moodbook.tags import TagSet


@dataclass(frozen=True)
class Submission:
    """What a team hands in, and what it was made from."""

    ground_truth: np.ndarray
    probabilities: np.ndarray
    tags: TagSet
    artists: tuple[str, ...]
    track_ids: tuple[str, ...]
    validation_truth: np.ndarray
    validation_probabilities: np.ndarray
    thresholds: dict[str, float]
    """Fitted on validation."""
    decisions: np.ndarray

    def shuffled_thresholds(self, seed: int = 0) -> dict[str, float]:
        """Give the honest thresholds in a file of another order, each under its own name."""
        names = list(self.tags)
        return {names[k]: self.thresholds[names[k]] for k in np.random.default_rng(seed).permutation(len(names))}

    def handed_in(self, seed: int) -> Evidence:
        """Give what honest teams hand in, in turn."""
        top_three = np.zeros(self.probabilities.shape, dtype=bool)
        np.put_along_axis(top_three, np.argsort(-self.probabilities, axis=1)[:, :3], True, axis=1)
        ways = [
            Evidence(
                decisions=self.decisions,
                thresholds=self.shuffled_thresholds(seed),
                validation=Validation(self.validation_truth, self.validation_probabilities),
                artists=self.artists,
                track_ids=self.track_ids,
                keyed=True,
            ),
            Evidence(decisions=self.decisions),
            Evidence(thresholds=self.thresholds, artists=self.artists),
            Evidence(decisions=top_three),
            Evidence(decisions=self.probabilities > 0.5, thresholds=dict.fromkeys(self.tags, 0.5)),
            Evidence(decisions=self.decisions, thresholds={k: round(v, 4) for k, v in self.thresholds.items()}),
        ]
        return ways[seed % len(ways)]


@dataclass(frozen=True)
class World:
    """Tags that go together because they share a few hidden causes."""

    loadings: np.ndarray
    offsets: np.ndarray

    def draw(self, generator: np.random.Generator, tracks: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw hidden causes, truth and artists; tracks of one artist resemble each other and stand together."""
        tags, factors = self.loadings.shape
        artist = np.sort(generator.integers(0, max(2, tracks // 8), size=tracks))
        own = generator.normal(size=(int(artist.max()) + 1, factors))
        causes = np.sqrt(0.6) * own[artist] + np.sqrt(0.4) * generator.normal(size=(tracks, factors))
        chance = 1 / (1 + np.exp(-(causes @ self.loadings.T + self.offsets)))
        return causes, generator.random((tracks, tags)) < chance, artist


def simulate(
    seed: int, *, tracks: int | None = None, tags: int | None = None, skill: float | None = None, plain: bool = False
) -> Submission:
    """Make an honest submission.

    What is not given is drawn: size, number and frequency of tags, skill from weak to excellent, badly learned
    columns, calibrated, over-confident, under-confident or class-balanced scores, float32, rounded scores. `plain`
    keeps to calibrated float64 scores.
    """
    generator = np.random.default_rng(seed)
    tracks = int(generator.integers(150, 1500)) if tracks is None else tracks
    n_tags = int(generator.integers(6, 57)) if tags is None else tags
    skill = float(generator.uniform(0.15, 0.95)) if skill is None else skill
    factors = int(generator.integers(5, 17))
    loadings = generator.normal(size=(n_tags, factors)) * generator.uniform(1.0, 2.5) / np.sqrt(factors)
    world = World(loadings, generator.normal(generator.uniform(-3.5, -1.5), 0.7, size=n_tags))

    learned = loadings + generator.normal(size=loadings.shape) * generator.uniform(0, 0.6)
    # Badly learned columns know a little of their tag, confuse it with others, and are mostly noise of their own.
    bad = generator.random(n_tags) < generator.uniform(0, 0.3)
    confused = generator.normal(size=(int(bad.sum()), factors))
    learned[bad] = generator.uniform(0.2, 0.6) * loadings[bad] + 0.3 * confused
    noise = np.where(bad, 1.0, 0.1)
    mode = "calibrated" if plain else generator.choice(["calibrated", "over", "under", "balanced"])
    scale = {"calibrated": skill, "over": 3.0, "under": 0.2, "balanced": 1.0}[mode]
    offset = np.zeros(n_tags) if mode == "balanced" else world.offsets + generator.normal(size=n_tags) * 0.2
    digits = None if plain else generator.choice([None, None, 3])
    single = not plain and generator.random() < 0.7

    def score(causes: np.ndarray) -> np.ndarray:
        heard = skill * causes + np.sqrt(1 - skill**2) * generator.normal(size=causes.shape)
        logits = scale * (heard @ learned.T) + offset + generator.normal(size=(len(causes), n_tags)) * noise
        probabilities = 1 / (1 + np.exp(-logits))
        if digits is not None:
            probabilities = probabilities.round(int(digits))
        return probabilities.astype(np.float32 if single else np.float64)

    def draw(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        causes, truth, artist = world.draw(generator, rows)
        # Data sets drop tags that hardly any track has; here the rare ones are given to a few tracks.
        for column in np.flatnonzero(truth.sum(axis=0) < 5):
            truth[generator.choice(rows, size=5, replace=False), column] = True
        return score(causes), truth, artist

    probabilities, truth, artist = draw(tracks)
    validation_probabilities, validation_truth, _ = draw(tracks)
    names = TagSet(tuple(f"tag{k:02d}" for k in generator.permutation(n_tags)))
    thresholds = fit_thresholds(validation_truth, validation_probabilities, names)
    return Submission(
        ground_truth=truth,
        probabilities=probabilities,
        tags=names,
        artists=tuple(f"artist_{a}" for a in artist),
        track_ids=tuple(f"track_{row:05d}" for row in generator.permutation(tracks)),
        validation_truth=validation_truth,
        validation_probabilities=validation_probabilities,
        thresholds=thresholds,
        decisions=decide(probabilities, thresholds, names),
    )


@pytest.fixture(scope="session")
def simulated() -> Callable[..., Submission]:
    """The simulator: `simulated(seed, tracks=, tags=, skill=, plain=)`."""
    return simulate


@pytest.fixture(scope="session")
def good_submission() -> Submission:
    """A decent system on a test part of ordinary size."""
    return simulate(7, tracks=1000, tags=20, skill=0.8, plain=True)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Switch the tests' shape checker off, as in real use, so that Moodbook's own refusals are reached."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(scope="session")
def mediaeval(shared_data: Path) -> Path:
    """The published arrays of MediaEval 2019."""
    folder = shared_data / "mediaeval2019"
    if not folder.is_dir():
        pytest.skip(f"no MediaEval 2019 arrays at {folder}")
    return folder
