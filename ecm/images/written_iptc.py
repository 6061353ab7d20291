"""Captions, headlines and keywords in IPTC records, which lie among Photoshop's resources.

Source: IPTC-NAA IIM 4.2, chapter 1.6 and record 2; Adobe Photoshop File Formats, image resources.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from ecm.contracts.result import WrittenKind
from ecm.images.written_words import MAX_TEXT_BYTES, Said, text_of

_KINDS: Final = {
    5: WrittenKind.TITLE,
    25: WrittenKind.KEYWORD,
    105: WrittenKind.TITLE,
    120: WrittenKind.DESCRIPTION,
}
_TAG, _APPLICATION, _RESOURCE = 0x1C, 2, 0x0404
_MAX_RECORDS: Final = 2_000


def iptc_words(block: bytes) -> Iterator[Said]:
    """The words of records, up to the first that does not fit. Never raises."""
    at = 0
    for _ in range(_MAX_RECORDS):
        if at + 5 > len(block) or block[at] != _TAG:
            return
        record, number, size = struct.unpack_from(">BBH", block, at + 1)
        at += 5
        if size & 0x8000 or at + size > len(block):  # extended records are for pictures
            return
        if record == _APPLICATION and number in _KINDS:
            yield _KINDS[number], text_of(block[at : at + min(size, MAX_TEXT_BYTES)])
        at += size


def iptc_of_resources(block: bytes) -> bytes:
    """The IPTC records among Photoshop's image resources, empty when there are none."""
    at = 0
    for _ in range(_MAX_RECORDS):
        if block[at : at + 4] != b"8BIM" or at + 12 > len(block):
            return b""
        (number,) = struct.unpack_from(">H", block, at + 4)
        name = block[at + 6] + 1
        at += 6 + name + name % 2
        if at + 4 > len(block):
            return b""
        (size,) = struct.unpack_from(">I", block, at)
        if number == _RESOURCE:
            return block[at + 4 : at + 4 + size]
        at += 4 + size + size % 2
    return b""
