"""Facts in memory are what the rows of the snapshot say."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.contracts.filters import Colour
from ecm.contracts.search import Axis
from ecm.errors import ContractError
from ecm.evidence.reader import SnapshotReader
from ecm.search.facts import FactsCache, read_facts
from ecm.search.traits import FACET_SHARE
from tests.factories import Indexer, fake_profile, gallery
from tests.known_assets import LATER, Known, KnownTables, facts_of

LABELS = st.sampled_from(
    ["dog", "Dog", "STRASSE", "straße", "", "ǆ", "Ǆ", 'a") or true or ("', "x\0"]
)
SAID = st.tuples(
    st.sampled_from(["tag", "classification", "caption", "ocr"]),
    LABELS,
    st.none() | st.floats(0, 1),
    st.sampled_from(["run-1", "run-2"]),
)


@st.composite
def assets(draw: st.DrawFn) -> list[Known]:
    names = draw(st.permutations([f"{n:02d}" for n in range(draw(st.integers(0, 9)))]))
    return [
        Known(
            name,
            width=draw(st.none() | st.integers(1, 5)),
            said=tuple(draw(st.lists(SAID, max_size=8))),
            vector_run=draw(st.none() | st.just("run-v")),
        )
        for name in names
    ]


@settings(max_examples=120, deadline=None)
@given(assets())
def test_arrays_say_what_the_statements_say(known: list[Known]) -> None:
    facts = facts_of(known)
    by_id = {asset.asset_id: asset for asset in known}
    assert facts.asset_ids == sorted(by_id)
    for place, asset_id in enumerate(facts.asset_ids):
        asset = by_id[asset_id]
        for kind, sets in (("tag", facts.tags), ("classification", facts.classes)):
            labels = asset.labels(kind)
            assert sets.labels(place) == tuple(sorted(labels))
            entries = slice(sets.offsets[place], sets.offsets[place + 1])
            stored = [None if np.isnan(c) else float(c) for c in sets.confidences[entries]]
            assert stored == [labels[label] for label in sorted(labels)]
        assert set(facts.runs.labels(place)) == asset.runs()
        sure = [c for k, _, c, _ in asset.said if k in ("tag", "classification") and c is not None]
        known_ones = [c for _, _, c, _ in asset.said if c is not None]
        low = sum(c < 0.3 for c in known_ones) / len(known_ones) if known_ones else None
        _same(facts.confidence[place], max(sure, default=None))
        _same(facts.low_share[place], low)
        _same(facts.width[place], asset.width)


def _same(stored: float, said: float | None) -> None:
    assert np.isnan(stored) if said is None else stored == pytest.approx(said)


@settings(max_examples=60, deadline=None)
@given(assets(), st.sampled_from(["dog", "strasse", "nothing", ""]), st.floats(0, 1))
def test_who_has_a_label_is_told_both_ways(known: list[Known], label: str, least: float) -> None:
    facts = facts_of(known)
    by_id = {asset.asset_id: asset for asset in known}
    expected = []
    for asset_id in facts.asset_ids:
        labels = by_id[asset_id].labels("tag")
        sure = labels.get(label)
        expected.append(label in labels and (least == 0 or (sure is not None and sure >= least)))
    tags = facts.tags
    assert tags.holding(tags.code(label), least).tolist() == expected
    whole = tags.entries_of(range(len(facts)))
    assert whole.tolist() == list(range(len(tags.codes)))
    odd = range(1, len(facts), 2)
    assert tags.rows[tags.entries_of(odd)].tolist() == [
        place for place in odd for _ in tags.labels(place)
    ]


def test_columns_of_later_releases_may_be_missing() -> None:
    asset = Known("a", size=5, taken=1.0, modified=2.0, added=3.0, user="Mia", width=4)
    new, old = facts_of([asset]), facts_of([asset], frozenset(LATER))
    assert not new.lacking
    assert old.lacking == set(LATER)
    assert (new.size[0], new.taken[0], new.modified[0], new.added[0]) == (5, 1, 2, 3)
    assert new.texts["user"].to_pylist() == ["Mia"]
    assert (new.text("user", 0), old.text("user", 0)) == ("Mia", "")
    assert np.isnan([old.size[0], old.taken[0], old.modified[0], old.said_at[0]]).all()
    assert old.texts["user"].to_pylist() == old.texts["path"].to_pylist() == [None]


def test_labels_are_told_as_text_from_the_surest_on() -> None:
    said = [("tag", "dog", 0.2, "r"), ("tag", "cat", None, "r"), ("tag", "Animal", 0.9, "r")]
    facts = facts_of([Known("a"), Known("b", said=(*said, ("classification", "cat", 0.5, "r")))])
    assert facts.text("tags", 1) == "animal, dog, cat"
    assert facts.text("classification", 1) == "cat"
    assert facts.text("tags", 0) == facts.text("caption", 0) == ""


@pytest.mark.parametrize("asked", [1, 40])
def test_places_are_those_of_the_ids_asked_for(asked: int) -> None:
    facts = facts_of([Known(f"{n:03d}") for n in range(100)])
    ids = [f"{n:03d}" for n in range(99, 99 - asked, -1)] + ["", "zzz"]
    assert facts.places(ids).tolist() == [*range(99, 99 - asked, -1), -1, -1]


def test_a_cache_loads_a_tenant_once_and_keeps_what_fits(reader: SnapshotReader) -> None:
    cache, all_waiting = FactsCache(reader, 1 << 24), threading.Barrier(4, timeout=10)

    def ask(_: int) -> object:
        all_waiting.wait()
        return cache.of("t")

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, range(4)))
    assert all(each is found[0] for each in found)
    assert 0 < cache.nbytes == cache.of("t").nbytes
    small = FactsCache(reader, 100)
    assert small.of("t").asset_ids == small.of("t").asset_ids
    assert small.nbytes == 0
    assert cache.of("nobody").asset_ids == []
    with pytest.raises(ContractError):
        cache.of('t") or true or ("')


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> SnapshotReader:
    profile = fake_profile(Path(tmp_path_factory.mktemp("facts")))
    indexer = Indexer(profile)
    indexer.add(gallery(2))
    return SnapshotReader.open(indexer.store, indexer.publish())


def test_facts_of_a_snapshot_are_its_rows(reader: SnapshotReader) -> None:
    facts = FactsCache(reader, 1 << 24, reader.ref.transforms[Axis.X][0]).of("t")
    rows = reader.rows("t", facts.asset_ids)
    assert [row.asset_id for row in rows] == facts.asset_ids
    assert facts.width.tolist() == [row.width for row in rows]
    assert [facts.formats.vocabulary[code] for code in facts.formats.codes] == ["png"] * len(rows)
    assert facts.uris.to_pylist() == [list(row.uris) for row in rows]
    for place, row in enumerate(rows):
        assert set(facts.tags.labels(place)) == {tag.casefold() for tag in row.tags}
        assert facts.runs.labels(place) == ("run-1",)
        assert facts.texts["caption"][place].as_py() == row.caption


def test_colours_are_those_of_the_picture_where_x_is_the_structure_descriptor(
    reader: SnapshotReader,
) -> None:
    mark = reader.ref.transforms[Axis.X][0]
    facts = FactsCache(reader, 1 << 24, mark).of("t")
    assert facts.colours is not None
    named = [uris[0].rsplit("/", 1)[1].split("-")[0] for uris in facts.uris.to_pylist()]
    shares = facts.colours[range(len(named)), [list(Colour).index(Colour(n)) for n in named]]
    assert (shares >= FACET_SHARE).all()
    assert FactsCache(reader, 1 << 24, "0" * 64).of("t").colours is None
    assert FactsCache(reader, 1 << 24).of("t").colours is not None


def test_an_asset_without_structure_vector_has_no_colours() -> None:
    shares = (1.0, *[0.0] * 11)
    facts = read_facts(
        KnownTables([Known("b", shares=shares), Known("a"), Known("c")], step=1), "t", lambda v: v
    )
    assert facts.colours is not None
    assert np.isnan(facts.colours[[0, 2]]).all()
    assert facts.colours[1].tolist() == list(shares)


def test_what_is_held_is_counted() -> None:
    one = Known("a", uris=("file:///a.png",), said=(("tag", "dog", 0.5, "r"),))
    few = facts_of([replace(one, asset_id=f"{n:04d}") for n in range(10)])
    many = facts_of([replace(one, asset_id=f"{n:04d}") for n in range(1000)])
    assert 50 < many.nbytes / few.nbytes < 110
