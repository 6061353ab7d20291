"""The words that speak of look: colours and where they are, proportions, and properties.

Knows English words, and where they mean something else ("portrait of", "a red top", "black and
white cat", "on top of a truck"); knows no descriptor and no index.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from ecm.contracts.filters import Colour, Orientation
from ecm.contracts.search import LayoutConstraint
from ecm.search.words import FUNCTION, word_set

COLOUR_WORDS: Final = {
    "red": Colour.RED, "crimson": Colour.RED, "scarlet": Colour.RED, "reddish": Colour.RED,
    "orange": Colour.ORANGE, "yellow": Colour.YELLOW, "golden": Colour.YELLOW,
    "green": Colour.GREEN, "greenish": Colour.GREEN, "olive": Colour.GREEN,
    "cyan": Colour.CYAN, "turquoise": Colour.CYAN, "teal": Colour.CYAN, "aqua": Colour.CYAN,
    "blue": Colour.BLUE, "bluish": Colour.BLUE, "azure": Colour.BLUE, "navy": Colour.BLUE,
    "purple": Colour.PURPLE, "violet": Colour.PURPLE, "lilac": Colour.PURPLE,
    "pink": Colour.PINK, "magenta": Colour.PINK,
    "brown": Colour.BROWN, "brownish": Colour.BROWN, "beige": Colour.BROWN,
    "black": Colour.BLACK, "grey": Colour.GREY, "gray": Colour.GREY, "silver": Colour.GREY,
    "white": Colour.WHITE, "whitish": Colour.WHITE,
}  # fmt: skip
_SHY: Final = word_set("orange golden olive navy violet lilac aqua silver teal")
"""Colours that are more often something else: heeded with a place, or among words of look."""

STRONG: Final = 1.0
PLACED: Final = 0.8
AMBIGUOUS: Final = 0.4
FAINT: Final = 0.1
"""What a constraint counts: said of the picture, of a thing in it, maybe, or in passing."""

_FRAME: Final = (
    r"(?:photo(?:graph(?:y)?)?s?|pictures?|images?|shots?|scenes?|compositions?|formats?|frames?|"
    r"orientation|film|prints?|style|view)"
)
_TONE: Final = (
    rf"(?:colou?rs?|tones?|hues?|light(?:ing)?|palette|mood|atmosphere|exposure|{_FRAME})"
)
_SEPARATOR: Final = re.compile(r"[,.;|/()\[\]{}!?\n\t]+")
_TOKEN: Final = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_PROPERTIES: Final = tuple(
    (name, re.compile(rf"(?<![\w-])(?:{pattern})(?![\w-])"), weight)
    for name, pattern, weight in (
        ("symmetrical", r"(?:mirror )?symmetr(?:ic|ical|ically|y)", STRONG),
        ("upright lines", r"(?:vertical|upright) lines", STRONG),
        ("level lines", r"horizontal lines", STRONG),
        ("diagonal", r"diagonal(?:s|ly)?(?: lines?| composition)?", PLACED),
        (
            "sky",
            r"(?:(?:a )?lots? of|much|big|large|wide|huge|vast|plenty of|mostly|mainly)"
            r"(?: (?:open|empty|clear|blue))? sk(?:y|ies)",
            STRONG,
        ),
        (
            "centred",
            r"cent(?:red|ered)(?: (?:subject|object|composition))?|central(?:ly)? (?:composition|"
            r"placed|framed)|(?:subject|object) in the (?:cent(?:re|er)|middle)",
            PLACED,
        ),
        ("high-key", r"high[- ]key", STRONG),
        ("low-key", r"low[- ]key", STRONG),
        ("high contrast", r"high[- ]contrast|contrasty|strong contrasts?", STRONG),
        ("low contrast", r"low[- ]contrast|flat contrast", STRONG),
        (
            "blurred",
            r"blurred(?! background)|blurry(?! background)|out of focus|soft focus",
            PLACED,
        ),
        ("minimalist", r"minimal(?:ist|istic|ism)?|negative space|uncluttered", PLACED),
        ("busy", rf"cluttered|busy (?:background|{_FRAME})", PLACED),
        (
            "monochrome",
            r"monochrom(?:e|atic)|gr[ae]y[- ]?scale|b ?& ?w|"
            rf"black(?:[- ](?:and|&)[- ]|[ -&]+)white(?= {_FRAME}|[ ]*$)",
            STRONG,
        ),
        ("sepia", rf"sepia(?: {_TONE})?", STRONG),
        ("warm", rf"warm(?:er)? {_TONE}", STRONG),
        ("cool", rf"(?:cool|cold)(?:er)? {_TONE}", STRONG),
        ("colourful", rf"(?:colou?rful|vivid|vibrant|saturated) {_TONE}", STRONG),
        ("muted", rf"(?:muted|pastel|desaturated|faded) {_TONE}", STRONG),
        ("bright", rf"(?:bright|light) {_TONE}|brightly lit|well[- ]lit|overexposed", STRONG),
        ("dark", rf"(?:dark|dim) {_TONE}|underexposed", STRONG),
    )
)
_ALONE: Final = {
    "warm": "warm", "cool": "cool", "colourful": "colourful", "colorful": "colourful",
    "vivid": "colourful", "vibrant": "colourful", "muted": "muted", "pastel": "muted",
    "bright": "bright", "dark": "dark", "cluttered": "busy", "busy": "busy",
}  # fmt: skip
"""Properties only where nothing but look is spoken of: "bright, red", and not "a bright idea"."""

_ORIENTATIONS: Final = tuple(
    (orientation, re.compile(rf"(?<![\w-])(?:{pattern})(?![\w-])"), weight)
    for orientation, pattern, weight in (
        (
            Orientation.PORTRAIT,
            r"(?:in )?portrait (?:orientation|format|mode|aspect)|"
            rf"(?:vertical|upright) (?:orientation|{_FRAME})|in portrait$",
            STRONG,
        ),
        (
            Orientation.LANDSCAPE,
            r"(?:in )?landscape (?:orientation|format|mode|aspect)|"
            rf"horizontal (?:orientation|{_FRAME})|in landscape$|widescreen",
            STRONG,
        ),
        (Orientation.SQUARE, rf"square (?:crop|aspect|orientation|{_FRAME})", STRONG),
        (Orientation.PANORAMA, rf"panoram(?:a|as|ic)(?: {_FRAME})?", PLACED),
    )
)
_SHAPES_ALONE: Final = {
    "portrait": Orientation.PORTRAIT, "vertical": Orientation.PORTRAIT,
    "landscape": Orientation.LANDSCAPE, "horizontal": Orientation.LANDSCAPE,
    "square": Orientation.SQUARE,
}  # fmt: skip
"""Proportions only where nothing but look is spoken of."""

_MOSTLY: Final = word_set("mostly predominantly mainly largely entirely almost all dominant")
_SHADES: Final = word_set("dark bright light pale deep vivid soft plain solid pure")
_FILLERS: Final = word_set(
    "a an the of in on at to with and or is are very some image images photo photos picture "
    "pictures photograph photographs shot composition layout frame framed colour colours color "
    "colors coloured colored tone tones hue hues background style only plain overall it its "
    "something thing everything side dominated by"
)

_PLACE_NAMES: Final = {
    "left": "left", "right": "right", "top": "top", "upper": "top", "bottom": "bottom",
    "lower": "bottom", "centre": "centre", "center": "centre", "middle": "centre",
    "background": "background", "foreground": "foreground",
}  # fmt: skip
_SIDES: Final = (
    r"(?:half|halves|side|part|corner|third|edge|area|portion|section|"
    r"of the (?:picture|image|photo|photograph|frame|screen|shot|scene|canvas))"
)
_PLACE: Final = re.compile(
    r"(?<![\w-])(?P<lead>(?:on|at|to|in|from|along|towards?|across|the)(?: the)?"
    r"(?: (?:far|very|entire|whole))? )?"
    r"(?P<place>(?:top|upper|bottom|lower)[ -](?:left|right)|left|right|top|bottom|upper|lower|"
    rf"cent(?:re|er)|middle|background|foreground)(?:[ -]hand(?= side))?(?P<part>(?: {_SIDES})*)"
    r"(?P<of> of\b)?(?![\w-])"
)
_BREAKS: Final = word_set(
    "with and or while next near behind under over beside above below of in on at to from for by "
    "wearing holding carrying against between into onto inside"
)
_ARTICLES: Final = word_set("a an the his her their its in wearing and with")
_BRIGHTNESS: Final = {
    "dark": Colour.BLACK, "bright": Colour.WHITE, "light": Colour.WHITE,
}  # fmt: skip
"""Colours of a place: "dark background"."""
_NEAR: Final = 4
"""Words between a colour and its place, at most."""


@dataclass(frozen=True)
class Spoken:
    """One constraint, what it counts, and where in the text its words stand."""

    constraint: LayoutConstraint
    weight: float
    start: int
    end: int


@dataclass(frozen=True)
class LooksRead:
    """All that a text says of look; `others` counts its words that speak of something else."""

    spoken: tuple[Spoken, ...]
    others: int


@dataclass(frozen=True)
class _Word:
    low: str
    start: int
    end: int


def read_looks(text: str) -> LooksRead:
    """What a text says of look, in order of the words.

    >>> for one in read_looks("red car on the left, blue background, symmetrical").spoken:
    ...     c = one.constraint
    ...     print(c.said, "|", c.colour and c.colour.value, c.place, c.property, one.weight)
    red car on the left | red left None 0.8
    blue background | blue background None 0.8
    symmetrical | None None symmetrical 1.0
    """
    low = text.lower()
    if len(low) != len(text):
        low = text
    segments = []
    start = 0
    for end in [*(match.start() for match in _SEPARATOR.finditer(low)), len(low)]:
        segments.append(_read_segment(text, low, start, end))
        start = end + 1
    others = sum(segment.others for segment in segments)
    spoken = [one for segment in segments for one in segment.spoken]
    strong = any(one.weight >= PLACED for one in spoken)
    lone = not spoken and sum(len(one.alone) + len(one.colours) for one in segments) == 1
    for segment in segments:
        for word in segment.alone:
            if not others:
                spoken.append(_alone(text, word, AMBIGUOUS if lone else STRONG))
            elif not segment.others:
                spoken.append(_alone(text, word, AMBIGUOUS))
        for bare in segment.colours:
            shy = text[bare.start : bare.end].lower() in _SHY
            if bare.constraint.property is not None:
                weight = STRONG
            elif not others:
                weight = AMBIGUOUS if lone and shy else STRONG
            elif strong or not shy:
                weight = AMBIGUOUS if strong else FAINT
            else:
                continue
            spoken.append(replace(bare, weight=weight))
    spoken.sort(key=lambda one: (one.start, one.end))
    return LooksRead(tuple(spoken), others)


@dataclass
class _Segment:
    """What stands between two separators: what is clear, and what depends on all the rest."""

    spoken: list[Spoken]
    colours: list[Spoken]
    alone: list[_Word]
    others: int


def _read_segment(text: str, low: str, start: int, end: int) -> _Segment:
    part = low[start:end]
    taken = [False] * len(part)
    spoken: list[Spoken] = []
    for name, pattern, weight in _PROPERTIES:
        for match in pattern.finditer(part):
            if _take(taken, match.start(), match.end()):
                said = LayoutConstraint(said=name, property=name)
                spoken.append(_clear(text, start, match, weight, said))
    for orientation, pattern, weight in _ORIENTATIONS:
        for match in pattern.finditer(part):
            if _take(taken, match.start(), match.end()):
                said = LayoutConstraint(said=orientation, orientation=orientation)
                spoken.append(_clear(text, start, match, weight, said))
    words = [
        _Word(match[0].replace("’", "'"), start + match.start(), start + match.end())
        for match in _TOKEN.finditer(part)
        if not taken[match.start()]
    ]
    used: set[int] = set()
    for match in _PLACE.finditer(part):
        if any(taken[match.start() : match.end()]) or match["of"]:
            continue
        place = _Place(
            _place_name(match["place"]),
            start + match.start(),
            start + match.end(),
            free=bool(match["lead"] or match["part"]),
        )
        colours = _colours_of(words, place, used)
        if not colours and place.free and place.name == "centre":
            said = LayoutConstraint(said=match[0].strip(), property="centred")
            spoken.append(Spoken(said, AMBIGUOUS, place.start, place.end))
        if colours or place.free:
            used.update(i for i, word in enumerate(words) if place.start <= word.start < place.end)
        for at in colours:
            spoken.append(_placed(text, words[at], place))
        used.update(colours)
    return _rest(text, words, used, spoken)


@dataclass(frozen=True)
class _Place:
    """A place that is named; `free`: so clearly that it needs no colour right beside it."""

    name: str
    start: int
    end: int
    free: bool


def _place_name(words: str) -> str:
    """The place that the words name, as in `ecm.search.looks`."""
    return " ".join(_PLACE_NAMES[word] for word in re.split(r"[ -]", words))


def _colours_of(words: list[_Word], place: _Place, used: set[int]) -> list[int]:
    """Which words are the colours at a place: those before it, else the one after it."""
    before = [i for i, word in enumerate(words) if word.end <= place.start]
    after = [i for i, word in enumerate(words) if word.start >= place.end]
    reach = _NEAR if place.free or place.name.endswith("ground") else 1
    for at in before[: -reach - 1 : -1]:
        word = words[at].low
        if at in used or (word in _BREAKS and word not in COLOUR_WORDS):
            break
        if _is_colour(words, at, place):
            if not place.free and place.name in ("top", "bottom") and _is_worn(words, at):
                return []
            return [*_joined_before(words, at, used), at]
    stated = bool(after) and words[after[0]].low in ("is", "are")
    for at in after[: _NEAR if place.free else 1 + stated]:
        if at in used or words[at].low in _BREAKS:
            break
        if _is_colour(words, at, place):
            return [at]
    return []


def _is_colour(words: list[_Word], at: int, place: _Place) -> bool:
    """A colour word; "dark" and "bright" are colours right before a place."""
    beside = words[at].end + 1 >= place.start
    return words[at].low in COLOUR_WORDS or (beside and words[at].low in _BRIGHTNESS)


def _is_worn(words: list[_Word], colour: int) -> bool:
    """Whether what follows a colour is a thing: "a red top", "in black bottoms"."""
    return colour > 0 and words[colour - 1].low in _ARTICLES


def _joined_before(words: list[_Word], at: int, used: set[int]) -> list[int]:
    """Colours that "and" joins with the colour at a place."""
    if at < 2 or words[at - 1].low not in ("and", "or") or at - 2 in used:
        return []
    return [at - 2] if words[at - 2].low in COLOUR_WORDS else []


def _rest(text: str, words: list[_Word], used: set[int], spoken: list[Spoken]) -> _Segment:
    """The segment, with the words that are left sorted into colours, lone words and others."""
    colours: list[Spoken] = []
    alone: list[_Word] = []
    others = 0
    for at, word in enumerate(words):
        after = words[at + 1].low if at + 1 < len(words) else ""
        before = words[at - 1].low if at else ""
        if at in used or word.low in _FILLERS or word.low in FUNCTION:
            continue
        if word.low in COLOUR_WORDS:
            sky = "top" if after in ("sky", "skies") else None
            mostly = "mostly" if before in _MOSTLY else None
            said = LayoutConstraint(
                said=text[word.start : word.end],
                colour=COLOUR_WORDS[word.low],
                place=sky,
                property=mostly,
            )
            colours.append(Spoken(said, FAINT, word.start, word.end))
        elif word.low in _MOSTLY or (word.low in _SHADES and after in COLOUR_WORDS):
            continue
        elif (word.low in _ALONE or word.low in _SHAPES_ALONE) and after != "of":
            alone.append(word)
        else:
            others += 1
    return _Segment(spoken, colours, alone, others)


def _take(taken: list[bool], start: int, end: int) -> bool:
    """Mark the letters as read; False where one of them already was."""
    if any(taken[start:end]):
        return False
    taken[start:end] = [True] * (end - start)
    return True


def _alone(text: str, word: _Word, weight: float) -> Spoken:
    said = text[word.start : word.end]
    constraint = LayoutConstraint(
        said=said, property=_ALONE.get(word.low), orientation=_SHAPES_ALONE.get(word.low)
    )
    return Spoken(constraint, weight, word.start, word.end)


def _placed(text: str, word: _Word, place: _Place) -> Spoken:
    start, end = min(word.start, place.start), max(word.end, place.end)
    colour = COLOUR_WORDS.get(word.low) or _BRIGHTNESS[word.low]
    said = LayoutConstraint(said=text[start:end].strip(), colour=colour, place=place.name)
    return Spoken(said, PLACED, start, end)


def _clear(
    text: str, start: int, match: re.Match[str], weight: float, constraint: LayoutConstraint
) -> Spoken:
    begin, end = start + match.start(), start + match.end()
    said = constraint.model_copy(update={"said": text[begin:end]})
    return Spoken(said, weight, begin, end)
