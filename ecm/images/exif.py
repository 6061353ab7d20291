"""EXIF orientation: finding it in a TIFF block, and turning pixels upright.

Reads one tag of the first directory and nothing else; never follows a pointer. XMP is not read.
Source: CIPA DC-008 (Exif 2.32), 4.6.4, tag 0x0112.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

UPRIGHT = 1
_ORIENTATION = 0x0112
_MAX_ENTRIES = 512


def orientation_of(exif: bytes) -> int:
    """Orientation 1-8 of an EXIF block (with or without its ``Exif`` prefix).

    Absent, damaged or invalid (0, 99) means 1: the pixels are taken as they are.
    """
    block = exif[6:] if exif.startswith(b"Exif\x00\x00") else exif
    if len(block) < 14 or block[:4] not in (b"II*\x00", b"MM\x00*"):
        return UPRIGHT
    order = "<" if block[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", block, 4)
    if at + 2 > len(block):
        return UPRIGHT
    (count,) = struct.unpack_from(order + "H", block, at)
    for entry in range(at + 2, at + 2 + 12 * min(count, _MAX_ENTRIES), 12):
        if entry + 12 > len(block):
            break
        tag, kind, values = struct.unpack_from(order + "HHI", block, entry)
        if tag == _ORIENTATION:
            form = {1: "B", 3: "H", 4: "I"}.get(kind)
            if form is None or values != 1:
                return UPRIGHT
            (value,) = struct.unpack_from(order + form, block, entry + 8)
            return int(value) if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT


def swaps_sides(orientation: int) -> bool:
    """Whether turning upright exchanges width and height."""
    return orientation >= 5


def upright(pixels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """The pixels turned upright; a contiguous (h, w, 3) uint8 array, copied only when turned.

    `pixels` is (h, w, 3) as stored, `orientation` 1-8. 2 and 4 mirror, 3 turns by 180 degrees,
    5-8 also exchange rows and columns.
    """
    turned = pixels.transpose(1, 0, 2) if swaps_sides(orientation) else pixels
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)
