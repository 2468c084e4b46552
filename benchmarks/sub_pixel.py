"""The decoder's transposed convolutions as they are, beside each as one plain convolution whose maps are interleaved.

    python benchmarks/sub_pixel.py [--rounds N] [--width W] [--batch N] [--precision bfloat16] [--device cuda]

One training step of each layer, forward and backward, with what training sets for the processor. `sub_pixel` gives the
same function to rounding (tests/benchmarks/test_sub_pixel.py); whether it is faster depends on the machine.
"""

from __future__ import annotations

import argparse

import torch
from measuring import Table, hand_over, interleave, median, ratio, timed
from torch import Tensor
from torch.nn import functional

from moodbook.networks.config import LATENT_FRAMES, VQVAEConfig
from moodbook.networks.geometry import Convolution, decoder_convolutions
from moodbook.training.machine import multiplies_bfloat16, reduced, tuned_processor
from moodbook.training.recipe import read_recipe

RECIPE = "open"


def sub_pixel(hidden: Tensor, weight: Tensor, bias: Tensor, row: Convolution) -> Tensor:
    """Compute a transposed convolution as a plain one to `stride` times as many maps along each axis, interleaved.

    Along an axis of stride s, output ``q s + a`` (before `padding` is cut off) sums ``x[q - j] w[j s + a]`` over j: one
    plain convolution with ``kernel / s`` taps, turned round, for each of the s phases a.

    Args:
        hidden: "batch inputs height width".
        weight: Of the transposed convolution, "inputs outputs height width".
        bias: Of each output map.
        row: Its geometry; the stride divides the kernel.

    Source:
        Shi et al.: Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel CNN, 2016.
    """
    (up, left), (height, width) = row.stride, row.kernel
    inputs, outputs = weight.shape[:2]
    taps = height // up, width // left
    phases = weight.reshape(inputs, outputs, taps[0], up, taps[1], left).flip(2, 4)
    kernel = phases.permute(1, 3, 5, 0, 2, 4).reshape(outputs * up * left, inputs, *taps)
    # Whole strides of the padding are left out of the convolution, what remains is cut off at the end.
    (rows, above), (columns, before) = divmod(row.padding[0], up), divmod(row.padding[1], left)
    convolved = functional.conv2d(
        hidden, kernel, bias.repeat_interleave(up * left), padding=(taps[0] - 1 - rows, taps[1] - 1 - columns)
    )
    size = convolved.shape[2:]
    apart = convolved.reshape(len(hidden), outputs, up, left, *size).permute(0, 1, 4, 2, 5, 3)
    whole = apart.reshape(len(hidden), outputs, size[0] * up, size[1] * left)
    return whole[:, :, above : whole.shape[2] - above, before : whole.shape[3] - before]


def transposed(hidden: Tensor, weight: Tensor, bias: Tensor, row: Convolution) -> Tensor:
    """Compute a transposed convolution by torch's own."""
    return functional.conv_transpose2d(hidden, weight, bias, stride=row.stride, padding=row.padding)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    vqvae = read_recipe(RECIPE).vqvae
    assert vqvae is not None
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--width", type=int, default=vqvae.width)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--precision", choices=("float32", "bfloat16"))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    precision = options.precision or ("bfloat16" if multiplies_bfloat16(device) else "float32")
    columns = ("layer", "output", "transposed, ms", "sub-pixel, ms", "times as fast")
    columns += ("transposed, ms of processor time", "sub-pixel, ms of processor time", "in processor time")
    table = Table("sub-pixel", columns).begin()
    torch.manual_seed(0)
    size = (VQVAEConfig().bands, LATENT_FRAMES)
    rows = decoder_convolutions(VQVAEConfig(width=options.width))
    layout = torch.channels_last if precision == "bfloat16" else torch.contiguous_format
    with tuned_processor():
        for number, row in enumerate(rows, start=1):
            maps = 1 if number == len(rows) else options.width
            shapes = ((options.batch, options.width, *size), (options.width, maps, *row.kernel))
            hidden, weight = (torch.randn(shape, device=device).to(memory_format=layout) for shape in shapes)
            bias = torch.zeros(maps, device=device)
            size = row.output_size(size)
            learned = [tensor.requires_grad_() for tensor in (hidden, weight, bias)]
            gradient = torch.randn(options.batch, maps, *size, device=device).to(memory_format=layout)

            def learn(layer=transposed, learned=learned, row=row, gradient=gradient) -> None:
                with reduced(precision, device):
                    output = layer(*learned, row)
                torch.autograd.grad(output, learned, gradient.to(output.dtype))
                if device.type == "cuda":
                    torch.cuda.synchronize()

            def learn_sub_pixel(learn=learn) -> None:
                learn(sub_pixel)

            learn()
            learn_sub_pixel()
            found = interleave({"transposed": timed(learn), "sub-pixel": timed(learn_sub_pixel)}, options.rounds)
            faster = ratio(found["transposed"], found["sub-pixel"])
            as_it_is, other = median(found["transposed"]), median(found["sub-pixel"])
            table.add(
                (
                    f"D{number}",
                    f"{maps} x {size[0]} x {size[1]}",
                    f"{1e3 * as_it_is.seconds:.0f}",
                    f"{1e3 * other.seconds:.0f}",
                    f"{faster.seconds:.2f}",
                    f"{1e3 * as_it_is.processor_seconds:.0f}",
                    f"{1e3 * other.processor_seconds:.0f}",
                    f"{faster.processor_seconds:.2f}",
                ),
                layer=number,
                width=options.width,
                batch=options.batch,
                precision=precision,
                transposed_ms=1e3 * as_it_is.seconds,
                sub_pixel_ms=1e3 * other.seconds,
                ratio=faster.seconds,
                transposed_processor_ms=1e3 * as_it_is.processor_seconds,
                sub_pixel_processor_ms=1e3 * other.processor_seconds,
                processor_ratio=faster.processor_seconds,
            )
    hand_over(table)


if __name__ == "__main__":
    main()
