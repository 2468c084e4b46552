"""From examples to a head: the strength of the penalty, the threshold and honest figures, all by cross-validation.

The examples of a word are dealt into five folds, whole groups at a time. Every figure comes from recordings that took
no part in anything that was chosen for them: for fold k the penalty and the threshold are chosen on the other four
folds alone, each predicted by a model that has seen neither it nor k. The head that is kept is then fitted to all
examples, with the penalty and the threshold that the five folds choose together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int64

from moodbook.errors import DataError
from moodbook.evaluation.intervals import interval, resample_counts
from moodbook.library.known_model import Model
from moodbook.library.personal.examples import Examples
from moodbook.library.personal.head import NEVER, Figure, WordFacts
from moodbook.library.personal.logistic import features, fit_weights, log_loss, probabilities

FOLDS = 5
FEWEST = 10
"""Examples that a word needs with it, and without it: two a fold."""
PENALTIES = tuple(10.0**exponent for exponent in (4, 3.5, 3, 2.5, 2, 1.5, 1, 0.5, 0))
"""Strengths to choose from, the largest first: weights that say next to nothing, to weights nearly free."""
_RESAMPLES = 1_000

Count = Float[np.ndarray, " resamples"]


@dataclass(frozen=True)
class TooFew:
    """A word that cannot be learned yet.

    Attributes:
        word: The word.
        reason: What it lacks, and what to do.
    """

    word: str
    reason: str


@dataclass(frozen=True, eq=False)
class FittedWords:
    """What was learned.

    Attributes:
        words: What is known of each word.
        weights: A row a word, the bias last.
        refused: The words that cannot be learned yet.
    """

    words: tuple[WordFacts, ...]
    weights: Float[np.ndarray, "words features"]
    refused: tuple[TooFew, ...]

    def facts(self, name: str, model: Model, examples: Examples) -> dict[str, object]:
        """Give what `moodbook.library.personal.write_head` is told."""
        return {
            "name": name,
            "base_name": model.name,
            "base_sha256": model.sha256,
            "dimensions": examples.embeddings.shape[1],
            "words": self.words,
            "examples": examples.by_hash(),
            "with_others": examples.others > 0,
        }


def fit_words(
    examples: Examples, *, seed: int = 0, on_progress: Callable[[int, int], None] | None = None
) -> FittedWords:
    """Learn every word for which there are examples enough.

    Args:
        examples: The recordings, their words and groups.
        seed: Fixes how groups are dealt into folds, and the resamples of the intervals.
        on_progress: Called with the number of words that are done, and of all.

    Raises:
        DataError: There are too few examples for every word; it says what each lacks.
    """
    rows = features(examples.embeddings)
    learned, weights, refused = [], [], []
    for done, word in enumerate(examples.words):
        has_word = examples.labels[:, examples.words.index(word)]
        reason = _lacks(has_word, examples.groups, examples.others > 0)
        if reason:
            refused.append(TooFew(word, reason))
        else:
            facts, row = _fit_word(word, rows, has_word, examples, seed)
            learned.append(facts)
            weights.append(row)
        if on_progress is not None:
            on_progress(done + 1, len(examples.words))
    if not learned:
        listed = "; ".join(f"'{word.word}': {word.reason}" for word in refused)
        raise DataError(f"there are too few examples to learn a word. {listed}")
    return FittedWords(tuple(learned), np.stack(weights), tuple(refused))


def _lacks(has_word: Bool[np.ndarray, " recordings"], groups: Int64[np.ndarray, " recordings"], others: bool) -> str:
    """Say what a word lacks; nothing where it can be learned."""
    having, lacking = int(has_word.sum()), int((~has_word).sum())
    if having < FEWEST:
        return f"{having} recordings have it, {FEWEST} are needed. Label more"
    if lacking < FEWEST:
        more = "Label more" if others else "Give other words too, or --others"
        return f"{lacking} recordings have it not, {FEWEST} are needed to tell the difference. {more}"
    for which, what in ((has_word, "have"), (~has_word, "lack")):
        count = len(np.unique(groups[which]))
        if count < FOLDS:
            return (
                f"the recordings that {what} it are of {count} albums or songs, {FOLDS} are needed to test on music "
                "that it was not learned from. Label others"
            )
    return ""


def _fit_word(
    word: str, rows: Float[np.ndarray, "recordings features"], has_word: np.ndarray, examples: Examples, seed: int
) -> tuple[WordFacts, Float[np.ndarray, " features"]]:
    folds = deal_folds(has_word, examples.groups, examples.sha256s, f"{seed} {word}")
    # Models without one fold, and without two: the second kind serves both of its folds.
    paths = {
        without: _fit_path(rows, has_word, ~np.isin(folds, without))
        for size in (1, 2)
        for without in combinations(range(FOLDS), size)
    }
    held_out = np.zeros(len(has_word))
    decided = np.zeros(len(has_word), dtype=bool)
    for fold in range(FOLDS):
        others = [other for other in range(FOLDS) if other != fold]
        inner = {other: paths[min(fold, other), max(fold, other)] for other in others}
        penalty, predicted = _choose(rows, has_word, folds, inner)
        tested = folds == fold
        held_out[tested] = probabilities(rows[tested], paths[(fold,)][penalty])
        decided[tested] = held_out[tested] > best_threshold(has_word[~tested], predicted[~tested])
    penalty, predicted = _choose(rows, has_word, folds, {fold: paths[(fold,)] for fold in range(FOLDS)})
    figures = _figures(has_word, held_out, decided, examples.groups, seed)
    is_proven = figures["roc_auc"].low > 0.5
    facts = WordFacts(
        word=word,
        threshold=best_threshold(has_word, predicted) if is_proven else NEVER,
        penalty=penalty,
        having=int(has_word.sum()),
        lacking=int((~has_word).sum()),
        **figures,
    )
    return facts, fit_weights(rows, has_word, penalty)


def deal_folds(
    has_word: Bool[np.ndarray, " recordings"],
    groups: Int64[np.ndarray, " recordings"],
    names: tuple[str, ...],
    seed: str,
) -> Int64[np.ndarray, " recordings"]:
    """Deal whole groups into folds, so that each gets its share of the recordings that have the word.

    The groups with most of them are dealt first, each to the fold that has fewest, then those without any likewise;
    equals in an order that depends on the seed and on `names` alone, not on the order of the rows.
    """
    members: dict[int, list[int]] = {}
    for row, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(row)

    def order(rows: list[int]) -> tuple[int, int, bytes]:
        lot = hashlib.sha256(f"{seed} {min(names[row] for row in rows)}".encode()).digest()
        return -int(has_word[rows].sum()), -len(rows), lot

    folds = np.zeros(len(has_word), dtype=np.int64)
    counts = np.zeros((FOLDS, 2), dtype=np.int64)  # Without the word, with it.
    for rows in sorted(members.values(), key=order):
        counted = 1 if has_word[rows].any() else 0
        fold = min(range(FOLDS), key=lambda fold: (counts[fold, counted], counts[fold].sum()))
        folds[rows] = fold
        counts[fold] += np.bincount(has_word[rows], minlength=2)
    return folds


def _fit_path(
    rows: np.ndarray, has_word: np.ndarray, trained: Bool[np.ndarray, " recordings"]
) -> dict[float, Float[np.ndarray, " features"]]:
    """Fit the weights for every penalty, each from those of the one before."""
    path: dict[float, np.ndarray] = {}
    weights = None
    for penalty in PENALTIES:
        weights = path[penalty] = fit_weights(rows[trained], has_word[trained], penalty, weights)
    return path


def _choose(
    rows: np.ndarray, has_word: np.ndarray, folds: np.ndarray, paths: Mapping[int, Mapping[float, np.ndarray]]
) -> tuple[float, Float[np.ndarray, " recordings"]]:
    """Choose the penalty whose models predict their folds best, and give what they predict; NaN in the other folds."""
    losses = [
        sum(log_loss(rows[folds == fold], has_word[folds == fold], path[penalty]) for fold, path in paths.items())
        for penalty in PENALTIES
    ]
    penalty = PENALTIES[int(np.argmin(losses))]
    predicted = np.full(len(has_word), np.nan)
    for fold, path in paths.items():
        predicted[folds == fold] = probabilities(rows[folds == fold], path[penalty])
    return penalty, predicted


def best_threshold(has_word: Bool[np.ndarray, " recordings"], predicted: Float[np.ndarray, " recordings"]) -> float:
    """Choose the threshold with the best F, between two neighbouring probabilities; of equals the highest.

    F = 2 TP / (2 TP + FP + FN), where a recording is given the word whose probability is strictly above.
    """
    order = np.argsort(-predicted, kind="stable")
    ranked, hits = predicted[order], np.cumsum(has_word[order])
    taken = np.arange(1, len(order) + 1)
    f_score = 2 * hits / (taken + has_word.sum())
    f_score[:-1][ranked[:-1] == ranked[1:]] = -1  # Between equals there is no threshold.
    last = int(np.argmax(f_score))
    below = ranked[last + 1] if last + 1 < len(ranked) else 0.0
    return float((ranked[last] + below) / 2)


def _figures(
    has_word: np.ndarray, held_out: np.ndarray, decided: np.ndarray, groups: np.ndarray, seed: int
) -> dict[str, Figure]:
    """Measure, and draw whole groups again and again for the intervals."""
    counts = resample_counts(len(has_word), _RESAMPLES, seed, [str(group) for group in groups]).astype(np.float64)
    measured: dict[str, Callable[[np.ndarray], Count]] = {
        "roc_auc": lambda drawn: roc_auc(has_word, held_out, drawn),
        "precision": lambda drawn: _share(drawn[has_word & decided], drawn[decided]),
        "recall": lambda drawn: _share(drawn[has_word & decided], drawn[has_word]),
    }
    figures = {}
    for name, measure in measured.items():
        value = float(measure(np.ones((len(has_word), 1)))[0])
        found = interval(value, measure(counts))
        figures[name] = Figure(value=value, low=found.low, high=found.high)
    return figures


def _share(part: Float[np.ndarray, "rows resamples"], whole: Float[np.ndarray, "more_rows resamples"]) -> Count:
    """Divide sums; nothing of nothing is 0, as the official metrics have it."""
    total = whole.sum(axis=0)
    share: np.ndarray = np.divide(part.sum(axis=0), total, out=np.zeros(len(total)), where=total > 0)
    return share


def roc_auc(
    has_word: Bool[np.ndarray, " recordings"],
    scores: Float[np.ndarray, " recordings"],
    counts: Float[np.ndarray, "recordings resamples"],
) -> Count:
    """Compute the area under the ROC curve where each recording counts so many times; NaN where it is undefined.

    The share of pairs, one recording with the word and one without, in which the first scores higher; equals are half.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(scores[order]) > 0]))
    having = np.add.reduceat(counts[order] * has_word[order, None], starts)
    lacking = np.add.reduceat(counts[order] * ~has_word[order, None], starts)
    below = np.cumsum(lacking, axis=0) - lacking
    pairs = having.sum(axis=0) * lacking.sum(axis=0)
    won = (having * (below + lacking / 2)).sum(axis=0)
    area: np.ndarray = np.divide(won, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    return area
