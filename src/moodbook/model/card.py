"""What a bundle says about itself: its configuration file, and the model card that is generated from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from moodbook.features import SEGMENT_SECONDS, FeatureConfig
from moodbook.model.tensors import Storage
from moodbook.networks.config import Config, NetworkConfig
from moodbook.networks.cost import count_parameters, gigaflop_per_clip

FORMAT_VERSION: Final = 1
"""Version of the bundle format; a reader refuses any other."""
WEIGHTS_FILE: Final = "model.safetensors"
CARD_FILE: Final = "README.md"

_ABOUT_FIGURES: Final = (
    "What stands in brackets is a 95 % interval, by bootstrap. Computed in f32. A part that names another precision is "
    "the same tracks in it, with what changes against f32: the share of the codes and of the decisions, and by how "
    "much a score does, on average and at most."
)

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""A name that is safe as a folder name on every system: no separators, no leading dot."""
Line = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Figure = Annotated[float, Field(allow_inf_nan=False)]


class Provenance(Config):
    """Where the weights come from."""

    recipe: Line
    """Name of the recipe."""
    recipe_settings: dict[str, Any] = Field(default_factory=dict)
    """Every dial of the recipe, as it was trained."""
    data: Line
    """Name of the data set."""
    data_sha256: Sha256 | None = None
    """Hash of the data set's tracks, tags and splits."""
    seed: int = Field(0, ge=0)
    versions: dict[str, str] = Field(default_factory=dict)
    """Versions of the programs that trained it, by name."""


class Card(Config):
    """What a person must know before using a model."""

    name: Name
    summary: Line
    """One or two sentences: what it is and what it is good for."""
    licence: Line
    """Licence of the weights, an SPDX name where there is one."""
    provenance: Provenance
    tracks: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    """How many tracks there were, by part of the data ("train", "validation", "test")."""
    credits: tuple[Line, ...] = ()
    """Who made the music and the labels that it learned from, as their licences ask."""
    metrics: dict[str, dict[str, Figure]] = Field(default_factory=dict)
    """Figures by part of the data ("validation", "test", in f32; "test, bf16") and name ("roc_auc_macro"); beside a
    figure the ends of its 95 % bootstrap interval ("roc_auc_macro_low", "roc_auc_macro_high")."""
    notes: tuple[Line, ...] = ()
    """What it cannot do, and how it must not be used."""


class SelfTest(Config):
    """A known input and the output that the weights gave for it when the bundle was written."""

    seed: int = Field(ge=0)
    """Seed of the synthetic log-mel."""
    codes_sha256: Sha256 | None
    """Hash of the codes as little-endian int16; None where the system has no codes."""
    probabilities: dict[str, Probability]
    """By tag name."""


class FileRecord(Config):
    """Size and hash of a file."""

    bytes: int = Field(ge=0)
    sha256: Sha256


class BundleConfig(Config):
    """The content of ``config.json``."""

    format_version: Literal[1] = FORMAT_VERSION
    card: Card
    network: NetworkConfig
    features: FeatureConfig
    tags: tuple[Annotated[str, StringConstraints(min_length=1, max_length=200)], ...] = Field(
        min_length=1, max_length=10_000
    )
    thresholds: dict[str, Probability]
    """By tag name; a tag is decided where its probability is strictly above."""
    storage: Storage
    """Number format of the matrices on disk."""
    decoder: bool
    """Whether the VQ-VAE's decoder is among the weights."""
    embedding: int | None = Field(default=None, ge=1, le=128)
    """Numbers of a track's embedding; None where the model gives none."""
    presence: bool = False
    """Whether the model tells music from noise, speech and silence."""
    self_test: SelfTest
    files: dict[Literal["model.safetensors", "README.md"], FileRecord]

    @field_validator("tags")
    @classmethod
    def _tags_are_names(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(tags)) != len(tags):
            raise ValueError("a tag stands twice")
        for tag in tags:
            if not tag.isprintable() or not tag.strip():
                raise ValueError(f"tag {tag!r} is empty or holds control characters")
        return tags

    @model_validator(mode="after")
    def _parts_fit(self) -> BundleConfig:
        for what, by_name in (("thresholds", self.thresholds), ("self_test", self.self_test.probabilities)):
            if set(by_name) != set(self.tags):
                raise ValueError(f"{what} and tags do not name the same tags")
        if set(self.files) != {WEIGHTS_FILE, CARD_FILE}:
            raise ValueError(f"files must list {WEIGHTS_FILE} and {CARD_FILE}")
        if (self.embedding is not None or self.presence) and self.network.vqvae is None:
            raise ValueError("an embedding and the presence of music are told from codes, and the system has none")
        if (self.self_test.codes_sha256 is None) != (self.network.vqvae is None):
            raise ValueError("self_test.codes_sha256 belongs to a system with a VQ-VAE, and only to it")
        return self


def render_card(
    card: Card, network: NetworkConfig, features: FeatureConfig, thresholds: dict[str, float], decoder: bool
) -> str:
    """Write the model card as Markdown, from the facts alone."""
    parameters = count_parameters(network, len(thresholds))
    gigaflop = gigaflop_per_clip(network, len(thresholds))
    parts = {
        "encoder": parameters.encoder,
        "codebook": parameters.codebook,
        "semantic decoder": parameters.semantic,
        "decoder": parameters.decoder if decoder else 0,
        "classifier": parameters.classifier,
    }
    sizes = ", ".join(f"{part} {count:,}" for part, count in parts.items() if count) or "none to learn"
    provenance = card.provenance
    lines = [
        f"# {card.name}",
        "",
        card.summary,
        "",
        "| | |",
        "|---|---|",
        f"| System | {_cell(_describe(network))} |",
        f"| Parameters | {sizes} |",
        f"| Arithmetic | {gigaflop.tagging:.3g} GFLOP a segment of {SEGMENT_SECONDS:.1f} s |",
        f"| Input | 22,050 Hz mono, log-mel of 128 bands, 1,024 frames; centre padding {features.center_padding} |",
        f"| Trained with | recipe `{_cell(provenance.recipe)}`, seed {provenance.seed} |",
        f"| Data | {_cell(provenance.data)}"
        + (f" (sha256 `{provenance.data_sha256[:12]}`) |" if provenance.data_sha256 else " |"),
        *([f"| Tracks | {_cell(describe_tracks(card.tracks))} |"] if card.tracks else []),
        f"| Licence | {_cell(card.licence)} |",
        *(f"| {_cell(program)} | {_cell(version)} |" for program, version in sorted(provenance.versions.items())),
        "",
        "## Use",
        "",
        "```",
        f"moodbook tag --model ./{card.name} song.mp3",
        f"moodbook info ./{card.name} --verify",
        "```",
        "",
    ]
    if card.metrics:
        lines += ["## Figures", "", _ABOUT_FIGURES, "", "| part | figure | value |", "|---|---|---|"]
        lines += [
            f"| {_cell(part)} | {_cell(figure)} | {value} |"
            for part, figures in card.metrics.items()
            for figure, value in describe_figures(figures).items()
        ]
        lines.append("")
    lines += [f"## Tags ({len(thresholds)})", "", _decided(card), ""]
    lines += ["| tag | threshold |", "|---|---|"]
    lines += [f"| {_cell(tag)} | {threshold:.4f} |" for tag, threshold in thresholds.items()]
    for title, entries in (("Notes", card.notes), ("Credits", card.credits)):
        if entries:
            lines += ["", f"## {title}", "", *(f"- {' '.join(entry.split())}" for entry in entries)]
    return "\n".join(lines) + "\n"


def describe_figures(figures: Mapping[str, float]) -> dict[str, str]:
    """Write the figures of a part, each with its interval in brackets where the card has both ends of it."""
    intervals = {name: (f"{name}_low", f"{name}_high") for name in figures}
    intervals = {name: ends for name, ends in intervals.items() if figures.keys() >= set(ends)}
    ends = {end for pair in intervals.values() for end in pair}
    described = {name: f"{value:.4f}" for name, value in figures.items() if name not in ends}
    for name in described.keys() & intervals.keys():
        low, high = (figures[end] for end in intervals[name])
        described[name] += f" [{low:.3f}, {high:.3f}]"
    return described


def describe_tracks(tracks: Mapping[str, int]) -> str:
    """Write how many tracks there were in each part of the data."""
    return ", ".join(f"{count:,} {part}" for part, count in tracks.items())


def _decided(card: Card) -> str:
    """Say when a tag is decided, and where a precision was asked for, which, and what came of it."""
    said = "A tag is decided where its probability is above its threshold."
    asked = card.provenance.recipe_settings.get("step_2", {}).get("decision_precision")
    reached = describe_figures(card.metrics.get("test", {})).get("precision_micro")
    if asked is None:
        return said
    on_test = "" if reached is None else f"; on test it is {reached}"
    return f"{said} The recipe asks for a precision of {asked:g}, over all tags{on_test}."


def _describe(network: NetworkConfig) -> str:
    classifier = network.classifier.kind
    if network.vqvae is None:
        return f"{classifier} classifier"
    vqvae = network.vqvae
    return f"VQ-VAE Type-{vqvae.type}, width {vqvae.width}, {vqvae.codebook_size} codes; {classifier} classifier"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
