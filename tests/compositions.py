"""Pictures whose look is known: colours in places, symmetry, proportions, skies; and questions.

Seeded, numpy and Pillow only. Every picture has grain, uneven light and clutter like a photograph,
and every trait has distractors: the same colour elsewhere, another colour in the same place, the
same shapes without the symmetry. For tests and for benchmarks/quality.py.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Canvas = npt.NDArray[np.float64]

PAINTS = {
    "red": (195, 40, 38),
    "yellow": (228, 200, 60),
    "green": (60, 135, 60),
    "blue": (50, 95, 190),
    "white": (232, 232, 228),
    "black": (26, 26, 28),
}
PLACES = ("left", "right", "top", "bottom", "centre")
SIZES = {
    "landscape": (208, 156),
    "portrait": (156, 208),
    "square": (180, 180),
    "panorama": (270, 108),
}


@dataclass(frozen=True)
class Composition:
    """A picture, RGB uint8 (h, w, 3), and all that is true of its look."""

    name: str
    pixels: Pixels
    traits: frozenset[str]

    def png(self) -> bytes:
        """The picture as a file."""
        out = io.BytesIO()
        Image.fromarray(self.pixels).save(out, "PNG")
        return out.getvalue()


@dataclass(frozen=True)
class LookQuestion:
    """Words, and the traits that a picture needs to be an answer."""

    text: str
    traits: frozenset[str]

    def answered_by(self, picture: Composition) -> bool:
        return self.traits <= picture.traits


def compositions(seed: int = 6, each: int = 4) -> list[Composition]:
    """Pictures of every kind, `each` times over with other details, in a fixed order."""
    rng = np.random.default_rng(seed)
    found = []
    for turn in range(each):
        for number, (traits, pixels) in enumerate(_all_kinds(rng)):
            found.append(Composition(f"{turn:02d}-{number:03d}", pixels, frozenset(traits)))
    return found


def look_questions() -> list[LookQuestion]:
    """What a person would type to find them."""
    found = []
    for colour in PAINTS:
        for place in PLACES:
            words = {"left": "on the left", "right": "on the right", "top": "at the top",
                     "bottom": "at the bottom", "centre": "in the centre"}[place]  # fmt: skip
            found.append((f"{colour} {words}", {f"{colour}@{place}"}))
        found.append((f"{colour} background", {f"{colour}@background"}))
        found.append((f"mostly {colour}", {f"mostly {colour}"}))
    found += [
        ("red on the left, blue on the right", {"red@left", "blue@right"}),
        ("blue top, green bottom", {"blue@top", "green@bottom"}),
        ("yellow object in the centre, black background", {"yellow@centre", "black@background"}),
        ("symmetrical composition", {"symmetrical"}),
        ("lots of sky", {"sky"}),
        ("portrait orientation", {"portrait"}),
        ("square format", {"square"}),
        ("panorama", {"panorama"}),
        ("black and white", {"monochrome"}),
        ("high-key", {"high-key"}),
        ("low-key", {"low-key"}),
        ("minimalist", {"minimalist"}),
        ("diagonal lines", {"diagonal"}),
        ("portrait format, red on the left", {"portrait", "red@left"}),
    ]
    return [LookQuestion(text, frozenset(traits)) for text, traits in found]


def _all_kinds(rng: np.random.Generator) -> Iterator[tuple[set[str], Pixels]]:
    for colour in PAINTS:
        for place in PLACES:
            shape = _shape(rng)
            canvas = _clutter(rng, shape)
            _put(rng, canvas, _where(rng, canvas, place), colour)
            yield {shape, f"{colour}@{place}"}, _exposed(rng, canvas)
        yield _on_background(rng, colour)
        yield _filled(rng, colour)
    for left, right in (("red", "blue"), ("blue", "red"), ("green", "white"), ("white", "green")):
        yield _halves(rng, {"left": left, "right": right})
    for top, bottom in (("blue", "green"), ("green", "blue"), ("white", "red"), ("red", "white")):
        yield _halves(rng, {"top": top, "bottom": bottom})
    for kind in (_mirrored, _unmirrored, _sky, _low_sky, _busy_top, _grey, _bright, _dark):
        yield kind(rng)
        yield kind(rng)
    for kind in (_minimal, _slanted, _upright, _plain, _plain, _plain):
        yield kind(rng)
        yield kind(rng)
    for shape in SIZES:
        yield {shape}, _exposed(rng, _clutter(rng, shape))
        yield _left_in(rng, shape)


def _shape(rng: np.random.Generator) -> str:
    return str(rng.choice(["landscape", "portrait", "square"], p=[0.7, 0.2, 0.1]))


def _field(rng: np.random.Generator, shape: str, coarse: int) -> Canvas:
    """A smooth random field, mean 0, about -1 to 1: (h, w)."""
    width, height = SIZES[shape]
    small = rng.normal(size=(coarse, coarse)).astype(np.float32)
    grown = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    field = np.asarray(grown, np.float64)
    return (field - field.mean()) / (np.abs(field).max() + 1e-9)


def _clutter(rng: np.random.Generator, shape: str, strength: float = 1.0) -> Canvas:
    """A dull, uneven scene with things in it, as RGB float (h, w, 3)."""
    width, height = SIZES[shape]
    base = rng.uniform(95, 150) + rng.normal(0, 8, 3)
    light = 28 * _field(rng, shape, 3) + 22 * _field(rng, shape, 9) + 16 * _field(rng, shape, 34)
    canvas = base + strength * light[..., None] * (1 + rng.normal(0, 0.08, 3))
    for _ in range(int(rng.integers(4, 9) * strength)):
        x, y = rng.integers(0, width), rng.integers(0, height)
        w, h = rng.integers(8, width // 3), rng.integers(8, height // 3)
        tone = rng.uniform(-45, 45) + rng.normal(0, 9, 3)
        canvas[y : y + h, x : x + w] += tone
    return canvas


def _where(rng: np.random.Generator, canvas: Canvas, place: str) -> npt.NDArray[np.bool_]:
    """An uneven blob that lies in a place and fills about half of it: (h, w)."""
    height, width = canvas.shape[:2]
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    middle = {
        "left": (0.24, rng.uniform(0.4, 0.6)),
        "right": (0.76, rng.uniform(0.4, 0.6)),
        "top": (rng.uniform(0.4, 0.6), 0.24),
        "bottom": (rng.uniform(0.4, 0.6), 0.76),
        "centre": (0.5, 0.5),
    }[place]
    flat, long = rng.uniform(0.15, 0.23), rng.uniform(0.24, 0.42)
    radii = {"left": (flat, long), "right": (flat, long), "top": (long, flat),
             "bottom": (long, flat), "centre": (flat, flat * 1.1)}[place]  # fmt: skip
    angle = np.arctan2(down - middle[1], across - middle[0])
    wobble = 1 + 0.18 * np.sin(3 * angle + rng.uniform(0, 6)) * rng.uniform(0.3, 1)
    squared = ((across - middle[0]) / radii[0]) ** 2 + ((down - middle[1]) / radii[1]) ** 2
    inside: npt.NDArray[np.bool_] = np.sqrt(squared) < wobble
    return inside


def _paint(rng: np.random.Generator, colour: str) -> Canvas:
    paint = np.array(PAINTS[colour], np.float64) * rng.uniform(0.85, 1.1)
    return paint + rng.normal(0, 6, 3)


def _put(
    rng: np.random.Generator, canvas: Canvas, where: npt.NDArray[np.bool_], colour: str
) -> None:
    """Paint a thing: its colour, with some of the light and shade of the scene."""
    shade = canvas.mean(axis=2) - canvas.mean()
    canvas[where] = _paint(rng, colour) + 0.35 * shade[where][:, None]


def _exposed(rng: np.random.Generator, canvas: Canvas) -> Pixels:
    """Vignette and grain, as a camera adds them."""
    height, width = canvas.shape[:2]
    across, down = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    fading = 1 - rng.uniform(0, 0.16) * (across**2 + down**2) / 2
    grain = rng.normal(0, rng.uniform(2, 7), canvas.shape)
    exposed: Pixels = np.clip(canvas * fading[..., None] + grain, 0, 255).astype(np.uint8)
    return exposed


def _on_background(rng: np.random.Generator, colour: str) -> tuple[set[str], Pixels]:
    """One colour around a thing of another."""
    shape = _shape(rng)
    canvas = _clutter(rng, shape, 0.4)
    _put(rng, canvas, np.ones(canvas.shape[:2], np.bool_), colour)
    others = [other for other in PAINTS if other != colour]
    inner = "yellow" if colour == "black" else str(rng.choice(others))
    _put(rng, canvas, _where(rng, canvas, "centre"), inner)
    canvas += 20 * _field(rng, shape, 3)[..., None]
    traits = {shape, f"{colour}@background", f"mostly {colour}", f"{inner}@centre"}
    return traits, _exposed(rng, canvas)


def _filled(rng: np.random.Generator, colour: str) -> tuple[set[str], Pixels]:
    """One colour in most of the picture, things of no colour in the rest."""
    shape = _shape(rng)
    canvas = _clutter(rng, shape)
    where = 0.5 * _field(rng, shape, 4) + rng.uniform(0.1, 0.25) > -0.1
    _put(rng, canvas, where, colour)
    traits = {shape, f"mostly {colour}"} if where.mean() > 0.6 else {shape}
    return traits, _exposed(rng, canvas)


def _halves(rng: np.random.Generator, colours: dict[str, str]) -> tuple[set[str], Pixels]:
    shape = _shape(rng)
    canvas = _clutter(rng, shape)
    for place, colour in colours.items():
        _put(rng, canvas, _where(rng, canvas, place), colour)
    return {shape, *(f"{c}@{p}" for p, c in colours.items())}, _exposed(rng, canvas)


def _left_in(rng: np.random.Generator, shape: str) -> tuple[set[str], Pixels]:
    canvas = _clutter(rng, shape)
    _put(rng, canvas, _where(rng, canvas, "left"), "red")
    return {shape, "red@left"}, _exposed(rng, canvas)


def _mirrored(rng: np.random.Generator) -> tuple[set[str], Pixels]:
    canvas = _clutter(rng, "landscape", 1.2)
    half = canvas.shape[1] // 2
    canvas[:, -half:] = canvas[:, half - 1 :: -1]
    return {"landscape", "symmetrical"}, _exposed(rng, canvas)


def _unmirrored(rng: np.random.Generator) -> tuple[set[str], Pixels]:
    """The halves of a mirrored picture, but the same way round, or upside down."""
    canvas = _clutter(rng, "landscape", 1.2)
    half = canvas.shape[1] // 2
    canvas[:, -half:] = canvas[::-1, :half] if rng.random() < 0.5 else canvas[:, :half]
    return {"landscape"}, _exposed(rng, canvas)


def _with_sky(rng: np.random.Generator, share: float) -> Canvas:
    canvas = _clutter(rng, "landscape", 1.3)
    canvas -= rng.uniform(10, 40)
    rows = int(canvas.shape[0] * share)
    deep = np.array([[90, 140, 210], [150, 175, 205]][rng.integers(0, 2)], np.float64)
    pale = np.array([205, 215, 225], np.float64)
    blend = np.linspace(0, 1, rows)[:, None, None]
    clouds = 10 * np.maximum(_field(rng, "landscape", 4), 0)[:rows, :, None]
    canvas[:rows] = deep * (1 - blend) + pale * blend + clouds
    return canvas


def _sky(rng: np.random.Generator) -> tuple[set[str], Pixels]:
    return {"landscape", "sky", "blue@top"}, _exposed(rng, _with_sky(rng, rng.uniform(0.6, 0.8)))


def _low_sky(rng: np.random.Generator) -> tuple[set[str], Pixels]:
    return {"landscape"}, _exposed(rng, _with_sky(rng, rng.uniform(0.08, 0.18)))


def _busy_top(rng: np.random.Generator) -> tuple[set[str], Pixels]:
    """As bright and blue above as a sky, but full of things."""
    canvas = _clutter(rng, "landscape", 2.2)
    rows = int(canvas.shape[0] * 0.65)
    canvas[:rows] += np.array([-20, 20, 70])
    return {"landscape", "blue@top"}, _exposed(rng, canvas)


def _grey(rng: np.random.Generator) -> tuple[set[str], Pixels]:
    shape = _shape(rng)
    canvas = _clutter(rng, shape, 2.0)
    _put(rng, canvas, _where(rng, canvas, str(rng.choice(PLACES))), "red")
    grey = _exposed(rng, canvas).mean(axis=2, keepdims=True)
    return {shape, "monochrome"}, np.repeat(grey, 3, axis=2).astype(np.uint8)


def _bright(rng: np.random.Generator) -> tuple[set[str], Pixels]:
    canvas = 232 + (_clutter(rng, "landscape") - 130) * 0.25
    return {"landscape", "high-key", "mostly white", "white@background"}, _exposed(rng, canvas)


def _dark(rng: np.random.Generator) -> tuple[set[str], Pixels]:
    canvas = 22 + (_clutter(rng, "landscape") - 130) * 0.25
    return {"landscape", "low-key", "mostly black", "black@background"}, _exposed(rng, canvas)


def _minimal(rng: np.random.Generator) -> tuple[set[str], Pixels]:
    """Little but an even ground and one small thing."""
    canvas = _clutter(rng, "landscape", 0.0) + 12 * _field(rng, "landscape", 2)[..., None]
    x, y = rng.integers(30, 160), rng.integers(30, 110)
    canvas[y : y + 16, x : x + 16] += rng.choice([-70, 70])
    return {"landscape", "minimalist"}, np.clip(canvas, 0, 255).astype(np.uint8)


def _stripes(rng: np.random.Generator, slant: float) -> Pixels:
    canvas = _clutter(rng, "landscape", 0.5)
    height, width = canvas.shape[:2]
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    wave = np.sin((across + slant * down) / rng.uniform(7, 12) + rng.uniform(0, 6))
    canvas += 45 * np.sign(wave)[..., None]
    return _exposed(rng, canvas)


def _slanted(rng: np.random.Generator) -> tuple[set[str], Pixels]:
    slant = rng.uniform(0.8, 1.25) * rng.choice([-1, 1])
    return {"landscape", "diagonal"}, _stripes(rng, slant)


def _upright(rng: np.random.Generator) -> tuple[set[str], Pixels]:
    return {"landscape"}, _stripes(rng, rng.uniform(-0.08, 0.08))


def _plain(rng: np.random.Generator) -> tuple[set[str], Pixels]:
    shape = _shape(rng)
    return {shape}, _exposed(rng, _clutter(rng, shape))
