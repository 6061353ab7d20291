"""Every format but JPEG through Pillow and pillow-heif, and JPEG where libturbojpeg is absent.

Opens plug-in classes directly: nothing is registered with Pillow by name, no other plug-in can be
reached, Pillow's process-wide settings stay as they are. Its warnings stay inside.

Policy for damage: what the decoder reports as cut is `decode.truncated`, any other complaint
`decode.corrupt`. BMP, WebP, JPEG 2000 and other formats without checksums decode with changed bytes
unnoticed. Only the first frame or page has to be whole.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    DdsImagePlugin,
    GifImagePlugin,
    IcnsImagePlugin,
    IcoImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PcxImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    QoiImagePlugin,
    SgiImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from ecm.errors import BackendMissing, ImageError, ResourceExhausted
from ecm.images.checks import Header, check_frames, check_size, corrupt, truncated
from ecm.images.exif import UPRIGHT, orientation_of
from ecm.images.headers_png import missing_rows
from ecm.images.limits import ImageLimits
from ecm.images.rgb import to_rgb
from ecm.images.signature import ImageFormat
from ecm.images.turbo import dct_scale

# decoders that Pillow has in Python, by their tile names
_INTERPRETED = {"qoi", "dds_rgb", "ppm_plain", "ppm", "bmp_rle", "SGI16"}
_CUT = ("truncated", "unexpected end", "end of file", "unexpectedend")
_MEMORY = ("out of memory", "memory allocation", "cannot allocate")
_FILTERS = threading.RLock()


def _open_heif(stream: IO[bytes]) -> ImageFile.ImageFile:
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise BackendMissing(
            f"HEIC cannot be decoded: {error}", hint="pip install pillow-heif"
        ) from error
    image: ImageFile.ImageFile = HeifImageFile(stream)
    return image


_OPENERS: dict[ImageFormat, Callable[[IO[bytes]], ImageFile.ImageFile]] = {
    ImageFormat.JPEG: JpegImagePlugin.JpegImageFile,
    ImageFormat.PNG: PngImagePlugin.PngImageFile,
    ImageFormat.GIF: GifImagePlugin.GifImageFile,
    ImageFormat.WEBP: WebPImagePlugin.WebPImageFile,
    ImageFormat.TIFF: TiffImagePlugin.TiffImageFile,
    ImageFormat.BMP: BmpImagePlugin.BmpImageFile,
    ImageFormat.AVIF: AvifImagePlugin.AvifImageFile,
    ImageFormat.HEIF: _open_heif,
    ImageFormat.JPEG2000: Jpeg2KImagePlugin.Jpeg2KImageFile,
    ImageFormat.ICO: IcoImagePlugin.IcoImageFile,
    ImageFormat.ICNS: IcnsImagePlugin.IcnsImageFile,
    ImageFormat.PNM: PpmImagePlugin.PpmImageFile,
    ImageFormat.TGA: TgaImagePlugin.TgaImageFile,
    ImageFormat.PCX: PcxImagePlugin.PcxImageFile,
    ImageFormat.DDS: DdsImagePlugin.DdsImageFile,
    ImageFormat.SGI: SgiImagePlugin.SgiImageFile,
    ImageFormat.QOI: QoiImagePlugin.QoiImageFile,
}


def decode_raster(
    header: Header, limits: ImageLimits, shorter_side: int
) -> tuple[Header, npt.NDArray[np.uint8]]:
    """The header completed by the decoder, and RGB pixels as stored, (h, w, 3) uint8.

    Images with a shorter side of four times `shorter_side` or more are averaged down by a whole
    factor to no less than twice `shorter_side`; JPEGs are scaled in the DCT. Raises ImageError
    (`decode.*`), ResourceExhausted and BackendMissing.
    """
    with _quiet(), _translated(header.format):
        image = _OPENERS[header.format](io.BytesIO(header.body))
        complete = _completed(header, image)
        _check_opened(complete, image, limits)
        if header.format is ImageFormat.JPEG:
            _check_end_marker(header.body)
            scale = dct_scale(*image.size, shorter_side)
            image.draft(None, (-(-image.size[0] // scale), -(-image.size[1] // scale)))
        image.load()
        if header.format is ImageFormat.PNG and _ends_in_zeros(image) and missing_rows(header.body):
            raise truncated("the PNG pixel data")
        return complete, _reduced(to_rgb(image), shorter_side)


def embedded_blocks(image_format: ImageFormat, data: bytes) -> tuple[bytes, bytes]:
    """The EXIF and the XMP block that a plug-in finds when it opens an image; empty if none.

    Decodes no pixels. Raises ImageError, ResourceExhausted and BackendMissing.
    """
    with _quiet(), _translated(image_format):
        info = _OPENERS[image_format](io.BytesIO(data)).info
    exif, xmp = info.get("exif"), info.get("xmp")
    return exif if isinstance(exif, bytes) else b"", xmp if isinstance(xmp, bytes) else b""


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Pillow's warnings inside. Filters are process-wide, so one thread at a time."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _translated(image_format: ImageFormat) -> Iterator[None]:
    """Turns whatever a plug-in raises on hostile bytes into ImageError, once, here."""
    try:
        yield
    except (ImageError, BackendMissing):
        raise
    except Exception as error:
        words = f"{error}".lower()
        if isinstance(error, MemoryError) or any(text in words for text in _MEMORY):
            raise ResourceExhausted(f"no memory to decode this {image_format}") from error
        if isinstance(error, EOFError) or any(text in words for text in _CUT):
            raise truncated(f"the {image_format} data") from error
        text = " ".join(f"{type(error).__name__} {error}".split())[:200]
        raise corrupt(f"damaged {image_format}: {text}") from error


def _completed(header: Header, image: ImageFile.ImageFile) -> Header:
    """What the walker left open, from the opened image: size, frames, orientation."""
    orientation = header.orientation
    if orientation is None:
        orientation = _plugin_orientation(header.format, image)
    frames = header.frames
    if header.size is None:
        frames = max(frames, int(getattr(image, "n_frames", 1)))
    return Header(header.format, image.size, orientation, frames, header.body)


def _plugin_orientation(image_format: ImageFormat, image: ImageFile.ImageFile) -> int:
    """Orientation still to be applied: TIFF and HEIF plug-ins turn the pixels themselves."""
    if image_format in (ImageFormat.TIFF, ImageFormat.HEIF):
        return UPRIGHT
    exif: Any = image.info.get("exif", b"")
    return orientation_of(exif) if isinstance(exif, bytes) else UPRIGHT


def _check_opened(header: Header, image: ImageFile.ImageFile, limits: ImageLimits) -> None:
    check_size(image.size, header.format, limits)
    check_frames(header.frames, limits)
    pixels = image.size[0] * image.size[1]
    if pixels > limits.max_pixels_interpreted and any(
        tile[0] in _INTERPRETED for tile in image.tile
    ):
        raise ImageError(
            f"{pixels} pixels are more than the limit of {limits.max_pixels_interpreted}"
            f" for this kind of {header.format}",
            "decode.too_many_pixels",
        )


def _check_end_marker(data: bytes) -> None:
    """Pillow does not tell of missing rows: a JPEG without its end marker is refused."""
    if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise truncated("the JPEG scan")


def _ends_in_zeros(image: Image.Image) -> bool:
    """Whether one of the last two rows is all zero, as rows are that a decoder never reached."""
    width, height = image.size
    rows = [image.crop((0, row, width, row + 1)) for row in range(max(0, height - 2), height)]
    return any(row.getbbox(alpha_only=False) is None for row in rows)


def _reduced(image: Image.Image, shorter_side: int) -> npt.NDArray[np.uint8]:
    factor = min(image.size) // (2 * shorter_side)
    if factor >= 2:
        image = Image.Image.reduce(image, factor)
    return np.array(image)


def heif_available() -> bool:
    """Whether pillow-heif can be loaded."""
    try:
        import pillow_heif
    except ImportError:
        return False
    return bool(pillow_heif.HeifImageFile)
