"""What a run has learned, asked about the run's own data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from moodbook.datasets.dataset import Split, Track
from moodbook.model.embedding import Embedding, fit_embedding
from moodbook.model.presence import Presence
from moodbook.networks.vqvae import VQVAE
from moodbook.training.cached import encode_statistics, statistics_of
from moodbook.training.codebook import CodebookReport, measure_codebook
from moodbook.training.experiment import Experiment
from moodbook.training.prepared import Prepared
from moodbook.training.presence import MUSIC_SEGMENTS, PresenceLearner, PresenceReport, sampled
from moodbook.training.tagger import LearnedTagger, popularity, predict


@dataclass(frozen=True)
class Outcome:
    """The learned tagger beside what it learned from.

    Args:
        experiment: The run.
        prepared: The features of its data.
        tagger: What step 2 has learned; None where tags are told by popularity.
    """

    experiment: Experiment
    prepared: Prepared
    tagger: LearnedTagger | None

    def held_out(self) -> tuple[tuple[Track, ...], Float32[np.ndarray, "tracks tags"]]:
        """Score the tracks that thresholds may be fitted on: the validation split, or every track of the folds."""
        tagger = self.tagger
        if tagger is None or tagger.held_out is None or len(tagger.summaries) == 1:
            return self.prepared.tracks["validation"], self.probabilities("validation")
        return tagger.held_out.tracks, tagger.held_out.probabilities()

    def probabilities(self, split: Split) -> Float32[np.ndarray, "tracks tags"]:
        """Score the tracks of a split; without a tagger by popularity."""
        run, tracks = self.experiment, self.prepared.tracks[split]
        if self.tagger is None:
            return np.tile(popularity(run.ground_truth(self.prepared, "train")), (len(tracks), 1))
        examples = run.inputs(self.prepared, split, self.tagger.cached)
        run.display.begin(f"scoring {len(tracks)} {split} tracks", total=len(examples))
        batch_size = run.recipe.step_2.batch_size
        scores = predict(self.tagger.network, examples, len(tracks), run.machine, batch_size, run.display.advance)
        run.display.end()
        return scores

    def embedding(self) -> Embedding | None:
        """Fit the embedding of tracks to the training segments.

        None for a system without codes, and for one whose codebook has collapsed, so that every segment is alike.
        """
        vqvae = self._vqvae
        if vqvae is None or self.tagger is None:
            return None
        run = self.experiment
        rows = run.examples(self.prepared, "train", labelled=False).to_learn_from().rows
        if self.tagger.cached is not None:
            statistics = statistics_of(vqvae, np.asarray(self.tagger.cached.codes.codes[rows]))
        else:
            log_mel, size = self.prepared.features.log_mel, run.recipe.step_2.batch_size
            batches = [log_mel[rows[start : start + size]] for start in range(0, len(rows), size)]
            statistics = np.concatenate([encode_statistics(vqvae, batch, run.machine.device) for batch in batches])
        embedding = fit_embedding(statistics)
        return embedding if embedding.projection.shape[1] else None

    def presence(self) -> tuple[Presence, PresenceReport | None] | None:
        """Learn what is no music; None where the recipe does not ask for it.

        What a model has learned about its own codes holds for every classifier on them: it is taken over, without a
        report.

        Raises:
            TrainingError: There are too few segments of one kind.
            DataError: The speech is not here.
        """
        run = self.experiment
        if (lent := run.lent_presence) is not None:
            run.display.note("telling music from noise and speech as the model does whose VQ-VAE it is")
            return lent, None
        recipe, speech, vqvae = run.recipe.presence, run.speech, self._vqvae
        if recipe is None or speech is None or vqvae is None:
            return None
        train, validation = (
            np.concatenate([sampled(log_mel, rows, MUSIC_SEGMENTS, run.recipe.seed) for log_mel, rows in of_split])
            for of_split in run.music(self.prepared)
        )
        run.display.note("telling music from noise and speech")
        learner = PresenceLearner(
            lambda log_mel: encode_statistics(vqvae, log_mel, run.machine.device),
            run.recipe.features,
            run.recipe.seed,
            run.recipe.step_2.batch_size,
        )
        return learner.learn(train, validation, speech.split("train"), speech.split("validation"), recipe.refused_music)

    def codebook(self) -> CodebookReport | None:
        """Measure the codebook on validation music.

        None without one, and where the VQ-VAE has learned on: its decoder is of another time.
        """
        if (vqvae := self._vqvae) is None or not vqvae.fixed:
            return None
        run = self.experiment
        examples = run.examples(self.prepared, "validation", labelled=False)
        return measure_codebook(vqvae, examples, run.recipe.step_2.batch_size, run.machine)

    @property
    def _vqvae(self) -> VQVAE | None:
        return None if self.tagger is None or self.tagger.network.vqvae is None else self.tagger.network.vqvae.eval()
