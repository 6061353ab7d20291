"""Facets count, and orders sort, what a loop over the assets would."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.contracts.filters import Colour
from ecm.contracts.search import FacetField, SortOrder
from ecm.errors import QueryError
from ecm.search.facets import MAX_VALUES, facets_of, uncountable
from ecm.search.sorting import check_order, sorted_ids
from tests.known_assets import LATER, Known, facts_of

MOMENTS = st.none() | st.sampled_from([0.0, -1.0, 31_535_999.5, 1.6e9, 1e300])
SAID = st.tuples(
    st.sampled_from(["tag", "classification"]),
    st.sampled_from(["dog", "DOG", "cat", "straße"]),
    st.just(0.5),
    st.just("r"),
)


@st.composite
def assets(draw: st.DrawFn) -> list[Known]:
    return [
        Known(
            f"{n:02d}",
            uris=draw(st.sampled_from([(), (f"file:///B%20{n % 3}.jpg",), ("s3://b/a.png",)])),
            width=draw(st.none() | st.sampled_from([10, 20])),
            height=draw(st.none() | st.sampled_from([10, 20])),
            format=draw(st.sampled_from([None, "jpeg", "PNG"])),
            taken=draw(MOMENTS),
            modified=draw(MOMENTS),
            ocr=draw(st.sampled_from([None, "", "STOP"])),
            said=tuple(draw(st.lists(SAID, max_size=4))),
            shares=draw(st.none() | st.just((0.5, 0.15, 0.1, *[0.02] * 9))),
        )
        for n in range(draw(st.integers(0, 8)))
    ]


@settings(max_examples=150, deadline=None)
@given(assets(), st.data())
def test_facets_count_what_a_loop_counts(known: list[Known], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(known), unique=True)) if known else []
    counted = facets_of(FacetField, facts_of(known), [a.asset_id for a in chosen] + ["foreign"])
    found = {
        field: {each.value: each.count for each in values} for field, values in counted.items()
    }
    for field, kind in ((FacetField.TAGS, "tag"), (FacetField.CLASSES, "classification")):
        assert found[field] == Counter(label for a in chosen for label in a.labels(kind))
    assert found[FacetField.FORMAT] == Counter(a.format.lower() for a in chosen if a.format)
    coloured = sum(a.shares is not None for a in chosen)
    assert found[FacetField.COLOURS] == ({"red": coloured, "orange": coloured} if coloured else {})
    assert found[FacetField.YEAR] == Counter(filter(None, map(_year, chosen)))
    assert found[FacetField.ORIENTATION] == Counter(o for a in chosen for o in _orientations(a))
    assert found[FacetField.HAS].get("text", 0) == sum(bool(a.ocr) for a in chosen)
    assert found[FacetField.HAS].get("tags", 0) == sum(bool(a.labels("tag")) for a in chosen)
    for values in counted.values():
        assert list(values) == sorted(values, key=lambda each: (-each.count, each.value))


def _year(asset: Known) -> str | None:
    at = asset.modified if asset.taken is None else asset.taken
    return None if at is None or at > 1e12 else str(datetime.fromtimestamp(at, UTC).year)


def _orientations(asset: Known) -> set[str]:
    if not asset.width or not asset.height:
        return set()
    if asset.width == asset.height:
        return {"square"}
    return {"landscape", "panorama"} if asset.width > asset.height else {"portrait"}


def test_only_the_values_of_most_assets_are_told() -> None:
    labels = [f"label {n:03d}" for n in range(MAX_VALUES + 30)]
    known = [
        Known(f"{n:03d}", said=tuple(("tag", label, None, "r") for label in labels[: n + 1]))
        for n in range(len(labels))
    ]
    facts = facts_of(known)
    tags = facets_of([FacetField.TAGS], facts, facts.asset_ids)[FacetField.TAGS]
    assert [each.value for each in tags] == labels[:MAX_VALUES]
    assert [each.count for each in tags] == list(range(len(labels), 30, -1))


def test_fields_that_the_snapshot_cannot_tell_are_named_not_counted() -> None:
    old = facts_of([Known("a", width=10, height=10)], frozenset(LATER), coloured=False)
    lost = uncountable(FacetField, old)
    assert set(lost) == {FacetField.COLOURS, FacetField.YEAR}
    found = facets_of(FacetField, old, ["a"])
    assert set(found) == set(FacetField) - set(lost)
    assert not uncountable(FacetField, facts_of([]))
    assert len(Colour) == 12


@settings(max_examples=150, deadline=None)
@given(assets(), st.sampled_from(SortOrder), st.data())
def test_orders_are_stable_and_end_with_what_is_not_known(
    known: list[Known], order: SortOrder, data: st.DataObject
) -> None:
    by_id = {asset.asset_id: asset for asset in known}
    given_ids = data.draw(st.permutations(sorted(by_id)))
    expected = sorted(given_ids, key=lambda a: _key(order, by_id[a]))
    assert list(sorted_ids(order, facts_of(known), given_ids)) == expected


def _key(order: SortOrder, asset: Known) -> tuple[bool, float | str]:
    pixels = asset.width * asset.height if asset.width and asset.height else None
    date = asset.modified if asset.taken is None else asset.taken
    value: float | str | None
    match order:
        case SortOrder.RELEVANCE:
            value = 0
        case SortOrder.NEWEST:
            value = None if date is None else -date
        case SortOrder.OLDEST:
            value = date
        case SortOrder.LARGEST:
            value = pixels and -pixels
        case SortOrder.SMALLEST:
            value = pixels
        case SortOrder.NAME:
            names = [uri.rsplit("/", 1)[1].replace("%20", " ").lower() for uri in asset.uris]
            value = names[0] if names else None
    return (value is None, value if value is not None else 0)


def test_sorting_by_dates_that_nothing_tells_is_refused() -> None:
    old, new = facts_of([Known("a")], frozenset(LATER)), facts_of([Known("a")])
    for order in SortOrder:
        check_order(order, new)
        if order in (SortOrder.NEWEST, SortOrder.OLDEST):
            with pytest.raises(QueryError, match="cannot be sorted by date") as caught:
                check_order(order, old)
            assert caught.value.code == "query.sort_unavailable"
        else:
            check_order(order, old)
    assert sorted_ids(SortOrder.NEWEST, old, ["b", "a"]) == ("b", "a")
