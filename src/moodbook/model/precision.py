"""How finely the network is computed, and which of these ways a processor has (of a GPU: `torch_engine`)."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Literal

from moodbook.errors import ModelError
from moodbook.model.runtime import load_openvino
from moodbook.networks.config import NetworkConfig

Precision = Literal["f32", "bf16", "int8"]
"""f32: as the network was trained. bf16: every product in bfloat16. int8: the encoder's costly convolutions in whole
numbers of 8 bits (`moodbook.model.quantization`), the rest in bf16 where the processor multiplies it, else in f32."""

PrecisionChoice = Literal["auto", "f32", "bf16", "int8"]
"""auto: bf16 where the processor multiplies it, f32 elsewhere."""

_CAPABILITIES: dict[Precision, str] = {"f32": "FP32", "bf16": "BF16", "int8": "INT8"}
"""What OpenVINO calls them. It lists BF16 where there are instructions for it (AMX, AVX-512 BF16), not where it would
have to be imitated."""


def processor_capabilities() -> list[str]:
    """Ask OpenVINO what the processor can do, in its words."""
    capabilities: list[str] = load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return capabilities


def available_precisions(capabilities: Collection[str], network: NetworkConfig) -> list[Precision]:
    """List the precisions in which a processor can compute a system.

    Args:
        capabilities: Of the processor, as `processor_capabilities` gives them.
        network: The system.
    """
    available: list[Precision] = ["f32"]
    for precision in ("bf16", "int8"):
        with suppress(ModelError):
            available.append(resolve_precision(precision, capabilities, network))
    return available


def resolve_precision(choice: PrecisionChoice, capabilities: Collection[str], network: NetworkConfig) -> Precision:
    """Turn a choice into the precision that is computed in.

    Args:
        choice: What was asked for.
        capabilities: Of the processor, as `processor_capabilities` gives them.
        network: The system.

    Raises:
        ModelError: The processor does not compute in it, or the system has nothing to compute in int8.
    """
    if choice == "auto":
        return "bf16" if _CAPABILITIES["bf16"] in capabilities else "f32"
    if choice == "int8" and network.vqvae is None:
        raise ModelError(
            f"int8 is for the encoder of a VQ-VAE, and a {network.classifier.kind!r} classifier on log-mel has none; "
            "use precision f32 or bf16"
        )
    # f32 is not asked for: every processor has it.
    if choice != "f32" and _CAPABILITIES[choice] not in capabilities:
        raise ModelError(f"this processor does not compute in {choice}; use precision f32")
    return choice
