"""Batch norm over the whole batch when several processes share it.

Without it each process would norm its share by the share's own statistics, and the losses would depend on the number of
processes.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from moodbook.training.machine import Machine


class SharedBatchNorm(nn.Module):
    """Batch norm whose statistics are those of the shares of all processes together; works on a CPU too.

    It takes over the parameters and buffers of the batch norm it replaces, under the same names.

    Args:
        norm: The batch norm of one process.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        self.eps = norm.eps
        self.momentum = 0.1 if norm.momentum is None else norm.momentum
        self.weight = norm.weight
        self.bias = norm.bias
        self.running_mean: Tensor
        self.running_var: Tensor
        self.num_batches_tracked: Tensor
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))

    def forward(self, values: Float[Tensor, "batch channels *rest"]) -> Float[Tensor, "batch channels *rest"]:
        """Norm a share of the batch."""
        if not self.training:
            return nn.functional.batch_norm(
                values, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        shape = (1, -1, *(1 for _ in values.shape[2:]))
        axes = [axis for axis in range(values.ndim) if axis != 1]
        wide = values.float()
        count = torch.full((1,), values.numel() / values.shape[1], device=values.device)
        total = _total(torch.cat([wide.sum(axes), count]))
        mean, everywhere = total[:-1] / total[-1], total[-1].detach()
        centred = wide - mean.view(shape)
        variance = _total(centred.square().sum(axes)) / everywhere
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.detach(), self.momentum)
            # As in torch: the running variance is the unbiased one.
            self.running_var.lerp_(variance.detach() * everywhere / (everywhere - 1), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        normed: Tensor = centred * scale.view(shape) + self.bias.view(shape)
        return normed.to(values.dtype)


def share_batch_norm(module: nn.Module, machine: Machine) -> nn.Module:
    """Replace every batch norm that learns by one over all processes; with one process nothing changes.

    torch's own `SyncBatchNorm` does it on CUDA; it refuses CPU tensors.
    """
    if machine.processes == 1:
        return module
    if machine.device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return converted
    for name, child in list(module.named_children()):
        if isinstance(child, _BatchNorm):
            if child.training:
                setattr(module, name, SharedBatchNorm(child))
        else:
            share_batch_norm(child, machine)
    return module


class _SumOverProcesses(torch.autograd.Function):
    """A sum over the processes; as each share enters every process's sum, so does every gradient enter each share's."""

    @staticmethod
    def forward(ctx: Any, share: Tensor) -> Tensor:
        """Add up the shares."""
        total = share.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Add up the gradients."""
        return _SumOverProcesses.forward(ctx, gradient)


def _total(share: Float[Tensor, " numbers"]) -> Float[Tensor, " numbers"]:
    total: Tensor = _SumOverProcesses.apply(share)  # type: ignore[no-untyped-call]
    return total
