"""Assets in the order of a fact instead of a score.

Knows facts and orders; knows no ranking.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import numpy as np

from ecm.contracts.search import SortOrder
from ecm.errors import QueryError
from ecm.search.facts import Facts
from ecm.search.label_sets import Places
from ecm.search.traits import dated


def sorted_ids(order: SortOrder, facts: Facts, asset_ids: Sequence[str]) -> tuple[str, ...]:
    """Some assets in an order; equal ones stay as they were given, those not known come last.

    Newest and oldest go by when a picture was taken, or else when its file changed; largest and
    smallest by pixels; name by the file name of the first URI, without regard to case. Relevance
    is the order given.
    """
    if order is SortOrder.RELEVANCE:
        return tuple(asset_ids)
    places = facts.places(asset_ids)
    if order is SortOrder.NAME:
        names = _names(facts, places)
        by_name = sorted(range(len(names)), key=lambda i: (names[i] is None, names[i] or ""))
        return tuple(asset_ids[index] for index in by_name)
    # NaN sorts last, and the place -1 is that of the NaN at the end.
    keys = np.append(_keys(order, facts), np.nan)[places]
    return tuple(asset_ids[index] for index in np.argsort(keys, kind="stable").tolist())


def check_order(order: SortOrder, facts: Facts) -> None:
    """Raises QueryError `query.sort_unavailable` where the snapshot knows nothing to sort by."""
    by_date = order in (SortOrder.NEWEST, SortOrder.OLDEST)
    if by_date and facts.lacking >= {"taken_at", "modified_at"}:
        raise QueryError(
            "this snapshot cannot be sorted by date: an older release built it",
            "query.sort_unavailable",
            "`ecm materialize` builds and publishes a new one",
        )


def _keys(order: SortOrder, facts: Facts) -> np.ndarray:
    match order:
        case SortOrder.NEWEST:
            return -dated(facts)
        case SortOrder.OLDEST:
            return dated(facts)
        case SortOrder.LARGEST:
            return -(facts.width * facts.height)
        case SortOrder.SMALLEST:
            return facts.width * facts.height
        case SortOrder.RELEVANCE | SortOrder.NAME:
            raise AssertionError(f"{order} has no number")
        case _:
            assert_never(order)


def _names(facts: Facts, places: Places) -> list[str | None]:
    """The casefolded file name of each place, None where there is none."""
    begins, flat = facts.uris.offsets.to_numpy(), facts.uri_bytes
    base = int(begins[0])
    names: list[str | None] = []
    for place in places.tolist():
        if place < 0 or begins[place] == begins[place + 1]:
            names.append(None)
            continue
        uri = flat[int(begins[place]) - base].as_py()
        names.append(uri.rsplit(b"/", 1)[-1].decode(errors="replace").casefold())
    return names
