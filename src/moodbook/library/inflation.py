"""What a compressed frame of an ID3 tag may unpack to: mutagen, which reads them, sets no limit."""

from __future__ import annotations

import zlib

_MOST_TIMES = 20  # Text packs to a fifth or so, pictures hardly at all.
_ALWAYS_BYTES = 4096


class _BoundedZlib:
    """What mutagen uses of zlib, with a limit: five megabytes may otherwise become five gigabytes."""

    error = zlib.error

    @staticmethod
    def decompress(data: bytes) -> bytes:
        """Unpack a frame.

        Raises:
            ValueError: It unpacks to more than any tag program packs.
            zlib.error: It is damaged.
        """
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(data, max(_ALWAYS_BYTES, _MOST_TIMES * len(data)))
        if unpacker.unconsumed_tail:
            raise ValueError(f"a compressed frame unpacks to more than {_MOST_TIMES} times its size")
        if not unpacker.eof:
            raise zlib.error("a compressed frame is cut off")
        return content


def bound_inflation() -> None:
    """Set the limit, for this process and whatever in it reads tags with mutagen."""
    import mutagen.id3._frames as frames

    frames.zlib = _BoundedZlib
