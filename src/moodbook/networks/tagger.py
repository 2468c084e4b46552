"""A whole system: log-mel to tag logits, with or without a VQ-VAE."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from moodbook.errors import ModelError
from moodbook.networks.cnn import CNNClassifier
from moodbook.networks.config import (
    CNNConfig,
    GRUConfig,
    NetworkConfig,
    PopularityConfig,
    SemanticConfig,
    StatisticsConfig,
    VGGishConfig,
)
from moodbook.networks.gru import GRUClassifier
from moodbook.networks.quantizer import Quantized
from moodbook.networks.semantic import SemanticClassifier
from moodbook.networks.statistics import StatisticsClassifier
from moodbook.networks.vggish import VGGish
from moodbook.networks.vqvae import VQVAE


@dataclass(frozen=True)
class TaggingOutput:
    """What a tagging network makes of a batch of segments.

    Args:
        logits: One per tag, before the sigmoid; float32.
        vq: Codes and losses of the VQ-VAE; None where it is fixed or there is none.
    """

    logits: Float[Tensor, "batch tags"]
    vq: Quantized | None


class TaggingNetwork(nn.Module):
    """The VQ-VAE (`vqvae`, or None) and the classifier on top of it (`classifier`).

    Args:
        config: The whole system.
        n_tags: Number of tags.

    Raises:
        ModelError: The system has no network, lacks the VQ-VAE it reads or has one it does not read.
    """

    def __init__(self, config: NetworkConfig, n_tags: int) -> None:
        super().__init__()
        _check(config, n_tags)
        self.config = config
        self.n_tags = n_tags
        self.vqvae = None if config.vqvae is None else VQVAE(config.vqvae)
        self.classifier = _classifier(config, n_tags)

    def fix_vqvae(self) -> None:
        """Freeze the VQ-VAE for good: no gradient, and eval mode (its batch norm included) even after `train`.

        Raises:
            ModelError: There is no VQ-VAE.
        """
        self._vqvae_or_raise().fix()

    def forward(self, log_mel: Float[Tensor, "batch n_mels frames"]) -> TaggingOutput:
        """Classify log-mel segments.

        Raises:
            DataError: The segments are not 128 x 1,024.
        """
        if self.vqvae is None:
            return TaggingOutput(self._classify(log_mel), None)
        if self.vqvae.fixed:
            return TaggingOutput(self.logits_from_codes(self.vqvae.codes(log_mel)), None)
        vq: Quantized = self.vqvae.quantizer(self.vqvae.encode(log_mel))
        return TaggingOutput(self._classify(vq.codes if self._reads_codes else vq.quantized), vq)

    def logits_from_cached(self, cached: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch tags"]:
        """Classify what a fixed VQ-VAE makes of segments once and for all.

        Args:
            cached: Codes ("batch bands steps", integers), or what the semantic decoder reads from them ("batch windows
                semantic_features", floating-point), of which a semantic classifier says the same.

        Raises:
            DataError: The codes are not of this codebook.
            ModelError: There is no VQ-VAE, it is still learning, or the classifier reads no semantic decoder.
        """
        if not cached.is_floating_point():
            return self.logits_from_codes(cached)
        self._fixed_vqvae()
        if not isinstance(self.classifier, SemanticClassifier):
            raise ModelError(f"a {self.config.classifier.kind!r} classifier reads codes, not a semantic decoder")
        logits: Tensor = self.classifier(cached)
        return logits

    def logits_from_codes(self, codes: Int[Tensor, "batch bands steps"]) -> Float[Tensor, "batch tags"]:
        """Classify codes; for a fixed VQ-VAE the same as `forward` on the segments they were made from.

        Raises:
            DataError: The codes are not of this codebook.
            ModelError: There is no VQ-VAE, or it is still learning and would get no gradient.
        """
        vqvae = self._fixed_vqvae()
        return self._classify(codes if self._reads_codes else vqvae.quantizer.lookup(codes))

    @property
    def _reads_codes(self) -> bool:
        return isinstance(self.config.classifier, GRUConfig) and self.config.classifier.input == "one-hot"

    def _classify(self, inputs: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch tags"]:
        if isinstance(self.classifier, SemanticClassifier) and self.vqvae is not None:
            inputs = self.vqvae.read(inputs)
        logits: Tensor = self.classifier(inputs)
        return logits

    def _fixed_vqvae(self) -> VQVAE:
        vqvae = self._vqvae_or_raise()
        if vqvae.training:
            raise ModelError("codes give a VQ-VAE that is still learning no gradient; call fix_vqvae() first")
        return vqvae

    def _vqvae_or_raise(self) -> VQVAE:
        if self.vqvae is None:
            raise ModelError(f"a {self.config.classifier.kind!r} classifier on log-mel has no VQ-VAE and no codes")
        return self.vqvae


def build_network(config: NetworkConfig, n_tags: int) -> TaggingNetwork:
    """Build the network of a system, with fresh weights from torch's global random numbers.

    Raises:
        ModelError: The system has no network, lacks the VQ-VAE it reads or has one it does not read.
    """
    return TaggingNetwork(config, n_tags)


def _check(config: NetworkConfig, n_tags: int) -> None:
    if n_tags < 1:
        raise ModelError(f"expected at least one tag, got {n_tags}")
    if isinstance(config.classifier, PopularityConfig):
        raise ModelError("the popularity baseline has no network; it counts the tags of the training tracks")
    if config.needs_vqvae and config.vqvae is None:
        raise ModelError(f"a {config.classifier.kind!r} classifier reads latents: give a VQ-VAE")
    if config.vqvae is not None and not config.needs_vqvae:
        raise ModelError(f"a {config.classifier.kind!r} classifier on log-mel reads no latents: leave the VQ-VAE out")
    if isinstance(config.classifier, SemanticConfig) and not (config.vqvae and config.vqvae.semantic_width):
        raise ModelError("a 'semantic' classifier reads what a semantic decoder tells: set vqvae.semantic_width")


def _classifier(
    config: NetworkConfig, n_tags: int
) -> GRUClassifier | CNNClassifier | StatisticsClassifier | SemanticClassifier | VGGish:
    dials, vqvae = config.classifier, config.vqvae
    if isinstance(dials, GRUConfig) and vqvae is not None:
        return GRUClassifier(dials, vqvae, n_tags)
    if isinstance(dials, CNNConfig) and vqvae is not None:
        return CNNClassifier(dials, vqvae, n_tags)
    if isinstance(dials, StatisticsConfig) and vqvae is not None:
        return StatisticsClassifier(dials, vqvae, n_tags)
    if isinstance(dials, SemanticConfig) and vqvae is not None:
        return SemanticClassifier(dials, vqvae.semantic_features, n_tags)
    if isinstance(dials, VGGishConfig):
        return VGGish(dials, vqvae, n_tags)
    raise ModelError(f"there is no network for classifier {dials.kind!r}")
