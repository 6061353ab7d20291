"""Candidates of single axes: those of plain arithmetic over what is allowed, whatever the scope."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.config import Profile
from ecm.contracts.search import Axis
from ecm.evidence.allowed import Allowed
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.text_query import TextQuery
from ecm.search.candidates import Candidates, Ranking, Scope
from ecm.search.encoders import AxisVector
from ecm.search.layout import read_layout
from tests.factories import Indexer, fake_profile, gallery, picture

BOOSTS = {"tags": 2.0, "caption": 1.0, "name": 0.5}


def _opened(profile: Profile) -> SnapshotReader:
    made = Indexer(profile)
    made.add(gallery(3))
    made.add({"secret.png": picture("red", 7)}, tenant="other")
    return SnapshotReader.open(made.store, made.publish())


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> SnapshotReader:
    return _opened(fake_profile(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> SnapshotReader:
    """The same, as a snapshot whose tenants are too large to be searched from memory."""
    profile = fake_profile(tmp_path_factory.mktemp("large"))
    few = {"vector_index_rows": 1, "exact_search_rows": 1}
    evidence = profile.evidence.model_copy(update=few)
    return _opened(profile.model_copy(update={"evidence": evidence}))


def _ids(reader: SnapshotReader) -> list[str]:
    return reader.tenant_matrix("t", Axis.VV).asset_ids


_SCOPES = st.tuples(
    st.integers(1, 30),
    st.sets(st.integers(0, 23), max_size=3),
    st.none() | st.sets(st.integers(0, 23)),
)


def _scope(reader: SnapshotReader, drawn: tuple[int, set[int], set[int] | None]) -> Scope:
    limit, excluded, allowed = drawn
    ids = _ids(reader)
    return Scope(
        "t",
        limit,
        frozenset(ids[place] for place in excluded),
        None if allowed is None else Allowed([ids[place] for place in allowed] + ["f" * 64]),
    )


def _expected(scores: dict[str, float], scope: Scope) -> list[tuple[str, float]]:
    """What a full sort gives: best first, ties by asset id."""
    inside = [
        (asset_id, score)
        for asset_id, score in scores.items()
        if asset_id not in scope.excluded and (scope.allowed is None or asset_id in scope.allowed)
    ]
    return sorted(inside, key=lambda pair: (-pair[1], pair[0]))[: scope.limit]


@settings(max_examples=60, deadline=None)
@given(_SCOPES, st.sampled_from([Axis.VV, Axis.X, Axis.MV]), st.booleans(), st.integers(0, 99))
def test_vectors(
    reader: SnapshotReader,
    drawn: tuple[int, set[int], set[int] | None],
    axis: Axis,
    centred: bool,
    seed: int,
) -> None:
    scope, matrix = _scope(reader, drawn), reader.tenant_matrix("t", axis)
    raw = np.random.default_rng(seed).standard_normal(reader.ref.dims[axis])
    query = (raw / np.linalg.norm(raw)).astype(np.float32)
    stored = matrix.vectors.astype(np.float64)
    if centred:
        stored = stored - matrix.mean
        stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    cosine = stored @ query.astype(np.float64)
    vector = AxisVector(query, reader.ref.transforms[axis][0], centred)
    candidates = Candidates(reader, BOOSTS)
    found = candidates.by_vector(axis, vector, scope)
    assert isinstance(found, Ranking)
    scores = dict(zip(matrix.asset_ids, cosine.tolist(), strict=True))
    expected = _expected(scores, scope)
    assert len(found.scored) == len(expected)
    np.testing.assert_allclose(
        [score for _, score in found.scored], [score for _, score in expected], atol=2e-6
    )
    again = candidates.vector_scores(axis, vector, "t", found.asset_ids())
    assert list(again.items()) == sorted(found.scored)


@settings(max_examples=30, deadline=None)
@given(_SCOPES, st.sampled_from(["red on the left", "blue", "a dark picture", "landscape"]))
def test_layouts(
    reader: SnapshotReader,
    large: SnapshotReader,
    drawn: tuple[int, set[int], set[int] | None],
    text: str,
) -> None:
    scope, matrix, layout = (
        _scope(reader, drawn),
        reader.tenant_matrix("t", Axis.X),
        read_layout(text),
    )
    assert layout is not None
    fits = layout.scores(matrix.vectors).round(6)
    scores = {a: s for a, s in zip(matrix.asset_ids, fits.tolist(), strict=True) if s > 0}
    exactly = Candidates(reader, BOOSTS)
    found = exactly.by_layout(layout, scope)
    assert isinstance(found, Ranking)
    expected = _expected(scores, scope)
    assert len(found.scored) == len(expected)
    np.testing.assert_allclose(
        [score for _, score in found.scored], [score for _, score in expected], atol=2e-6
    )
    assert set(exactly.layout_scores(layout, "t", found.asset_ids())) == set(found.asset_ids())
    # What is nearest to the sketch of a layout is scored by it, in tenants too large for all.
    sketched = Candidates(large, BOOSTS).by_layout(layout, Scope("t", 24))
    assert isinstance(sketched, Ranking)
    np.testing.assert_allclose(
        [score for _, score in sketched.scored],
        sorted(scores.values(), reverse=True),
        atol=2e-6,
    )


@settings(max_examples=40, deadline=None)
@given(_SCOPES, st.sampled_from(["red", "red blue", "grey-1"]), st.sampled_from([(), ("red",)]))
def test_words(
    reader: SnapshotReader,
    drawn: tuple[int, set[int], set[int] | None],
    text: str,
    without: tuple[str, ...],
) -> None:
    query, candidates = TextQuery((text,), without=without), Candidates(reader, BOOSTS)
    scope = _scope(reader, drawn)
    scores = dict(reader.search_text("t", query, BOOSTS, 100))
    found = candidates.by_text(query, scope)
    assert isinstance(found, Ranking)
    assert list(found.scored) == _expected(scores, scope)
    every = candidates.text_scores(query, "t", _ids(reader))
    assert every == dict.fromkeys(_ids(reader), 0.0) | scores
