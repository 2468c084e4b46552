"""The one training loop: Adam, batches, early stopping on validation, checkpoints, resume.

It knows nothing of the test split, and nothing of what the two steps differ in but the `TrainingStep` it is given.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moodbook.errors import TrainingError
from moodbook.training.checkpoint import (
    Stored,
    optimizer_tensors,
    read_tensors,
    restore_optimizer,
    sha256_of,
    write_json,
    write_tensors,
)
from moodbook.training.codebook import perplexity
from moodbook.training.early_stopping import EarlyStopping
from moodbook.training.examples import Batch
from moodbook.training.losses import Losses
from moodbook.training.machine import Machine, lay_out, reduced
from moodbook.training.order import epoch_batches, epoch_starts, share_of_process, step_seed
from moodbook.training.processes import share_batch_norm
from moodbook.training.progress import Display
from moodbook.training.run_folder import MetricsLog, require_same
from moodbook.training.step import (
    CHECKPOINT,
    SUMMARY,
    WEIGHTS,
    Plan,
    StepSummary,
    TrainingStep,
    read_summary,
    read_weights,
)


@dataclass
class _Epoch:
    """The running sums of an unfinished epoch."""

    number: int = 1
    batch: int = 0
    seen: int = 0
    seconds: float = 0.0
    sums: list[float] = field(default_factory=list)


def train_step(step: TrainingStep, plan: Plan, machine: Machine, metrics: MetricsLog, display: Display) -> StepSummary:
    """Train a step to its end and leave the network with the weights of the best epoch.

    With ``plan.resume`` it goes on where the last checkpoint was written, in the middle of an epoch if need be; on a
    CPU in float32 the result has the same bits as that of an unbroken run. A step that is finished is only loaded.

    Args:
        step: What is trained; its network takes the best weights.
        plan: How.
        machine: On what.
        metrics: Takes one row per epoch.
        display: Shows the progress; only the main process shows anything.

    Raises:
        TrainingError: There are too few examples for the processes, the loss or the watched figure is not finite, what
            is in the folder belongs to another recipe or other data, or a file cannot be read or written.
    """
    if (summary := finished(step.number, plan, display)) is not None:
        step.loss.network.load_state_dict(read_weights(plan.folder).tensors)
        return summary
    training = _Training(step, plan, machine, metrics, display)
    try:
        return training.run()
    finally:
        display.end()


def finished(number: int, plan: Plan, display: Display) -> StepSummary | None:
    """Say how a step ended that a resumed run finds finished; None where there is something to train.

    Raises:
        TrainingError: It belongs to another recipe or other data, or its weights are not what it left.
    """
    summary = read_summary(plan.folder) if plan.resume else None
    if summary is not None:
        require_same(plan.identity, summary.identity, plan.folder)
        read_weights(plan.folder)
        display.note(f"step {number}: finished already, best epoch {summary.best_epoch}")
    return summary


class _Training:
    def __init__(self, step: TrainingStep, plan: Plan, machine: Machine, metrics: MetricsLog, display: Display) -> None:
        self._step, self._plan, self._machine, self._metrics, self._display = step, plan, machine, metrics, display
        self._require_examples()
        self._network = step.loss.network
        module = share_batch_norm(step.loss.train(), machine).to(machine.device)
        lay_out(module, plan.precision)
        # The loss may learn too (a teacher's head); what it learns goes on with a resumed run, and no further.
        self._learner = step.loss
        self._parameters = {name: p for name, p in self._learner.named_parameters() if p.requires_grad}
        self._optimizer = torch.optim.Adam(self._parameters.values(), lr=plan.config.learning_rate)
        self._module = module
        self._part_names = step.loss.part_names
        self._stopping = EarlyStopping(plan.config.patience, step.higher_is_better)
        self._history: list[dict[str, Any]] = []
        self._best: dict[str, Tensor] = {}
        self._epoch = self._new_epoch(1)
        self._codes = self._no_codes()
        torch.manual_seed(step_seed(plan.seed, step.number) + 1 + machine.process)

    def run(self) -> StepSummary:
        checkpoint = self._plan.folder / CHECKPOINT
        if self._plan.resume and checkpoint.is_file():
            self._restore(read_tensors(checkpoint))
        if self._machine.is_main:
            self._metrics.write(self._step.number, self._history)
        config = self._plan.config
        batches = len(self._batches())
        self._display.begin(
            f"step {self._step.number}: {len(self._step.examples)} examples, {config.max_epochs} epochs at most",
            total=config.max_epochs * batches,
            done=(self._epoch.number - 1) * batches + self._epoch.batch,
        )
        while not self._stopping.should_stop and self._epoch.number <= config.max_epochs:
            self._train_epoch()
            self._end_epoch()
        return self._finish()

    def _batches(self) -> list[np.ndarray]:
        return epoch_batches(
            len(self._step.examples),
            self._plan.config.batch_size,
            self._plan.seed,
            self._step.number,
            self._epoch.number,
        )

    def _require_examples(self) -> None:
        count, size = len(self._step.examples), self._plan.config.batch_size
        smallest = count // max(1, -(-count // size)) // self._machine.processes
        if smallest < 2:
            raise TrainingError(
                f"step {self._step.number}: {count} training examples in batches of {size} leave a process fewer than "
                f"the 2 that batch norm needs (processes: {self._machine.processes}). Give more tracks, a larger "
                "batch_size or fewer processes"
            )

    def _train_epoch(self) -> None:
        batches = self._batches()
        starts = self._starts()
        started = time.monotonic() - self._epoch.seconds
        written = time.monotonic()
        shares = [share_of_process(rows, self._machine.processes, self._machine.process) for rows in batches]
        read = self._read_ahead(shares[self._epoch.batch :], starts)
        for index, batch in enumerate(read, start=self._epoch.batch):
            due = time.monotonic() - written >= self._plan.checkpoint_seconds and index + 1 < len(batches)
            self._set_learning_rate(self._epoch.number - 1 + index / len(batches))
            due = self._train_batch(batch, len(shares[index]), len(batches[index]), due)
            self._epoch.batch = index + 1
            self._epoch.seconds = time.monotonic() - started
            self._display.advance((self._epoch.number - 1) * len(batches) + index + 1, self._detail())
            if due:
                self._checkpoint()
                written = time.monotonic()

    def _starts(self) -> np.ndarray | None:
        """Draw where each example of this epoch starts in its track, where the recipe wants random crops."""
        if not self._plan.config.random_crops:
            return None
        return epoch_starts(len(self._step.examples), self._plan.seed, self._step.number, self._epoch.number)

    def _read_ahead(self, shares: Sequence[np.ndarray], starts: np.ndarray | None) -> Iterator[Batch]:
        """Give batch after batch; the next is read while one is learned from."""

        def read(share: np.ndarray) -> Batch:
            return self._step.examples.batch(share, self._machine.device, None if starts is None else starts[share])

        with ThreadPoolExecutor(1, thread_name_prefix="reader") as reader:
            coming = reader.submit(read, shares[0])
            for share in shares[1:]:
                batch = coming.result()
                coming = reader.submit(read, share)
                yield batch
            yield coming.result()

    def _set_learning_rate(self, epochs: float) -> None:
        """Set the rate for the batch that begins after so many epochs."""
        config = self._plan.config
        if config.schedule == "cosine":
            rate = config.learning_rate * (1 + math.cos(math.pi * epochs / config.max_epochs)) / 2
            for group in self._optimizer.param_groups:
                group["lr"] = rate

    def _train_batch(self, batch: Batch, share: int, of_all: int, checkpoint_due: bool) -> bool:
        """Learn from one batch; say whether the main process wants a checkpoint.

        Args:
            batch: This process's share of the batch.
            share: Its examples.
            of_all: Those of the whole batch.
            checkpoint_due: Whether this process wants one.
        """
        machine = self._machine
        with reduced(self._plan.precision, machine.device):
            losses: Losses = self._module(batch.inputs, batch.targets)
        # The batch's mean is the sum of the shares' means, each with the weight of its size.
        machine.accelerator.backward(losses.total * (share / of_all))
        machine.add_gradients(self._parameters.values())
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._step.after_batch(machine)
        figures = torch.stack([losses.total, *(losses.parts[name] for name in self._part_names)]).detach() * share
        flag = figures.new_tensor([float(checkpoint_due and machine.is_main)])
        *sums, wanted = machine.sum(torch.cat([figures, flag])).tolist()
        if not math.isfinite(sums[0]):
            raise TrainingError(
                f"step {self._step.number}: the loss is {sums[0] / of_all} in epoch {self._epoch.number}, batch "
                f"{self._epoch.batch + 1}. Lower step_{self._step.number}.learning_rate"
                + (', or set its precision = "float32"' if self._plan.precision != "float32" else "")
            )
        self._epoch.sums = [a + b for a, b in zip(self._epoch.sums, sums, strict=True)]
        self._epoch.seen += of_all
        if losses.codes is not None and self._codes is not None:
            self._codes += torch.bincount(losses.codes.flatten(), minlength=len(self._codes)).cpu().numpy()
        return bool(wanted > 0)

    def _end_epoch(self) -> None:
        started = time.monotonic()
        train = self._figures()
        self._step.loss.eval()
        with torch.no_grad():
            validation = self._step.validate(self._machine, self._plan.precision)
        self._step.loss.train()
        watched = validation[self._step.watched]
        if not math.isfinite(watched):
            raise TrainingError(
                f"step {self._step.number}: validation {self._step.watched} is {watched} in epoch {self._epoch.number}"
            )
        self._stopping = self._stopping.observe(watched, validation["loss"])
        if self._stopping.improved:
            self._best = {name: value.detach().clone() for name, value in self._network.state_dict().items()}
        row = {
            "step": self._step.number,
            "epoch": self._epoch.number,
            "train": train,
            "validation": validation,
            "best": self._stopping.improved,
            "learning_rate": self._optimizer.param_groups[0]["lr"],
            "seconds": round(self._epoch.seconds + time.monotonic() - started, 3),
        }
        self._history.append(row)
        self._step.after_epoch(self._epoch.number)
        self._epoch = self._new_epoch(self._epoch.number + 1)
        self._codes = self._no_codes()
        self._checkpoint()
        if self._machine.is_main:
            self._metrics.write(self._step.number, self._history)
        self._display.epoch(row)

    def _finish(self) -> StepSummary:
        self._network.load_state_dict(self._best)
        folder = self._plan.folder
        if self._machine.is_main:
            write_tensors(folder / WEIGHTS, self._best, {"step": self._step.number})
            summary = StepSummary(
                step=self._step.number,
                watched=self._step.watched,
                best=float(self._stopping.best or 0.0),
                best_epoch=self._stopping.best_epoch,
                epochs=self._stopping.epoch,
                weights_sha256=sha256_of(folder / WEIGHTS),
                identity=dict(self._plan.identity),
            )
            write_json(folder / SUMMARY, asdict(summary))
            (folder / CHECKPOINT).unlink(missing_ok=True)
        self._machine.wait()
        finished = read_summary(folder)
        if finished is None:
            raise TrainingError(f"'{folder / SUMMARY}' has vanished; run again with --resume")
        return finished

    def _checkpoint(self) -> None:
        """Write all that an unbroken run would carry on; every process takes part."""
        machine = self._machine
        random = machine.gather(torch.get_rng_state()[None].to(machine.device))
        device_random = (
            machine.gather(torch.cuda.get_rng_state(machine.device)[None].to(machine.device))
            if machine.device.type == "cuda"
            else None
        )
        codes = None if self._codes is None else machine.sum(torch.from_numpy(self._codes).to(machine.device))
        if not machine.is_main:
            return
        tensors = {f"model.{name}": value for name, value in self._learner.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self._best.items()}
        tensors |= optimizer_tensors(self._optimizer, self._parameters)
        tensors["random"] = random
        if device_random is not None:
            tensors["device_random"] = device_random
        if codes is not None:
            tensors["codes"] = codes
        state = {
            "identity": dict(self._plan.identity),
            "epoch": asdict(self._epoch),
            "stopping": asdict(self._stopping),
            "history": self._history,
        }
        write_tensors(self._plan.folder / CHECKPOINT, tensors, state)

    def _restore(self, stored: Stored) -> None:
        require_same(self._plan.identity, stored.state["identity"], self._plan.folder)
        tensors, machine = stored.tensors, self._machine
        self._learner.load_state_dict(_below(tensors, "model."))
        self._best = {name: value.to(machine.device) for name, value in _below(tensors, "best.").items()}
        restore_optimizer(self._optimizer, self._parameters, tensors)
        torch.set_rng_state(tensors["random"][machine.process])
        if "device_random" in tensors:
            torch.cuda.set_rng_state(tensors["device_random"][machine.process], machine.device)
        # The others start from zero: the counts are of all processes.
        if self._codes is not None and "codes" in tensors and machine.is_main:
            self._codes = tensors["codes"].numpy().copy()
        self._epoch = _Epoch(**stored.state["epoch"])
        self._stopping = EarlyStopping(**stored.state["stopping"])
        self._history = stored.state["history"]
        self._display.note(
            f"step {self._step.number}: resumes in epoch {self._epoch.number} after batch {self._epoch.batch}"
        )

    def _figures(self) -> dict[str, int | float]:
        """Give the mean losses of the epoch so far and how much of the codebook it used."""
        names = ("loss", *self._part_names)
        figures = {name: value / self._epoch.seen for name, value in zip(names, self._epoch.sums, strict=True)}
        if self._codes is not None:
            counts = self._machine.sum(torch.from_numpy(self._codes).to(self._machine.device)).cpu().numpy()
            figures |= {"perplexity": perplexity(counts), "dead_codes": int((counts == 0).sum())}
        return figures

    def _detail(self) -> str:
        """Say how the epoch goes; without a word to the other processes."""
        detail = f"epoch {self._epoch.number} loss {self._epoch.sums[0] / self._epoch.seen:.4g}"
        if self._codes is not None:
            detail += f" perplexity {perplexity(self._codes):.0f} dead codes {int((self._codes == 0).sum())}"
        return detail

    def _new_epoch(self, number: int) -> _Epoch:
        return _Epoch(number=number, sums=[0.0] * (1 + len(self._part_names)))

    def _no_codes(self) -> np.ndarray | None:
        size = self._step.codebook_size
        return None if size is None else np.zeros(size, dtype=np.int64)


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
