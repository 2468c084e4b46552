"""Precision, denormals, and batch norm over processes (here a group of one; `test_processes` has two)."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from moodbook.training.machine import lay_out, multiplies_bfloat16, reduced, resolve_precision, tuned_processor
from moodbook.training.processes import SharedBatchNorm

CPU = torch.device("cpu")


@pytest.mark.parametrize(("amx", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_bfloat16_where_the_processor_multiplies_it(
    amx: bool, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert resolve_precision("auto", CPU) == precision
    assert resolve_precision("float32", CPU) == "float32"
    assert resolve_precision("bfloat16", CPU) == "bfloat16"


@pytest.mark.parametrize(("capability", "native"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_cuda_multiplies_bfloat16_from_compute_capability_8(
    capability: tuple[int, int], native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert multiplies_bfloat16(torch.device("cuda", 0)) is native


def test_other_devices_stay_in_float32() -> None:
    assert resolve_precision("auto", torch.device("mps")) == "float32"


def test_bfloat16_multiplies_channels_last_and_keeps_float32_weights() -> None:
    convolution = nn.Conv2d(3, 4, 3)
    lay_out(convolution, "bfloat16")
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    image = torch.randn(2, 3, 8, 8)
    with reduced("bfloat16", CPU):
        assert convolution(image).dtype == torch.bfloat16
    with reduced("float32", CPU):
        assert convolution(image).dtype == torch.float32
    assert convolution.weight.dtype == torch.float32


def test_denormals_are_zero_only_while_training() -> None:
    tiny = torch.tensor([1e-38])
    with tuned_processor():
        assert (tiny / 100).item() == 0.0
    assert (tiny / 100).item() > 0.0


def test_batch_norm_over_processes_is_batch_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda _: None)  # A group of one.
    torch.manual_seed(0)
    plain = nn.BatchNorm2d(3)
    nn.init.uniform_(plain.weight)
    nn.init.uniform_(plain.bias)
    shared = SharedBatchNorm(_copy(plain))
    assert shared.state_dict().keys() == plain.state_dict().keys()
    for _ in range(2):
        one = (2 + 3 * torch.randn(5, 3, 4, 6)).requires_grad_()
        two = one.detach().clone().requires_grad_()
        weights = torch.randn(5, 3, 4, 6)
        (plain(one) * weights).sum().backward()
        (shared(two) * weights).sum().backward()
        assert one.grad is not None
        assert two.grad is not None
        torch.testing.assert_close(two.grad, one.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(shared.weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(shared.state_dict(), plain.state_dict())
    torch.testing.assert_close(shared.eval()(one), plain.eval()(one))


def _copy(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    copy = nn.BatchNorm2d(norm.num_features)
    copy.load_state_dict(norm.state_dict())
    return copy
