"""JPEG through libturbojpeg, scaled in the DCT. Knows PyTurboJPEG and its messages only.

Policy for damage: libjpeg goes on after damaged data, filling with gray, and only warns. Here a
warning is an error, since a half gray image would be indexed as if it were the photo. Two things
are forgiven, because no pixel is missing: an absent end marker, and a few bytes of padding before
it.
"""

from __future__ import annotations

import functools
import logging
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ecm.images.checks import check_size, corrupt, truncated
from ecm.images.limits import ImageLimits
from ecm.images.signature import ImageFormat

_LOG = logging.getLogger(__name__)
_SONAMES = ("libturbojpeg.so.0", "libturbojpeg.0.dylib")
_END_MARKER = b"\xff\xd9"
_MAX_PADDING = 64
# libjpeg has no codes for what it warns of; these texts are in jerror.h since 1994
_PADDING = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
_CUT = ("Premature end of JPEG file", "premature end of data segment")


@dataclass(frozen=True, slots=True)
class Turbo:
    """An open libturbojpeg, safe to use from several threads."""

    library: Any
    path: str


@dataclass(frozen=True, slots=True)
class TurboAbsent:
    """Why libturbojpeg cannot be used."""

    reason: str


class _Damaged(Exception):
    """libjpeg's own words about damaged data."""


@functools.cache
def open_turbo() -> Turbo | TurboAbsent:
    """The process's libturbojpeg; looked for once, its absence logged once."""
    try:
        from turbojpeg import TurboJPEG
    except ImportError as error:
        return _absent(f"PyTurboJPEG is not installed: {error}")
    # by soname first: PyTurboJPEG's own search starts ldconfig and compilers
    for path in (*_SONAMES, None):
        try:
            library = TurboJPEG(lib_path=path)
        except (OSError, RuntimeError, AttributeError) as error:
            reason = str(error).splitlines()[0]
            continue
        # PyTurboJPEG reports damage through `warnings`, whose filters are process-wide and not
        # thread-safe; taking its place here is the only way to learn of it without them
        library._TurboJPEG__report_error = functools.partial(_raise_damage, library)
        return Turbo(library, path or "found by PyTurboJPEG")
    return _absent(f"libturbojpeg is not usable: {reason}")


def _absent(reason: str) -> TurboAbsent:
    _LOG.warning("%s; JPEGs are decoded by Pillow, which is slower", reason)
    return TurboAbsent(reason)


def _raise_damage(library: Any, handle: Any) -> None:
    message = str(library._TurboJPEG__get_error_string(handle))
    padding = _PADDING.search(message)
    if not padding or int(padding[1]) > _MAX_PADDING:
        raise _Damaged(message)


def dct_scale(width: int, height: int, shorter_side: int) -> int:
    """The greatest of 8, 4, 2, 1 that leaves the shorter side at `shorter_side` or more.

    >>> dct_scale(2000, 1500, 256), dct_scale(500, 375, 256), dct_scale(1, 20000, 256)
    (4, 1, 1)
    """
    shorter = min(width, height)
    return next((scale for scale in (8, 4, 2) if -(-shorter // scale) >= shorter_side), 1)


def decode_turbo(
    turbo: Turbo, data: bytes, limits: ImageLimits, shorter_side: int
) -> npt.NDArray[np.uint8]:
    """RGB pixels as stored, (h, w, 3) uint8, not scaled below `shorter_side`.

    Raises ImageError: `decode.truncated`, `decode.corrupt`, `decode.too_many_pixels`.
    """
    try:
        return _decode(turbo, data, limits, shorter_side)
    except _Damaged as damage:
        if not any(text in str(damage) for text in _CUT):
            raise corrupt(f"damaged JPEG: {damage}") from None
    try:
        # only the end marker may be missing: with one, whole data decode without complaint
        return _decode(turbo, data + _END_MARKER, limits, shorter_side)
    except _Damaged:
        raise truncated("the JPEG scan") from None


def _decode(
    turbo: Turbo, data: bytes, limits: ImageLimits, shorter_side: int
) -> npt.NDArray[np.uint8]:
    from turbojpeg import TJCS_CMYK, TJCS_YCCK, TJFLAG_LIMITSCANS, TJPF_CMYK, TJPF_RGB

    try:
        width, height, _, colours = turbo.library.decode_header(data)
        # libjpeg's word on the size is the one that counts for the memory it takes
        check_size((width, height), ImageFormat.JPEG, limits)
        four = colours in (TJCS_CMYK, TJCS_YCCK)
        pixels: npt.NDArray[np.uint8] = turbo.library.decode(
            data,
            pixel_format=TJPF_CMYK if four else TJPF_RGB,
            scaling_factor=(1, dct_scale(width, height, shorter_side)),
            flags=TJFLAG_LIMITSCANS,
        )
    except OSError as error:
        raise _Damaged(str(error)) from error
    return _from_inverted_cmyk(pixels) if four else pixels


def _from_inverted_cmyk(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """RGB of CMYK as Adobe stores it in JPEGs, inverted (255 is no ink), like other writers."""
    height, width, _ = pixels.shape
    image = Image.frombuffer("CMYK", (width, height), pixels.tobytes(), "raw", "CMYK;I", 0, 1)
    return np.array(image.convert("RGB"))
