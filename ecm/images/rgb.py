"""Any Pillow image to 8 bit RGB. Knows modes, ranges and transparency; knows no files or formats.

ICC profiles are not applied: pixels are taken as sRGB, as every model's reference preprocessing
does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

_BACKGROUNDS = (255, 0, 128)
_CONTRAST = 64
_SAMPLE_SIDE = 256
_MARGIN = 0.05
_SIXTEEN_TO_EIGHT = ((np.arange(65536) + 128) // 257).astype(np.uint8)


def to_rgb(image: Image.Image) -> Image.Image:
    """`image` in mode RGB, transparency composed over a background its content stands out from.

    16 bit samples are divided by 257 (a transparent gray level among them is ignored); 32 bit and
    float samples as `_stretched` says. CMYK and Lab are converted by Pillow (Lab through LittleCMS
    to sRGB, D50).
    """
    if image.mode.startswith("I;16"):
        image = Image.fromarray(_SIXTEEN_TO_EIGHT[np.asarray(image)])
    elif image.mode in ("I", "F"):
        image = Image.fromarray(_stretched(np.asarray(image)))
    if image.has_transparency_data:
        return _flattened(image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


def _stretched(samples: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """32 bit samples to 8 bits, by the range they show, since their formats define none.

    Within 0-1 (float only), 0-255 or 0-65535 that range is kept; anything else is spread from its
    least to its greatest value. Values that are not finite become the least.
    """
    values = samples.astype(np.float32)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low = float(values.min(where=finite, initial=np.inf))
    high = float(values.max(where=finite, initial=-np.inf))
    values[~finite] = low
    bottom, top = _range(low, high, whole=np.issubdtype(samples.dtype, np.integer))
    # in place, since there may be a hundred million; scaled first, so that nothing overflows
    values *= np.float32(255.0 / (top - bottom))
    values -= np.float32(bottom * 255.0 / (top - bottom) - 0.5)
    return values.astype(np.uint8)


def _range(low: float, high: float, *, whole: bool) -> tuple[float, float]:
    """The range that values between `low` and `high` are taken to be from."""
    known = (255.0, 65535.0) if whole else (1.0, 255.0, 65535.0)
    fitting = [top for top in known if low >= 0 and high <= top]
    if fitting:
        return 0.0, fitting[0]
    return (low, high) if high > low else (low - 1, high + 1)


def _flattened(image: Image.Image) -> Image.Image:
    """An RGBA image composed over white, black or mid gray, whichever shows it best."""
    alpha = image.getchannel("A")
    if alpha.getextrema()[0] == 255:
        return image.convert("RGB")
    level = _background(image)
    canvas = Image.new("RGB", image.size, (level, level, level))
    canvas.paste(image, mask=alpha)
    return canvas


def _background(image: Image.Image) -> int:
    """The gray level from which most of the visible content differs clearly in brightness.

    White is preferred, then black; a fully transparent image is white.
    """
    width, height = image.size
    small = image.resize(
        (min(width, _SAMPLE_SIDE), min(height, _SAMPLE_SIDE)), Image.Resampling.NEAREST
    )
    pixels = np.asarray(small).astype(np.float32)
    weight = pixels[..., 3]
    total = float(weight.sum())
    if total == 0:
        return _BACKGROUNDS[0]
    luma = pixels[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32)
    shares = [
        float(weight[np.abs(luma - level) >= _CONTRAST].sum()) / total for level in _BACKGROUNDS
    ]
    return next(
        level
        for level, share in zip(_BACKGROUNDS, shares, strict=True)
        if share >= max(shares) - _MARGIN
    )
