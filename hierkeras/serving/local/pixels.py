"""How many pixels an image promises, told by its head alone.

Only enough of a format is read to know what decoding may cost; whether the
image is one, the graph finds out. One of more parts than images have costs as
much as any.
"""

from __future__ import annotations

import re
import struct
from typing import Final

# Whatever one image promises: the graph refuses more without decoding it,
# unless the export was told otherwise.
MOST: Final = 50_000_000
_FREE_PARTS, _PART_BYTES = 128, 32
# ITU-T T.81, table B.1: frames, those of no other use left out, and the scan.
_MARKER: Final = re.compile(rb"\xff+([^\xff\0])")
_FRAMES: Final = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_LAST: Final = {0xD9, 0xDA}
_ALONE: Final = {0x01, *range(0xD0, 0xD8)}  # without a length and contents
_GIF_EXTENSION, _GIF_IMAGE, _GIF_HEAD = 0x21, 0x2C, 13


def promised(encoded: bytes) -> int:
    """The pixels of an image, at most `MOST`; 0 if nothing is promised.

    Args:
        encoded: The image.
    """
    try:
        width, height = _sides(encoded)
    except (struct.error, IndexError):  # cut off
        return 0
    return min(abs(width * height), MOST)


def _sides(encoded: bytes) -> tuple[int, int]:
    if encoded.startswith(b"\xff\xd8"):
        return _of_jpeg(encoded)
    if encoded.startswith(b"\x89PNG"):
        return struct.unpack_from(">II", encoded, 16)
    if encoded.startswith(b"GIF8"):
        return _of_gif(encoded)
    if encoded.startswith(b"BM"):
        is_short = struct.unpack_from("<I", encoded, 14)[0] == 12
        return struct.unpack_from("<HH" if is_short else "<ii", encoded, 18)
    if encoded.startswith(b"RIFF"):
        return _of_webp(encoded)
    return 0, 0


def _of_jpeg(encoded: bytes) -> tuple[int, int]:
    place, width, height = 2, 0, 0
    for _ in range(_most_parts(encoded)):
        # A decoder passes over what stands between two segments.
        marker = _MARKER.search(encoded, place)
        if marker is None or marker[1][0] in _LAST:
            break
        place = marker.end()
        if marker[1][0] in _FRAMES:
            height, width = struct.unpack_from(">HH", encoded, place + 3)
            break
        if marker[1][0] not in _ALONE:
            place += struct.unpack_from(">H", encoded, place)[0]
    else:
        return MOST, 1
    return width, height


def _of_gif(encoded: bytes) -> tuple[int, int]:
    """Of the whole, or of its first frame, whichever has more."""
    width, height = struct.unpack_from("<HH", encoded, 6)
    flags = encoded[10]
    place = _GIF_HEAD + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    for _ in range(_most_parts(encoded)):
        kind = encoded[place]
        if kind == _GIF_IMAGE:
            own = struct.unpack_from("<HH", encoded, place + 5)
            return max((width, height), own, key=lambda size: size[0] * size[1])
        if kind == _GIF_EXTENSION:
            place += 2
        # A sub-block of no bytes is the end of an extension.
        place += encoded[place] + 1
    return MOST, 1


def _of_webp(encoded: bytes) -> tuple[int, int]:
    kind = encoded[12:16]
    if kind == b"VP8X":
        sides = int.from_bytes(encoded[24:30], "little")
        return sides % 2**24 + 1, sides // 2**24 + 1
    if kind == b"VP8L":
        packed = struct.unpack_from("<I", encoded, 21)[0]
        return packed % 2**14 + 1, packed // 2**14 % 2**14 + 1
    width, height = struct.unpack_from("<HH", encoded, 26)
    return width % 2**14, height % 2**14


def _most_parts(encoded: bytes) -> int:
    return _FREE_PARTS + len(encoded) // _PART_BYTES
