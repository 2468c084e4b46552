"""The encoder, log-mel to codes, beside the paper's network as plain torch: eager, float32.

python benchmarks/encoder.py [--rounds N] [--width W]

One segment at a time, all threads. At the width of the bundled model with its weights and music, at the paper's with
random weights and the same music; how many codes a precision changes is counted with the former alone.
"""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import torch
from measuring import Table, hand_over, interleave, median, ratio, timed
from music import RECORDINGS

from moodbook import audio
from moodbook.features import segments
from moodbook.model.bundle import read_bundle
from moodbook.model.engine import Engine
from moodbook.model.precision import available_precisions, processor_capabilities
from moodbook.networks.config import NetworkConfig, StatisticsConfig, VQVAEConfig
from moodbook.networks.cost import gigaflop_per_clip
from moodbook.networks.tagger import build_network

PAPER_WIDTH = 256


def systems(width: int | None) -> dict[str, Any]:
    """Give the bundled model and one of the paper's width, or the one that has the width that was asked for."""
    torch.manual_seed(0)
    bundle = read_bundle("open")
    assert bundle.network.vqvae is not None
    found: dict[str, Any] = {f"{bundle.network.vqvae.width}, bundled": bundle}
    network = NetworkConfig(vqvae=VQVAEConfig(width=width or PAPER_WIDTH), classifier=StatisticsConfig())
    state = build_network(network, 1).state_dict()
    weights = {name: tensor.numpy() for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    found[f"{width or PAPER_WIDTH}, random weights"] = SimpleNamespace(network=network, weights=weights)
    return found


def plain(system: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Build the encoder and the look-up as plain torch modules."""
    network = build_network(system.network, len(system.weights["classifier.output.bias"]))
    state = {name: torch.from_numpy(np.array(weight)) for name, weight in system.weights.items()}
    # A bundle has no step counters, and tells music from noise by weights of its own.
    missing = network.load_state_dict(state, strict=False).missing_keys
    assert all(name.endswith("num_batches_tracked") or ".decoder." in name for name in missing), missing
    vqvae = network.vqvae
    assert vqvae is not None
    vqvae.eval()

    def encode(log_mel: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return vqvae.codes(torch.from_numpy(log_mel)).numpy()

    return encode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--width", type=int, help="instead of the paper's 256")
    options = parser.parse_args()
    music = np.concatenate(
        [
            segments(audio.load_first_segment(path), first_only=True).log_mel
            for path in sorted(RECORDINGS.glob("*.opus"))
        ]
    )
    columns = ("width", "engine", "ms a segment", "GFLOP/s", "times as fast as plain torch")
    columns += ("ms of processor time", "in processor time", "codes that change")
    table = Table("encoder", columns).begin()
    for name, system in systems(options.width).items():
        bundled = name.endswith("bundled")
        gigaflop = gigaflop_per_clip(system.network, 1).encoder
        precisions = available_precisions(processor_capabilities(), system.network)
        engines = {precision: Engine(system, precision) for precision in precisions}
        eager = plain(system)
        calls = {"plain torch, f32": eager, **{f"{key}": engine.encode for key, engine in engines.items()}}
        one = music[:1]
        for call in calls.values():
            call(one)
        sides = {key: timed(functools.partial(call, one)) for key, call in calls.items()}
        found = interleave(sides, options.rounds)
        exact = eager(music) if bundled else None
        for key, values in found.items():
            cost = median(values)
            changed = None if exact is None else float((calls[key](music) != exact).mean())
            faster = ratio(found["plain torch, f32"], values)
            table.add(
                (
                    name,
                    key,
                    f"{1e3 * cost.seconds:.0f}",
                    f"{gigaflop / cost.seconds:.0f}",
                    f"{faster.seconds:.1f}",
                    f"{1e3 * cost.processor_seconds:.0f}",
                    f"{faster.processor_seconds:.1f}",
                    "" if changed is None else f"{changed:.2%}",
                ),
                width=name,
                engine=key,
                ms=1e3 * cost.seconds,
                gigaflop_per_second=gigaflop / cost.seconds,
                ratio=faster.seconds,
                processor_ms=1e3 * cost.processor_seconds,
                processor_ratio=faster.processor_seconds,
                codes_changed=changed,
            )
    hand_over(table)


if __name__ == "__main__":
    main()
