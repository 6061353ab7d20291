"""Directions of names: what the bridge from text to vv is built of."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import ecm.models
from ecm.errors import ManifestError
from ecm.models.attestation import verify_files
from ecm.models.base import Vectors
from ecm.models.bridge import ancestor_directions, class_directions, load_names, name_directions
from ecm.models.lite0 import load_weights
from ecm.models.manifest import load_manifest
from ecm.models.minilm import SentenceEncoder
from ecm.models.registry import open_query_encoder, open_text_embedder
from ecm.models.vocabulary import load_vocabulary

CONF = Path(__file__).parents[2] / "conf" / "models"
TABLES = Path(ecm.models.__file__).parent / "imagenet"


def test_the_names_table_holds_what_the_text_model_says_of_every_name() -> None:
    vocabulary = load_vocabulary(TABLES / "classes.tsv", TABLES / "ancestors.tsv")
    names, vectors = load_names(TABLES / "names.tsv", 384)
    bearers = (*vocabulary.classes, *vocabulary.ancestors)
    assert set(names) == {lemma for entry in bearers for lemma in entry.lemmas}
    some = random.Random(7).sample(range(len(names)), 40)
    embedder = open_text_embedder(load_manifest("all-minilm-l6-v2", [CONF]), threads=1)
    fresh = embedder.embed_texts([names[place] for place in some])
    assert ((fresh * vectors[some]).sum(axis=1) > 0.999).all()


def test_a_damaged_names_table_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "names.tsv"
    for row in ("cat\tnot base64!", "cat\tAAAA", "cat"):
        table.write_text(f"name\tvector\n{row}\n")
        with pytest.raises(ManifestError, match="not a table of names"):
            load_names(table, 384)


def test_a_general_word_points_at_what_its_classes_share_and_others_lack() -> None:
    shared, mine = np.eye(6, dtype=np.float32)[:2]
    noise = np.eye(6, dtype=np.float32)[2:]
    classes = class_directions(
        np.array([shared + mine + noise[0], shared + mine + noise[1], shared + noise[2], shared])
    )
    inside = np.array([[True, True, False, False]])
    direction = ancestor_directions(inside, classes, 0.1)[0]
    scores = classes @ direction
    assert scores[:2].min() > scores[2:].max() + 0.5
    mean = classes[:2].mean(axis=0)
    lift = [float(v @ mine / np.linalg.norm(v)) for v in (direction, mean)]
    assert lift[0] > lift[1] - 1e-6


def test_a_word_for_two_things_points_between_them_and_unknown_words_are_refused() -> None:
    vocabulary = load_vocabulary(TABLES / "classes.tsv", TABLES / "ancestors.tsv")
    cranes = [c.index for c in vocabulary.classes if "crane" in c.lemmas]
    assert len(cranes) == 2
    classes = np.eye(1000, dtype=np.float32)
    direction = name_directions(["crane"], vocabulary, classes, 3.0)[0]
    assert sorted(np.argsort(-direction)[:2].tolist()) == cranes
    with pytest.raises(ManifestError, match="nothing called 'blorb'"):
        name_directions(["blorb"], vocabulary, classes, 3.0)


def test_queries_lean_towards_the_classes_they_name() -> None:
    vision = load_manifest("efficientnet-lite0", [CONF])
    encoder = open_query_encoder(load_manifest("class-bridge", [CONF]), reaches=vision, threads=1)
    classes = class_directions(load_weights(verify_files(vision)["weights"]).rows.numpy())
    vocabulary = load_vocabulary(TABLES / "classes.tsv", TABLES / "ancestors.tsv")
    for text, word in (("dog", "dog"), ("a bird on a branch", "bird"), ("ships", "watercraft")):
        place = next(n for n, a in enumerate(vocabulary.ancestors) if word in a.lemmas)
        best = np.argsort(-(classes @ encoder.embed_queries([text])[0]))[:10]
        assert vocabulary.members[place, best].mean() >= 0.8
    exact = encoder.embed_queries(["Fulica americana", "tiger cat"]) @ classes.T
    names = [vocabulary.classes[place].lemmas[0] for place in exact.argmax(axis=1)]
    assert names == ["American coot", "tiger cat"]


def test_what_was_asked_on_one_axis_is_not_read_again_for_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    meaning = open_text_embedder(load_manifest("all-minilm-l6-v2", [CONF]), threads=2)
    reaches = load_manifest("efficientnet-lite0", [CONF])
    visual = open_query_encoder(load_manifest("class-bridge", [CONF]), reaches=reaches, threads=2)
    alone = visual.embed_queries(["a tabby cat"])
    read: list[int] = []
    forward = SentenceEncoder.encode

    def counted(encoder: SentenceEncoder, texts: Sequence[str]) -> Vectors:
        read.append(len(texts))
        return forward(encoder, texts)

    monkeypatch.setattr(SentenceEncoder, "encode", counted)
    for texts in (["a dog", "the sea"], ["a tabby cat"]):
        mine = meaning.embed_queries(texts)
        np.testing.assert_array_equal(mine, meaning.embed_texts(texts))
        mine[:] = 0.0
        shown = visual.embed_queries(texts)
    np.testing.assert_array_equal(shown, alone)
    assert read == [2, 2, 1, 1], "each question once, and once more as if it were indexed"
    for _ in range(2):
        meaning.embed_queries(["a tabby cat"])
        visual.embed_queries(["a tabby cat"])
    assert read[4:] == [1, 1], "who asks again, another engine say, has it read again"
