"""`moodbook info`: what a model or a recipe is."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moodbook.cli.device import DeviceName, DeviceOption
from moodbook.cli.errors import ends_with_exit_code
from moodbook.cli.personal import naming_own_words
from moodbook.errors import ModelError

if TYPE_CHECKING:
    from moodbook.features import FeatureConfig
    from moodbook.model.bundle import Bundle
    from moodbook.model.device import DeviceChoice
    from moodbook.networks.config import NetworkConfig

_MEDIAEVAL_TAGS = 56  # MediaEval 2019 Emotion and Theme Recognition: what the paper's recipes are trained for.


@ends_with_exit_code
def info(
    name: Annotated[
        str, typer.Argument(metavar="MODEL_OR_RECIPE", help="A name, a model folder, or a recipe file (.toml).")
    ],
    verify: Annotated[
        bool, typer.Option("--verify", help="Check every hash and replay the self-test; exit code 2 if one is wrong.")
    ] = False,
    recipe: Annotated[bool, typer.Option("--recipe", help="Show the recipe where a model has the same name.")] = False,
    tags: Annotated[
        int, typer.Option(min=1, metavar="N", help="Tags to size a recipe's classifier for.")
    ] = _MEDIAEVAL_TAGS,
    device: DeviceOption = DeviceName.AUTO,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, as when the output is piped.")] = False,
) -> None:
    """Say what a model or a recipe is: size, cost, input, tags, licence, where it comes from.

    Examples:
      moodbook info open
      moodbook info ./my-run/bundle --verify
      moodbook info run-4 --json
    """
    with naming_own_words(name):
        is_model = not recipe and _is_model(name)
        facts = _model_facts(name, verify, device.choice) if is_model else _recipe_facts(name, tags)
    if verify and facts["kind"] != "model":
        raise ModelError(f"'{name}' is a recipe: it has no weights to verify")
    if as_json or not _on_terminal():
        sys.stdout.write(json.dumps(facts, indent=1) + "\n")
    else:
        _print_facts(facts)


def _on_terminal() -> bool:
    return sys.stdout.isatty()


def _is_model(name: str) -> bool:
    """Whether a name or path means a model; raises where it means neither a model nor a recipe."""
    from moodbook.files import is_folder
    from moodbook.model.bundle import list_models
    from moodbook.training.recipe import list_recipes

    if name in list_models() or is_folder(name):
        return True
    if name in list_recipes() or Path(name).suffix == ".toml":
        return False
    raise ModelError(
        f"there is no model or recipe '{name}'; models: {', '.join(list_models()) or 'none'}; recipes: "
        f"{', '.join(list_recipes()) or 'none'}; or give a model folder or a .toml file"
    )


def _model_facts(name: str, verify: bool, device: DeviceChoice) -> dict[str, Any]:
    from moodbook.model.bundle import read_bundle
    from moodbook.model.device import engine_facts

    bundle = read_bundle(name)
    card = bundle.config.card
    facts = {
        "kind": "model",
        "name": bundle.name,
        "summary": card.summary,
        "folder": str(bundle.folder.resolve()).encode("utf-8", "backslashreplace").decode(),
        "sha256": bundle.sha256,
        **_network_facts(bundle.network, bundle.features, len(bundle.tags)),
        "engine": engine_facts(bundle.network, device),
        "bytes": {file: record.bytes for file, record in bundle.config.files.items()},
        "storage": bundle.config.storage,
        "decoder_included": bundle.config.decoder,
        "tags": list(bundle.tags),
        "thresholds": {tag: bundle.thresholds[tag] for tag in bundle.tags},
        "licence": card.licence,
        "provenance": card.provenance.model_dump(mode="json"),
        "tracks": card.tracks,
        "metrics": card.metrics,
        "notes": list(card.notes),
        "credits": list(card.credits),
    }
    return {**facts, "verified": _verify(bundle, device)} if verify else facts


def _recipe_facts(name: str, n_tags: int) -> dict[str, Any]:
    from moodbook.training.recipe import read_recipe

    recipe = read_recipe(name)
    return {
        "kind": "recipe",
        "name": recipe.name,
        "summary": recipe.source,
        **_network_facts(recipe.network, recipe.features, n_tags),
        "sized_for_tags": n_tags,
        "settings": recipe.model_dump(mode="json"),
    }


def _network_facts(network: NetworkConfig, features: FeatureConfig, n_tags: int) -> dict[str, Any]:
    from moodbook.features import HOP_LENGTH, N_MELS, SAMPLE_RATE, SEGMENT_FRAMES, SEGMENT_SECONDS
    from moodbook.networks.cost import count_parameters, gigaflop_per_clip

    parameters = count_parameters(network, n_tags)
    gigaflop = gigaflop_per_clip(network, n_tags)
    return {
        "network": network.model_dump(mode="json"),
        "parameters": {**asdict(parameters), "total": parameters.total},
        "gigaflop_per_segment": {
            part: round(value, 3) for part, value in {**asdict(gigaflop), "tagging": gigaflop.tagging}.items()
        },
        "input": {
            "sample_rate": SAMPLE_RATE,
            "mel_bands": N_MELS,
            "frames": SEGMENT_FRAMES,
            "hop_length": HOP_LENGTH,
            "segment_seconds": round(SEGMENT_SECONDS, 3),
            "center_padding": features.center_padding,
        },
    }


def _verify(bundle: Bundle, device: DeviceChoice) -> dict[str, Any]:
    """Replay the self-test; the hashes were checked when the bundle was read."""
    from moodbook.model.device import open_engine
    from moodbook.model.selftest import TOLERANCE, replay_self_test

    result = replay_self_test(open_engine(bundle, "f32", device=device), bundle.tags, bundle.config.self_test)
    if not result.passed:
        codes = "the codes are as recorded" if result.same_codes else "the codes are not those recorded"
        raise ModelError(
            f"the self-test of '{bundle.folder}' fails: {codes}, probabilities are up to "
            f"{result.largest_difference:.2g} off ({TOLERANCE:g} is allowed). Get the model again"
        )
    return {"hashes": True, "codes": True, "largest_difference": round(result.largest_difference, 6)}


def _print_facts(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from moodbook.model.scores import printable

    console = Console(highlight=False)
    console.print(Text.assemble((facts["name"], "bold"), f"  ({facts['kind']})"))
    if facts["summary"]:
        console.print(Text(printable(" ".join(facts["summary"].split()))))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for heading, value in _rows(facts):
        # A card is somebody else's text: it may hold no commands for the terminal.
        table.add_row(printable(heading), Text(printable(value)))
    console.print(table)


def _rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Put the facts into words, heading by heading."""
    from moodbook.model.card import describe_figures, describe_tracks

    heard = facts["input"]
    gigaflop = facts["gigaflop_per_segment"]
    parts = ", ".join(f"{part} {count:,}" for part, count in facts["parameters"].items() if count)
    rows = [
        ("parameters", parts or "none"),
        (
            "arithmetic",
            f"{gigaflop['tagging']:.3g} GFLOP a segment to tag"
            + (f", {gigaflop['decoder']:.3g} to decode" if gigaflop["decoder"] else ""),
        ),
        (
            "input",
            f"{heard['sample_rate']:,} Hz mono; log-mel {heard['mel_bands']} x {heard['frames']} = "
            f"{heard['segment_seconds']:.1f} s; centre padding {heard['center_padding']}",
        ),
    ]
    if facts["kind"] == "recipe":
        rows.append(("sized for", f"{facts['sized_for_tags']} tags"))
        rows += [
            (
                key,
                ", ".join(f"{dial} {setting}" for dial, setting in value.items())
                if isinstance(value, dict)
                else str(value),
            )
            for key, value in facts["settings"].items()
            if key not in ("name", "source")
        ]
        return rows
    provenance = facts["provenance"]
    versions = ", ".join(f"{program} {version}" for program, version in sorted(provenance["versions"].items()))
    rows += [
        ("tags", ", ".join(f"{tag} > {facts['thresholds'][tag]:.2f}" for tag in facts["tags"])),
        (
            "trained with",
            f"recipe {provenance['recipe']}, seed {provenance['seed']}" + (f"; {versions}" if versions else ""),
        ),
        ("data", provenance["data"] + (f" ({provenance['data_sha256'][:12]})" if provenance["data_sha256"] else "")),
        ("licence", facts["licence"]),
        ("engine", f"{facts['engine']['name']} on {facts['engine'].get('hardware', 'the processor')}"),
        ("precision", f"{facts['engine']['precision']} on this machine; has {', '.join(facts['engine']['available'])}"),
        ("files", ", ".join(f"{file} {size:,} bytes" for file, size in facts["bytes"].items())),
        ("sha256", facts["sha256"]),
    ]
    if facts["tracks"]:
        rows.append(("tracks", describe_tracks(facts["tracks"])))
    for part, figures in facts["metrics"].items():
        rows.append((part, ", ".join(f"{figure} {value}" for figure, value in describe_figures(figures).items())))
    rows += [("note", note) for note in facts["notes"]]
    rows += [("credit", credit) for credit in facts["credits"]]
    if "verified" in facts:
        rows.append(("verified", f"hashes, codes; probabilities within {facts['verified']['largest_difference']:g}"))
    return rows
