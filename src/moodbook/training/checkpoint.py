"""Training state on disk: safetensors and JSON, written whole or not at all. No pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from moodbook.errors import TrainingError
from moodbook.files import whole_file

_STATE = "moodbook"
_OPTIMIZER = "optimizer."


@dataclass(frozen=True)
class Stored:
    """What a file holds.

    Args:
        tensors: The tensors by name, on the CPU.
        state: The JSON document beside them.
    """

    tensors: dict[str, torch.Tensor]
    state: dict[str, Any]


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises:
        TrainingError: The file cannot be written; the old one is untouched.
    """
    _write(path, lambda part: _write_utf_8(part, text))


def write_json(path: Path, document: object) -> None:
    """Write a JSON document whole or not at all.

    Raises:
        TrainingError: The file cannot be written.
    """
    write_text(path, json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that a run wrote.

    Raises:
        TrainingError: The file cannot be read or holds no JSON object.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TrainingError(f"cannot read '{path}': {error}") from error
    if not isinstance(document, dict):
        raise TrainingError(f"cannot read '{path}': expected a JSON object, got {type(document).__name__}")
    return document


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors and a JSON document as one safetensors file.

    Raises:
        TrainingError: The file cannot be written.
    """
    # A copy each: safetensors wants contiguous tensors that share no memory.
    plain = {
        name: tensor.detach().to("cpu", memory_format=torch.contiguous_format, copy=True)
        for name, tensor in tensors.items()
    }
    metadata = {_STATE: json.dumps(state, allow_nan=False)}
    _write(path, lambda part: save_file(plain, part, metadata=metadata))


def read_tensors(path: Path) -> Stored:
    """Read a file of `write_tensors`.

    Raises:
        TrainingError: The file is missing, damaged, or not one that Moodbook wrote.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a mapping)
        state = json.loads(metadata[_STATE])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise TrainingError(
            f"cannot read '{path}': {error}. It is damaged or no training state; delete it to start this step anew"
        ) from error
    return Stored(tensors, state)


def sha256_of(path: Path) -> str:
    """Give the SHA-256 of a file.

    Raises:
        TrainingError: The file cannot be read.
    """
    try:
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise TrainingError(f"cannot read '{path}': {error}") from error


def weights_sha256(weights: Mapping[str, torch.Tensor]) -> str:
    """Give a hash of tensors by name, shape and value; it does not depend on their order or memory layout."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().to("cpu").contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, torch.nn.Parameter]
) -> dict[str, torch.Tensor]:
    """Flatten an optimiser's state to tensors named ``optimizer.<key>.<parameter>``."""
    flat = {}
    for name, parameter in parameters.items():
        for key, value in optimizer.state[parameter].items():
            flat[f"{_OPTIMIZER}{key}.{name}"] = torch.as_tensor(value)
    return flat


def restore_optimizer(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, torch.nn.Parameter],
    tensors: Mapping[str, torch.Tensor],
) -> None:
    """Put back what `optimizer_tensors` gave, each moment in the memory layout of its parameter."""
    for flat, stored in tensors.items():
        if not flat.startswith(_OPTIMIZER):
            continue
        key, name = flat.removeprefix(_OPTIMIZER).split(".", 1)
        parameter = parameters[name]
        moment = stored.shape == parameter.shape and key != "step"
        value = torch.empty_like(parameter, requires_grad=False).copy_(stored) if moment else stored.clone()
        optimizer.state[parameter][key] = value


def _write(path: Path, write: Callable[[Path], None]) -> None:
    try:
        with whole_file(path) as part:
            write(part)
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"cannot write '{path}': {error}. Make room or mend the permissions, then run again with --resume"
        ) from error


def _write_utf_8(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
