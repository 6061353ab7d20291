"""The parts of searching and committing that need no store."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ecm.evidence.allowed import Allowed
from ecm.evidence.byte_cache import ByteCache
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.generation import name_words
from ecm.evidence.known import KnownKeys
from ecm.evidence.matrix import CentredCosine, Cosine, TenantMatrix, best_of, scores_of
from ecm.evidence.ordered_ids import OrderedIds
from tests.evidence_envelopes import content_of

_KEYS = st.integers(0, 40).map(content_of)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(_KEYS, max_size=12), max_size=3), st.lists(_KEYS), st.lists(_KEYS))
def test_known_keys_are_a_set(chunks: list[list[str]], added: list[str], asked: list[str]) -> None:
    keys = KnownKeys(chunks)
    keys.add(added)
    truth = set(added).union(*chunks)
    assert keys.contains(asked).tolist() == [key in truth for key in asked]


def test_known_keys_stay_right_when_many_are_added() -> None:
    keys, added = KnownKeys(), [content_of(n) for n in range(70_000)]
    keys.add(added)
    assert keys.contains(added[::1000]).all()
    assert not keys.contains([content_of(-n) for n in range(1, 50)]).any()
    assert len(keys) == 70_000


def _matrix(rows: list[list[int]]) -> TenantMatrix:
    vectors = np.array(rows, dtype=np.float32).reshape(len(rows), 3)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return TenantMatrix(
        OrderedIds(f"{n:04d}" for n in range(len(rows))), vectors, vectors.mean(axis=0)
    )


_VECTOR = st.lists(st.integers(-2, 2), min_size=3, max_size=3).filter(any)


@settings(max_examples=100, deadline=None)
@given(st.lists(_VECTOR, min_size=1, max_size=40), _VECTOR, st.integers(1, 45))
def test_the_top_is_that_of_a_full_sort_with_ties_by_id(
    rows: list[list[int]], query: list[int], limit: int
) -> None:
    matrix = _matrix(rows)
    unit = (np.array(query) / np.linalg.norm(query)).astype(np.float32)
    cosine = (matrix.vectors.astype(np.float64) @ unit.astype(np.float64)).round(6).tolist()
    full = sorted(zip(matrix.asset_ids, cosine, strict=True), key=lambda p: (-p[1], p[0]))
    found = best_of(Cosine(matrix, unit), limit)
    assert found == full[:limit]


@pytest.mark.parametrize("kind", [Cosine, CentredCosine])
def test_scores_do_not_depend_on_what_is_scored_beside_them(
    kind: type[Cosine] | type[CentredCosine],
) -> None:
    rng = np.random.default_rng(3)
    vectors = (rng.normal(size=(3000, 67)) + 0.3).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    matrix = TenantMatrix(OrderedIds(f"{n:05d}" for n in range(3000)), vectors, vectors.mean(0))
    similarity = kind(matrix, vectors[5])
    whole = best_of(similarity, 3000)
    if kind is CentredCosine:
        wide = vectors.astype(np.float64) - matrix.mean
        cosine = wide @ vectors[5].astype(np.float64) / np.linalg.norm(wide, axis=1)
        assert dict(whole) == dict(zip(matrix.asset_ids, cosine.round(6).tolist(), strict=True))
    for count in (1, 10, 900, 2500):
        places = np.sort(rng.choice(3000, count, replace=False))
        allowed = Allowed([f"{place:05d}" for place in places])
        assert matrix.ids.chosen(allowed).tolist() == places.tolist()
        inside = [pair for pair in whole if pair[0] in allowed]
        assert best_of(similarity, 40, places) == inside[:40]
        assert scores_of(similarity, allowed.asset_ids) == dict(inside)


def test_a_matrix_knows_its_vectors_by_id() -> None:
    matrix = _matrix([[1, 0, 0], [0, 1, 0]])
    assert matrix.vector("0001").tolist() == [0, 1, 0]
    assert matrix.vector("0009") is None


def test_the_cache_keeps_the_latest_within_its_bytes() -> None:
    loads: list[str] = []

    def load(key: str) -> TenantMatrix:
        loads.append(key)
        return _matrix([[1, 0, 0]] * 10)

    size = _matrix([[1, 0, 0]] * 10).nbytes
    cache = ByteCache(2 * size)
    for key in ("a", "b", "a", "c", "a", "b"):
        cache.get(key, lambda key=key: load(key))
        assert cache.nbytes <= 2 * size
    assert loads == ["a", "b", "c", "b"]
    tiny = ByteCache(size - 1)
    assert tiny.get("a", lambda: load("a")).asset_ids
    assert tiny.nbytes == 0


def test_threads_that_want_the_same_matrix_wait_for_one_load() -> None:
    loads: list[int] = []
    start = threading.Barrier(8)
    cache = ByteCache(1 << 20)

    def load() -> TenantMatrix:
        loads.append(1)
        return _matrix([[1, 0, 0]] * 10)

    def ask() -> None:
        start.wait()
        cache.get("a", load)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("file:///home/ann/photos/golden-retriever_puppy.JPG", "ann photos golden retriever puppy"),
        ("file:///a%20b/caf%E9.jpg", "a b caf"),
        ("s3://bucket/Trips/IMG2041.heic", "bucket Trips IMG 2041"),
        ("file:///x/cafe%CC%81/1.jpg", "x café 1"),
        ("file:///photos/photos/Photos.png", "photos"),
        ("file:///%F0%9F%98%80/___.png", ""),
    ],
)
def test_names_become_words(uri: str, words: str) -> None:
    assert name_words([uri]) == words


def test_settings_refuse_unknown_keys_and_a_gap_without_any_search() -> None:
    with pytest.raises(ValidationError, match="exact_search_rows"):
        EvidenceConfig(uri="/x", vector_index_rows=1000, exact_search_rows=999)
    with pytest.raises(ValidationError, match="extra"):
        EvidenceConfig(uri="/x", threshold=3)  # type: ignore[call-arg]
    assert "hush" not in str(EvidenceConfig(uri="/x", storage_options={"secret_key": "hush"}))
