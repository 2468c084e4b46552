"""What the network is computed on."""

from __future__ import annotations

import importlib.util
from typing import Any, Literal, get_args

from moodbook.errors import DependencyError, DeviceError
from moodbook.model.engine import Engine
from moodbook.model.network_engine import NetworkEngine, System
from moodbook.model.precision import (
    PrecisionChoice,
    available_precisions,
    processor_capabilities,
    resolve_precision,
)
from moodbook.networks.config import NetworkConfig

DeviceChoice = Literal["auto", "cpu", "cuda"]
"""cpu: the processor, by OpenVINO. cuda: a GPU, by torch. auto: cpu, whatever the machine has: a GPU's scores differ in
the last digits, torch takes seconds to load, and a GPU that is there may be somebody else's."""


def open_engine(
    system: System,
    precision: PrecisionChoice = "auto",
    threads: int | None = None,
    device: DeviceChoice = "auto",
) -> NetworkEngine:
    """Make a system ready to run on a device.

    Args:
        system: A bundle, or anything else that has its network and weights.
        precision: Of the network; ``auto`` is f32 on a GPU, and on the processor bf16 where it multiplies it, else f32.
        threads: Processor threads; None takes all that this process may use. A GPU needs none.
        device: What it is computed on.

    Raises:
        DeviceError: There is no such device, or it does not compute in this precision.
        DependencyError: A GPU is asked for and torch is not installed.
        ModelError: The processor cannot compute in this precision, or the runtime refuses the network.
    """
    _check(device)
    if device == "cuda":
        _need_torch()
        from moodbook.model.torch_engine import TorchEngine

        return TorchEngine(system, precision, "cuda")
    return Engine(system, precision, threads)


def engine_facts(network: NetworkConfig, device: DeviceChoice = "auto") -> dict[str, Any]:
    """Say what this machine would compute a system on, by what, and in which precisions.

    Returns:
        ``name`` of the engine, ``device``, what ``auto`` means as ``precision``, and ``available`` precisions; of a GPU
        also its ``hardware``.

    Raises:
        DeviceError: There is no such device.
        DependencyError: A GPU is asked for and torch is not installed.
    """
    _check(device)
    if device == "cuda":
        _need_torch()
        from moodbook.model.torch_engine import device_name, torch_precisions

        name, available = device_name(device), torch_precisions(device)
        return {"name": "torch", "device": device, "hardware": name, "precision": "f32", "available": available}
    capabilities = processor_capabilities()
    return {
        "name": "OpenVINO",
        "device": "cpu",
        "precision": resolve_precision("auto", capabilities, network),
        "available": available_precisions(capabilities, network),
    }


def _check(device: str) -> None:
    if device not in get_args(DeviceChoice):
        raise DeviceError(f"there is no device {device!r}; choose one of: {', '.join(get_args(DeviceChoice))}")


def _need_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        raise DependencyError("torch", "gpu")
