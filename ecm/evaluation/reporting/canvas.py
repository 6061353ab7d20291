"""How every picture of a report looks, and how it becomes bytes, the same for the same figures.

Colours are Okabe and Ito's, which people with any colour vision tell apart; each engine also has a
mark of its own, so that a grey print reads as well. Knows matplotlib, which is loaded when the
first picture is drawn, and touches none of its settings beyond the drawing.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK: Final = "#1a1a1a"
FAINT: Final = "#8a8a8a"
GRID: Final = "#dddddd"
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKS: Final = ("o", "s", "^", "D", "v", "P", "X")
LINES: Final = ("-", "--", "-.", ":")
DPI: Final = 110

_SETTINGS: Final = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11.0,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "text.parse_math": False,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "svg.hashsalt": "ecm",
}


@dataclass(frozen=True)
class Style:
    """How one engine is drawn in every picture of a report."""

    colour: str
    mark: str
    line: str


def style_of(place: int) -> Style:
    """Of the engine in this place, from 0; they repeat only after every colour has been used."""
    return Style(
        COLOURS[place % len(COLOURS)], MARKS[place % len(MARKS)], LINES[place % len(LINES)]
    )


def picture(width: float, height: float, draw: Callable[[Figure], None]) -> bytes:
    """A PNG of inches (width, height) that `draw` fills. Settings of the process stay."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        target = io.BytesIO()
        figure.savefig(target, format="png", metadata={"Software": None})
    return target.getvalue()


@contextmanager
def framed(axes: Axes, title: str) -> Iterator[Axes]:
    """Axes with a title and a light grid behind what is drawn."""
    axes.set_title(title)
    yield axes
    axes.grid(True, color=GRID, linewidth=0.6)
    axes.tick_params(length=0)
