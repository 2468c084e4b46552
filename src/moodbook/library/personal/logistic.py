"""Logistic regression with a penalty on large weights, in numpy: one word at a time.

For features x of a recording and a word, P(word | x) = s(w.x + b) with s(z) = 1 / (1 + exp(-z)). The weights minimise

    L(w, b) = sum over recordings of [log(1 + exp(z)) - y z]  +  penalty / 2 * |w|^2        with z = w.x + b

by Newton's method: L is convex, its gradient is X'(p - y) + penalty w and its Hessian X' diag(p (1 - p)) X + penalty I,
where p = s(z) and the bias, the last column of X, has no penalty (Bishop, Pattern Recognition and Machine Learning,
4.3.3; the penalty is a Gaussian prior on the weights, so that the inverse of the Hessian is the covariance of what the
examples leave open about them, 4.5.1).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

_MOST_STEPS = 50
_CONVERGED = 1e-6
"""Newton's decrement, in nats, below which a step would not change what is printed."""
_SMALLEST_CURVATURE = 1e-9  # Keeps the bias's row solvable where every probability is 0 or 1.


def features(embeddings: Float[np.ndarray, "recordings dimensions"]) -> Float[np.ndarray, "recordings features"]:
    """Give embeddings as features: each number about 1 in size whatever their count, and a 1 for the bias."""
    scaled = embeddings.astype(np.float64) * np.sqrt(embeddings.shape[1])
    return np.concatenate([scaled, np.ones((len(scaled), 1))], axis=1)


def probabilities(
    rows: Float[np.ndarray, "recordings features"], weights: Float[np.ndarray, " features"]
) -> Float[np.ndarray, " recordings"]:
    """Give the probability of the word for each recording."""
    result: np.ndarray = np.exp(-np.logaddexp(0.0, -(rows @ weights)))
    return result


def log_loss(
    rows: Float[np.ndarray, "recordings features"],
    has_word: Bool[np.ndarray, " recordings"],
    weights: Float[np.ndarray, " features"],
) -> float:
    """Give minus the log-likelihood of the labels, in nats, without the penalty."""
    logits = rows @ weights
    return float(np.logaddexp(0.0, logits).sum() - logits[has_word].sum())


def hessian(
    rows: Float[np.ndarray, "recordings features"], weights: Float[np.ndarray, " features"], penalty: float
) -> Float[np.ndarray, "features features"]:
    """Give the curvature of L, the inverse of the covariance of the weights."""
    p = probabilities(rows, weights)
    curvature: np.ndarray = (rows * (p * (1 - p))[:, None]).T @ rows
    curvature[np.diag_indices_from(curvature)] += _diagonal(len(weights), penalty)
    return curvature


def fit_weights(
    rows: Float[np.ndarray, "recordings features"],
    has_word: Bool[np.ndarray, " recordings"],
    penalty: float,
    start: Float[np.ndarray, " features"] | None = None,
) -> Float[np.ndarray, " features"]:
    """Fit the weights of one word.

    Args:
        rows: From `features`.
        has_word: Which recordings have the word; some have it and some have not.
        penalty: On the squared length of the weights, above 0.
        start: Where to begin, such as the weights of a larger penalty.

    Returns:
        One weight a feature, the bias last.
    """
    weights = np.zeros(rows.shape[1]) if start is None else start
    diagonal = _diagonal(len(weights), penalty)
    loss = _penalised(rows, has_word, weights, penalty)
    for _ in range(_MOST_STEPS):
        gradient = rows.T @ (probabilities(rows, weights) - has_word) + diagonal * weights
        step = np.linalg.solve(hessian(rows, weights, penalty), gradient)
        decrement = float(gradient @ step)
        # Half steps where a whole one overshoots: L falls at every step.
        size = 1.0
        while (found := _penalised(rows, has_word, weights - size * step, penalty)) > loss and size > _CONVERGED:
            size /= 2
        if found > loss:
            break
        weights, loss = weights - size * step, found
        if decrement < _CONVERGED:
            break
    return weights


def _diagonal(size: int, penalty: float) -> Float[np.ndarray, " features"]:
    diagonal = np.full(size, penalty)
    diagonal[-1] = _SMALLEST_CURVATURE
    return diagonal


def _penalised(rows: np.ndarray, has_word: np.ndarray, weights: np.ndarray, penalty: float) -> float:
    return log_loss(rows, has_word, weights) + 0.5 * float(_diagonal(len(weights), penalty) @ weights**2)
