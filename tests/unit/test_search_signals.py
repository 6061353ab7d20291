"""What features and penalties are made of, against loops over plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.contracts.filters import Colour, Orientation
from ecm.contracts.search import Axis, LayoutConstraint
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.store import EvidenceStore
from ecm.search.background import Backgrounds
from ecm.search.encoders import AxisVector
from ecm.search.features import features_of
from ecm.search.layout import Layout
from ecm.search.penalties import PENALTIES, penalties_of
from ecm.search.signals import Signals
from ecm.search.spoken import spoken_by
from ecm.search.stems import stems
from ecm.search.style import style_match
from tests.factories import Indexer, fake_profile, gallery
from tests.known_assets import Known, facts_of
from tests.pools import ASSETS, IDS, pool_of, signals_for

POOL = pool_of({Axis.VV: {a: 9.0 - n for n, a in enumerate(IDS[:4])}})


def column(signals: Signals, name: str) -> list[float]:
    told = features_of(POOL, signals, 4)
    return [float(value) for value in told.values[:, told.names.index(name)]]


def penalty(signals: Signals, name: str) -> list[float]:
    told = penalties_of(POOL, signals, 4)
    return [float(value) for value in told.values[:, PENALTIES.index(name)]]


@settings(max_examples=40, deadline=None)
@given(ASSETS, st.sampled_from(["a dog", "tiger sharks", "red car on grass", "", "of the"]))
def test_what_is_spoken_is_what_a_loop_finds(assets: tuple[Known, ...], text: str) -> None:
    facts = facts_of(assets)
    places = facts.places(IDS)
    spoken = spoken_by(facts, places, text)
    by_id = {asset.asset_id: asset for asset in assets}
    assert set(spoken.words) == stems(text)
    for row, asset_id in enumerate(IDS):
        asset = by_id.get(asset_id, Known(asset_id))
        tags = {label: 1.0 if c is None else c for label, c in asset.labels("tag").items()}
        for place, word in enumerate(spoken.words):
            sure = [c for label, c in tags.items() if word in stems(label)]
            assert spoken.tags[row, place] == max(sure, default=0.0)
            assert spoken.captions[row, place] == (word in stems(asset.caption or ""))
        same = [c for label, c in tags.items() if spoken.words and stems(label) == stems(text)]
        assert spoken.exact[row] == max(same, default=0.0)
    if spoken.words:
        assert spoken.rarity.sum() == pytest.approx(1.0)
        assert (spoken.rarity > 0).all()
    assert ((spoken.overlap >= 0) & (spoken.overlap <= 1)).all()


def test_rare_words_are_more_of_a_query_than_common_ones() -> None:
    said = [(("tag", "dog", 0.9, "r"),)] * 9 + [(("tag", "grass", 0.9, "r"),)]
    facts = facts_of([Known(f"{n:02x}", said=one) for n, one in enumerate(said)])
    spoken = spoken_by(facts, facts.places(["00", "09"]), "dog grass")
    assert spoken.words == ("dog", "grass")
    assert spoken.rarity[1] > spoken.rarity[0]
    assert spoken.overlap[1] > spoken.overlap[0]
    even = spoken_by(facts, facts.places(["00", "09"]), "dog grass", whole=False)
    assert even.rarity[0] == even.rarity[1]


def test_contradicting_and_unsure_evidence_speaks_against_and_unknown_does_not() -> None:
    sure = ("tag", "dog", 0.9, "r")
    unsure = tuple(("tag", f"thing {n}", 0.1, "r") for n in range(4))
    assets = [Known("00", said=(sure,)), Known("01", said=(sure, *unsure)), Known("02")]
    signals = signals_for(POOL, assets)
    agreement = np.array([1.0, 0.0, np.nan])
    signals = replace(signals, facts=replace(signals.facts, agreement=agreement))
    assert penalty(signals, "conflict") == [0.0, 1.0, 0.0, 0.0]
    assert penalty(signals, "low_confidence") == pytest.approx([0.0, 0.6, 0.0, 0.0])
    assert column(signals, "evidence_consistency") == [1.0, 0.0, 1.0, 1.0]
    assert column(signals, "confidence") == [0.9, 0.9, 0.5, 0.5]


def test_very_many_tags_and_tags_that_everything_has_are_spam() -> None:
    many = tuple(("tag", f"thing {n}", 0.9, "r") for n in range(250))
    common = (("tag", "photo", 0.9, "r"),)
    rest = [Known(f"{n:02x}", said=common) for n in range(4, 30)]
    own = (*common, ("tag", "dog", 0.9, "r"), ("tag", "cat", 0.9, "r"))
    assets = [Known("00", said=many), Known("01", said=common), Known("02", said=own), *rest]
    signals = signals_for(POOL, assets)
    assert penalty(signals, "spam") == [1.0, 1.0, 0.0, 0.0]
    assert penalty(replace(signals, whole=False), "spam") == [1.0, 0.0, 0.0, 0.0]


def test_newest_evidence_and_files_called_as_asked_are_told() -> None:
    assets = [Known(a, uris=(f"file:///x/Z%C3%BCrich%20{n}.JPG",)) for n, a in enumerate(IDS[:4])]
    signals = signals_for(POOL, assets, "zürich 2.jpg")
    signals = replace(
        signals,
        facts=replace(signals.facts, said_at=np.array([100.0, 200.0, np.nan, 150.0])),
        question=replace(signals.question, names=("zürich 2.jpg",)),
    )
    assert column(signals, "run_freshness") == [0.0, 1.0, 0.0, 0.5]
    assert column(signals, "name_match") == [0.0, 0.0, 1.0, 0.0]


def looking(signals: Signals, *constraints: LayoutConstraint) -> list[float]:
    question = replace(signals.question, layout=Layout(constraints))
    asked = replace(signals, question=question, by_example=True)
    return [float(share) for share in style_match(POOL, asked)]


def test_style_is_what_colours_proportions_and_words_say() -> None:
    def shares(red: float) -> tuple[float, ...]:
        return tuple(red if colour is Colour.RED else 0.0 for colour in Colour)

    assets: Sequence[Known] = [
        Known("00", width=300, height=100, shares=shares(0.5), vector_run="r"),
        Known("01", width=100, height=300, shares=shares(0.125), vector_run="r"),
        Known("02", width=100, height=100, caption="a pencil sketch"),
        Known("03", said=(("tag", "sketch", 0.5, "r"),)),
    ]
    signals = signals_for(POOL, assets, "a sketch")
    said = [float(share) for share in style_match(POOL, signals)]
    assert said == [0.0, 0.0, 1.0, 0.5]
    plain = signals_for(POOL, assets, "a dog")
    assert not style_match(POOL, plain).any()
    red = LayoutConstraint(said="red", colour=Colour.RED)
    assert looking(plain, red) == [1.0, 0.5, 0.0, 0.0]
    for orientation, fits in {
        Orientation.LANDSCAPE: [1.0, 0.0, 0.0, 0.0],
        Orientation.PORTRAIT: [0.0, 1.0, 0.0, 0.0],
        Orientation.SQUARE: [0.0, 0.0, 1.0, 0.0],
        Orientation.PANORAMA: [1.0, 0.0, 0.0, 0.0],
    }.items():
        asked = LayoutConstraint(said=orientation.value, orientation=orientation)
        assert looking(plain, asked) == fits


def test_backgrounds_are_the_spread_of_the_scores_that_candidates_get(tmp_path: Path) -> None:
    made = Indexer(fake_profile(tmp_path))
    made.add(gallery(3))
    reader = SnapshotReader.open(made.store, made.publish())
    matrix = reader.tenant_matrix("t", Axis.VV)
    query = np.linspace(1, 2, matrix.vectors.shape[1]).astype(np.float32)
    unit = query / np.linalg.norm(query)
    transform = reader.ref.transforms[Axis.VV][0]
    plain = Backgrounds(reader).of_vector("t", Axis.VV, AxisVector(query, transform))
    scores = (matrix.vectors @ unit).astype(np.float64)
    assert (plain.mean, plain.deviation) == pytest.approx((scores.mean(), scores.std()), abs=2e-6)
    assert plain.rows == len(matrix.asset_ids)
    centred = Backgrounds(reader).of_vector(
        "t", Axis.VV, AxisVector(query, transform, centred=True)
    )
    moved = matrix.vectors - matrix.mean
    scores = (moved @ unit / np.linalg.norm(moved, axis=1)).astype(np.float64)
    assert centred.mean == pytest.approx(scores.mean(), abs=1e-5)
    assert centred.deviation == pytest.approx(scores.std(), abs=1e-5)
    few = made.store.config.model_copy(update={"exact_search_rows": 5})
    large = SnapshotReader.open(EvidenceStore.open(few), reader.ref)
    larger = Backgrounds(large).of_vector("t", Axis.VV, AxisVector(query, transform, centred=True))
    assert (larger.mean, larger.deviation) == (plain.mean, plain.deviation)
    nobody = Backgrounds(reader).of_vector("nobody", Axis.VV, AxisVector(query, transform))
    assert (nobody.deviation, nobody.rows) == (0.0, 0)
