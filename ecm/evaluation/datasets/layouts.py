"""Queries for the look of pictures, alone and of things, from templates (in English).

Knows what words ask of a look and when it is met in full (2) or in part (1); how a picture looks is
told by `looks`. What every picture was looked at for is complete: no other answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.contracts.evaluation import LabelSource, QueryKind, QuerySource, Relevance
from ecm.contracts.filters import Colour, Orientation
from ecm.contracts.search import QueryType
from ecm.evaluation.datasets.drafts import PIXELS, Answer, Draft, group_of
from ecm.evaluation.datasets.looks import Looks
from ecm.evaluation.datasets.things import Thing, shown_by

Grades = npt.NDArray[np.uint8]
RELEVANCE: Final[tuple[Relevance, ...]] = (0, 1, 2)
SURE: Final = 0.9
SURE_OF_THINGS: Final = 0.7
"""That the colour in the middle of a picture is that of the thing it shows."""
_LEAST, _MOST_SHARE = 2, 0.15
"""Answers of a query: fewer are chance, more are no question."""
_IN_FULL, _IN_PART = 0.5, 0.35
_HALF_FULL, _HALF_PART = 0.45, 0.3
_ELSEWHERE: Final = 0.4
"""How much of the share in a place may be elsewhere for the colour to be in that place."""
_DARK, _BRIGHT, _COLOURLESS = 0.2, 0.86, 0.08
_ON: Final = {
    "left": "on the left",
    "right": "on the right",
    "top": "at the top",
    "bottom": "at the bottom",
    "centre": "in the centre",
}
_FORMATS: Final = {
    Orientation.PORTRAIT: "in portrait format",
    Orientation.LANDSCAPE: "in landscape format",
    Orientation.SQUARE: "in square format",
    Orientation.PANORAMA: "panoramic",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One condition on a look: a colour, all over or in a place; a format; or a kind of light."""

    colour: Colour | None = None
    place: str | None = None
    orientation: Orientation | None = None
    light: str | None = None

    @property
    def name(self) -> str:
        parts = (self.colour, self.place, self.orientation, self.light)
        return " ".join(part for part in parts if part is not None)

    def grades(self, looks: Looks) -> Grades:
        """How well pictures do as is wanted: uint8 (n,), 0 to 2."""
        if self.orientation is not None:
            return _graded((looks.orientation == self.orientation.value).astype(np.float32), 1, 1)
        if self.light is not None:
            return _lit(self.light, looks)
        if self.colour is None:
            return np.zeros(len(looks), np.uint8)
        here = looks.share(self.colour, self.place)
        if self.place is None:
            return _graded(here, _IN_FULL, _IN_PART)
        spread = looks.elsewhere(self.colour, self.place) > _ELSEWHERE * here
        return _graded(np.where(spread, 0, here), _HALF_FULL, _HALF_PART)


def _graded(values: npt.NDArray[np.float32], full: float, part: float) -> Grades:
    return (values >= part).astype(np.uint8) + (values >= full).astype(np.uint8)


def _lit(light: str, looks: Looks) -> Grades:
    match light:
        case "dark":
            return _graded(-looks.light, -_DARK, -1.3 * _DARK)
        case "bright":
            return _graded(looks.light, _BRIGHT, 0.95 * _BRIGHT)
        case _:
            return _graded(-looks.saturation, -_COLOURLESS, -1.3 * _COLOURLESS)


_LIGHT_WORDS: Final = {
    "dark": ("dark picture", "a photo that is mainly dark"),
    "bright": ("bright picture", "a very bright photo"),
    "colourless": ("black and white photo", "monochrome picture"),
}


@dataclass(frozen=True)
class Looked:
    """The looks of the assets that were looked at; `every`: of all there are."""

    looks: Looks
    every: bool

    def answers(self, wanted: Sequence[Wanted]) -> tuple[Answer, ...]:
        """Assets that meet all conditions, as well as the one that they meet least."""
        grades = np.min([one.grades(self.looks) for one in wanted], axis=0)
        return tuple(
            Answer(self.looks.ids[place], RELEVANCE[grades[place]], LabelSource.WEAK, PIXELS, SURE)
            for place in np.flatnonzero(grades)
        )


def layout_drafts(looked: Looked) -> Iterator[Draft]:
    """Queries for look alone: those that some, and not too many, pictures answer."""
    most = max(_LEAST, int(_MOST_SHARE * len(looked.looks)))
    for wanted, texts in _asked():
        answers = looked.answers(wanted)
        full = sum(one.relevance == 2 for one in answers)
        if full < _LEAST or len(answers) > most:
            continue
        for text in texts:
            yield Draft(
                text=text,
                kind=QueryKind.LAYOUT,
                query_type=QueryType.VISUAL,
                source=QuerySource.TEMPLATE,
                group=group_of("look", " ".join(one.name for one in wanted)),
                answers=answers,
                complete=looked.every,
                demands=len(wanted) + sum(one.place is not None for one in wanted),
            )


def mixed_drafts(
    looked: Looked, things: Sequence[Thing], answer: Mapping[str, Answer]
) -> Iterator[Draft]:
    """Queries for a thing of some look: in words, and as a shown picture with words.

    Only pictures that show one thing alone count for its colour.
    """
    alone = {asset_id for asset_id, those in shown_by(things).items() if len(those) == 1}
    place_of = looked.looks.place_of
    grades: dict[Wanted, Grades] = {}
    for thing in things:
        candidates = sorted(thing.assets & alone & place_of.keys())
        if len(candidates) <= _LEAST:
            continue
        for wanted, texts in _of_things(thing.names[0]):
            if wanted not in grades:
                grades[wanted] = wanted.grades(looked.looks)
            met = {asset_id: grades[wanted][place_of[asset_id]] for asset_id in candidates}
            answers = tuple(
                _of_thing(answer[asset_id], RELEVANCE[met[asset_id]])
                for asset_id in candidates
                if met[asset_id]
            )
            full = any(one.relevance == 2 for one in answers)
            if not full or len(answers) > len(candidates) // 2:
                continue
            yield _mixed(thing, wanted, answers, text=texts[0])
            if texts[1] is None:
                continue
            others = [asset_id for asset_id in candidates if not met[asset_id]]
            # One that depends on nothing but the thing and the condition.
            shown = others[len(answers) % len(others)]
            yield _mixed(thing, wanted, answers, text=texts[1], shown=shown)


def _mixed(
    thing: Thing, wanted: Wanted, answers: tuple[Answer, ...], text: str, shown: str | None = None
) -> Draft:
    return Draft(
        text=text,
        kind=QueryKind.MIXED,
        query_type=QueryType.MIXED,
        source=QuerySource.TEMPLATE,
        group=thing.group,
        answers=answers,
        shown=shown,
        about=thing.names[0],
        demands=1 + (wanted.place not in (None, "centre")),
        among=thing.assets,
    )


def _of_thing(said: Answer, met: Relevance) -> Answer:
    weight = min(said.weight, SURE_OF_THINGS)
    return Answer(said.asset_id, met, LabelSource.WEAK, PIXELS, weight)


def _asked() -> Iterator[tuple[tuple[Wanted, ...], tuple[str, ...]]]:
    """Conditions, and the words for them."""
    for light, words in _LIGHT_WORDS.items():
        yield (Wanted(light=light),), words
    for colour in Colour:
        yield (Wanted(colour),), (f"mostly {colour} picture", f"mainly {colour} photo")
        for place, where in _ON.items():
            here = Wanted(colour, place)
            yield (here,), (f"{colour} {where}", f"picture with {colour} {where}")
        for orientation, format_words in _FORMATS.items():
            both = (Wanted(colour), Wanted(orientation=orientation))
            yield both, (f"mostly {colour} picture {format_words}",)
        for other in Colour:
            if other is not colour:
                yield (
                    (Wanted(colour, "top"), Wanted(other, "bottom")),
                    (f"{colour} at the top and {other} at the bottom",),
                )
                yield (
                    (Wanted(colour, "left"), Wanted(other, "right")),
                    (f"{colour} on the left and {other} on the right",),
                )


def _of_things(name: str) -> Iterator[tuple[Wanted, tuple[str, str | None]]]:
    """Conditions on a thing, the words for them, and those beside a shown picture of it, if any."""
    for colour in Colour:
        yield Wanted(colour, "centre"), (f"{colour} {name}", f"like this, but {colour}")
        for place in ("left", "right", "top", "bottom"):
            said = f"{colour} {_ON[place]}"
            yield Wanted(colour, place), (f"{name} with {said}", None)
    for orientation, words in _FORMATS.items():
        wanted = Wanted(orientation=orientation)
        yield wanted, (f"{name} {words}", f"like this, {words}")
