"""Searching a snapshot: right, inside its tenant, and loud when something is broken."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import lance
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.contracts.result import ResultEnvelope, Space
from ecm.contracts.search import Axis
from ecm.errors import AxisUnavailable, ContractError, QueryError, StoreCorrupt
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import SnapshotRef
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from tests.evidence_envelopes import (
    JPEG,
    MV,
    OCR,
    START,
    VISION,
    VV,
    X,
    content_of,
    embedded,
    everything,
    ocr,
    vector_of,
    vision,
)

POLICY = SnapshotPolicy(
    transforms={Axis.FTS: (VISION, OCR), Axis.VV: (VV,), Axis.X: (X,), Axis.MV: (MV,)}
)
EVEN = {"caption": 1.0, "tags": 1.0, "classification": 1.0, "ocr": 1.0, "name": 1.0}
INDEXED = {"vector_index_rows": 256, "exact_search_rows": 256}


def _opened(
    folder: Path, batch: list[ResultEnvelope], **changes: int
) -> tuple[EvidenceStore, SnapshotRef]:
    store = EvidenceStore.create(EvidenceConfig(uri=str(folder), **changes), START)
    EvidenceCommitter(store).append("b1", batch)
    return store, SnapshotStore(store).build(POLICY, START)


def _vectors(reader: SnapshotReader, tenant: str) -> tuple[list[str], np.ndarray]:
    matrix = reader.tenant_matrix(tenant, Axis.VV)
    return matrix.asset_ids, matrix.vectors


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> SnapshotReader:
    """Words where they are easy to count: caption, tags, file name and recognised text differ."""
    batch = [
        vision("a", "a red car by the sea", ("sports car", "coast"), thumbnail=JPEG),
        vision("b", "two dogs running", ("golden retriever", "dog")),
        vision("c", "an old house", ("castle",), uri="file:///trips/Edinburgh Castle/IMG_7.jpg"),
        ocr("d", "NO DOGS ALLOWED", "café"),
        *everything("e", "mountain"),
        vision("f", "a red car by the sea", ("sports car",), tenant="u"),
    ]
    store, ref = _opened(tmp_path_factory.mktemp("album") / "store", batch)
    return SnapshotReader.open(store, ref)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("red car", "a"),
        ("run", "b"),
        ("DOG", "bd"),
        ("retrievers golden", "b"),
        ("edinburgh", "c"),
        ("CAFE", "d"),
        ("Café", "d"),
        ("img 7", "c"),
        ("castle", "c"),
        ("mountain sea", "ea"),
        ('"dogs" AND NOT (retriever', "bd"),
        ("the", ""),
        ("zebra", ""),
    ],
)
def test_words_find_their_assets(album: SnapshotReader, text: str, found: str) -> None:
    hits = album.search_text("t", text, EVEN, 10)
    assert {asset_id for asset_id, _ in hits} == {content_of(seed) for seed in found}
    assert [score for _, score in hits] == sorted((s for _, s in hits), reverse=True)
    assert all(score > 0 for _, score in hits)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \t\n",
        "!?.,;:'\"()[]{}",
        "😀 🚀",
        "'; DROP TABLE assets; --",
        "+-&&||!(){}[]^~*?:\\/",
        "x" * 2000,
        "\x00",
        "\ud800",
        "_" * 50,
        "{'match': {}}",
        "caption:*",
    ],
)
def test_text_is_only_ever_words(album: SnapshotReader, text: str) -> None:
    assert album.search_text("t", text, EVEN, 10) == []


def test_a_word_counts_once_however_long_the_question(album: SnapshotReader) -> None:
    once = album.search_text("t", "dog", EVEN, 10)
    assert album.search_text("t", "dog " * 500, EVEN, 10) == once
    assert album.search_text("t", "«dog», \"DOG\"! 'dog'", EVEN, 10) == once
    many = " ".join(f"filler{n}" for n in range(60)) + " dog"
    assert album.search_text("t", many, EVEN, 10) == once


def test_boosts_scale_the_columns_that_add_up(album: SnapshotReader) -> None:
    parts = [dict(album.search_text("t", "castle", {c: 1.0}, 10)) for c in EVEN]
    whole = dict(album.search_text("t", "castle", EVEN, 10))
    for asset_id, score in whole.items():
        assert score == pytest.approx(sum(p.get(asset_id, 0.0) for p in parts), abs=1e-4)
    double = dict(album.search_text("t", "castle", dict.fromkeys(EVEN, 2.0), 10))
    assert double == pytest.approx({a: 2 * s for a, s in whole.items()}, abs=1e-4)
    assert album.search_text("t", "castle", {"tags": 1.0, "ocr": 0.0}, 10)
    wrong: dict[str, float]
    for wrong in ({}, {"tags": 0.0}, {"vv": 1.0}, {"tags": -1.0}, {"tags": float("nan")}):
        with pytest.raises(ContractError):
            album.search_text("t", "castle", wrong, 10)


def test_text_can_be_scored_among_some_assets(album: SnapshotReader) -> None:
    hits = dict(album.search_text("t", "dog", EVEN, 10))
    some = [content_of("d"), content_of("a"), content_of("f")]
    assert album.search_text("t", "dog", EVEN, 10, some) == [
        (content_of("d"), hits[content_of("d")])
    ]
    assert album.search_text("t", "dog", EVEN, 10, []) == []


def test_rows_come_as_asked_and_only_from_the_tenant(album: SnapshotReader) -> None:
    asked = [content_of(seed) for seed in "eafb"]
    rows = album.rows("t", asked)
    assert [row.asset_id for row in rows] == [content_of(seed) for seed in "eab"]
    assert album.rows("t", []) == []
    assert album.rows("u", asked)[0].tags == ("sports car",)
    assert album.thumbnail("t", content_of("a")) == JPEG
    assert album.thumbnail("u", content_of("a")) is None
    assert album.tenants() == {"t": 5, "u": 1}
    assert album.search_text("nobody", "red", EVEN, 10) == []
    for tenant in ("t' OR '1'='1", "", "t u"):
        with pytest.raises(ContractError, match="malformed"):
            album.search_text(tenant, "red", EVEN, 10)
        with pytest.raises(ContractError, match="malformed"):
            album.search_vectors(tenant, Axis.VV, vector_of(Space.VV, "e"), 10)


def test_equal_answers_come_in_order_of_asset_id_whatever_the_limit(tmp_path: Path) -> None:
    same = vector_of(Space.VV, "same")
    batch = [e for n in range(120) for e in (vision(n, "dog"), embedded(n, vector=same))]
    ids = sorted(content_of(n) for n in range(120))
    reader = SnapshotReader.open(*_opened(tmp_path / "store", batch))
    for limit in (1, 7, 50, 119, 200):
        by_text = reader.search_text("t", "dog", {"caption": 1.0}, limit)
        by_vector = reader.search_vectors("t", Axis.VV, same, limit)
        assert [a for a, _ in by_text] == [a for a, _ in by_vector] == ids[:limit]


_ROWS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["t", "u", "t2"]), st.sampled_from("pqr")),
    min_size=1,
    max_size=14,
    unique_by=lambda row: row[:2],
)


@settings(max_examples=6, deadline=None)
@given(_ROWS, st.sampled_from(["t", "u", "t2"]), st.integers(1, 20))
def test_answers_are_those_of_plain_arithmetic_over_the_tenant_alone(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int, str, str]],
    tenant: str,
    limit: int,
) -> None:
    batch = []
    for seed, owner, word in rows:
        place = {"tenant": owner, "uri": f"file:///{owner}/{seed}.jpg"}
        batch += [vision(seed, f"word{word}", **place), embedded(seed, **place)]
    folder = tmp_path_factory.mktemp("law")
    reader = SnapshotReader.open(*_opened(folder / "store", batch))
    query = vector_of(Space.VV, "query")
    mine = {content_of(s): vector_of(Space.VV, s) for s, owner, _ in rows if owner == tenant}
    expected = sorted(((a, float(v @ query)) for a, v in mine.items()), key=lambda p: -p[1])

    found = reader.search_vectors(tenant, Axis.VV, 3 * query, limit)
    assert [a for a, _ in found] == [a for a, _ in expected[:limit]]
    np.testing.assert_allclose([s for _, s in found], [s for _, s in expected[:limit]], atol=1e-5)
    hits = reader.search_text(tenant, "wordp", {"caption": 1.0}, limit)
    said = {content_of(s) for s, owner, word in rows if (owner, word) == (tenant, "p")}
    assert {a for a, _ in hits} <= said
    assert len(hits) == min(limit, len(said))
    assert {row.asset_id for row in reader.rows(tenant, [content_of(s) for s in range(6)])} == set(
        mine
    )
    held = reader.vectors_of(tenant, Axis.VV, [content_of(s) for s in range(6)])
    assert {a: v.tolist() for a, v in held.items()} == {a: v.tolist() for a, v in mine.items()}
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[EvidenceStore, SnapshotRef]:
    """A tenant above the threshold of exact search beside a tiny and a middling one, indexed."""
    batch = [embedded(n, tenant="big") for n in range(600)]
    batch += [embedded(n, tenant="tiny") for n in range(3)]
    batch += [embedded(n, tenant="middle") for n in range(300)]
    batch += [vision(n, "dog", tenant="middle") for n in range(300, 340)]
    return _opened(tmp_path_factory.mktemp("large") / "store", batch, **INDEXED)


def test_the_index_finds_what_exact_search_finds(large: tuple[EvidenceStore, SnapshotRef]) -> None:
    store, ref = large
    assert ref.measurements.indexed_rows["vv"] == ref.assets
    assert ref.measurements.neighbours == {"vv": 1.0}
    exactly = store.config.model_copy(update={"exact_search_rows": 10_000})
    exact = SnapshotReader.open(EvidenceStore.open(exactly), ref)
    indexed = SnapshotReader.open(store, ref)
    for tenant in ("big", "middle", "tiny"):
        for seed in range(8):
            query = vector_of(Space.VV, ("query", seed))
            found = indexed.search_vectors(tenant, Axis.VV, query, 50)
            truth = exact.search_vectors(tenant, Axis.VV, query, 50)
            assert [a for a, _ in found] == [a for a, _ in truth]
            np.testing.assert_allclose([s for _, s in found], [s for _, s in truth], atol=1e-5)
    all_of_it = indexed.search_vectors("middle", Axis.VV, vector_of(Space.VV, "q"), 400)
    assert len(all_of_it) == 300
    some = [content_of(n) for n in (1, 2, 3000)]
    assert set(indexed.vectors_of("big", Axis.VV, some)) == set(some[:2])


def test_threads_get_the_answers_of_one(large: tuple[EvidenceStore, SnapshotRef]) -> None:
    reader = SnapshotReader.open(*large)
    queries = [vector_of(Space.VV, ("thread", n)) for n in range(6)]

    def ask(place: int) -> object:
        tenant = ("big", "middle", "tiny")[place % 3]
        vectors = reader.search_vectors(tenant, Axis.VV, queries[place], 20)
        return vectors, reader.search_text(tenant, "dog", EVEN, 20), len(reader.rows(tenant, []))

    alone = [ask(place) for place in range(6)]
    together: list[object] = [None] * 6

    def work(place: int) -> None:
        for _ in range(4):
            together[place] = ask(place)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_a_query_that_does_not_fit_is_refused(album: SnapshotReader) -> None:
    fits = vector_of(Space.VV, "e")
    with pytest.raises(AxisUnavailable, match="shape"):
        album.search_vectors("t", Axis.VV, fits[:-1], 5)
    for wrong in (np.zeros(8, np.float32), np.full(8, np.nan, np.float32)):
        with pytest.raises(QueryError, match="zero or not finite"):
            album.search_vectors("t", Axis.VV, wrong, 5)
    with pytest.raises(ContractError):
        album.search_vectors("t", Axis.FTS, fits, 5)
    with pytest.raises(ContractError, match="limit"):
        album.search_vectors("t", Axis.VV, fits, 0)


def test_a_missing_axis_is_unavailable_and_the_others_answer(tmp_path: Path) -> None:
    store, ref = _opened(tmp_path / "store", [vision("a", "dog"), embedded("a")])
    reader = SnapshotReader.open(store, ref)
    for axis, space in ((Axis.X, Space.X), (Axis.MV, Space.MV)):
        with pytest.raises(AxisUnavailable, match="no vectors"):
            reader.search_vectors("t", axis, vector_of(space, "a"), 5)
        assert axis in reader.broken
    assert reader.search_vectors("t", Axis.VV, vector_of(Space.VV, "a"), 5)

    table = lance.dataset(store.storage.location(ref.table))
    table.drop_index("tags")
    without = ref.model_copy(update={"version": lance.dataset(table.uri).version})
    reader = SnapshotReader.open(store, without)
    with pytest.raises(AxisUnavailable, match="full-text index of tags"):
        reader.search_text("t", "dog", EVEN, 5)
    lance.dataset(table.uri).drop_columns(["vv"])
    without = ref.model_copy(update={"version": lance.dataset(table.uri).version})
    with pytest.raises(AxisUnavailable, match="column is missing"):
        SnapshotReader.open(store, without).tenant_matrix("t", Axis.VV)
    other = ref.model_copy(update={"dims": {Axis.VV: 9}})
    with pytest.raises(AxisUnavailable, match="dimension 9"):
        SnapshotReader.open(store, other).tenant_matrix("t", Axis.VV)


def test_a_large_tenant_without_its_vector_index_is_unavailable(
    large: tuple[EvidenceStore, SnapshotRef], tmp_path: Path
) -> None:
    store, ref = large
    shutil.copytree(store.storage.root, tmp_path / "copy")
    copy = EvidenceStore.open(store.config.model_copy(update={"uri": str(tmp_path / "copy")}))
    table = lance.dataset(copy.storage.location(ref.table))
    table.drop_index("vv")
    version = lance.dataset(table.uri).version
    reader = SnapshotReader.open(copy, ref.model_copy(update={"version": version}))
    with pytest.raises(AxisUnavailable, match="vector index"):
        reader.search_vectors("big", Axis.VV, vector_of(Space.VV, "q"), 5)
    assert reader.search_vectors("tiny", Axis.VV, vector_of(Space.VV, "q"), 5)


def test_a_damaged_snapshot_never_answers(tmp_path: Path) -> None:
    store, ref = _opened(tmp_path / "store", everything("a", "dog"))
    for other in ({"version": 99}, {"assets": 2}, {"table": "snapshots/none.lance"}):
        with pytest.raises(StoreCorrupt):
            SnapshotReader.open(store, ref.model_copy(update=other))
    folder = Path(store.storage.location(ref.table))
    for data in (folder / "data").iterdir():
        data.write_bytes(data.read_bytes()[:40])
    reader = SnapshotReader.open(store, ref)
    with pytest.raises(StoreCorrupt):
        reader.search_vectors("t", Axis.VV, vector_of(Space.VV, "a"), 5)
    with pytest.raises(StoreCorrupt):
        reader.rows("t", [content_of("a")])
    shutil.rmtree(folder / "_indices")
    with pytest.raises((StoreCorrupt, AxisUnavailable)):
        SnapshotReader.open(store, ref).search_text("t", "dog", EVEN, 5)
