"""A filter leaves what a naive reading of its conditions leaves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.contracts.filters import Colour, Filter
from ecm.errors import QueryError
from ecm.search.filters import allowed_by
from tests.known_assets import LATER, Known, facts_of

HOSTILE = ('") or true or ("', "' OR 1=1 --", "%", "_", ".*", "x\0", "\N{ZERO WIDTH SPACE}", "%20")
LABELS = st.sampled_from(["dog", "DOG", "straße", "STRASSE", "İ", "ﬁn", *HOSTILE])
MOMENTS = st.sampled_from([0.0, 1.5, -1.0, 1.6e9])
FOLDERS = st.sampled_from(["a b", "a%20b", "ä", "a", "100%", '"x"'])
DAY = datetime(2020, 9, 13, 12, 26, 40, tzinfo=UTC)  # 1.6e9


@st.composite
def assets(draw: st.DrawFn) -> list[Known]:
    def one(name: str) -> Known:
        folder, file = draw(FOLDERS), draw(FOLDERS)
        uri = draw(st.sampled_from([f"file:///{quote(folder)}/{quote(file)}", f"s3://b/{folder}"]))
        labels = st.tuples(
            st.sampled_from(["tag", "classification"]),
            LABELS,
            st.none() | st.sampled_from([0.1, 0.5, 0.9]),
            st.sampled_from(["run-1", "run-2"]),
        )
        return Known(
            name,
            uris=tuple(draw(st.sampled_from([(), (uri,), ("file:///z", uri)]))),
            width=draw(st.none() | st.sampled_from([100, 104, 106, 199, 200])),
            height=draw(st.none() | st.sampled_from([100, 220])),
            format=draw(st.sampled_from([None, "jpeg", "PNG"])),
            size=draw(st.none() | st.integers(0, 3)),
            taken=draw(st.none() | MOMENTS),
            modified=draw(st.none() | MOMENTS),
            added=draw(st.none() | MOMENTS),
            caption=draw(st.sampled_from([None, "", "a dog"])),
            ocr=draw(st.sampled_from([None, "", "STOP"])),
            user=draw(st.sampled_from([None, "Mia"])),
            said=tuple(draw(st.lists(labels, max_size=4))),
            shares=draw(st.none() | st.just((0.5, 0.3, *[0.02] * 10))),
        )

    return [one(f"{n:064x}") for n in range(draw(st.integers(0, 8)))]


def _labelled(field: str) -> st.SearchStrategy[dict[str, Any]]:
    lists = st.lists(LABELS, max_size=3)
    made = st.fixed_dictionaries(
        {"field": st.just(field), "any": lists, "all": lists},
        optional={"min_confidence": st.sampled_from([0.0, 0.5])},
    )
    return made.filter(lambda c: c["any"] or c["all"])


def _bounded(fields: list[str], values: Any, upper: str) -> st.SearchStrategy[dict[str, Any]]:
    made = st.fixed_dictionaries(
        {"field": st.sampled_from(fields)}, optional={"gte": values, upper: values}
    )
    return made.filter(lambda c: len(c) > 1)


CONDITIONS = st.one_of(
    _labelled("tags"),
    _labelled("classes"),
    st.sampled_from([["JPG"], ["png", "gif"], ["jpeg"]]).map(
        lambda a: {"field": "format", "any": a}
    ),
    st.builds(
        lambda colours, share, how: {"field": "colours", how: colours, "min_share": share},
        st.lists(st.sampled_from([c.value for c in Colour][:3]), min_size=1, max_size=2),
        st.sampled_from([0.02, 0.3, 0.4]),
        st.sampled_from(["any", "all"]),
    ),
    st.lists(
        st.sampled_from(["portrait", "landscape", "square", "panorama"]), min_size=1, max_size=2
    ).map(lambda a: {"field": "orientation", "any": a}),
    _bounded(["width", "height", "bytes"], st.integers(0, 250), "lte"),
    _bounded(["pixels"], st.sampled_from([10_000, 20_000.0]), "lte"),
    _bounded(["confidence"], st.sampled_from([0.1, 0.5, 0.91]), "lte"),
    _bounded(
        ["taken", "modified", "added"],
        st.sampled_from(
            ["1970-01-01T00:00:01.5", "2020-09-13T14:26:40+02:00", "0001-01-01", "9999-12-31"]
        ),
        "lt",
    ),
    st.builds(
        lambda head, folder: {"field": "path", "prefix": head + folder},
        st.sampled_from(["/", "file:///", "s3://b/", "file:"]),
        FOLDERS,
    ),
    st.sampled_from(["run-1", "run-9", *HOSTILE]).map(lambda r: {"field": "run", "any": [r]}),
    st.sampled_from(["text", "caption", "tags", "user_text", "date"]).map(
        lambda h: {"field": "has", "value": h}
    ),
    st.integers(0, 9).map(lambda n: {"field": "asset", "any": [f"{n:064x}"]}),
)
GROUPS = st.recursive(
    st.just({}),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            name: st.lists(CONDITIONS | inner, max_size=3)
            for name in ("must", "should", "must_not")
        },
    ),
    max_leaves=6,
).filter(lambda group: _depth(group) <= 5)


def _depth(group: dict[str, Any]) -> int:
    inner = [n for nodes in group.values() for n in nodes if "field" not in n]
    return 1 + max(map(_depth, inner), default=0)


def naive(node: dict[str, Any], asset: Known) -> bool:
    """The same, read off the words of the contract for one asset."""
    if "field" not in node:
        return (
            all(naive(n, asset) for n in node.get("must", []))
            and (not node.get("should") or any(naive(n, asset) for n in node["should"]))
            and not any(naive(n, asset) for n in node.get("must_not", []))
        )
    some, each = node.get("any", []), node.get("all", [])
    wide, tall = asset.width, asset.height
    match node["field"]:
        case "tags" | "classes":
            labels = asset.labels("tag" if node["field"] == "tags" else "classification")
            least = node.get("min_confidence", 0)
            held = {n for n, c in labels.items() if not least or (c is not None and c >= least)}
            return _chosen([n.casefold() for n in some], [n.casefold() for n in each], held)
        case "format":
            return (asset.format or "?").lower() in [n.lower().replace("jpg", "jpeg") for n in some]
        case "colours":
            shares = asset.shares or ()
            named = zip((c.value for c in Colour), map(np.float32, shares), strict=False)
            return _chosen(some, each, {n for n, s in named if s >= np.float32(node["min_share"])})
        case "orientation":
            return bool(wide and tall and set(some) & _orientations(wide / tall))
        case "path":
            return any(_starts(uri, node["prefix"]) for uri in asset.uris)
        case "run":
            return bool(asset.runs() & set(some))
        case "asset":
            return asset.asset_id in some
        case "has":
            known = {"text": asset.ocr, "caption": asset.caption, "user_text": asset.user}
            known |= {"tags": asset.labels("tag"), "date": asset.taken is not None}
            return bool(known[node["value"]])
        case "taken" | "modified" | "added":
            value = getattr(asset, node["field"])
            low, high = (_seconds(node[k]) if k in node else None for k in ("gte", "lt"))
            return (
                value is not None and (low is None or value >= low) and (not high or value < high)
            )
        case field:
            sure = [
                c for labels in ("tag", "classification") for c in asset.labels(labels).values()
            ]
            known = {"width": wide, "height": tall, "bytes": asset.size}
            known["pixels"] = wide * tall if wide and tall else None
            known["confidence"] = max((c for c in sure if c is not None), default=None)
            value = known[field]
            return value is not None and node.get("gte", value) <= value <= node.get("lte", value)


def _chosen(some: list[str], each: list[str], held: set[str]) -> bool:
    return set(each) <= held and (not some or bool(held & set(some)))


def _orientations(ratio: float) -> set[str]:
    if ratio >= 1:
        names = {"landscape"} if ratio > 1.05 else {"square"}
        return names | ({"panorama"} if ratio >= 2 else set())
    return {"portrait"} if 1 / ratio > 1.05 else {"square"}


def _starts(uri: str, prefix: str) -> bool:
    plain = unquote_to_bytes(uri) if uri.startswith("file://") else uri.encode()
    if prefix.startswith("file://"):
        return plain.startswith(unquote_to_bytes(prefix))
    heads = [prefix] if "://" in prefix else [prefix, "file://" + prefix]
    return any(plain.startswith(head.encode()) for head in heads)


def _seconds(written: str) -> float:
    moment = datetime.fromisoformat(written)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1)


@settings(max_examples=300, deadline=None)
@given(assets(), GROUPS)
def test_a_filter_is_the_naive_reading_of_it(known: list[Known], tree: dict[str, Any]) -> None:
    facts = facts_of(known)
    expected = tuple(asset.asset_id for asset in known if naive(tree, asset))
    condition = Filter.model_validate(tree)
    assert allowed_by(condition, facts).asset_ids == expected
    assert allowed_by(condition, facts).asset_ids == expected, "remembered"


@settings(max_examples=150, deadline=None)
@given(assets(), CONDITIONS)
def test_a_condition_and_its_negation_share_all_assets(
    known: list[Known], condition: dict[str, Any]
) -> None:
    facts = facts_of(known)
    held = allowed_by(Filter.model_validate({"must": [condition]}), facts)
    rest = allowed_by(Filter.model_validate({"must_not": [condition]}), facts)
    assert sorted((*held.asset_ids, *rest.asset_ids)) == facts.asset_ids


@pytest.mark.parametrize(
    "condition",
    [
        {"field": "bytes", "gte": 1},
        {"field": "taken", "gte": "2020-01-01"},
        {"field": "modified", "lt": "2020-01-01"},
        {"field": "added", "lt": "2020-01-01"},
        {"field": "has", "value": "user_text"},
        {"field": "has", "value": "date"},
        {"field": "colours", "any": ["red"]},
    ],
)
@pytest.mark.parametrize("how", ["must", "should", "must_not"])
def test_what_the_whole_snapshot_lacks_is_refused_with_a_way_out(
    condition: dict[str, Any], how: str
) -> None:
    old = facts_of([Known("a", width=10)], frozenset(LATER), coloured=False)
    with pytest.raises(QueryError) as caught:
        allowed_by(Filter.model_validate({how: [{"field": "width", "gte": 99}, condition]}), old)
    assert caught.value.code == "query.filter_unavailable"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("file:///photos/caf%C3%A9/", "abc"),
        ("file:///photos/café/", "abc"),
        ("/photos/café/", "abc"),
        ("/photos/caf", "abc"),
        ("/photos/caf%C3%A9/", ""),
        ("/photos/café/a b", "a"),
        ("file:///photos/café/a%20b", "a"),
        ("file:///photos/café/100%25", "b"),
        ("/photos/café/100%", "b"),
        ("file:///photos/caf%C3%A9/%e9", "c"),
        ("s3://bucket/a%20b", "d"),
        ("s3://bucket/a b", ""),
        ("/bucket/", ""),
        ("photos", ""),
        ("/photos/caf_", ""),
        ("/photos/%", ""),
        ("", None),
    ],
)
def test_a_place_is_found_by_uri_and_by_path(prefix: str, found: str | None) -> None:
    facts = facts_of(
        [
            Known("a", uris=("file:///photos/caf%C3%A9/a%20b.jpg",)),
            Known("b", uris=("file:///elsewhere.jpg", "file:///photos/caf%C3%A9/100%25.jpg")),
            Known("c", uris=("file:///photos/caf%C3%A9/%E9.jpg",)),
            Known("d", uris=("s3://bucket/a%20b.jpg",)),
        ]
    )
    if found is None:
        with pytest.raises(ValueError, match="at least 1 character"):
            Filter.model_validate({"must": [{"field": "path", "prefix": prefix}]})
        return
    allowed = allowed_by(
        Filter.model_validate({"must": [{"field": "path", "prefix": prefix}]}), facts
    )
    assert "".join(allowed.asset_ids) == found


def test_dates_of_any_zone_are_the_same_moment() -> None:
    facts = facts_of([Known("a", taken=DAY.timestamp())])
    for zone in (UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))):
        here = DAY.astimezone(zone)
        until = Filter.model_validate({"must": [{"field": "taken", "lt": here.isoformat()}]})
        since = Filter.model_validate({"must": [{"field": "taken", "gte": here.isoformat()}]})
        assert not len(allowed_by(until, facts))
        assert len(allowed_by(since, facts)) == 1


def test_many_filters_are_forgotten_and_asked_again() -> None:
    facts = facts_of([Known(f"{n:02d}", width=n + 1) for n in range(20)])
    for _ in range(2):
        for least in range(1, 60):
            wide = Filter.model_validate({"must": [{"field": "width", "gte": least}]})
            assert len(allowed_by(wide, facts)) == max(0, 21 - least)
