"""Which words of a query the tags and captions of candidates say, and how surely.

Knows words and the facts of a tenant; knows no index, no weights and no score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.search.facts import Facts
from ecm.search.label_sets import LabelSets, Places
from ecm.search.stems import label_stems, stems_in_order

MOST_WORDS: Final = 16
"""Telling words of a query that are looked for; the others are not."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Spoken:
    """What n candidates say of the w words of a query.

    tags: float64 (n, w), confidence of the surest tag with the word; 0: no tag has it.
    captions: bool (n, w).
    exact, named: float64 (n,), confidence of the surest tag, and class, that is the query, word for
        word; 0: none is.
    rarity: float64 (w,), above 0, sums to 1 (w > 0): what share of the query each word is, by how
        few assets of the tenant have it among their tags (inverse document frequency).
    """

    words: tuple[str, ...]
    tags: Floats
    captions: npt.NDArray[np.bool_]
    exact: Floats
    named: Floats
    rarity: Floats

    @property
    def overlap(self) -> Floats:
        """Share of the query that the tags say, each word as surely as they say it: (n,)."""
        return np.clip(self.tags @ self.rarity, 0.0, 1.0)

    @property
    def covered(self) -> Floats:
        """Share of the query that tags or caption say, however surely: float64 (n,)."""
        return np.clip(((self.tags > 0) | self.captions) @ self.rarity, 0.0, 1.0)


def spoken_by(
    facts: Facts,
    places: Places,
    text: str,
    *,
    whole: bool = True,
    captioned: npt.NDArray[np.bool_] | None = None,
) -> Spoken:
    """What candidates say of a text; `places` intp (n,) of them in the facts, -1: not there.

    Where the facts are not those of the `whole` tenant, no word is known to be rare. `captioned`
    bool (n,) are the only ones whose captions can have a word, if that is known.
    """
    words = stems_in_order(text)[:MOST_WORDS]
    known = np.flatnonzero(places >= 0)
    tags, exact, found_in = _by_tags(facts.tags, places, known, words)
    _, named, _ = _by_tags(facts.classes, places, known, words)
    captions = np.zeros((len(places), len(words)), np.bool_)
    if words:
        for row in known if captioned is None else known[captioned[known]]:
            own = label_stems(facts.text("caption", int(places[row])))
            captions[row] = [word in own for word in words]
    if not whole:
        found_in[:] = 0.0
    return Spoken(words, tags, captions, exact, named, _shares(found_in, len(facts)))


def _by_tags(
    labels: LabelSets, places: Places, known: Places, words: tuple[str, ...]
) -> tuple[Floats, Floats, Floats]:
    """Surest label of each candidate with each word (n, w), and that is all of them (n,); and how
    many assets have the most common label with each word (w,).
    """
    having, exact = np.zeros((len(places), len(words))), np.zeros(len(places))
    found_in = np.zeros(len(words))
    if not words or not len(known):
        return having, exact, found_in
    rows = places[known]
    entries = labels.entries_of(rows)
    owners = np.repeat(known, labels.offsets[rows + 1] - labels.offsets[rows])
    sure = np.nan_to_num(labels.confidences[entries], nan=1.0)
    codes, inverse = np.unique(labels.codes[entries], return_inverse=True)
    columns = {word: column for column, word in enumerate(words)}
    asked = frozenset(words)
    with_word = np.zeros((len(words), len(codes)), np.bool_)
    same = np.zeros(len(codes), np.bool_)
    for place, code in enumerate(codes.tolist()):
        own = label_stems(labels.vocabulary[code])
        for word in own & asked:
            with_word[columns[word], place] = True
        same[place] = own == asked
    for column, chosen in enumerate(with_word):
        if chosen.any():
            mine = chosen[inverse]
            np.maximum.at(having[:, column], owners[mine], sure[mine])
            spread = labels.starts[codes[chosen] + 1] - labels.starts[codes[chosen]]
            found_in[column] = spread.max()
    mine = same[inverse]
    np.maximum.at(exact, owners[mine], sure[mine])
    return having, exact, found_in


def _shares(found_in: Floats, assets: int) -> Floats:
    """Robertson and Spärck Jones' weight of each word, as shares of their sum."""
    if not len(found_in):
        return found_in
    rare = np.log1p((max(assets, 1) - np.minimum(found_in, assets) + 0.5) / (found_in + 0.5))
    shares: Floats = rare / rare.sum()
    return shares
