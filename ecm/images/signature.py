"""Which image format bytes are, by their content. Knows signatures; names play no part.

This is an allow-list: what is not named here is never handed to a decoder. PostScript, PDF, SVG and
other formats that need an interpreter, fetch things or expand XML are left out on purpose.
"""

from __future__ import annotations

import re
import struct
from enum import StrEnum

SNIFF_BYTES = 64

_HEIF_BRANDS = {
    *(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"),
    *(b"mif1", b"msf1"),
}
_AVIF_BRANDS = {b"avif", b"avis"}
_DIB_HEADER_SIZES = {12, 16, 40, 52, 56, 64, 108, 124}
_PNM = re.compile(rb"P[1-6][ \t\r\n]+[#0-9]")
_TGA_FOOTER = b"TRUEVISION-XFILE.\x00"


class ImageFormat(StrEnum):
    """Container formats that are decoded."""

    JPEG = "JPEG"
    PNG = "PNG"
    GIF = "GIF"
    WEBP = "WEBP"
    TIFF = "TIFF"
    BMP = "BMP"
    AVIF = "AVIF"
    HEIF = "HEIF"
    JPEG2000 = "JPEG2000"
    ICO = "ICO"
    ICNS = "ICNS"
    PNM = "PNM"
    TGA = "TGA"
    PCX = "PCX"
    DDS = "DDS"
    SGI = "SGI"
    QOI = "QOI"


_PREFIXES: tuple[tuple[bytes, ImageFormat], ...] = (
    (b"\xff\xd8\xff", ImageFormat.JPEG),
    (b"\x89PNG\r\n\x1a\n", ImageFormat.PNG),
    (b"GIF87a", ImageFormat.GIF),
    (b"GIF89a", ImageFormat.GIF),
    (b"II*\x00", ImageFormat.TIFF),
    (b"MM\x00*", ImageFormat.TIFF),
    (b"II+\x00", ImageFormat.TIFF),
    (b"MM\x00+", ImageFormat.TIFF),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", ImageFormat.JPEG2000),
    (b"\xff\x4f\xff\x51", ImageFormat.JPEG2000),
    (b"icns", ImageFormat.ICNS),
    (b"DDS ", ImageFormat.DDS),
    (b"qoif", ImageFormat.QOI),
)


def identify(data: bytes) -> ImageFormat | None:
    """The format of `data`, or None when it is no format that is decoded.

    The first `SNIFF_BYTES` bytes are enough for all formats but TGA, which has no signature at its
    start and is recognised by its footer or by a header that fits the length of the whole file.

    >>> str(identify(bytes.fromhex("ffd8ffe0")))
    'JPEG'
    >>> identify(b"%!PS-Adobe-3.0 EPSF-3.0") is None
    True
    """
    for prefix, image_format in _PREFIXES:
        if data.startswith(prefix):
            return image_format
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ImageFormat.WEBP
    if data[4:8] == b"ftyp":
        return _iso_brand(data)
    return _weakly_signed(data)


def _iso_brand(data: bytes) -> ImageFormat | None:
    """AVIF or HEIF by the brands of an ISO base media file; other brands (videos) are None."""
    length = min(int.from_bytes(data[:4], "big"), len(data), 256)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, length - 3, 4))}
    if data[8:12] in _AVIF_BRANDS or (data[8:12] in _HEIF_BRANDS and brands & _AVIF_BRANDS):
        return ImageFormat.AVIF
    return ImageFormat.HEIF if data[8:12] in _HEIF_BRANDS else None


def _weakly_signed(data: bytes) -> ImageFormat | None:
    """Formats whose magic numbers are short: more of the header has to make sense."""
    if len(data) < 18:
        return None
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _DIB_HEADER_SIZES:
        return ImageFormat.BMP
    if data[:4] == b"\x00\x00\x01\x00" and data[5] == 0 and data[4] > 0 and data[9] == 0:
        return ImageFormat.ICO
    if data[0] == 10 and data[1] in (0, 2, 3, 4, 5) and data[2] == 1 and data[3] in (1, 2, 4, 8):
        return ImageFormat.PCX
    if data[:2] == b"\x01\xda" and data[2] in (0, 1) and data[3] in (1, 2):
        return ImageFormat.SGI
    if _PNM.match(data):
        return ImageFormat.PNM
    return ImageFormat.TGA if _is_tga(data) else None


def _is_tga(data: bytes) -> bool:
    id_length, has_map, kind = data[0], data[1], data[2]
    map_length, map_depth = struct.unpack_from("<HB", data, 5)
    width, height, depth = struct.unpack_from("<HHB", data, 12)
    if has_map > 1 or kind not in (1, 2, 3, 9, 10, 11) or not width or not height:
        return False
    if depth not in (8, 16, 24, 32) or (kind in (1, 9)) != bool(has_map):
        return False
    if data.endswith(_TGA_FOOTER):
        return True
    pixels_at = 18 + id_length + (map_length * ((map_depth + 7) // 8) if has_map else 0)
    return kind < 9 and len(data) == pixels_at + width * height * (depth // 8)
