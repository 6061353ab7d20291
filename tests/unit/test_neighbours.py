"""Nearest neighbours are those of plain arithmetic, in whatever portions the vectors pass by."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.evidence.agreement import overlap
from ecm.evidence.neighbours import Nearest


def _units(rows: int, dim: int, seed: int) -> npt.NDArray[np.float32]:
    raw = np.random.default_rng(seed).normal(size=(rows, dim))
    return (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)


def _nearest(
    vectors: npt.NDArray[np.float32], sample: list[int], k: int, portion: int
) -> list[list[int]]:
    sought = Nearest(np.array(sample, dtype=np.int64), vectors[sample], k)
    for start in range(0, len(vectors), portion):
        places = np.arange(start, min(start + portion, len(vectors)), dtype=np.int64)
        sought.add(places, vectors[places])
    return sought.result()


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(2, 120),
    k=st.integers(1, 12),
    portion=st.integers(1, 130),
    seed=st.integers(0, 1000),
)
def test_neighbours_are_exact(rows: int, k: int, portion: int, seed: int) -> None:
    vectors = _units(rows, 6, seed)
    sample = list(range(0, rows, 3))
    found = _nearest(vectors, sample, k, portion)
    scores = vectors @ vectors.T
    for place, names in zip(sample, found, strict=True):
        others = [n for n in range(rows) if n != place]
        expected = sorted(others, key=lambda n: (-round(float(scores[place, n]), 6), n))[:k]
        assert place not in names
        assert len(names) == len(expected)
        assert np.allclose(scores[place, names], scores[place, expected], atol=2e-6)


def test_a_turned_space_has_the_same_neighbours_and_another_space_has_not() -> None:
    vectors = _units(200, 16, 1)
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(16, 16)))
    sample = list(range(50))
    one = _nearest(vectors, sample, 10, 64)
    same = _nearest((vectors @ turn).astype(np.float32), sample, 10, 77)
    other = _nearest(_units(200, 16, 3), sample, 10, 64)
    assert np.mean([overlap(a, b) for a, b in zip(one, same, strict=True)]) > 0.99
    assert np.mean([overlap(a, b) for a, b in zip(one, other, strict=True)]) < 0.15


def test_vectors_alone_have_no_neighbours() -> None:
    assert _nearest(_units(1, 4, 0), [0], 10, 1) == [[]]
