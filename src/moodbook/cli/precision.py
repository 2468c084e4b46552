"""The option that says how finely the network is computed."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from moodbook.model.precision import PrecisionChoice


class PrecisionName(StrEnum):
    """Precisions by the names that they have on the command line; those of `moodbook.model.precision`."""

    AUTO = "auto"
    F32 = "f32"
    BF16 = "bf16"
    INT8 = "int8"

    @property
    def choice(self) -> PrecisionChoice:
        """What an engine takes."""
        return self.value


PrecisionOption = Annotated[
    PrecisionName,
    typer.Option(
        "--precision",
        help="Of the network. auto: bf16 where the processor has it, else f32; on a GPU f32. int8: the fastest and the "
        "coarsest; not on a GPU.",
    ),
]
