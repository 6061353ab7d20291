"""Filters, facets and orders through the whole engine: on every axis, on every page, one tenant."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ecm.contracts.filters import Filter
from ecm.contracts.search import FacetField, SearchRequest, SearchResponse
from ecm.errors import EcmError, QueryError
from ecm.opening import search_parts
from ecm.search.engine import SearchEngine
from ecm.search.filters import allowed_by
from ecm.search.opening import open_engine
from tests.factories import Indexer, asset_id, fake_profile, gallery, picture

PICTURES = gallery(3) | {
    "tall.png": picture("red", 4, (240, 320)),
    "wide.png": picture("blue", 5, (640, 240)),
    "s3://bucket/a b/grey.png": picture("grey", 6),
}
NAMES = {asset_id(data): name for name, data in PICTURES.items()}
# The foreign tenant has the same pictures and more, under the same and other names.
FOREIGN = PICTURES | {"secret-red.png": picture("red", 9), "secret-blue.png": picture("blue", 9)}
HOSTILE = [
    '") or true or ("',
    "' OR '1'='1",
    'x" OR tenant_id = "other',
    "tenant_id = 'other' --",
    "other",
    "%",
    "\0",
    "\ud800",
    "file:///photos/secret",
    "../../",
    ".*",
    "red\N{RIGHT-TO-LEFT OVERRIDE}",
]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    profile = fake_profile(tmp_path_factory.mktemp("home"), "search.time_ceiling_ms=60000")
    made = Indexer(profile)
    made.add(PICTURES)
    made.add(FOREIGN, tenant="other", run_id="run-other")
    made.publish()
    with open_engine(search_parts(profile)) as opened:
        yield opened


def ask(engine: SearchEngine, **fields: Any) -> SearchResponse:
    return engine.search(SearchRequest.model_validate({"tenant_id": "t", "limit": 200, **fields}))


def names(answer: SearchResponse) -> list[str]:
    return [NAMES[hit.asset_id] for hit in answer.hits]


def test_every_axis_looks_among_what_is_left_only(engine: SearchEngine) -> None:
    tree = {"must": [{"field": "tags", "any": ["BLUE"]}]}
    allowed = set(allowed_by(Filter.model_validate(tree), engine.facts.of("t")).asset_ids)
    assert 0 < len(allowed) < len(PICTURES)
    for axis in ("vv", "x", "mv", "fts"):
        answer = ask(engine, text="blue", filter=tree, axes=[axis], candidates=2)
        assert {hit.asset_id for hit in answer.hits} <= allowed
        assert len(answer.hits) == 2, "those left out do not count among the candidates"
    shown = ask(engine, image=base64.b64encode(picture("red")), filter=tree)
    assert {hit.asset_id for hit in shown.hits} == allowed


def test_pages_of_a_filtered_search_are_its_list(engine: SearchEngine) -> None:
    fields = {"text": "red", "filter": {"must_not": [{"field": "tags", "any": ["blue"]}]}}
    whole = [hit.asset_id for hit in ask(engine, **fields).hits]
    walked: list[str] = []
    cursor = None
    while True:
        page = ask(engine, **fields | {"limit": 4}, cursor=cursor)
        walked += [hit.asset_id for hit in page.hits]
        cursor = page.cursor
        if cursor is None:
            break
    assert walked == whole
    first = ask(engine, **fields | {"limit": 4})
    with pytest.raises(QueryError, match="another query"):
        ask(engine, text="red", limit=4, cursor=first.cursor)


def test_facets_count_what_matches_on_every_page_alike(engine: SearchEngine) -> None:
    fields = {"text": "red", "facets": list(FacetField), "limit": 3}
    first = ask(engine, **fields)
    whole = ask(engine, text="red")
    assert first.matched == len(whole.hits)
    tags = Counter(tag.casefold() for hit in whole.hits for tag in hit.tags)
    assert {each.value: each.count for each in first.facets[FacetField.TAGS]} == tags
    assert first.facets[FacetField.FORMAT][0].count == first.matched
    second = ask(engine, **fields, cursor=first.cursor)
    assert second.facets == first.facets


def test_an_order_is_that_of_the_fact(engine: SearchEngine) -> None:
    largest = ask(engine, text="red", sort="largest")
    pixels = [(hit.width or 0) * (hit.height or 0) for hit in largest.hits]
    assert pixels == sorted(pixels, reverse=True)
    by_name = names(ask(engine, text="red", sort="name"))
    assert by_name == sorted(by_name, key=lambda name: name.rsplit("/", 1)[-1])


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"field": "orientation", "any": ["portrait"]}, {"tall.png"}),
        ({"field": "orientation", "any": ["panorama"]}, {"wide.png"}),
        ({"field": "pixels", "gte": 640 * 240}, {"wide.png"}),
        ({"field": "path", "prefix": "s3://bucket/a b/"}, {"s3://bucket/a b/grey.png"}),
        ({"field": "path", "prefix": "/photos/tall"}, {"tall.png"}),
        ({"field": "run", "any": ["run-other"]}, set()),
        ({"field": "asset", "any": [asset_id(FOREIGN["secret-red.png"])]}, set()),
        ({"field": "asset", "any": [asset_id(PICTURES["tall.png"])]}, {"tall.png"}),
    ],
    ids=lambda v: str(v.get("field")) if isinstance(v, dict) else "",
)
def test_a_condition_leaves_its_pictures(
    engine: SearchEngine, condition: dict[str, Any], expected: set[str]
) -> None:
    answer = ask(engine, image=base64.b64encode(picture("grey")), filter={"must": [condition]})
    assert set(names(answer)) == expected


def test_sizes_and_dates_are_those_of_the_snapshot(engine: SearchEngine) -> None:
    large = {data: asset_id(data) for data in PICTURES.values()}
    most = sorted(map(len, large))[-3]
    tree = {"must": [{"field": "bytes", "gte": most}, {"field": "added", "gte": "2020-01-01"}]}
    found = {hit.asset_id: hit.size for hit in ask(engine, filter=tree).hits}
    assert found == {name: len(data) for data, name in large.items() if len(data) >= most}
    # The factory's files are of the first nanosecond of 1970, and nobody says when they were taken.
    old = ask(engine, filter={"must": [{"field": "modified", "lt": "1970-01-02"}]})
    assert len(old.hits) == len(PICTURES)
    assert not ask(engine, filter={"must": [{"field": "has", "value": "date"}]}).hits
    years = ask(engine, filter={}, facets=["year"]).facets[FacetField.YEAR]
    assert [(each.value, each.count) for each in years] == [("1970", len(PICTURES))]


TEXTS = st.sampled_from(HOSTILE) | st.text(max_size=12)
CONDITIONS = st.one_of(
    st.builds(
        lambda f, a, n: {"field": f, "any": a, "min_confidence": n},
        st.sampled_from(["tags", "classes"]),
        st.lists(TEXTS, min_size=1, max_size=3),
        st.sampled_from([0.0, 0.5]),
    ),
    st.builds(
        lambda f, a: {"field": f, "any": [a]},
        st.sampled_from(["format", "run", "orientation", "colours", "asset"]),
        TEXTS,
    ),
    TEXTS.map(lambda prefix: {"field": "path", "prefix": prefix}),
    st.builds(lambda f, g: {"field": f, "gte": g}, st.sampled_from(["width", "taken"]), TEXTS),
    st.builds(lambda f: {"field": f, "any": ["red"]}, TEXTS),
)


@settings(max_examples=150, deadline=None)
@given(
    st.none() | TEXTS,
    st.dictionaries(
        st.sampled_from(["must", "should", "must_not"]), st.lists(CONDITIONS, max_size=3)
    ),
)
def test_no_string_leaves_the_tenant_or_breaks_the_search(
    engine: SearchEngine, text: str | None, tree: dict[str, Any]
) -> None:
    with suppress(ValidationError, EcmError):
        answer = ask(engine, text=text, filter=tree, facets=["tags", "has"])
        assert {hit.asset_id for hit in answer.hits} <= set(NAMES)
        assert not any("secret" in uri for hit in answer.hits for uri in hit.uris)
        assert {ref.run_id for hit in answer.hits for ref in hit.evidence} <= {"run-1"}
        most = max((each.count for counts in answer.facets.values() for each in counts), default=0)
        assert most <= len(PICTURES)
