"""The organisers' VGG-ish baseline, on the log-mel or on the latents."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from moodbook.errors import DataError
from moodbook.networks.config import VGGishConfig, VQVAEConfig
from moodbook.networks.geometry import VGGISH_POOLS, clipped_pool
from moodbook.networks.quantizer import latent_sequence


class VGGish(nn.Module):
    """BN -> 5 x [Conv 3x3, BN, ELU, max-pool] -> dropout -> dense.

    The organisers' pools fit their 96 x 1,366 input: 128 x 1,024 frames leave 5 x 3 values for the last pool of 4 x 4.
    The last pool therefore takes the maximum of whatever is left, and a pool wider than its image (narrow latents) is
    cut to it.

    Args:
        config: The dials of the classifier.
        vqvae: The VQ-VAE whose quantised latents it reads; None where it reads the log-mel.
        n_tags: Number of tags.

    Source:
        The baseline of MediaEval 2019 Emotion and Theme Recognition.
    """

    def __init__(self, config: VGGishConfig, vqvae: VQVAEConfig | None, n_tags: int) -> None:
        super().__init__()
        self.config = config
        self.vqvae_config = vqvae
        self.input_norm = nn.BatchNorm2d(1)
        # 5 x [Conv 3x3, BN], 64-128-128-128-64 maps.
        maps = config.maps
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, padding=1) for inputs, outputs in zip((1, *maps), maps, strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(count) for count in maps)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(maps[-1], n_tags)

    def forward(self, images: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch tags"]:
        """Classify log-mel segments ("batch n_mels frames"), or quantised latents ("batch width bands steps").

        Raises:
            DataError: The input has other axes, or does not fit the VQ-VAE.
        """
        if self.config.input == "latents" and self.vqvae_config is not None:
            # The latents as an image: features x steps.
            images = latent_sequence(images, self.vqvae_config).transpose(1, 2)
        if images.ndim != 3 or 0 in images.shape:
            raise DataError(f"expected log-mel of batch x bands x frames, got {' x '.join(map(str, images.shape))}")
        hidden: Tensor = self.input_norm(images.unsqueeze(1).float())
        for index, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            # Conv 3x3, BN, ELU, max-pool (2,4) (2,4) (2,4) (3,5), and all that is left.
            hidden = functional.elu(norm(convolution(hidden)))
            size = (hidden.shape[2], hidden.shape[3])
            pool = clipped_pool(VGGISH_POOLS[index], size) if index < len(VGGISH_POOLS) else size
            hidden = functional.max_pool2d(hidden, pool)
        logits: Tensor = self.output(self.dropout(hidden.flatten(1)))
        return logits.float()
