"""How large an image may be. Knows numbers only; `header` and `reading` enforce them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

MIB = 2**20


class ImageLimits(BaseModel):
    """Upper bounds checked before an image is decoded; everything above is refused, never cut.

    Decoders differ in what a pixel costs, hence three bounds on pixels: `max_pixels` for all,
    `max_pixels_transform` for JPEG 2000, AVIF and HEIF (up to 16 bytes of working memory and
    about 0.1 µs per pixel), `max_pixels_interpreted` for the decoders that Pillow has in Python
    (QOI, plain PNM, RLE BMP, uncompressed DDS; about 1 µs per pixel).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_bytes: int = Field(default=256 * MIB, ge=1, description="bytes of the encoded file")
    max_pixels: int = Field(default=120_000_000, ge=1, description="width x height")
    max_pixels_transform: int = Field(default=64_000_000, ge=1)
    max_pixels_interpreted: int = Field(default=4_000_000, ge=1)
    max_side: int = Field(default=65_000, ge=1, description="pixels; wide panoramas are fine")
    max_frames: int = Field(
        default=10_000, ge=1, description="animation frames or pages; only the first is decoded"
    )
    max_scans: int = Field(default=100, ge=1, description="scans of a progressive JPEG")
    max_text_chunks: int = Field(default=2_000, ge=0, description="PNG text chunks")
    max_text_bytes: int = Field(
        default=16 * MIB, ge=0, description="bytes of PNG text chunks as stored; never inflated"
    )
