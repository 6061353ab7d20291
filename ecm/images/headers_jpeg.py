"""Walks JPEG segments up to the first scan. Source: ITU-T T.81, annex B."""

from __future__ import annotations

import struct

from ecm.errors import ImageError
from ecm.images.checks import Header, Size, corrupt, truncated
from ecm.images.exif import UPRIGHT, orientation_of
from ecm.images.limits import ImageLimits
from ecm.images.signature import ImageFormat

_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_LOSSLESS = {0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF}
_STANDALONE = {0x01, *range(0xD0, 0xD9)}
_SCAN, _END, _APP1 = 0xDA, 0xD9, 0xE1
# 64 KiB a segment: the largest profiles and extended XMP blocks need a few hundred
_MAX_SEGMENTS = 10_000


def walk_jpeg(data: bytes, limits: ImageLimits) -> Header:
    """Size from the first frame header, orientation from the first EXIF segment, scans counted.

    Raises ImageError: `decode.truncated` when no scan begins, `decode.corrupt`,
    `decode.unsupported` for lossless, hierarchical and 12 bit JPEG.
    """
    size: Size | None = None
    frame_marker, orientation, at = 0, UPRIGHT, 2
    for _ in range(_MAX_SEGMENTS):
        marker, at = _next_marker(data, at)
        if marker in (_SCAN, _END):
            break
        if marker in _STANDALONE:
            continue
        body, at = _segment(data, at)
        if marker in _FRAME_MARKERS and size is None:
            frame_marker, size = marker, _frame_size(marker, body)
        elif marker == _APP1 and orientation == UPRIGHT and body[:6] == b"Exif\x00\x00":
            orientation = orientation_of(body)
    else:
        raise corrupt(f"more than {_MAX_SEGMENTS} segments before the first scan")
    if size is None or marker == _END:
        raise corrupt("no frame header before the first scan")
    if frame_marker in _PROGRESSIVE:
        _check_scans(data, at, limits)
    return Header(ImageFormat.JPEG, size, orientation, 1, data)


def _check_scans(data: bytes, at: int, limits: ImageLimits) -> None:
    """Progressive scans are bounded in number, and only the end marker tells that all are there."""
    if data.count(b"\xff\xda", at) >= limits.max_scans:
        raise corrupt(f"more than {limits.max_scans} scans")
    if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise truncated("the scans of a progressive JPEG")


def _next_marker(data: bytes, at: int) -> tuple[int, int]:
    """The next marker code from `at` on and the place after it; passes over junk."""
    at = data.find(b"\xff", at)
    while 0 <= at < len(data) - 1:
        code = data[at + 1]
        if code not in (0x00, 0xFF):
            return code, at + 2
        at = data.find(b"\xff", at + 1)
    raise truncated("the JPEG header")


def _segment(data: bytes, at: int) -> tuple[bytes, int]:
    """Body of the segment whose length field is at `at`, and the place after it."""
    if at + 2 > len(data):
        raise truncated("a JPEG segment")
    length = int.from_bytes(data[at : at + 2], "big")
    if length < 2:
        raise corrupt("a JPEG segment shorter than its own length field")
    if at + length > len(data):
        raise truncated("a JPEG segment")
    return data[at + 2 : at + length], at + length


def _frame_size(marker: int, body: bytes) -> Size:
    if len(body) < 6:
        raise corrupt("a JPEG frame header that is too short")
    precision, height, width = struct.unpack_from(">BHH", body)
    if marker in _LOSSLESS or precision != 8:
        raise ImageError(
            f"JPEG process {marker - 0xC0} with {precision} bits is not supported",
            "decode.unsupported",
        )
    return width, height
