"""How many of some assets have which value of a fact.

Knows facts and counting; knows no filter and no ranking.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, assert_never

import numpy as np
import numpy.typing as npt

from ecm.contracts.filters import Has, Orientation
from ecm.contracts.search import FacetCount, FacetField
from ecm.search.facts import Facts
from ecm.search.label_sets import LabelSets, Places
from ecm.search.traits import COLOURS, FACET_SHARE, dated, having, lacking_for, oriented

MAX_VALUES: Final = 50
"""Values told of a field: those that most assets have."""

_FAR: Final = 1e11
"""Seconds; times further away than three thousand years are no dates of pictures."""


def facets_of(
    fields: Iterable[FacetField], facts: Facts, asset_ids: Sequence[str]
) -> dict[FacetField, tuple[FacetCount, ...]]:
    """Values by field, those of most assets first, then in order of value.

    Labels and formats are casefolded; an asset has a colour that covers FACET_SHARE of it; its year
    is that of `traits.dated`, in UTC. What is not known of an asset is not counted, and a field
    that the snapshot cannot tell is left out: see `uncountable`.
    """
    places = facts.places(asset_ids)
    places = places[places >= 0]
    wanted = dict.fromkeys(fields)
    lost = uncountable(wanted, facts)
    return {field: _counted(field, facts, places) for field in wanted if field not in lost}


def uncountable(fields: Iterable[FacetField], facts: Facts) -> dict[FacetField, str]:
    """Fields that this snapshot cannot tell of any asset, and why."""
    reasons: dict[FacetField, str] = {}
    for field in fields:
        if field is FacetField.COLOURS and facts.colours is None:
            reasons[field] = "the snapshot has no structure vectors that tell colours"
        if field is FacetField.YEAR and facts.lacking >= {"taken_at", "modified_at"}:
            reasons[field] = "an older release built the snapshot, without dates"
    return reasons


def _counted(field: FacetField, facts: Facts, places: Places) -> tuple[FacetCount, ...]:
    match field:
        case FacetField.TAGS:
            return _of_labels(facts.tags, places)
        case FacetField.CLASSES:
            return _of_labels(facts.classes, places)
        case FacetField.FORMAT:
            codes = facts.formats.codes[places]
            return _of_codes(codes[codes >= 0], facts.formats.vocabulary)
        case FacetField.ORIENTATION:
            width, height = facts.width[places], facts.height[places]
            return _most({o.value: int(oriented(o, width, height).sum()) for o in Orientation})
        case FacetField.COLOURS:
            assert facts.colours is not None
            enough = facts.colours[places] >= np.float32(FACET_SHARE)
            counts = enough.sum(axis=0).tolist()
            return _most({c.value: n for c, n in zip(COLOURS, counts, strict=True)})
        case FacetField.YEAR:
            return _of_years(dated(facts)[places])
        case FacetField.HAS:
            known = [has for has in Has if lacking_for(has) not in facts.lacking]
            return _most({has.value: int(having(has, facts)[places].sum()) for has in known})
        case _:
            assert_never(field)


def _of_labels(labels: LabelSets, places: Places) -> tuple[FacetCount, ...]:
    return _of_codes(labels.codes[labels.entries_of(places)], labels.vocabulary)


def _of_codes(codes: npt.NDArray[np.int32], vocabulary: Sequence[str]) -> tuple[FacetCount, ...]:
    """Counts of places in a sorted vocabulary."""
    counts = np.bincount(codes, minlength=len(vocabulary))
    best = np.argsort(-counts, kind="stable")[:MAX_VALUES]
    return tuple(
        FacetCount(value=vocabulary[code], count=int(counts[code]))
        for code in best.tolist()
        if counts[code]
    )


def _of_years(moments: npt.NDArray[np.float64]) -> tuple[FacetCount, ...]:
    known = moments[np.abs(moments) < _FAR]
    years = np.floor(known).astype("datetime64[s]").astype("datetime64[Y]").astype(np.int64) + 1970
    values, counts = np.unique(years, return_counts=True)
    return _most({str(v): int(n) for v, n in zip(values, counts, strict=True)})


def _most(counts: dict[str, int]) -> tuple[FacetCount, ...]:
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(FacetCount(value=v, count=n) for v, n in ordered[:MAX_VALUES] if n)
