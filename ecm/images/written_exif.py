"""Words and the time of taking in a TIFF block, as EXIF is one: the first directory and its EXIF
directory, no other.

Offsets are followed only inside the block and to one directory, so nothing can go round in circles.
Source: CIPA DC-008 (Exif 2.32), 4.6; the XP tags are those of Windows Explorer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from ecm.contracts.result import WrittenKind
from ecm.images.written_words import MAX_BLOCK, MAX_TEXT_BYTES, Said, text_of, utf16_text

XMP_TAG, IPTC_TAG = 0x02BC, 0x83BB
_DESCRIPTION, _EXIF = 0x010E, 0x8769
_TITLE, _COMMENT, _KEYWORDS = 0x9C9B, 0x9C9C, 0x9C9E
_TAKEN, _OFFSET, _OFFSET_TAKEN, _USER_COMMENT = 0x9003, 0x9010, 0x9011, 0x9286

_MAX_ENTRIES: Final = 512
_WIDTHS: Final = {1: 1, 2: 1, 3: 2, 4: 4, 7: 1, 13: 4}
"""Bytes of a value of the types met here: BYTE, ASCII, SHORT, LONG, UNDEFINED, IFD."""
_BLANK: Final = b"\0" * 8


def exif_words(block: bytes) -> Iterator[Said]:
    """The time of taking, then what people wrote; nothing of what is malformed. Never raises."""
    order = _order(block)
    if order is None:
        return
    first = directory(block, order, _long(block, order, 4))
    second: dict[int, bytes] = {}
    if len(pointer := first.get(_EXIF, b"")) == 4:
        second = directory(block, order, _long(pointer, order, 0))
    if _TAKEN in second:
        offset = second.get(_OFFSET_TAKEN, second.get(_OFFSET, b""))
        zone = text_of(offset[:16]).strip()
        yield WrittenKind.TAKEN, text_of(second[_TAKEN][:32]).strip() + zone
    if _DESCRIPTION in first:
        yield WrittenKind.DESCRIPTION, text_of(first[_DESCRIPTION])
    for tag, kind in ((_TITLE, WrittenKind.TITLE), (_COMMENT, WrittenKind.COMMENT)):
        if tag in first:
            yield kind, utf16_text(first[tag], "<")
    for word in utf16_text(first.get(_KEYWORDS, b""), "<").split(";"):
        yield WrittenKind.KEYWORD, word
    if _USER_COMMENT in second:
        yield WrittenKind.COMMENT, _user_comment(second[_USER_COMMENT], order)


def tiff_blocks(data: bytes) -> tuple[bytes, bytes]:
    """The XMP packet and the IPTC records of a TIFF file, empty where there are none."""
    order = _order(data)
    if order is None:
        return b"", b""
    first = directory(data, order, _long(data, order, 4))
    return first.get(XMP_TAG, b""), first.get(IPTC_TAG, b"")


def directory(block: bytes, order: str, at: int) -> dict[int, bytes]:
    """The raw values of a directory by tag: those that lie inside the block and are words."""
    if at + 2 > len(block):
        return {}
    (count,) = struct.unpack_from(order + "H", block, at)
    found: dict[int, bytes] = {}
    for entry in range(at + 2, at + 2 + 12 * min(count, _MAX_ENTRIES), 12):
        if entry + 12 > len(block):
            break
        tag, kind, values = struct.unpack_from(order + "HHI", block, entry)
        size = _WIDTHS.get(kind, 0) * values
        place = entry + 8 if size <= 4 else _long(block, order, entry + 8)
        most = MAX_BLOCK if tag in (XMP_TAG, IPTC_TAG) else len(block)
        if tag in _WANTED and 0 < size <= most and place + size <= len(block):
            size = size if tag in (XMP_TAG, IPTC_TAG) else min(size, MAX_TEXT_BYTES)
            found.setdefault(tag, block[place : place + size])
    return found


_WANTED: Final = frozenset(
    {
        *(_DESCRIPTION, _EXIF, _TITLE, _COMMENT, _KEYWORDS, XMP_TAG, IPTC_TAG),
        *(_TAKEN, _OFFSET, _OFFSET_TAKEN, _USER_COMMENT),
    }
)


def _order(block: bytes) -> str | None:
    """The byte order of a TIFF block, or None when it is none."""
    if len(block) < 14:
        return None
    return {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])


def _long(block: bytes, order: str, at: int) -> int:
    return int(struct.unpack_from(order + "I", block, at)[0])


def _user_comment(raw: bytes, order: str) -> str:
    """A comment after eight bytes that name its character code."""
    code, text = raw[:8], raw[8:]
    if code == b"UNICODE\0":
        return utf16_text(text, order)
    if code in (_BLANK, b"ASCII\0\0\0"):
        return text_of(text)
    return "" if code == b"JIS\0\0\0\0\0" else text_of(raw)
