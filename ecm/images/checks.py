"""Checks of sizes and counts against the limits, and the errors every header walker raises.

Knows no format in detail. `Header` is what a walker hands on.
"""

from __future__ import annotations

from dataclasses import dataclass

from ecm.errors import ImageError
from ecm.images.limits import ImageLimits
from ecm.images.signature import ImageFormat

Size = tuple[int, int]

_TRANSFORM_FORMATS = {ImageFormat.JPEG2000, ImageFormat.AVIF, ImageFormat.HEIF}


@dataclass(frozen=True, slots=True)
class Header:
    """A header that passed its checks.

    `size` is (width, height) in pixels as stored, None when only the decoder can tell;
    `orientation` is 1-8, None when the decoder tells; `body` is what the decoder gets.
    """

    format: ImageFormat
    size: Size | None
    orientation: int | None
    frames: int
    body: bytes


def check_bytes(size: int, limits: ImageLimits) -> None:
    """Raises ImageError `input.too_large` when `size` bytes are more than the limits allow."""
    if size > limits.max_bytes:
        raise ImageError(
            f"{size} bytes are more than the limit of {limits.max_bytes}",
            "input.too_large",
            "raise images.max_bytes in the profile if such files are wanted",
        )


def check_size(size: Size, image_format: ImageFormat, limits: ImageLimits) -> None:
    """Raises ImageError for an empty image, a side or a number of pixels beyond the limits."""
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"the header says {width} x {height} pixels", "decode.corrupt")
    most = limits.max_pixels
    if image_format in _TRANSFORM_FORMATS:
        most = min(most, limits.max_pixels_transform)
    if width * height > most or max(width, height) > limits.max_side:
        raise ImageError(
            f"{width} x {height} pixels are more than the limits of {most} pixels and"
            f" {limits.max_side} on a side",
            "decode.too_many_pixels",
            "raise images.max_pixels in the profile if such images are wanted",
        )


def check_frames(frames: int, limits: ImageLimits) -> None:
    """Raises ImageError `decode.too_many_frames` above the limit."""
    if frames > limits.max_frames:
        raise ImageError(f"more than {limits.max_frames} frames or pages", "decode.too_many_frames")


def truncated(what: str) -> ImageError:
    """The error for data that ends too early."""
    return ImageError(f"the data ends within {what}", "decode.truncated")


def corrupt(what: str) -> ImageError:
    """The error for data that contradicts its format."""
    return ImageError(what, "decode.corrupt")
