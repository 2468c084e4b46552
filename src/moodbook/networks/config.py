"""The dials of the paper's networks, and what follows from them (no torch here).

A configuration fixes every size; no size is ever a number that happens to fit. Unknown keys are errors. Sources: the
paper's section 3 and 4 as set out in `docs/method.md`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

LATENT_FRAMES = 512
"""Time steps of the latents of one segment: 1,024 spectrogram frames, halved once (E5)."""


class Config(BaseModel):
    """A frozen set of dials that refuses unknown keys, and numbers that are none (infinity, NaN)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class VQVAEConfig(Config):
    """The VQ-VAE: a segment of 128 x 1,024 log-mel becomes `bands` x 512 codes."""

    type: Literal[1, 2] = 1
    """1: four latent bands, E5 kernel (5,4). 2: one latent band, E5 kernel (8,4)."""
    width: int = Field(256, ge=1)
    """Feature maps of every hidden layer, and length of a codebook vector."""
    codebook_size: int = Field(1024, ge=2, le=32768)
    """K, the number of codebook vectors (codes are int16)."""
    skip: Literal["relu", "identity"] = "relu"
    """What a residual block adds back: relu(x), as the authors' in-place ReLU does, or x itself."""
    type_2_decoder: Literal["kernel-7", "mirror"] = "kernel-7"
    """Type-2 only. kernel-7: D1 has kernel (7,4). mirror: D1 has kernel (8,4) and D2 padding (1,1)."""
    commitment_weight: float = Field(1.0, ge=0)
    """Weight of MSE(z_e, sg z_q) in the loss of step 1 and of an updating step 2."""
    semantic_width: int = Field(0, ge=0, le=4096)
    """Maps of the semantic decoder, which reads from the codes what a teacher says of the music; it wants
    ``step_1.teacher`` or ``step_1.harmony_weight``. 0: there is none, as in the paper."""
    semantic_features: int = Field(200, ge=1, le=4096)
    """Numbers that the semantic decoder gives a window of 2.97 s: as many as its teacher and harmony say."""

    @property
    def bands(self) -> int:
        """Latent bands: 4 (Type-1) or 1 (Type-2)."""
        return 4 if self.type == 1 else 1

    @property
    def features(self) -> int:
        """Features of one latent time step: width x bands, feature = channel * bands + band."""
        return self.width * self.bands


class GRUConfig(Config):
    """The recurrent classifier on the quantised latents."""

    kind: Literal["gru"] = "gru"
    hidden: int = Field(256, ge=1)
    layers: int = Field(2, ge=1)
    """Layers of each of the two GRUs: 2 as the authors' code, 1 as the paper's wording."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Between the layers of a GRU (no effect with one layer)."""
    dense: tuple[int, ...] = (512, 256)
    """Sizes of the dense layers before the tags; () is the paper's single dense layer."""
    dense_dropout: float = Field(0.05, ge=0, lt=1)
    layer_norm: Literal["steps-and-features", "features"] = "steps-and-features"
    """steps-and-features fixes the clip to 512 steps, as the authors' code does; features takes any length."""
    input: Literal["latents", "one-hot"] = "latents"
    """latents: quantised vectors. one-hot: the code of each band as a one-hot vector of K."""


class CNNConfig(Config):
    """The spectrogram model of Pons et al. 2018 with halved channels, on the quantised latents."""

    kind: Literal["cnn"] = "cnn"
    channels: int = Field(8, ge=1)
    """n: maps of the smallest filter group."""
    hidden: int = Field(256, ge=1)
    """Maps of the three back-end convolutions."""
    dense: int = Field(250, ge=1)
    dropout: float = Field(0.5, ge=0, lt=1)


class VGGishConfig(Config):
    """The organisers' VGG-ish: five convolution blocks on the log-mel, or (the authors' published `CNN`) on latents."""

    kind: Literal["vggish"] = "vggish"
    input: Literal["log-mel", "latents"] = "log-mel"
    """log-mel: no VQ-VAE. latents: the quantised latents as an image, with adaptive pooling."""
    maps: tuple[int, int, int, int, int] = (64, 128, 128, 128, 64)
    dropout: float = Field(0.5, ge=0, lt=1)


class StatisticsConfig(Config):
    """Ours: one dense layer on the mean, the spread and the movement of each latent feature over the clip."""

    kind: Literal["statistics"] = "statistics"
    dropout: float = Field(0.2, ge=0, lt=1)


class SemanticConfig(Config):
    """Ours: one dense layer on what the semantic decoder reads from the codes, its windows averaged over the clip."""

    kind: Literal["semantic"] = "semantic"
    dropout: float = Field(0.2, ge=0, lt=1)


class PopularityConfig(Config):
    """The popularity baseline: the tag with most training tracks, for every track."""

    kind: Literal["popularity"] = "popularity"


ClassifierConfig = Annotated[
    GRUConfig | CNNConfig | VGGishConfig | StatisticsConfig | SemanticConfig | PopularityConfig,
    Field(discriminator="kind"),
]


class NetworkConfig(Config):
    """One whole system: the VQ-VAE (absent for the baselines on log-mel) and the classifier on top of it."""

    vqvae: VQVAEConfig | None = None
    classifier: ClassifierConfig

    @property
    def needs_vqvae(self) -> bool:
        """Whether the classifier reads latents."""
        if isinstance(self.classifier, VGGishConfig):
            return self.classifier.input == "latents"
        return not isinstance(self.classifier, PopularityConfig)
