"""Which examples meet in which batch: a pure function of the seed and the epoch.

Nothing is carried from batch to batch, so a run that resumes in the middle of an epoch needs only the number of the
batch, and several processes agree on every batch without a word.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int


def epoch_batches(examples: int, batch_size: int, seed: int, step: int, epoch: int) -> list[Int[np.ndarray, " batch"]]:
    """Shuffle the examples and cut them into batches of `batch_size` or fewer.

    The batches of an epoch are of equal size to within one example: 25 examples in batches of 12 give 9, 8 and 8, where
    12, 12 and 1 would hand a batch of one to batch normalisation.

    Args:
        examples: How many examples there are.
        batch_size: Largest size of a batch.
        seed: The seed of the recipe.
        step: Training step, 1 or 2.
        epoch: Counted from 1.

    Returns:
        The rows of each batch; together they hold every row exactly once.
    """
    order = np.random.default_rng([seed, step, epoch]).permutation(examples)
    return np.array_split(order, -(-examples // batch_size))


def epoch_starts(examples: int, seed: int, step: int, epoch: int) -> Float64[np.ndarray, " examples"]:
    """Draw, for each example of an epoch, where in its track it starts: uniform in [0, 1)."""
    return np.random.default_rng([seed, step, epoch, 1]).random(examples)


def share_of_process(rows: Int[np.ndarray, " rows"], processes: int, process: int) -> Int[np.ndarray, " share"]:
    """Give the part of a batch that one of several processes takes, equal in size to within one example."""
    return np.array_split(rows, processes)[process]


def step_seed(seed: int, step: int) -> int:
    """Give the seed of a training step's own random numbers (initial weights, dropout).

    Each step starts from its own seed, so that step 2 is the same whether step 1 ran just before or was loaded.
    """
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1)
