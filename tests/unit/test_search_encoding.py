"""A question with several images and things that are not wanted becomes several vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ecm.contracts.search import Axis
from ecm.images.limits import ImageLimits
from ecm.models.base import Vectors
from ecm.models.manifest import ModelManifest
from ecm.opening import search_parts
from ecm.search.encoders import EncodingRequest, LocalEncoder, QueryEncoder, QueryModels
from ecm.search.opening import open_encoder
from tests.factories import fake_profile, picture

ALL = frozenset({Axis.VV, Axis.X, Axis.MV})
SEEN = frozenset({Axis.VV, Axis.X})
MEANT = frozenset({Axis.VV, Axis.MV})


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> QueryEncoder:
    home: Path = tmp_path_factory.mktemp("encoding")
    return open_encoder(search_parts(fake_profile(home)))


def test_each_part_of_a_question_has_its_own_vectors(encoder: QueryEncoder) -> None:
    parts = [
        EncodingRequest(frozenset({Axis.MV}), "red car"),
        EncodingRequest(MEANT, "people"),
        EncodingRequest(MEANT, "red on the left"),
        EncodingRequest(SEEN, None, picture("red")),
        EncodingRequest(ALL, None, picture("blue")),
    ]
    encoded = encoder.encode(parts)
    assert [set(one.vectors) for one in encoded] == [{Axis.MV}, MEANT, MEANT, SEEN, ALL]
    assert not any(one.failures for one in encoded)
    alone = [encoder.encode([part])[0] for part in parts]
    for one, other in zip(encoded, alone, strict=True):
        for axis, vector in one.vectors.items():
            assert np.allclose(vector.values, other.vectors[axis].values, atol=1e-6)
            assert np.linalg.norm(vector.values) == pytest.approx(1, abs=1e-5)


def test_a_broken_image_costs_only_its_own_part(encoder: QueryEncoder) -> None:
    good, broken, text = encoder.encode(
        [
            EncodingRequest(SEEN, None, picture("green")),
            EncodingRequest(SEEN, None, b"no image"),
            EncodingRequest(MEANT, "people"),
        ]
    )
    assert set(good.vectors) == SEEN
    assert broken.refused is not None
    assert set(text.vectors) == MEANT


def test_words_of_look_are_drawn_on_x_and_others_are_not(encoder: QueryEncoder) -> None:
    look, thing = encoder.encode(
        [EncodingRequest(ALL, "red on the left"), EncodingRequest(ALL, "a dog")]
    )
    assert set(look.vectors) == ALL
    assert set(thing.vectors) == {Axis.VV, Axis.MV}
    assert set(thing.failures) == {Axis.X}


class Exhausted:
    """A text model without memory, which says nothing, as `MemoryError` mostly does."""

    @property
    def manifest(self) -> ModelManifest:
        raise MemoryError

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        raise MemoryError

    embed_queries = embed_texts


def test_a_model_that_fails_without_a_word_costs_its_axis() -> None:
    models = QueryModels(image=None, visual_text=None, meaning=Exhausted())
    encoder = LocalEncoder(models, {Axis.MV: "ab" * 32}, ImageLimits())
    (one,) = encoder.encode([EncodingRequest(frozenset({Axis.MV}), "people")])
    assert one.vectors == {}
    assert one.failures[Axis.MV].startswith("the model failed: MemoryError")
