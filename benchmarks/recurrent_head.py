"""The paper's GRU head beside its encoder, and the most that a table of projected codes could save of it.

    python benchmarks/recurrent_head.py [--rounds N]

With a fixed VQ-VAE the first input projection of the GRU could be looked up: a row of a table for each code, four added
up. The runtime's GRU takes no gates that are projected already, so the bound is measured instead: the same head with 4
input features in place of 1,024, whose projection costs nothing. One segment, one thread, f32, full width, random
weights.
"""

from __future__ import annotations

import argparse
import functools
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import torch
from measuring import Table, hand_over, interleave, median, ratio, timed

from moodbook.features import N_MELS, SEGMENT_FRAMES
from moodbook.model.graph import encoder_graph, head_graph
from moodbook.model.runtime import load_openvino
from moodbook.networks.config import LATENT_FRAMES, GRUConfig, NetworkConfig, VQVAEConfig
from moodbook.networks.tagger import build_network

N_TAGS = 56
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}


def request(width: int, part: str):
    """Compile a part of the paper's system whose latents are `width` wide."""
    network = NetworkConfig(vqvae=VQVAEConfig(width=width), classifier=GRUConfig())
    weights = {name: tensor.numpy() for name, tensor in build_network(network, N_TAGS).state_dict().items()}
    assert network.vqvae is not None
    graph = encoder_graph(network.vqvae, weights) if part == "encoder" else head_graph(network, weights, batch=1)
    return load_openvino().Core().compile_model(graph, "CPU", SETTINGS).create_infer_request()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    log_mel = rng.uniform(-0.9, 0.9, (1, N_MELS, SEGMENT_FRAMES)).astype(np.float32)
    codes = rng.integers(0, VQVAEConfig().codebook_size, (1, VQVAEConfig().bands, LATENT_FRAMES)).astype(np.int32)
    calls = {
        "encoder": functools.partial(request(VQVAEConfig().width, "encoder").infer, [log_mel]),
        "GRU head": functools.partial(request(VQVAEConfig().width, "head").infer, [codes]),
        "GRU head, projection for nothing": functools.partial(request(1, "head").infer, [codes]),
    }
    for call in calls.values():
        call()
    found = interleave({name: timed(call) for name, call in calls.items()}, options.rounds)
    columns = ("part", "ms a segment", "of the encoder's time", "of the head's time", "ms of processor time")
    table = Table("recurrent-head", (*columns, "of the encoder's", "of the head's")).begin()
    for name, values in found.items():
        cost = median(values)
        of_encoder, of_head = ratio(values, found["encoder"]), ratio(values, found["GRU head"])
        table.add(
            (
                name,
                f"{1e3 * cost.seconds:.0f}",
                f"{of_encoder.seconds:.2f}",
                f"{of_head.seconds:.2f}",
                f"{1e3 * cost.processor_seconds:.0f}",
                f"{of_encoder.processor_seconds:.2f}",
                f"{of_head.processor_seconds:.2f}",
            ),
            part=name,
            ms=1e3 * cost.seconds,
            of_encoder=of_encoder.seconds,
            of_head=of_head.seconds,
            processor_ms=1e3 * cost.processor_seconds,
            processor_of_encoder=of_encoder.processor_seconds,
            processor_of_head=of_head.processor_seconds,
        )
    hand_over(table)


if __name__ == "__main__":
    main()
