"""What an image's header says, checked before anything is decoded.

Dispatches to the walkers, which go through containers by their length fields and never inflate or
decode (a PNG is repacked without its text and profile chunks). Formats without a walker have
`size` None: `raster` opens them lazily and calls `check_size` before it loads them.
"""

from __future__ import annotations

from collections.abc import Callable

from ecm.errors import ImageError
from ecm.images.checks import Header, check_bytes, check_size
from ecm.images.headers_icon import walk_icns, walk_ico
from ecm.images.headers_jpeg import walk_jpeg
from ecm.images.headers_motion import walk_gif, walk_webp
from ecm.images.headers_png import walk_png
from ecm.images.headers_tiff import walk_tiff
from ecm.images.limits import ImageLimits
from ecm.images.signature import ImageFormat, identify

_WALKERS: dict[ImageFormat, Callable[[bytes, ImageLimits], Header]] = {
    ImageFormat.JPEG: walk_jpeg,
    ImageFormat.PNG: walk_png,
    ImageFormat.GIF: walk_gif,
    ImageFormat.WEBP: walk_webp,
    ImageFormat.TIFF: walk_tiff,
    ImageFormat.ICO: walk_ico,
    ImageFormat.ICNS: walk_icns,
}


def read_header(data: bytes, limits: ImageLimits) -> Header:
    """The header of `data`, checked against `limits`.

    Raises ImageError: `input.too_large`, `decode.empty`, `decode.unsupported`, `decode.truncated`,
    `decode.corrupt`, `decode.too_many_pixels`, `decode.too_many_frames`, `decode.too_many_chunks`.
    """
    if not data:
        raise ImageError("the file is empty", "decode.empty")
    check_bytes(len(data), limits)
    image_format = identify(data)
    if image_format is None:
        accepted = ", ".join(ImageFormat)
        raise ImageError(
            "not an image that can be decoded", "decode.unsupported", f"accepted: {accepted}"
        )
    walk = _WALKERS.get(image_format)
    header = walk(data, limits) if walk else Header(image_format, None, None, 1, data)
    if header.size is not None:
        check_size(header.size, image_format, limits)
    return header
