"""Speech: what Asterisk, a telephone exchange, says to callers, in five languages; from Debian's main section.

Five speakers, one a language, 8 kHz mono, of each what is three seconds or longer. It teaches a model what is no music.
English, Spanish and French are there to learn from; Italian and Russian (another man, another woman) to check with.
"""

from __future__ import annotations

from moodbook.datasets.collection import collection_source

SPEECH = collection_source(
    name="speech",
    tracks=649,
    hours=1.4,
    licence="CC BY-SA 3.0 (Russian: CC BY 3.0)",
    use="teach a model what is no music; train and publish models; redistribute under its licence, with its credits",
    citation="asterisk-core-sounds 1.6.1 of Debian 12: Allison Smith, June Wallack, Carlo Flora, Maxim Topal; Digium.",
)
