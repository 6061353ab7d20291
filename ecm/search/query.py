"""What kind of question this is and which axes it calls for, from cheap features of its words.

Knows words and shapes of words; knows no model, no index and no weights.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ecm.contracts.search import Axis, QueryType, SearchRequest
from ecm.search.sketch import read_sketch


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


COLOURS = _words(
    "red orange yellow green blue purple violet pink brown black white gray grey beige turquoise "
    "cyan magenta golden silver teal colour color coloured colored colourful colorful monochrome "
    "sepia pastel hue tone tones"
)
LAYOUT = _words(
    "left right top bottom centre center centered centred middle foreground background corner "
    "layout composition composed symmetric symmetrical symmetry diagonal vertical horizontal "
    "portrait landscape panorama panoramic square closeup overhead framed blurred blurry bokeh "
    "silhouette minimalist cluttered bright dark high-key low-key"
)
FUNCTION = _words(
    "a an the of in on at to for from by with without and or but is are was were be being been "
    "has have having who which that this these there it its his her their some someone something "
    "into onto over under near next while during against between"
)
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_CODE = re.compile(
    r"[\w-]+\.(?:jpe?g|png|webp|gif|tiff?|heic|avif|bmp)\b|\b[A-Za-z]*\d[\w-]*", re.I
)
_QUOTED = re.compile(r'"[^"]+"')


@dataclass(frozen=True)
class Intent:
    """The type of a query, how sure that is (0-1), and the axes that it calls for."""

    query_type: QueryType
    confidence: float
    axes: tuple[Axis, ...]


@dataclass(frozen=True)
class TextFeatures:
    """Cheap counts: words, words of grammar, of colour and of layout, exact terms."""

    words: int
    grammar: int
    look: int
    layout: int
    exact: int


def text_features(text: str) -> TextFeatures:
    """Counts over one query text.

    >>> text_features("a red car on the left")
    TextFeatures(words=6, grammar=3, look=1, layout=1, exact=0)
    """
    words = [word.lower() for word in _WORD.findall(text)]
    return TextFeatures(
        words=len(words),
        grammar=sum(word in FUNCTION for word in words),
        look=sum(word in COLOURS for word in words),
        layout=sum(word in LAYOUT for word in words),
        exact=len(_CODE.findall(text)) + len(_QUOTED.findall(text)),
    )


def classify_text(text: str) -> tuple[QueryType, float]:
    """Query type of a text and its probability: a softmax over four linear scores of the features.

    >>> [classify_text(text)[0].value for text in
    ...  ("tiger", "a man is riding a wave on a surfboard", "red, symmetrical", "IMG_2041.jpg")]
    ['keyword', 'semantic', 'visual', 'keyword']
    """
    seen = text_features(text)
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
    top = max(scores, key=lambda kind: scores[kind])
    total = math.fsum(math.exp(score - scores[top]) for score in scores.values())
    return top, 1.0 / total


def intent_of(request: SearchRequest) -> Intent:
    """Type, confidence and axes of a request; `request.axes` narrows the axes, never widens them.

    The structure axis answers images, assets and texts whose colours or layout can be drawn.
    """
    has_text = bool(request.text and request.text.strip())
    has_image = request.image is not None or request.asset_id is not None
    if has_text and has_image:
        intent = Intent(QueryType.MIXED, 1.0, (Axis.VV, Axis.X, Axis.MV, Axis.FTS))
    elif has_image:
        intent = Intent(QueryType.VISUAL, 1.0, (Axis.VV, Axis.X, Axis.MV))
    else:
        text = request.text or ""
        query_type, confidence = classify_text(text)
        structure = (Axis.X,) if read_sketch(text) is not None else ()
        intent = Intent(query_type, confidence, (Axis.VV, *structure, Axis.MV, Axis.FTS))
    if request.axes is None:
        return intent
    chosen = tuple(axis for axis in intent.axes if axis in request.axes)
    return Intent(intent.query_type, intent.confidence, chosen)
