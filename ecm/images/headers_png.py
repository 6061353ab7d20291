"""Walks PNG chunks and repacks the few that make the picture. Source: W3C PNG, third edition.

Text, profiles and animation data never reach a decoder, so nothing in them is inflated; damage in
them does no harm. Checksums of the chunks that are kept are left for the decoder to verify, but
IDAT's, which Pillow reads over, are verified here.
"""

from __future__ import annotations

import struct
import zlib

from ecm.errors import ImageError
from ecm.images.checks import Header, check_frames, check_size, corrupt, truncated
from ecm.images.exif import UPRIGHT, orientation_of
from ecm.images.limits import ImageLimits
from ecm.images.signature import ImageFormat

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_TEXT = {b"tEXt", b"zTXt", b"iTXt"}
_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"IDAT"}
# a megabyte of headers: an honest encoder writes 8 KiB or more per chunk
_MAX_CHUNKS = 200_000
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


class _Walk:
    """What has been met on the way through the chunks."""

    def __init__(self) -> None:
        self.kept: list[memoryview | bytes] = [_SIGNATURE]
        self.has_pixels = False
        self.frames = 1
        self.orientation = UPRIGHT
        self.text_chunks = 0
        self.text_bytes = 0


def walk_png(data: bytes, limits: ImageLimits) -> Header:
    """Size, frames (acTL), orientation (eXIf) and the repacked body of a PNG.

    A missing or cut end marker is forgiven when all pixel data are there. Raises ImageError:
    `decode.truncated`, `decode.corrupt`, `decode.too_many_chunks`, `decode.too_many_frames`.
    """
    view, walk, at = memoryview(data), _Walk(), 8
    size = _image_header(data)
    # checked here, before the chunks are copied
    check_size(size, ImageFormat.PNG, limits)
    for _ in range(_MAX_CHUNKS):
        if at + 8 > len(data):
            break
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"IEND":
            break
        end = at + 12 + length
        if end > len(data):
            if kind in _KEPT or not walk.has_pixels:
                raise truncated(f"a PNG chunk ({kind!r})")
            break
        _take(walk, kind, view[at:end], limits)
        at = end
    else:
        raise _too_many(f"more than {_MAX_CHUNKS} PNG chunks")
    if not walk.has_pixels:
        raise truncated("a PNG before its pixel data")
    body = b"".join([*walk.kept, _END])
    return Header(ImageFormat.PNG, size, walk.orientation, walk.frames, body)


def _image_header(data: bytes) -> tuple[int, int]:
    if len(data) < 33:
        raise truncated("the PNG header")
    length, kind, width, height, depth, colour = struct.unpack_from(">I4sIIBB", data, 8)
    if kind != b"IHDR" or length != 13:
        raise corrupt("a PNG that does not begin with its header")
    if depth not in _DEPTHS.get(colour, ()):
        raise corrupt(f"PNG colour type {colour} with {depth} bits does not exist")
    return width, height


def _take(walk: _Walk, kind: bytes, chunk: memoryview, limits: ImageLimits) -> None:
    """Counts, reads or keeps one whole chunk (with its length, kind and checksum)."""
    body = chunk[8:-4]
    if kind in _KEPT:
        if kind == b"IHDR" and len(walk.kept) > 1:
            raise corrupt("a PNG with two headers")
        if kind == b"IDAT" and zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            raise corrupt("wrong checksum of PNG pixel data")
        walk.has_pixels = walk.has_pixels or (kind == b"IDAT" and len(body) > 0)
        walk.kept.append(chunk)
    elif kind in _TEXT:
        walk.text_chunks += 1
        walk.text_bytes += len(body)
        if walk.text_chunks > limits.max_text_chunks or walk.text_bytes > limits.max_text_bytes:
            raise _too_many(f"{walk.text_chunks} PNG text chunks, {walk.text_bytes} bytes")
    elif kind == b"acTL" and len(body) == 8:
        walk.frames = max(1, int.from_bytes(body[:4], "big"))
        check_frames(walk.frames, limits)
    elif kind == b"eXIf" and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big"):
        walk.orientation = orientation_of(bytes(body))


def _too_many(what: str) -> ImageError:
    return ImageError(f"{what}: more than the limits allow", "decode.too_many_chunks")


def missing_rows(body: bytes) -> bool:
    """Whether the pixel data of a repacked PNG inflate to fewer bytes than its header asks for.

    Inflates a mebibyte at a time and keeps none of it. Raises ImageError `decode.corrupt` for a
    damaged zlib stream.
    """
    want, got, at = _raw_bytes(body), 0, 8
    inflater = zlib.decompressobj()
    try:
        while at + 8 <= len(body) and got < want and not inflater.eof:
            length, kind = int.from_bytes(body[at : at + 4], "big"), body[at + 4 : at + 8]
            rest = body[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
            while rest and got < want and not inflater.eof:
                got += len(inflater.decompress(rest, 1 << 20))
                rest = inflater.unconsumed_tail
            at += 12 + length
        while got < want and (more := inflater.decompress(inflater.unconsumed_tail, 1 << 20)):
            got += len(more)
    except zlib.error as error:
        raise corrupt(f"damaged PNG pixel data: {error}") from error
    return got < want


def _raw_bytes(body: bytes) -> int:
    """Bytes of all filtered rows, their filter bytes included, over all Adam7 passes."""
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", body, 16)
    bits = depth * _CHANNELS[colour]
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    total = 0
    for left, top, step_x, step_y in passes:
        columns, rows = -(-(width - left) // step_x), -(-(height - top) // step_y)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total
