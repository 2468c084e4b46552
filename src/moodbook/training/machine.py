"""What a run computes on: processes, device and precision.

accelerate finds the device and, under ``accelerate launch`` or ``torchrun``, the processes. A batch is the same
whatever their number: each process takes its share of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs

Precision = Literal["float32", "bfloat16"]

_PATIENCE = timedelta(days=7)  # The other processes wait while the first one builds the caches of a large data set.

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # The numbers of these parameters in glibc's malloc.h.


class Machine:
    """The processes and the device of this run."""

    def __init__(self) -> None:
        self.accelerator = Accelerator(
            cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()),
            mixed_precision="no",
            kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
        )

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        device: torch.device = self.accelerator.device
        return device

    @property
    def processes(self) -> int:
        """How many processes share the work."""
        return int(self.accelerator.num_processes)

    @property
    def process(self) -> int:
        """Which of them this is, counted from 0."""
        return int(self.accelerator.process_index)

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files and shows the progress."""
        return bool(self.accelerator.is_main_process)

    def wait(self) -> None:
        """Wait until every process is here."""
        self.accelerator.wait_for_everyone()

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Add a tensor up over the processes."""
        if self.processes == 1:
            return values
        total: torch.Tensor = self.accelerator.reduce(values, reduction="sum")
        return total

    def add_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Add the gradients of the processes up, so that each takes the same step.

        One transfer for all of them. They are not sent while the backward pass still runs, as DistributedDataParallel
        does; in return a network with parts that do not learn needs no care.
        """
        if self.processes == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        total = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        start = 0
        for gradient in gradients:
            gradient.copy_(total[start : start + gradient.numel()].view(gradient.shape))
            start += gradient.numel()

    def gather(self, values: torch.Tensor) -> torch.Tensor:
        """Join a tensor of the same shape in each process along its first axis."""
        if self.processes == 1:
            return values
        joined: torch.Tensor = self.accelerator.gather(values)
        return joined


def resolve_precision(choice: Literal["auto", "float32", "bfloat16"], device: torch.device) -> Precision:
    """Turn ``auto`` into the precision that suits the device."""
    if choice == "auto":
        return "bfloat16" if multiplies_bfloat16(device) else "float32"
    return choice


def multiplies_bfloat16(device: torch.device) -> bool:
    """Say whether a device multiplies bfloat16 itself, faster than float32.

    On a CPU: AMX (``amx_tile``), which with channels-last tensors trains 3.5 times as fast as float32. AVX-512 BF16
    alone is no reason: a step of the full width took 1.5 times as long as in float32. On CUDA: compute capability 8.0
    and later.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    # torch has no public question of this kind before 2.9; the private one has been there since 2.4.
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return supported is not None and bool(supported())


def reduced(precision: Precision, device: torch.device) -> torch.autocast:
    """Give the context in which a network computes in `precision`; look-up and losses stay float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def lay_out(module: torch.nn.Module, precision: Precision) -> None:
    """Store the weights of convolutions as `precision` likes them.

    bfloat16 convolutions are fast with channels last only; float32 ones gain nothing from it.
    """
    if precision == "bfloat16":
        # torch's annotation of `to` knows no memory format without a dtype.
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@contextlib.contextmanager
def tuned_processor() -> Iterator[None]:
    """Compute as a processor trains fastest: denormals are zero, and freed memory stays with the process.

    A GRU's training step takes up to seven times as long with denormals. That setting is the thread's; threads that it
    starts inherit it. glibc gives each large block back to the system when a layer frees it, and the next layer waits
    while the system fills as many pages with zeros: a third of a narrow network's step (``benchmarks/training_step.py
    --only demo``, with and without ``--untuned``). Other C libraries are left as they are.
    """
    torch.set_flush_denormal(True)
    _keep_freed_memory(True)
    try:
        yield
    finally:
        _keep_freed_memory(False)
        torch.set_flush_denormal(False)


def _keep_freed_memory(keep: bool) -> None:
    """Tell glibc to serve every block from its heap and never to shrink it, or set it back to its defaults.

    Source:
        mallopt(3). Setting either value also ends glibc's own adjustment of the threshold above which it maps a block,
        which only matters to blocks of 128 KiB to 32 MiB that are allocated after training.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return
    mallopt(_M_MMAP_MAX, 0 if keep else 65_536)
    mallopt(_M_TRIM_THRESHOLD, -1 if keep else 128 * 1024)
