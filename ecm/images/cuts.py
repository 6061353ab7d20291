"""Model inputs and thumbnails cut from decoded pixels. Knows resampling, and nothing of models."""

from __future__ import annotations

import io
import math
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

# a longer side than this many crops is cut to its middle before it is resized
_MAX_ASPECT = 16

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class Cut(BaseModel):
    """Resize the shorter side to `resize_shorter` pixels, then cut `crop` x `crop` from the centre.

    The usual evaluation preprocessing of classifiers: with 256, 224 and bicubic it is
    EfficientNet-Lite's (crop fraction 0.875). Resampling is Pillow's, antialiased, without
    `reducing_gap`. `squash` scales both sides to `crop` instead, as SigLIP does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=64)
    resize_shorter: int = Field(ge=1, le=4096)
    crop: int = Field(ge=1, le=4096)
    interpolation: Literal["nearest", "box", "bilinear", "bicubic", "lanczos"] = "bicubic"
    geometry: Literal["crop", "squash"] = "crop"

    @model_validator(mode="after")
    def _crop_fits(self) -> Cut:
        if self.crop > self.resize_shorter:
            raise ValueError(f"crop {self.crop} is larger than the side {self.resize_shorter}")
        return self


class Bounded(BaseModel):
    """Scale in proportion so that the picture has `min_pixels` to `max_pixels` in all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=64)
    min_pixels: int = Field(ge=1)
    max_pixels: int = Field(ge=1)

    @property
    def shorter_side(self) -> int:
        """No picture within the bounds has a longer shorter side, in pixels."""
        return math.isqrt(self.max_pixels - 1) + 1


def bounded(pixels: npt.NDArray[np.uint8], spec: Bounded) -> npt.NDArray[np.uint8]:
    """`pixels` (h, w, 3) uint8 scaled into the bounds of `spec`, bicubic; as they are if within.

    What is longer than 16:1 is cut to its middle: models refuse strips. Sides are whole pixels, so
    that proportions may be off by less than one, and the least bound, too.
    """
    image = Image.fromarray(_middle(pixels))
    area = image.width * image.height
    if spec.min_pixels <= area <= spec.max_pixels:
        return np.array(image)
    wanted = spec.max_pixels if area > spec.max_pixels else spec.min_pixels
    scale = math.sqrt(wanted / area)
    to_whole = math.floor if area > wanted else math.ceil
    width, height = (max(1, to_whole(side * scale)) for side in image.size)
    return np.array(image.resize((width, height), Image.Resampling.BICUBIC))


def kept_shares(width: int, height: int) -> tuple[float, float]:
    """The shares of width and height that `bounded` keeps of such a picture, around its centre.

    >>> kept_shares(3200, 100)
    (0.5, 1.0)
    """
    longest = min(width, height) * _MAX_ASPECT
    return min(1.0, longest / width), min(1.0, longest / height)


def cut(pixels: npt.NDArray[np.uint8], spec: Cut) -> npt.NDArray[np.uint8]:
    """The (crop, crop, 3) uint8 centre of `pixels` (h, w, 3) uint8, after resizing by `spec`.

    Smaller images are enlarged. Images longer than 16:1 are first cut to their middle, so that no
    thin strip grows into gigabytes; the centre differs from the reference only in the last
    rounding then.
    """
    if spec.geometry == "squash":
        whole = Image.fromarray(pixels)
        return np.array(whole.resize((spec.crop, spec.crop), _FILTERS[spec.interpolation]))
    image = Image.fromarray(_middle(pixels))
    width, height = image.size
    scale = spec.resize_shorter / min(width, height)
    image = image.resize(
        (round(width * scale), round(height * scale)), _FILTERS[spec.interpolation]
    )
    left, top = (image.width - spec.crop) // 2, (image.height - spec.crop) // 2
    return np.array(image.crop((left, top, left + spec.crop, top + spec.crop)))


def _middle(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    longest = min(height, width) * _MAX_ASPECT
    if max(height, width) <= longest:
        return pixels
    top, left = max(0, height - longest) // 2, max(0, width - longest) // 2
    return np.ascontiguousarray(pixels[top : top + longest, left : left + longest])


def thumbnail_jpeg(pixels: npt.NDArray[np.uint8], side: int = 256, quality: int = 80) -> bytes:
    """A JPEG of `pixels` (h, w, 3) uint8 that fits into `side` x `side` pixels; never enlarged."""
    image = Image.fromarray(pixels)
    scale = side / max(image.size)
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, optimize=False)
    return out.getvalue()
