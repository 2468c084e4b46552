"""From probabilities to decisions: one threshold a tag, always stored under the tag's name.

A tag is decided where ``probability > threshold``, strictly, as MediaEval 2019 does: the very track whose score became
the threshold is not decided.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from moodbook.errors import DataError
from moodbook.evaluation.metrics import sklearn_metrics, validate
from moodbook.files import whole_file
from moodbook.tags import TagSet

FEWEST_DECISIONS = 10
"""Decisions behind a precision that a threshold is chosen for; of fewer, chance says what share is right."""
OFFICIAL_PREFIX = "mood/theme---"
"""What stands before each tag in the threshold files of MediaEval 2019."""


def fit_thresholds(
    ground_truth: Bool[np.ndarray, "tracks tags"],
    probabilities: Float[np.ndarray, "tracks tags"],
    tags: TagSet,
    *,
    without_positives: Literal["refuse", "never"] = "refuse",
) -> dict[str, float]:
    """Choose, per tag, the threshold with the best F-score on the precision-recall curve.

    Args:
        ground_truth: Which tracks have which tags. The validation split, never test.
        probabilities: Scores, columns in the order of `tags`.
        tags: Names of the columns.
        without_positives: What to do with a tag that no track has: refuse, or a threshold that is never exceeded.

    Returns:
        Threshold by tag name, in the range of the probabilities.

    Raises:
        DataError: A tag has no positive track (unless ``without_positives="never"``), a shape does not match `tags`,
            or a value is not finite.
        DependencyError: scikit-learn is not installed.

    Source:
        MediaEval 2019 task, calculate_decisions: argmax of F over precision_recall_curve, the first on ties.
    """
    validate(ground_truth, probabilities, tags)
    empty = [name for k, name in enumerate(tags) if not ground_truth[:, k].any()]
    if empty and without_positives == "refuse":
        raise DataError(
            f"no track has {', '.join(empty)}: no threshold can be fitted there. Fit on more tracks, drop the tags, or "
            "pass without_positives='never'"
        )
    curve = sklearn_metrics().precision_recall_curve
    fitted = {}
    for k, name in enumerate(tags):
        if name in empty:
            fitted[name] = max(1.0, float(probabilities[:, k].max()))
            continue
        precision, recall, candidates = curve(ground_truth[:, k], probabilities[:, k])
        total = precision + recall
        f_score = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
        fitted[name] = float(candidates[np.argmax(f_score)])
    return fitted


def fit_precision_threshold(
    ground_truth: Bool[np.ndarray, "tracks tags"],
    probabilities: Float[np.ndarray, "tracks tags"],
    tags: TagSet,
    precision: float,
) -> dict[str, float]:
    """Choose one threshold for all tags: the lowest at which enough of the decided tags are right.

    It supposes calibrated probabilities, in which 0.6 means the same for every tag. Where a track has no probability
    above it, nothing is decided: the answer is "not sure".

    Args:
        ground_truth: Which tracks have which tags. The validation split, never test.
        probabilities: Scores, columns in the order of `tags`.
        tags: Names of the columns.
        precision: The share of decided tags that must be right, over all tracks and tags.

    Returns:
        The same threshold for every tag name; one that nothing exceeds where the precision is never reached with
        `FEWEST_DECISIONS` decisions or more.

    Raises:
        DataError: A shape does not match `tags`, or a value is not finite.
    """
    validate(ground_truth, probabilities, tags)
    values = np.sort(np.unique(probabilities))
    order = np.argsort(-probabilities.ravel(), kind="stable")
    scores, right = probabilities.ravel()[order], ground_truth.ravel()[order].cumsum()
    decided = np.searchsorted(-scores, -values, side="left")  # How many scores are strictly above each value.
    reached = np.divide(right[decided - 1], decided, out=np.zeros(len(values)), where=decided > 0)
    enough = (decided >= FEWEST_DECISIONS) & (reached >= precision)
    if not enough.any():
        return dict.fromkeys(tags, max(1.0, float(values[-1])))
    lowest = int(np.argmax(enough))
    # Half way to the next score, as `clear_of_scores` does; there is one, for something is decided.
    return dict.fromkeys(tags, float((values[lowest] + values[lowest + 1]) / 2))


def clear_of_scores(
    thresholds: Mapping[str, float], probabilities: Float[np.ndarray, "tracks tags"], tags: TagSet
) -> dict[str, float]:
    """Move each threshold half way to the next higher score.

    Nothing is decided otherwise on these probabilities, but the score that became the threshold no longer stands on it:
    another engine or processor, whose scores differ in the last bits, decides the same.

    Args:
        thresholds: Thresholds by tag name, as `fit_thresholds` gives them.
        probabilities: The scores they were fitted on.
        tags: Names of the columns.

    Raises:
        DataError: The thresholds do not fit `tags`.
    """
    moved = {}
    for k, (name, threshold) in enumerate(zip(tags, tags.vector(thresholds), strict=True)):
        higher = probabilities[probabilities[:, k] > threshold, k]
        moved[name] = float((threshold + higher.min()) / 2) if len(higher) else float(threshold)
    return moved


def decide(
    probabilities: Float[np.ndarray, "tracks tags"], thresholds: Mapping[str, float], tags: TagSet
) -> Bool[np.ndarray, "tracks tags"]:
    """Decide a tag where its probability is strictly above its threshold.

    Raises:
        DataError: The array has another number of columns than `tags`, or the thresholds do not name exactly `tags`.
    """
    if probabilities.ndim != 2 or probabilities.shape[1] != len(tags):
        raise DataError(f"probabilities: expected shape (tracks, {len(tags)}), got {probabilities.shape}")
    # In float64: a float32 score compared with its own value as float64 is equal, hence not above.
    return probabilities.astype(np.float64) > tags.vector(thresholds)


@dataclass(frozen=True)
class CrossFit:
    """Decisions for tracks none of which had a say in its own thresholds."""

    decisions: Bool[np.ndarray, "tracks tags"]
    half: Int[np.ndarray, " tracks"]
    """0 or 1: which half a track is in; its thresholds come from the other."""
    thresholds: tuple[dict[str, float], dict[str, float]]
    """Thresholds applied to half 0 and to half 1."""


def cross_fit(
    ground_truth: Bool[np.ndarray, "tracks tags"],
    probabilities: Float[np.ndarray, "tracks tags"],
    tags: TagSet,
    *,
    seed: int,
    groups: Sequence[str] | None = None,
) -> CrossFit:
    """Fit thresholds on one random half of the tracks and decide the other, and the reverse.

    It estimates what fitted thresholds are worth on unseen tracks where no validation predictions exist. A tag that
    the fitting half lacks is never decided in the other.

    Args:
        ground_truth: Which tracks have which tags.
        probabilities: Scores, columns in the order of `tags`.
        tags: Names of the columns.
        seed: Fixes the halves.
        groups: Artist (or such) of each track; a group is never on both sides.

    Raises:
        DataError: The input cannot be scored, `groups` has another length, or there are fewer than two groups.
        DependencyError: scikit-learn is not installed.
    """
    validate(ground_truth, probabilities, tags)
    if groups is not None and len(groups) != len(ground_truth):
        raise DataError(f"groups: expected one for each of {len(ground_truth)} tracks, got {len(groups)}")
    labels = np.arange(len(ground_truth)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    n_groups = int(labels.max()) + 1
    if n_groups < 2:
        raise DataError(f"cross-fitting needs two groups of tracks at least, got {n_groups}")
    order = np.random.default_rng(seed).permutation(n_groups)
    half_of_group = np.zeros(n_groups, dtype=np.int64)
    half_of_group[order[n_groups // 2 :]] = 1
    half = half_of_group[labels]

    decisions = np.zeros(ground_truth.shape, dtype=bool)
    fitted = []
    for side in (0, 1):
        here, there = half == side, half != side
        chosen = fit_thresholds(ground_truth[there], probabilities[there], tags, without_positives="never")
        decisions[here] = decide(probabilities[here], chosen, tags)
        fitted.append(chosen)
    return CrossFit(decisions, half, (fitted[0], fitted[1]))


def write_thresholds(path: str | Path, thresholds: Mapping[str, float]) -> None:
    """Write thresholds by tag name: JSON, or the official two-column text where the path ends with ``.txt``.

    Raises:
        DataError: A threshold is not finite, or the file cannot be written.
    """
    for name, value in thresholds.items():
        if not math.isfinite(value):
            raise DataError(f"threshold of {name!r}: expected a finite number, got {value}")
    path = Path(path)
    if path.suffix.lower() == ".txt":
        text = "".join(f"{OFFICIAL_PREFIX}{name}\t{float(value)!r}\n" for name, value in thresholds.items())
    else:
        text = json.dumps({name: float(value) for name, value in thresholds.items()}, indent=2) + "\n"
    try:
        with whole_file(path) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write the thresholds '{path}': {error}") from error


def read_thresholds(path: str | Path) -> dict[str, float]:
    """Read thresholds by tag name from JSON (``{"happy": 0.1}``) or the official two-column text.

    Returns:
        Threshold by tag name, in the order of the file, the prefix ``mood/theme---`` dropped.

    Raises:
        DataError: The file cannot be read, a line or value is no threshold, or a tag stands twice.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the thresholds '{path}': {error}") from error
    pairs = _json_pairs(path, text) if path.suffix.lower() == ".json" else _text_pairs(path, text)
    thresholds: dict[str, float] = {}
    for raw_name, value in pairs:
        name = raw_name.strip().split("---")[-1]
        if name in thresholds:
            raise DataError(f"thresholds '{path}': tag {name!r} stands twice; give one threshold a tag")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise DataError(f"thresholds '{path}', tag {name!r}: expected a finite number, got {value!r}")
        thresholds[name] = float(value)
    if not thresholds:
        raise DataError(f"the thresholds '{path}' are empty")
    return thresholds


def _json_pairs(path: Path, text: str) -> list[tuple[str, object]]:
    try:
        # Pairs, not a dict: a name that stands twice must not vanish.
        document = json.loads(text, object_pairs_hook=list)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"the thresholds '{path}' are not JSON: {error}") from error
    if not isinstance(document, list) or not all(isinstance(item, tuple) for item in document):
        raise DataError(f'thresholds \'{path}\': expected one JSON object such as {{"happy": 0.1, "sad": 0.2}}')
    return document


def _text_pairs(path: Path, text: str) -> list[tuple[str, object]]:
    pairs: list[tuple[str, object]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        fields = line.split("\t")
        try:
            name, value = fields
            pairs.append((name, float(value)))
        except ValueError:
            raise DataError(
                f"thresholds '{path}', line {number}: expected a tag, a tab and a number, got {line[:60]!r}"
            ) from None
    return pairs
