"""The encoder, log-mel to codes, beside the paper's network as plain torch: eager, float32.

python benchmarks/encoder.py [--rounds N] [--width W]

One segment at a time, all threads. At the width of the bundled model with its weights and music, at the paper's with
random weights and the same music; how many codes a precision changes is counted with the former alone.

The second table is the bundled encoder layer by layer, on one thread, as OpenVINO's own clock has it, beside what the
same runtime reaches on one thread in the product of two large matrices: the limit.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
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
from moodbook.model.graph import encoder_graph
from moodbook.model.precision import Precision, available_precisions, processor_capabilities, resolve_precision
from moodbook.model.runtime import load_openvino
from moodbook.networks.config import NetworkConfig, StatisticsConfig, VQVAEConfig
from moodbook.networks.cost import gigaflop_per_clip
from moodbook.networks.tagger import build_network

PAPER_WIDTH = 256
PRODUCT = 2048
"""Rows and columns of the matrices whose product is the limit."""
CONVOLUTIONS = ("E1", "E2", "E3", "E4", "E5")
LIMIT, RESIDUAL, REORDERING = "product of two matrices", "residual blocks", "other order of numbers in memory"


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


def compiled(graph: Any, precision: Precision) -> Any:
    """Compile a graph as the engine does, for one thread, with the runtime's own clock."""
    coarsest = resolve_precision("auto", processor_capabilities(), read_bundle("open").network)
    settings = {"INFERENCE_PRECISION_HINT": "f32" if precision == "f32" else coarsest, "INFERENCE_NUM_THREADS": 1}
    settings |= {"NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False, "PERF_COUNT": True}
    return load_openvino().Core().compile_model(graph, "CPU", settings).create_infer_request()


def product(precision: Precision) -> Any:
    """Build the product of two large matrices, one of them constant as weights are; in int8 both are quantised."""
    from openvino import Model
    from openvino import opset13 as ops

    constant = np.random.default_rng(0).uniform(-1, 1, (PRODUCT, PRODUCT)).astype(np.float32)
    given = ops.parameter((PRODUCT, PRODUCT), np.float32)
    left, right = given, ops.constant(constant)
    if precision == "int8":
        left = ops.fake_quantize(left, *map(np.float32, (0, 1, 0, 1)), 256)
        right = ops.fake_quantize(right, *map(np.float32, (-1, 1, -1, 1)), 255)
    return Model([ops.matmul(left, right, False, False)], [given])


def clocked(request: Any, value: np.ndarray, rounds: int) -> dict[str, tuple[str, float]]:
    """Give the kind of every node and its median time in ms, in the order in which they run."""
    times: dict[str, list[float]] = {}
    kinds: dict[str, str] = {}
    for number in range(rounds + 2):
        request.infer([value])
        for node in request.get_profiling_info() if number > 1 else ():
            times.setdefault(node.node_name, []).append(1e3 * node.real_time.total_seconds())
            kinds[node.node_name] = node.node_type
    return {name: (kinds[name], statistics.median(values)) for name, values in times.items()}


def by_layer(precision: Precision, log_mel: np.ndarray, rounds: int) -> dict[str, tuple[float, float]]:
    """Give GFLOP and ms of each layer of the bundled encoder; first of all those of the product of two matrices."""
    bundle = read_bundle("open")
    assert bundle.network.vqvae is not None
    values = np.random.default_rng(1).uniform(0, 1, (PRODUCT, PRODUCT)).astype(np.float32)
    slow = max(ms for _, ms in clocked(compiled(product(precision), precision), values, rounds).values())
    found = {LIMIT: (2 * PRODUCT**3 / 1e9, slow)}
    graph = encoder_graph(bundle.network.vqvae, bundle.weights, int8=precision == "int8")
    gigaflop = {
        node.friendly_name: 2 * np.prod(node.output(0).get_shape()) * np.prod(node.input(1).get_shape()[1:]) / 1e9
        for node in graph.get_ordered_ops()
        if node.get_type_name() == "Convolution"
    }
    convolutions = 0
    for name, (kind, ms) in clocked(compiled(graph, precision), log_mel, rounds).items():
        layer = REORDERING
        if kind == "Convolution":
            layer = CONVOLUTIONS[convolutions] if convolutions < len(CONVOLUTIONS) else RESIDUAL
            convolutions += 1
        done, taken = found.get(layer, (0.0, 0.0))
        found[layer] = (done + gigaflop.get(name, 0.0), taken + ms)
    return found


def layer_table(log_mel: np.ndarray, rounds: int) -> Table:
    """Measure the layers in every precision."""
    precisions = available_precisions(processor_capabilities(), read_bundle("open").network)
    found = {precision: by_layer(precision, log_mel, rounds) for precision in precisions}
    columns = [column for precision in precisions for column in (f"{precision}, ms", "GFLOP/s", "of the product's")]
    table = Table("encoder-layers", ("layer", "GFLOP", *columns)).begin()
    for layer in (LIMIT, *CONVOLUTIONS, RESIDUAL, REORDERING):
        cells, figures = [], {}
        for precision in precisions:
            limit = np.divide(*found[precision][LIMIT])
            gigaflop, ms = found[precision].get(layer, (0.0, 0.0))
            speed = 1e3 * gigaflop / ms if gigaflop else 0.0
            share = f"{speed / 1e3 / limit:.0%}" if gigaflop else ""
            cells += [f"{ms:.1f}", f"{speed:.0f}" if gigaflop else "", share]
            figures[precision] = {"ms": ms, "gigaflop_per_second": speed}
        gigaflop = found["f32"].get(layer, (0.0, 0.0))[0]
        table.add((layer, f"{gigaflop:.2f}" if gigaflop else "", *cells), layer=layer, gigaflop=gigaflop, **figures)
    return table


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
    print()
    hand_over(table, layer_table(music[:1], options.rounds))


if __name__ == "__main__":
    main()
