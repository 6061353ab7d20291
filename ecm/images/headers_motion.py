"""Walks GIF blocks and WebP chunks: sizes, frames, and whether the first frame is whole.

Sources: GIF89a specification (1990); RFC 9649 (WebP).
"""

from __future__ import annotations

import struct

from ecm.images.checks import Header, Size, check_frames, corrupt, truncated
from ecm.images.exif import UPRIGHT, orientation_of
from ecm.images.limits import ImageLimits
from ecm.images.signature import ImageFormat

_IMAGE, _EXTENSION, _TRAILER = 0x2C, 0x21, 0x3B
# a full-size GIF of 256 MiB has about a million sub-blocks of 255 bytes
_MAX_GIF_BLOCKS = 2_000_000


def walk_gif(data: bytes, limits: ImageLimits) -> Header:
    """The larger of screen and first frame, and the number of frames that are all there.

    Later frames may be cut or missing, the first may not. Raises ImageError: `decode.truncated`,
    `decode.corrupt`, `decode.too_many_frames`.
    """
    if len(data) < 13:
        raise truncated("the GIF header")
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + _table_bytes(flags)
    frames, budget = 0, _MAX_GIF_BLOCKS
    while at < len(data) and budget > 0:
        kind = data[at]
        if kind == _EXTENSION:
            at, whole, used = _sub_blocks(data, at + 2)
        elif kind == _IMAGE and at + 10 <= len(data):
            left, top, columns, rows, flags = struct.unpack_from("<HHHHB", data, at + 1)
            if frames == 0:
                width, height = max(width, left + columns), max(height, top + rows)
            at, whole, used = _sub_blocks(data, at + 11 + _table_bytes(flags))
            frames += whole
            check_frames(frames, limits)
        else:
            break
        budget -= used
        if not whole:
            break
    if frames == 0:
        raise truncated("the first GIF frame")
    return Header(ImageFormat.GIF, (width, height), UPRIGHT, frames, data)


def _table_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _sub_blocks(data: bytes, at: int) -> tuple[int, bool, int]:
    """The place after a chain of sub-blocks, whether its end was met, and how many there were."""
    count = 1
    while at < len(data) and count < _MAX_GIF_BLOCKS:
        length = data[at]
        at += 1 + length
        if length == 0:
            return at, True, count
        count += 1
    return at, False, count


def walk_webp(data: bytes, limits: ImageLimits) -> Header:
    """Canvas size, frames and orientation of a WebP; all of the RIFF body must be there.

    Raises ImageError: `decode.truncated`, `decode.corrupt`, `decode.too_many_frames`.
    """
    if len(data) < 30:
        raise truncated("the WebP header")
    if int.from_bytes(data[4:8], "little") + 8 > len(data) + 1:
        raise truncated("the WebP body")
    size: Size | None = None
    frames, orientation, at = 0, UPRIGHT, 12
    while at + 8 <= len(data):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if size is None:
            size = _webp_size(kind, data[at + 8 : at + 18])
        if kind == b"ANMF":
            frames += 1
            check_frames(frames, limits)
        elif kind == b"EXIF":
            orientation = orientation_of(data[at + 8 : at + 8 + length])
        at += 8 + length + (length & 1)
    if size is None:
        raise corrupt("a WebP without a picture")
    return Header(ImageFormat.WEBP, size, orientation, max(1, frames), data)


def _webp_size(kind: bytes, head: bytes) -> Size:
    if len(head) < 10:
        raise truncated("the WebP header")
    if kind == b"VP8X":
        return (
            1 + int.from_bytes(head[4:7], "little"),
            1 + int.from_bytes(head[7:10], "little"),
        )
    if kind == b"VP8L" and head[0] == 0x2F:
        bits = int.from_bytes(head[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and head[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", head, 6)
        return width & 0x3FFF, height & 0x3FFF
    raise corrupt("a WebP that begins with no known chunk")
