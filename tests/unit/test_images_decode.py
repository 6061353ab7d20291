"""Decoding as a caller sees it: upright RGB, nothing filled in, no error but ours, on any bytes."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ecm.errors import ImageError, ResourceExhausted
from ecm.images.decode import decode, decoder_report
from ecm.images.limits import ImageLimits
from ecm.images.signature import ImageFormat, identify

LIMITS = ImageLimits()


@cache
def scene(width: int = 96, height: int = 64) -> Image.Image:
    """Smooth colours with one bright corner: every turn and mirror of it is different."""
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    pixels = np.stack([200 * across, 160 * down, 90 + 60 * across * down], axis=-1)
    pixels[: height // 4, : width // 4] = 250
    return Image.fromarray(pixels.astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def code_of(data: bytes, limits: ImageLimits = LIMITS) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, limits, 64)
    return caught.value.code


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_stored_turns_are_undone(kind: str, orientation: int) -> None:
    turns: dict[int, Callable[[Image.Image], Image.Image]] = {
        2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
        4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
        6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
        7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
        8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
    }
    stored = turns.get(orientation, lambda image: image)(scene())
    options = {} if kind == "TIFF" else {"quality": 95} if kind != "PNG" else {}
    image = decode(encoded(stored, kind, exif=exif(orientation), **options), LIMITS, 1000)
    assert (image.width, image.height) == (96, 64)
    assert difference(image.pixels, np.asarray(scene())) < 4


@pytest.mark.parametrize("orientation", [0, 9, 99, 65535])
def test_an_impossible_orientation_turns_nothing(orientation: int) -> None:
    image = decode(encoded(scene(), "JPEG", exif=exif(orientation)), LIMITS, 1000)
    assert (image.width, image.height, image.orientation) == (96, 64, 1)


@given(width=st.integers(1, 400), height=st.integers(1, 400), shorter=st.integers(1, 500))
@settings(max_examples=40, deadline=None)
def test_scaled_decoding_never_goes_below_the_asked_side(
    width: int, height: int, shorter: int
) -> None:
    for kind in ("JPEG", "BMP"):
        image = decode(encoded(scene(max(width, 4), max(height, 4)), kind), LIMITS, shorter)
        full = min(image.width, image.height)
        assert min(image.pixels.shape[:2]) >= min(shorter, full)
        assert image.pixels.flags.c_contiguous
        assert image.pixels.flags.writeable
        assert image.pixels.dtype == np.uint8


def test_large_images_come_scaled_with_their_true_size() -> None:
    for kind in ("JPEG", "PNG"):
        image = decode(encoded(scene(2400, 1600), kind), LIMITS, 200)
        assert (image.width, image.height) == (2400, 1600)
        assert 200 <= min(image.pixels.shape[:2]) <= 400
        small = scene(2400, 1600).resize(image.pixels.shape[1::-1], Image.Resampling.BOX)
        assert difference(image.pixels, np.asarray(small)) < 2


@pytest.mark.parametrize("ink", [(255, 255, 255), (0, 0, 0), (240, 235, 230), (20, 10, 60)])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF"])
def test_a_logo_on_transparency_stays_visible(ink: tuple[int, int, int], kind: str) -> None:
    logo = Image.new("RGBA", (80, 60), (*ink, 0))
    logo.paste((*ink, 255), (20, 15, 60, 45))
    data = encoded(logo, kind, **({"lossless": True} if kind == "WEBP" else {}))
    pixels = decode(data, LIMITS, 1000).pixels.astype(int)
    assert np.abs(pixels[30, 40] - np.array(ink)).max() <= 8
    assert np.abs(pixels[30, 40] - pixels[2, 2]).max() >= 64


def test_black_and_white_on_transparency_get_a_gray_background() -> None:
    logo = Image.new("RGBA", (80, 60), (0, 0, 0, 0))
    logo.paste((255, 255, 255, 255), (10, 10, 40, 50))
    logo.paste((0, 0, 0, 255), (40, 10, 70, 50))
    assert tuple(decode(encoded(logo, "PNG"), LIMITS, 1000).pixels[0, 0]) == (128, 128, 128)


def test_nothing_visible_is_a_white_page() -> None:
    hidden = scene().convert("RGBA")
    hidden.putalpha(0)
    assert (decode(encoded(hidden, "PNG"), LIMITS, 1000).pixels == 255).all()


@pytest.mark.parametrize(
    ("samples", "kind"),
    [
        (np.linspace(0, 65535, 64, dtype=np.uint16), "PNG"),
        (np.linspace(0, 65535, 64, dtype=np.uint16), "TIFF"),
        (np.linspace(0, 1, 64, dtype=np.float32), "TIFF"),
        (np.linspace(0, 255, 64, dtype=np.float32), "TIFF"),
        (np.linspace(-3000, 9000, 64, dtype=np.float32), "TIFF"),
        (np.linspace(-5, 70000, 64).astype(np.int32), "TIFF"),
        (np.linspace(-3e38, 3e38, 64).astype(np.float32), "TIFF"),
    ],
)
def test_deep_gray_ramps_become_eight_bit_ramps(samples: np.ndarray, kind: str) -> None:
    image = Image.fromarray(np.tile(samples, (8, 1)))
    row = decode(encoded(image, kind), LIMITS, 1000).pixels[4]
    assert (row == row[:, :1]).all()
    assert np.abs(row[:, 0].astype(float) - np.linspace(0, 255, 64)).max() <= 1.5


def test_floats_that_are_not_numbers_do_not_spread() -> None:
    samples = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (8, 1))
    samples[0, :3] = (np.nan, np.inf, -np.inf)
    pixels = decode(encoded(Image.fromarray(samples), "TIFF"), LIMITS, 1000).pixels
    assert pixels[0, 0, 0] == 0
    assert pixels[7, 63, 0] == 255


def test_only_the_first_frame_is_decoded_and_all_are_counted() -> None:
    frames = [scene(), Image.new("RGB", (96, 64), (1, 2, 3))]
    for kind in ("GIF", "PNG", "WEBP", "TIFF", "AVIF"):
        more: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
        image = decode(encoded(frames[0], kind, **more), LIMITS, 1000)
        assert image.frames == 2, kind
        assert difference(image.pixels, np.asarray(scene())) < 8, kind


def test_the_content_decides_not_the_claim() -> None:
    assert identify(b"%PDF-1.7") is None
    assert identify(b"<svg xmlns='http://www.w3.org/2000/svg'/>") is None
    assert identify(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1") is None
    assert code_of(b"<html>" * 20) == "decode.unsupported"
    assert code_of(b"") == "decode.empty"
    assert set(decoder_report().formats) == {known.value for known in ImageFormat}


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"max_bytes": 100}, "input.too_large"),
        ({"max_pixels": 96 * 64 - 1}, "decode.too_many_pixels"),
        ({"max_side": 95}, "decode.too_many_pixels"),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000", "ICNS"])
def test_limits_hold_for_every_format(limits: dict[str, int], code: str, kind: str) -> None:
    assert code_of(encoded(scene(), kind), ImageLimits(**limits)) == code


def test_a_frame_flood_is_refused() -> None:
    pages = [Image.new("L", (2, 2), 20 * shade) for shade in range(12)]
    for kind in ("GIF", "TIFF", "PNG", "WEBP"):
        data = encoded(pages[0], kind, save_all=True, append_images=pages[1:])
        assert code_of(data, ImageLimits(max_frames=5)) == "decode.too_many_frames"


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_png_text_is_counted_and_never_inflated() -> None:
    data = encoded(scene(), "PNG")
    bomb = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(50_000_000)))
    profile = chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(50_000_000)))
    image = decode(data[:33] + bomb + profile + data[33:], LIMITS, 1000)
    assert difference(image.pixels, np.asarray(scene())) == 0
    many = data[:33] + chunk(b"tEXt", b"k\0v") * 50 + data[33:]
    assert code_of(many, ImageLimits(max_text_chunks=49)) == "decode.too_many_chunks"
    assert code_of(many, ImageLimits(max_text_bytes=149)) == "decode.too_many_chunks"


def test_an_icon_cannot_hide_a_larger_picture() -> None:
    icon = encoded(scene(48, 48).convert("RGBA"), "ICO", sizes=[(48, 48)])
    at = icon.index(b"\x89PNG") + 16
    grown = icon[:at] + struct.pack(">II", 30_000, 30_000) + icon[at + 8 :]
    assert code_of(grown) == "decode.too_many_pixels"


def test_tiff_tags_cannot_claim_the_file_many_times_over() -> None:
    entries = b"".join(struct.pack("<HHII", 40_000 + i, 1, 60_000, 8) for i in range(100))
    data = b"II*\0" + struct.pack("<I", 60_008) + bytes(60_000)
    assert code_of(data + struct.pack("<H", 100) + entries + bytes(4)) == "decode.corrupt"


_SEEDS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000", "TGA", "PCX", "ICO")


@cache
def seed(kind: str) -> bytes:
    return encoded(scene(40, 24), kind, **({"progressive": True} if kind == "JPEG" else {}))


@given(
    kind=st.sampled_from(_SEEDS),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12),
    keep=st.floats(0, 1),
)
@settings(max_examples=250, deadline=None)
def test_damage_gives_an_image_or_an_image_error(
    kind: str, edits: list[tuple[float, int]], keep: float
) -> None:
    data = bytearray(seed(kind))
    for place, value in edits:
        data[int(place * (len(data) - 1))] = value
    cut = bytes(data if keep > 0.5 else data[: int(2 * keep * len(data))])
    try:
        image = decode(cut, ImageLimits(max_pixels=1_000_000), 16)
    except (ImageError, ResourceExhausted):
        return
    assert image.pixels.shape[2] == 3
    assert image.pixels.dtype == np.uint8


@pytest.mark.needs("turbojpeg")
@given(kind=st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "TIFF"]), keep=st.floats(0, 0.999))
@settings(max_examples=120, deadline=None)
def test_a_cut_file_is_refused_or_whole(kind: str, keep: float) -> None:
    data = seed(kind)
    whole = decode(data, LIMITS, 1000).pixels
    try:
        cut = decode(data[: int(keep * len(data))], LIMITS, 1000).pixels
    except ImageError:
        return
    assert (cut == whole).all()


_WITHOUT_TURBO = """
import sys
sys.modules["turbojpeg"] = None
from pathlib import Path
from ecm.errors import ImageError
from ecm.images.decode import decode, decoder_report
from ecm.images.limits import ImageLimits
report = decoder_report()
assert not report.turbojpeg and "PyTurboJPEG" in report.detail, report
data = Path(sys.argv[1]).read_bytes()
image = decode(data, ImageLimits(), 100)
assert image.decoder == "pillow" and (image.width, image.height) == (600, 400), image
try:
    decode(data[: len(data) // 2], ImageLimits(), 100)
except ImageError as error:
    assert error.code == "decode.truncated", error
else:
    raise AssertionError("half a JPEG was decoded")
sys.stdout.buffer.write(image.pixels.tobytes())
"""


def test_without_libturbojpeg_pillow_decodes_the_same(tmp_path: Path) -> None:
    data = encoded(scene(400, 600), "JPEG", quality=92, exif=exif(6))
    (tmp_path / "photo").write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _WITHOUT_TURBO, str(tmp_path / "photo")],
        capture_output=True,
        check=False,
        cwd=Path(__file__).parents[2],
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    here = decode(data, LIMITS, 100).pixels
    there = np.frombuffer(done.stdout, np.uint8).reshape(here.shape)
    assert difference(here, there) < 1
    assert done.stderr.decode().count("not installed") == 1
