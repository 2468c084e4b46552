"""Whether the bundled model's words hold on other people's music: its scores beside the moods of AllMusic.

    python benchmarks/words.py --taffc-audio DIR [--model NAME_OR_FOLDER] [--no-write]

900 clips of 30 s with singers, bands and beats (`taffc4q`, Panda et al. 2018), of which no model that ships has learned
anything; all of them are scored, whatever their split. Each pair of the vocabulary `allmusic` (`moodbook.vocabularies`)
is a row: how well the model's score for its word ranks the clips that have the other's (area under the ROC curve, .5
where it says nothing), with its 95 % interval, by bootstrap over artists. Writes its table into docs/results.md.

Lists are looked for in $MOODBOOK_SHARED/data.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
from results import SHARED

from moodbook.datasets.registry import open_dataset
from moodbook.evaluation.intervals import bootstrap
from moodbook.evaluation.metrics import evaluate
from moodbook.model import DEFAULT_MODEL
from moodbook.model.scores import TagFailure
from moodbook.model.tagger import Tagger
from moodbook.tags import TagSet
from moodbook.vocabularies import VOCABULARIES

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
VOCABULARY = "allmusic"
FEWEST = 10
"""Clips with a mood, below which a bootstrap says nothing of how sure a figure is."""


def measure(model: str, audio: Path) -> list[str]:
    """Give the rows of the table, the best held first."""
    dataset = open_dataset(SHARED / "taffc4q" / "tracks.csv", audio)
    tagger, tracks, heard = Tagger.load(model, precision="f32"), dataset.tracks, []
    for scores in tagger.tag_files(track.path for track in tracks):
        if isinstance(scores, TagFailure):
            raise SystemExit(f"{scores.path}: {scores.reason}")
        heard.append(scores.probabilities)
    probabilities = np.stack(heard)
    groups = [track.group or track.track_id for track in tracks]
    rows = []
    for word, mood in VOCABULARIES[VOCABULARY].items():
        pair = TagSet((f"{word}, {mood}",))
        truth = np.array([[mood in track.tags] for track in tracks])
        said = probabilities[:, [tagger.tags.column(word)]]
        roc_auc = float(evaluate(truth, said, pair).official()["ROC-AUC-macro"])
        reach = bootstrap(truth, said, pair, groups=groups)["ROC-AUC-macro"]
        if truth.sum() < FEWEST:
            holds = "too few to say"
        else:
            holds = "yes" if reach.low > 0.5 else "no, the other way round" if reach.high < 0.5 else "not shown"
        cells = (word, mood, str(int(truth.sum())), f"{roc_auc:.3f} [{reach.low:.3f}, {reach.high:.3f}]", holds)
        rows.append((roc_auc, "| " + " | ".join(cells) + " |"))
    return [row for _, row in sorted(rows, reverse=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--taffc-audio", type=Path, required=True, help="folder with Q1 ... Q4 of the TAFFC clips")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--no-write", action="store_true", help="leave docs/results.md as it is")
    options = parser.parse_args()
    table = ["| the model's word | AllMusic's | clips that have it | ROC-AUC | holds |", "|---|---|---|---|---|"]
    table += measure(options.model, options.taffc_audio)
    print("\n".join(table))
    if not options.no_write:
        page = PAGE.read_text(encoding="utf-8")
        place = re.compile(r"(<!-- words -->\n).*?(<!-- end -->)", re.DOTALL)
        if not place.search(page):
            raise SystemExit(f"{PAGE.name} has no place for the table: a line <!-- words -->")
        PAGE.write_text(place.sub(lambda match: match[1] + "\n".join(table) + "\n" + match[2], page), encoding="utf-8")


if __name__ == "__main__":
    main()
