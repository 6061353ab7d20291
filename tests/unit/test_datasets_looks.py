"""How pictures look is told from their pixels: of drawn pictures it is known."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from ecm.contracts.filters import Colour, Orientation
from ecm.evaluation.datasets.layouts import Wanted
from ecm.evaluation.datasets.looks import Looks, look_of
from tests.compositions import PAINTS, compositions


def jpeg(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


def looks_of(*pictures: np.ndarray) -> Looks:
    found = {}
    for number, pixels in enumerate(pictures):
        look = look_of(jpeg(pixels), pixels.shape[1], pixels.shape[0])
        assert look is not None
        found[f"{number:03}"] = look
    return Looks(found)


@pytest.mark.parametrize(
    ("rgb", "colour"),
    [
        ((200, 30, 30), Colour.RED),
        ((240, 140, 20), Colour.ORANGE),
        ((240, 215, 40), Colour.YELLOW),
        ((50, 140, 50), Colour.GREEN),
        ((30, 190, 200), Colour.CYAN),
        ((40, 80, 200), Colour.BLUE),
        ((110, 50, 170), Colour.PURPLE),
        ((240, 150, 170), Colour.PINK),
        ((110, 70, 40), Colour.BROWN),
        ((15, 15, 18), Colour.BLACK),
        ((128, 128, 128), Colour.GREY),
        ((250, 250, 250), Colour.WHITE),
    ],
)
def test_a_picture_of_one_colour_is_of_that_colour_alone(
    rgb: tuple[int, int, int], colour: Colour
) -> None:
    looks = looks_of(np.full((60, 80, 3), rgb))
    for other in Colour:
        assert looks.share(other)[0] == pytest.approx(float(other is colour), abs=0.02)


@pytest.mark.parametrize("rgb", [(222, 200, 170), (110, 105, 45), (120, 130, 145)])
def test_what_has_no_agreed_name_has_none(rgb: tuple[int, int, int]) -> None:
    looks = looks_of(np.full((60, 80, 3), rgb))
    assert sum(float(looks.share(colour)[0]) for colour in Colour) < 0.05


def test_colours_have_places_only_where_they_are_not_elsewhere() -> None:
    red, white = np.array([200, 30, 30]), np.array([250, 250, 250])
    left = np.tile(white, (80, 80, 1))
    left[:, :40] = red
    centre = np.tile(white, (80, 80, 1))
    centre[20:60, 20:60] = red
    everywhere = np.tile(red, (80, 80, 1))
    looks = looks_of(left, centre, everywhere)
    assert Wanted(Colour.RED, "left").grades(looks).tolist() == [2, 0, 0]
    assert Wanted(Colour.RED, "right").grades(looks).tolist() == [0, 0, 0]
    assert Wanted(Colour.RED, "centre").grades(looks).tolist() == [0, 2, 0]
    assert Wanted(Colour.RED).grades(looks).tolist() == [2, 0, 2]
    assert Wanted(Colour.WHITE, "right").grades(looks).tolist() == [2, 0, 0]


def test_light_and_proportions_are_told() -> None:
    looks = looks_of(
        np.full((40, 90, 3), 10),
        np.full((90, 40, 3), 252),
        np.tile(np.array([200, 30, 30]), (50, 60, 1)),
        np.tile(np.linspace(0, 255, 50)[None, :, None], (50, 1, 3)),
    )
    assert Wanted(light="dark").grades(looks).tolist() == [2, 0, 0, 0]
    assert Wanted(light="bright").grades(looks).tolist() == [0, 2, 0, 0]
    assert Wanted(light="colourless").grades(looks).tolist() == [2, 2, 0, 2]
    told = [
        Wanted(orientation=orientation).grades(looks).tolist()
        for orientation in (
            Orientation.PANORAMA,
            Orientation.PORTRAIT,
            Orientation.LANDSCAPE,
            Orientation.SQUARE,
        )
    ]
    assert told == [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 2]]


def test_drawn_pictures_are_seen_as_they_were_drawn() -> None:
    pictures = compositions(each=1)
    looks = looks_of(*(one.pixels for one in pictures))
    right = wrong = missed = 0
    for colour in PAINTS:
        for place in ("left", "right", "top", "bottom"):
            grades = Wanted(Colour(colour), place).grades(looks)
            true = np.array([f"{colour}@{place}" in one.traits for one in pictures])
            right += int(((grades > 0) & true).sum())
            wrong += int(((grades > 0) & ~true).sum())
            missed += int(((grades == 0) & true).sum())
    assert right > 0
    assert wrong <= 0.1 * right
    assert missed <= 0.3 * (right + missed)


def test_what_is_no_picture_has_no_look() -> None:
    assert look_of(b"", 10, 10) is None
    assert look_of(b"\xff\xd8\xff" + bytes(100), 10, 10) is None
    assert look_of(jpeg(np.zeros((8, 8, 3)))[:-40], 10, 10) is None
