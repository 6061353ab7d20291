"""Walks ICO and ICNS, whose pictures may be PNG or JPEG 2000 files larger than they claim."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ecm.images.checks import Header, Size, check_size, corrupt, truncated
from ecm.images.exif import UPRIGHT
from ecm.images.limits import ImageLimits
from ecm.images.signature import ImageFormat, identify

_MAX_PICTURES = 1_024


def walk_ico(data: bytes, limits: ImageLimits) -> Header:
    """Checks the true size of every picture in an ICO. Raises ImageError as `check_size` does."""
    (count,) = struct.unpack_from("<H", data, 4)
    if not 0 < count <= _MAX_PICTURES:
        raise corrupt(f"an ICO with {count} pictures")
    if 6 + 16 * count > len(data):
        raise truncated("the ICO directory")
    for entry in range(6, 6 + 16 * count, 16):
        length, at = struct.unpack_from("<II", data, entry + 8)
        _check_picture(data[at : at + min(length, 64)], limits)
    return Header(ImageFormat.ICO, None, UPRIGHT, 1, data)


def walk_icns(data: bytes, limits: ImageLimits) -> Header:
    """Checks the true size of every picture in an ICNS. Raises ImageError as `check_size` does."""
    for at, length in _icns_blocks(data):
        _check_picture(data[at : at + min(length, 96)], limits)
    return Header(ImageFormat.ICNS, None, UPRIGHT, 1, data)


def _icns_blocks(data: bytes) -> Iterator[tuple[int, int]]:
    at, blocks = 8, 0
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "big")
        blocks += 1
        if length < 8 or blocks > _MAX_PICTURES:
            raise corrupt("an ICNS with a broken block list")
        yield at + 8, length - 8
        at += length


def _check_picture(head: bytes, limits: ImageLimits) -> None:
    size = _picture_size(head)
    if size is not None:
        check_size(size, ImageFormat.ICO, limits)


def _picture_size(head: bytes) -> Size | None:
    """Size of a PNG, JPEG 2000 or bitmap (whose height counts its mask); None if unknown."""
    embedded = identify(head)
    if embedded is ImageFormat.PNG and len(head) >= 24:
        width, height = struct.unpack_from(">II", head, 16)
        return width, height
    if embedded is ImageFormat.JPEG2000:
        return _jpeg2000_size(head)
    if len(head) >= 16 and int.from_bytes(head[:4], "little") == 40:
        width, height = struct.unpack_from("<ii", head, 4)
        return abs(width), max(1, abs(height) // 2)
    return None


def _jpeg2000_size(head: bytes) -> Size | None:
    box = head.find(b"ihdr")
    if box >= 0 and box + 12 <= len(head):
        height, width = struct.unpack_from(">II", head, box + 4)
        return width, height
    if head[:4] == b"\xff\x4f\xff\x51" and len(head) >= 24:
        right, bottom, left, top = struct.unpack_from(">IIII", head, 8)
        return right - left, bottom - top
    return None
