"""What a fixed semantic decoder reads of each segment, computed once and kept on disk: step 2 does not run it again.

Only whole segments can be kept: a stretch that begins elsewhere has other windows, and other zeros around it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from moodbook.datasets.cache import CodeCache
from moodbook.datasets.rowstore import Layout, stored_rows, write_rows
from moodbook.errors import ModelError
from moodbook.networks.geometry import WINDOWS
from moodbook.networks.vqvae import VQVAE
from moodbook.training.checkpoint import weights_sha256

_VERSION = 1
"""Goes up when the same codes give other readings."""


@dataclass(frozen=True)
class Readings:
    """What the semantic decoder reads from every row of a code cache, row for row.

    Attributes:
        folder: Where it lies.
        windows: A read-only memory map.
    """

    folder: Path
    windows: Float32[np.ndarray, "rows windows semantic_features"]

    @classmethod
    def build(
        cls,
        codes: CodeCache,
        vqvae: VQVAE,
        folder: str | Path,
        *,
        batch_size: int = 12,
        progress: Callable[[int, int], None] | None = None,
    ) -> Readings:
        """Open what is read of a code cache, computing what is missing; stopped at any time, it goes on.

        Args:
            codes: The codes of every segment.
            vqvae: The fixed VQ-VAE that they are of; it computes in float32 on the device where it is.
            folder: Where caches are kept.
            batch_size: Segments read at once.
            progress: Told of segments done and to do.

        Raises:
            ModelError: The VQ-VAE has no semantic decoder, or is not fixed.
            DataError: A code is not below K, or the disk has no room.
        """
        if not vqvae.fixed:
            raise ModelError("a VQ-VAE that is still learning reads otherwise each time; call fix() first")
        reading = {
            name: value
            for name, value in vqvae.state_dict().items()
            if name.startswith("semantic.") and value.is_floating_point()
        }
        key = hashlib.sha256(
            json.dumps(["readings", _VERSION, codes.key, weights_sha256(reading)]).encode()
        ).hexdigest()
        place = Path(folder) / f"readings-{key[:16]}"
        layout = Layout(key, (WINDOWS, vqvae.config.semantic_features), np.dtype("<f4"))
        stored = stored_rows(place, key, lambda: _compute(codes, vqvae, place, layout, batch_size, progress))
        return cls(place, stored.rows)


def _compute(
    codes: CodeCache,
    vqvae: VQVAE,
    place: Path,
    layout: Layout,
    batch_size: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    device = vqvae.quantizer.codebook.device

    @torch.no_grad()
    def read_from(row: int) -> Float32[np.ndarray, "batch windows semantic_features"]:
        batch = torch.from_numpy(codes.codes[row : row + batch_size].astype(np.int64)).to(device)
        return vqvae.read(vqvae.quantizer.lookup(batch)).cpu().numpy()

    total, about = len(codes), {"kind": "readings", "codes_key": codes.key}
    write_rows(place, layout, total, f"what is read of {total} segments", read_from, about, progress)
