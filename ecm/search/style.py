"""How well the look and the style of candidates are what the words of a query ask for.

Knows words of style, colour shares and proportions; knows no weights. Where in the picture a colour
is, is for the structure axis to tell.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ecm.contracts.filters import Colour
from ecm.contracts.search import Axis, LayoutConstraint
from ecm.search.pool import Pool, Scores
from ecm.search.signals import Signals
from ecm.search.stems import stems
from ecm.search.traits import oriented

STYLE: Final = stems(
    "abstract aerial animated antique art artwork backlit bokeh cartoon clipart closeup collage "
    "comic diagram doodle drawing engraving etching fisheye graffiti graphic grayscale greyscale "
    "illustration infrared ink logo macro map mosaic mural noir oil painting panorama pastel "
    "pattern photo photograph pixel portrait poster render retro scan screenshot sculpture sepia "
    "silhouette sketch statue stencil texture vector vintage watercolor watercolour woodcut"
)
"""Words that say how something is shown, and not what."""
FULL_SHARE: Final = 0.25
"""Of the picture, that a colour needs to count as fully there."""


def style_match(pool: Pool, signals: Signals) -> Scores:
    """Mean, float64 (n,) in [0, 1], over what the query says of look and style; 0 if nothing.

    Constraints of layout count as the structure axis scored them, else by colours and proportions;
    a word of style counts where tags or caption say it.
    """
    count = len(pool.fused)
    parts: list[Scores] = []
    layout = signals.question.layout
    if layout is not None and signals.by_layout and Axis.X in pool.scores:
        parts.append(np.nan_to_num(pool.scores[Axis.X]))
    elif layout is not None:
        judged = (_judged(one, signals) for one in layout.constraints)
        parts += [one for one in judged if one is not None]
    spoken = signals.spoken
    for column, word in enumerate(spoken.words):
        if word in STYLE:
            parts.append(np.maximum(spoken.tags[:, column], spoken.captions[:, column]))
    return np.mean(parts, axis=0) if parts else np.zeros(count)


def _judged(constraint: LayoutConstraint, signals: Signals) -> Scores | None:
    """By the facts alone; None where they do not tell."""
    facts = signals.facts
    if constraint.colour is not None and facts.colours is not None and len(facts):
        column = facts.colours[:, list(Colour).index(constraint.colour)].astype(np.float64)
        return np.clip(signals.known(column, 0.0) / FULL_SHARE, 0.0, 1.0)
    if constraint.orientation is not None and len(facts):
        with np.errstate(divide="ignore", invalid="ignore"):
            proportions = signals.known(facts.width / facts.height, np.nan)
        fits = oriented(constraint.orientation, proportions, np.ones(len(proportions)))
        return fits.astype(np.float64)
    return None
