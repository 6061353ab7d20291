"""Finds the blocks of metadata in the container of an image, and the comments of JPEG and PNG.

Walks containers by their length fields; a container that breaks off is read as far as it goes. Text
that is stored compressed is inflated up to MAX_BLOCK and left out beyond. Knows nothing of what
blocks say.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from ecm.contracts.result import WrittenKind
from ecm.errors import EcmError
from ecm.images.raster import embedded_blocks
from ecm.images.signature import ImageFormat, identify
from ecm.images.written_exif import tiff_blocks
from ecm.images.written_iptc import iptc_of_resources
from ecm.images.written_words import MAX_BLOCK, MAX_TEXT_BYTES, Said, text_of

_MAX_PARTS: Final = 200_000
_MAX_TEXTS: Final = 64
_MARKER: Final = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_PHOTOSHOP: Final = b"Photoshop 3.0\0"
_PNG_XMP: Final = b"XML:com.adobe.xmp"
_PNG_KINDS: Final = {
    b"title": WrittenKind.TITLE,
    b"description": WrittenKind.DESCRIPTION,
    b"comment": WrittenKind.COMMENT,
}


@dataclass(slots=True)
class Blocks:
    """The first block of each standard, empty where there is none; texts of PNG and JPEG."""

    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    png: list[Said] = field(default_factory=list)
    jpeg: list[str] = field(default_factory=list)


def blocks_of(data: bytes) -> Blocks:
    """What lies in an image of any format; of formats without metadata nothing. Never raises."""
    image_format = identify(data)
    walk = _WALKERS.get(image_format) if image_format else None
    return walk(data) if walk else Blocks()


def _jpeg(data: bytes) -> Blocks:
    found, photoshop = Blocks(), b""
    for marker, body in _segments(data):
        if marker == 0xFE and len(found.jpeg) < _MAX_TEXTS:
            found.jpeg.append(text_of(body))
        elif marker == 0xE1 and body.startswith(_EXIF):
            found.exif = found.exif or body[len(_EXIF) :]
        elif marker == 0xE1 and body.startswith(_XMP):
            found.xmp = found.xmp or body[len(_XMP) :]
        elif marker == 0xED and body.startswith(_PHOTOSHOP) and len(photoshop) < MAX_BLOCK:
            photoshop += body[len(_PHOTOSHOP) :]
    found.iptc = iptc_of_resources(photoshop)
    return found


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers and bodies up to the first scan."""
    at = 2
    for _ in range(_MAX_PARTS):
        match = _MARKER.search(data, at)
        if match is None:
            return
        marker, at = match[1][0], match.end()
        if marker in _STANDALONE:
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        if marker in (0xD9, 0xDA) or length < 2 or at + length > len(data):
            return
        if marker in (0xE1, 0xED, 0xFE):
            yield marker, data[at + 2 : at + length]
        at += length


def _png(data: bytes) -> Blocks:
    found, at, texts = Blocks(), 8, 0
    for _ in range(_MAX_PARTS):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 12 + length
        if kind == b"IEND" or end > len(data):
            break
        if length <= MAX_BLOCK and kind == b"eXIf":
            found.exif = found.exif or data[at + 8 : end - 4].removeprefix(_EXIF)
        elif length <= MAX_BLOCK and kind in _PNG_TEXTS and texts < _MAX_TEXTS:
            texts += 1
            keyword, _, rest = data[at + 8 : end - 4].partition(b"\0")
            text = _PNG_TEXTS[kind](rest)
            if keyword == _PNG_XMP:
                found.xmp = found.xmp or text
            elif said := _PNG_KINDS.get(keyword.lower()):
                found.png.append((said, _of_chunk(kind, text)))
        at = end
    return found


def _of_chunk(kind: bytes, text: bytes) -> str:
    """International text is UTF-8; the rest is Latin-1 by the standard and often is not."""
    if kind == b"iTXt":
        return text[:MAX_TEXT_BYTES].decode("utf-8", errors="replace")
    return text_of(text)


def _plain(rest: bytes) -> bytes:
    return rest


def _compressed(rest: bytes) -> bytes:
    return _inflated(rest[1:]) if rest[:1] == b"\0" else b""


def _international(rest: bytes) -> bytes:
    """Text after a flag, a method, a language and a translated keyword."""
    parts = rest[2:].split(b"\0", 2)
    if len(parts) < 3:
        return b""
    return _inflated(parts[2]) if rest[0] else parts[2]


def _inflated(data: bytes) -> bytes:
    """Empty where it would be more than MAX_BLOCK, or is damaged."""
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(data, MAX_BLOCK)
    except zlib.error:
        return b""
    return text if inflater.eof else b""


def _webp(data: bytes) -> Blocks:
    found, at = Blocks(), 12
    for _ in range(_MAX_PARTS):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if len(kind) < 4 or at + 8 + length > len(data):
            break
        if length <= MAX_BLOCK and kind == b"EXIF":
            found.exif = found.exif or data[at + 8 : at + 8 + length].removeprefix(_EXIF)
        elif length <= MAX_BLOCK and kind == b"XMP ":
            found.xmp = found.xmp or data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    return found


def _tiff(data: bytes) -> Blocks:
    xmp, iptc = tiff_blocks(data)
    return Blocks(exif=data, xmp=xmp, iptc=iptc)


def _boxed(data: bytes) -> Blocks:
    """HEIF and AVIF: their libraries find the blocks."""
    image_format = identify(data)
    try:
        exif, xmp = embedded_blocks(image_format or ImageFormat.HEIF, data)
    except EcmError:
        return Blocks()
    return Blocks(exif=exif[:MAX_BLOCK].removeprefix(_EXIF), xmp=xmp)


_PNG_TEXTS: Final[dict[bytes, Callable[[bytes], bytes]]] = {
    b"tEXt": _plain,
    b"zTXt": _compressed,
    b"iTXt": _international,
}
_WALKERS: Final[dict[ImageFormat, Callable[[bytes], Blocks]]] = {
    ImageFormat.JPEG: _jpeg,
    ImageFormat.PNG: _png,
    ImageFormat.WEBP: _webp,
    ImageFormat.TIFF: _tiff,
    ImageFormat.HEIF: _boxed,
    ImageFormat.AVIF: _boxed,
}
