"""Moods in tags that Moodbook does not write: an APE tag behind an mp3, a second ID3 tag, an ID3 tag before a flac.

They are the owner's words as much as those in the tag that is written, and some programs read them first. So they are
looked for before anything is written beside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from mutagen.apev2 import APETextValue, APEv2
from mutagen.id3 import ID3

from moodbook.audio import edges
from moodbook.audio.edges import EdgeKind, EdgeTag
from moodbook.audio.files import open_file
from moodbook.library.filetags.fields import moods, unreadable
from moodbook.library.filetags.formats import tag_format, typed_errors

_WRITTEN: dict[str, EdgeKind] = {
    **dict.fromkeys(("mp3", "aac", "tta"), "ID3v2"),
    **dict.fromkeys(("wavpack", "ape", "musepack", "tak"), "APE"),
}
"""Which of the tags at the ends of a file is the one that is written; of the other kinds of file it is none."""


def moods_elsewhere(path: Path) -> list[str]:
    """Give the moods that stand in other tags of a file than the one that is written.

    Raises:
        AudioError: It cannot be opened or is no audio.
        TagError: Such a tag is damaged: nobody knows what it says.
    """
    with typed_errors(path, "reading the tags"):
        name, _ = tag_format(path)
        with open_file(path) as file:
            size = file.seek(0, 2)
            tags = [*edges.tags_in_front(file), *edges.tags_at_end(file, size)]
            # The first one from its end of the file is the one that is written.
            own = next((tag for tag in tags if tag.kind == _WRITTEN.get(name)), None)
            words: list[str] = []
            for tag in tags:
                if tag != own:
                    file.seek(tag.start)
                    words += _words(tag, file.read(tag.end - tag.start), path)
    return moods({"mood": words})


def _words(tag: EdgeTag, data: bytes, path: Path) -> Iterator[str]:
    if tag.kind == "ID3v2":
        for frame in ID3(BytesIO(data), load_v1=False).values():
            if frame.FrameID == "TMOO" or (frame.FrameID == "TXXX" and frame.desc.casefold() == "mood"):
                yield from map(str, frame.text)
    elif tag.kind == "APE":
        mood = APEv2(BytesIO(data)).get("mood", APETextValue("", 0))
        if not isinstance(mood, APETextValue):
            raise unreadable(path, "Mood")
        yield from mood
