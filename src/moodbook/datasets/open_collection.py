"""The open collection: music of games in Debian's main section, for step 1 only. There are no labels.

Its tables name the music in each package, at least 20 seconds long; effects, speech, stems and tracker modules (which
Moodbook does not decode) are left out.

Tiers: ``small`` is nine packages chosen for their variety; ``standard`` adds those with the fewest bytes an hour until
32 hours are reached; ``full`` adds the rest.

Splits are by package and fixed: in the order of the SHA-256 of their names, tier after tier, packages go to validation
as long as validation holds no more than a tenth of the hours. Packages that share music or a composer go together.
"""

from __future__ import annotations

from moodbook.datasets.collection import collection_source

OPEN = collection_source(
    name="open",
    tracks=918,
    hours=44.3,
    licence="free, track by track (GPL, CC BY, CC BY-SA, CC0, BSD and others): see manifest.csv",
    use="step 1 (no labels); train and publish models; redistribute each track under its own licence, with its credits",
    citation="Music of 89 game packages of Debian 12, section main; authors and licences by track in manifest.csv.",
)
