"""From bytes to upright RGB pixels. Chooses the decoder; the decoders are in `turbo` and `raster`.

What is forgiven and what is not, for all formats: the first frame (or page) must be whole. A
missing end marker, damaged metadata and cut later frames are forgiven; missing pixels are
`decode.truncated`; pixels the decoder complains about are `decode.corrupt`. Nothing is ever
filled in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecm.images.exif import UPRIGHT, swaps_sides, upright
from ecm.images.header import read_header
from ecm.images.limits import ImageLimits
from ecm.images.raster import decode_raster, heif_available
from ecm.images.signature import ImageFormat
from ecm.images.turbo import Turbo, TurboAbsent, decode_turbo, open_turbo

# goes up with any change that alters pixels, since evidence is keyed by it
DECODE_VERSION = 1


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A decoded image.

    `pixels` is a contiguous, writable (h, w, 3) uint8 RGB array, turned upright, possibly smaller
    than the image; `width` and `height` are those of the whole image, upright; `orientation` is
    the EXIF orientation that was applied (1 when none was, or when the format applies its own);
    `frames` counts frames or pages, of which only the first is in `pixels`; `decoder` is
    turbojpeg, pillow or pillow-heif.
    """

    pixels: npt.NDArray[np.uint8]
    width: int
    height: int
    format: str
    orientation: int
    frames: int
    decoder: str


@dataclass(frozen=True, slots=True)
class DecoderReport:
    """What this process decodes with. `detail` says which libturbojpeg, or why there is none."""

    turbojpeg: bool
    detail: str
    formats: tuple[str, ...]


def decode(data: bytes, limits: ImageLimits, shorter_side: int) -> DecodedImage:
    """Decodes `data` by its content, after its header passed `limits`.

    `shorter_side` is the smallest shorter side, in pixels, that later cuts need: decoding may scale
    down, but not below it (an image that is smaller stays as it is).

    Raises ImageError with code `input.too_large` or `decode.{empty, unsupported, truncated,
    corrupt, too_many_pixels, too_many_frames, too_many_chunks}`; ResourceExhausted when memory
    runs out; BackendMissing when a decoder is not installed.
    """
    if shorter_side < 1:
        raise ValueError(f"shorter_side must be at least 1, not {shorter_side}")
    header = read_header(data, limits)
    turbo = open_turbo() if header.format is ImageFormat.JPEG else None
    if isinstance(turbo, Turbo):
        decoder, pixels = "turbojpeg", decode_turbo(turbo, header.body, limits, shorter_side)
    else:
        decoder = "pillow-heif" if header.format is ImageFormat.HEIF else "pillow"
        header, pixels = decode_raster(header, limits, shorter_side)
    width, height = header.size or (pixels.shape[1], pixels.shape[0])
    orientation = header.orientation or UPRIGHT
    if swaps_sides(orientation):
        width, height = height, width
    return DecodedImage(
        pixels=upright(pixels, orientation),
        width=width,
        height=height,
        format=header.format.value,
        orientation=orientation,
        frames=header.frames,
        decoder=decoder,
    )


def decoder_report() -> DecoderReport:
    """Which decoders are here; loads libturbojpeg."""
    turbo = open_turbo()
    formats = tuple(
        known.value for known in ImageFormat if known is not ImageFormat.HEIF or heif_available()
    )
    if isinstance(turbo, TurboAbsent):
        return DecoderReport(False, turbo.reason, formats)
    return DecoderReport(True, turbo.path, formats)
