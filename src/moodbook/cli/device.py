"""The option that says what the network is computed on."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from moodbook.model.device import DeviceChoice


class DeviceName(StrEnum):
    """Devices by the names that they have on the command line; those of `moodbook.model.device`."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"

    @property
    def choice(self) -> DeviceChoice:
        """What `open_engine` takes."""
        return self.value


DeviceOption = Annotated[
    DeviceName,
    typer.Option(
        "--device",
        help="What computes the network. cuda: a GPU, by torch (needs the extra 'gpu'). auto: the processor, by "
        "OpenVINO, so that scores and times do not change with what else is in the machine.",
    ),
]
