"""Words that tell what kind of question a text is, and the guess made of them.

Knows words and shapes of words; knows no model, no index and no weights.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from ecm.contracts.search import QueryType


def word_set(text: str) -> frozenset[str]:
    """The words between the spaces, for tables that are read more often than changed."""
    return frozenset(text.split())


COLOURS: Final = word_set(
    "red orange yellow green blue purple violet pink brown black white gray grey beige turquoise "
    "cyan magenta golden silver teal colour color coloured colored colourful colorful monochrome "
    "sepia pastel hue tone tones"
)
LAYOUT: Final = word_set(
    "left right top bottom centre center centered centred middle foreground background corner "
    "layout composition composed symmetric symmetrical symmetry diagonal vertical horizontal "
    "portrait landscape panorama panoramic square closeup overhead framed blurred blurry bokeh "
    "silhouette minimalist cluttered bright dark high-key low-key"
)
FUNCTION: Final = word_set(
    "a an the of in on at to for from by with without and or but is are was were be being been "
    "has have having who which that this these there it its his her their some someone something "
    "into onto over under near next while during against between"
)
WORD: Final = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
FILE_NAME: Final = re.compile(
    r"(?<![^\s\"“”„«»/\\,;])[^\s\"“”„«»/\\,;]*[\w)\]]"
    r"\.(?:jpe?g|png|webp|gif|tiff?|hei[cf]|avif|bmp|jxl|dng)(?!\w)",
    re.I,
)
"""A file name with the extension of an image."""
CAMERA_NAME: Final = re.compile(
    r"(?<![\w-])(?:(?:[A-Z]{2,5}|(?i:img|dsc[nf]?|pxl|mvi|gopr|pict))[-_]?\d{3,}|[A-Z]\d{6,})[\w-]*"
    r"|(?<![\w-])\d{8}[-_]\d{4,}\w*"
)
"""A name as cameras give them: letters and a number, or a date and a number."""
_CODE: Final = re.compile(rf"{FILE_NAME.pattern}|\b[A-Za-z]*\d[\w-]*", re.I)
_QUOTED: Final = re.compile(r'"[^"]+"|“[^”]+”|«[^»]+»|„[^“”]+[“”]')


@dataclass(frozen=True)
class TextFeatures:
    """Cheap counts: words, words of grammar, of colour and of layout, exact terms."""

    words: int
    grammar: int
    look: int
    layout: int
    exact: int


def text_features(text: str, phrases: int = 0) -> TextFeatures:
    """Counts over one query text; `phrases` are quotations that are no longer marked in it.

    >>> text_features("a red car on the left")
    TextFeatures(words=6, grammar=3, look=1, layout=1, exact=0)
    """
    words = [word.lower() for word in WORD.findall(text)]
    return TextFeatures(
        words=len(words),
        grammar=sum(word in FUNCTION for word in words),
        look=sum(word in COLOURS for word in words),
        layout=sum(word in LAYOUT for word in words),
        exact=len(_CODE.findall(text)) + len(_QUOTED.findall(text)) + phrases,
    )


def type_chances(text: str, phrases: int = 0) -> dict[QueryType, float]:
    """Probability of each query type: a softmax over four linear scores of the features."""
    seen = text_features(text, phrases)
    content = max(seen.words - seen.grammar, 1)
    seeing = (seen.look + seen.layout) / content
    scores = {
        QueryType.KEYWORD: 2.0 - 0.6 * max(seen.words - 2, 0) - 1.0 * seen.grammar
        + 3.0 * seen.exact - 2.0 * seeing,
        QueryType.SEMANTIC: -1.0 + 0.5 * min(seen.words, 8) + 0.5 * min(seen.grammar, 4)
        - 3.0 * seeing - 2.0 * seen.exact,
        QueryType.VISUAL: -2.0 + 5.0 * seeing,
        QueryType.MIXED: 0.0 + (2.5 if 0.2 < seeing < 0.7 else 0.0)
        + (1.0 if seen.exact and seen.grammar else 0.0),
    }  # fmt: skip
    top = max(scores.values())
    total = math.fsum(math.exp(score - top) for score in scores.values())
    return {kind: math.exp(score - top) / total for kind, score in scores.items()}


def classify_text(text: str, phrases: int = 0) -> tuple[QueryType, float]:
    """The likeliest query type of a text and its probability.

    >>> [classify_text(text)[0].value for text in
    ...  ("tiger", "a man is riding a wave on a surfboard", "red, symmetrical", "IMG_2041.jpg")]
    ['keyword', 'semantic', 'visual', 'keyword']
    """
    chances = type_chances(text, phrases)
    kind = max(chances, key=lambda each: chances[each])
    return kind, chances[kind]
