"""When a training step ends: the rule alone, without any training around it."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class EarlyStopping:
    """Watch one validation figure, remember the best epoch and say when waiting is over.

    An epoch counts as better only if it is strictly better. Of epochs with the same figure the one with the smallest
    loss is: a ROC-AUC that cannot rise (1 from the first epoch on, where the tags are easy and the tracks few) says
    nothing of a classifier that has hardly begun to learn. Of equal epochs the first is kept.

    Args:
        patience: Epochs in a row without a better figure that end the step.
        higher_is_better: True for ROC-AUC, False for a loss.
        best: The best figure so far; None before the first epoch.
        best_epoch: The epoch it belongs to, counted from 1; 0 before the first epoch.
        epoch: Epochs seen.
        loss: The loss on validation at the best epoch.

    Source:
        The paper states early stopping, not its rule; `docs/method.md` names this one as ours.
    """

    patience: int
    higher_is_better: bool
    best: float | None = None
    best_epoch: int = 0
    epoch: int = 0
    loss: float | None = None

    def observe(self, figure: float, loss: float) -> EarlyStopping:
        """Give the state after one more epoch with this figure and this loss on validation."""
        epoch = self.epoch + 1
        better = self.best is None or (figure > self.best if self.higher_is_better else figure < self.best)
        if better or (figure == self.best and self.loss is not None and loss < self.loss):
            return replace(self, best=figure, best_epoch=epoch, epoch=epoch, loss=loss)
        return replace(self, epoch=epoch)

    @property
    def improved(self) -> bool:
        """Whether the latest epoch is the best one."""
        return self.epoch > 0 and self.best_epoch == self.epoch

    @property
    def should_stop(self) -> bool:
        """Whether the figure has not become better for `patience` epochs."""
        return self.epoch - self.best_epoch >= self.patience
