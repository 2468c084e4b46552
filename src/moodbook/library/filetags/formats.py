"""Which kind of tags a file has, and one type of error for whatever goes wrong in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mutagen import MutagenError

from moodbook.audio.containers import identify
from moodbook.audio.files import open_file
from moodbook.errors import MoodbookError, TagError, UnsupportedTagsError
from moodbook.library.filetags import id3, vorbis
from moodbook.library.filetags.apev2 import ApeV2Tags
from moodbook.library.filetags.asf import AsfAttributes
from moodbook.library.filetags.fields import TagFormat
from moodbook.library.filetags.mp4_atoms import Mp4Atoms

_HEAD_BYTES = 64
_FORMATS: dict[str, TagFormat] = {
    "mp3": id3.Id3InFront(),
    "aac": id3.Id3InFront(),
    "tta": id3.Id3InFront(),
    "wav": id3.wav(),
    "aiff": id3.aiff(),
    "flac": vorbis.FLAC_TAGS,
    "ogg vorbis": vorbis.VORBIS_TAGS,
    "ogg opus": vorbis.OPUS_TAGS,
    "ogg speex": vorbis.SPEEX_TAGS,
    "ogg flac": vorbis.OGG_FLAC_TAGS,
    "mp4": Mp4Atoms(),
    "asf": AsfAttributes(),
    "wavpack": ApeV2Tags(),
    "ape": ApeV2Tags(),
    "musepack": ApeV2Tags(),
    "tak": ApeV2Tags(),
}
_WRITTEN = "mp3, aac, tta, wav, aiff, flac, ogg, opus, m4a, wma, wavpack, ape, mpc, tak"


def tag_format(path: Path) -> tuple[str, TagFormat]:
    """Tell a file's kind by its bytes, and how that kind holds its tags.

    Returns:
        Its name, such as "ogg opus", and the format.

    Raises:
        AudioError: The file cannot be opened, or is no audio.
        UnsupportedTagsError: Tags of this kind are not written.
    """
    with open_file(path) as file:
        container = identify(file, str(path))
        name = container.name
        if name == "ogg":
            file.seek(28)
            head = file.read(_HEAD_BYTES)
            name = "ogg speex" if head.startswith(b"Speex") else "ogg flac" if head.startswith(b"\x7fFLAC") else name
    if name not in _FORMATS:
        raise UnsupportedTagsError(
            path, f"Moodbook writes no tags into {name} files; it does into {_WRITTEN}. Convert it to one of them."
        )
    if container.start and name not in ("mp3", "aac", "tta", "flac"):
        raise UnsupportedTagsError(path, f"an ID3 tag stands before its {name} data. Take that off first.")
    return name, _FORMATS[name]


@contextmanager
def typed_errors(path: Path, doing: str) -> Iterator[None]:
    """Give whatever a library for tags raises on a damaged file one type.

    Raises:
        TagError: Anything but a deliberate error of Moodbook's own went wrong.
    """
    try:
        yield
    except MoodbookError:
        raise
    except FileNotFoundError as error:
        reason = "there is no such file. Look whether it was moved or renamed, and whether its disk is there."
        raise TagError(path, reason) from error
    except OSError as error:
        raise TagError(path, f"{error.strerror or error} while {doing}. Check the disk and the permissions.") from error
    except MutagenError as error:
        cause = error.__context__
        if isinstance(cause, OSError):
            what = f"{cause.strerror or cause} while {doing}. Check the disk and the permissions."
        else:
            what = f"its tags cannot be used ({error}). Repair them with a tag editor first."
        raise TagError(path, what) from error
    except Exception as error:
        what = f"its tags are damaged ({type(error).__name__}: {error}). Repair them with a tag editor first."
        raise TagError(path, what) from error
