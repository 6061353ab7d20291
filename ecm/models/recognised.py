"""Lines of text that were read in a picture: which are kept, and in which order they are told.

Pure: corners of quadrilaterals in pixels in, statements with boxes out. Knows no OCR engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import Field

from ecm.contracts.identity import Contract
from ecm.contracts.result import Box, TextStatement
from ecm.contracts.tidy import tidy_line

# Lines whose heights overlap by this share of the lower one stand side by side.
_BESIDE = 0.5


class ReadingParams(Contract):
    """What is kept of what was read: least confidence, most lines, most characters of a line."""

    min_confidence: float = Field(default=0.5, ge=0.0, le=1.0)
    max_lines: int = Field(default=500, ge=1, le=2000)
    max_chars: int = Field(default=500, ge=1, le=20_000)


@dataclass(frozen=True)
class Line:
    """One line as an engine found it: corners (x, y) in pixels of the picture, confidence 0-1."""

    text: str
    confidence: float
    corners: Sequence[tuple[float, float]]


def box_of(corners: Sequence[tuple[float, float]], width: int, height: int) -> Box:
    """The upright box around corners in pixels, as shares of a picture of `width` x `height`.

    What lies outside the picture is cut off: engines widen boxes beyond its edges.

    >>> box_of([(-2, 10), (50, 10), (50, 20), (-2, 20)], 100, 40)
    Box(left=0.0, top=0.25, right=0.5, bottom=0.5)
    """
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return Box(
        left=_share(min(xs), width),
        top=_share(min(ys), height),
        right=_share(max(xs), width),
        bottom=_share(max(ys), height),
    )


def statements(
    lines: Iterable[Line], width: int, height: int, params: ReadingParams
) -> tuple[TextStatement, ...]:
    """The lines worth keeping, in reading order, with their boxes in a `width` x `height` picture.

    Text is tidied as it will be stored. When there are too many, the surest stay.
    """
    read = [
        TextStatement(
            text=text,
            confidence=min(1.0, max(0.0, float(line.confidence))),
            box=box_of(line.corners, width, height),
        )
        for line in lines
        if line.confidence >= params.min_confidence
        and (text := tidy_line(line.text, params.max_chars))
    ]
    surest = sorted(read, key=lambda said: (-(said.confidence or 0.0), *_place(said)))
    return reading_order(surest[: params.max_lines])


def reading_order(lines: Iterable[TextStatement]) -> tuple[TextStatement, ...]:
    """Rows from top to bottom, each from left to right, whatever the order given.

    A row is begun by the highest line that is left, and takes those beside it. Columns of a page
    are not told apart. A line without a box raises ValueError.
    """
    left = sorted(lines, key=_place)
    ordered: list[TextStatement] = []
    while left:
        first = left[0]
        row = [line for line in left if line is first or _beside(_box(first), _box(line))]
        ordered += sorted(row, key=lambda line: (_box(line).left, *_place(line)))
        taken = {id(line) for line in row}
        left = [line for line in left if id(line) not in taken]
    return tuple(ordered)


def _beside(one: Box, other: Box) -> bool:
    shared = min(one.bottom, other.bottom) - max(one.top, other.top)
    lower = min(one.bottom - one.top, other.bottom - other.top)
    return lower > 0 and shared >= _BESIDE * lower


def _place(line: TextStatement) -> tuple[float, float, float, float, str, float]:
    """Tells any two lines apart that are not equal, so that order does not depend on the input."""
    box = _box(line)
    return box.top, box.left, box.bottom, box.right, line.text, line.confidence or 0.0


def _box(line: TextStatement) -> Box:
    if line.box is None:
        raise ValueError("a line without a box has no place in a reading order")
    return line.box


def _share(pixels: float, side: int) -> float:
    return min(1.0, max(0.0, float(pixels) / side))
