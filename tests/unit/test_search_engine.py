"""The engine on a real small snapshot with the fake models."""

from __future__ import annotations

import base64
import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.contracts.search import (
    Axis,
    LostReason,
    QueryType,
    SearchRequest,
    SearchResponse,
)
from ecm.contracts.task import TaskType
from ecm.errors import AxisUnavailable, ImageError, QueryError
from ecm.evidence.reader import SnapshotReader
from ecm.opening import search_parts
from ecm.search.candidates import Candidates
from ecm.search.encoders import AxisVector, EncodedQuery, EncodingRequest
from ecm.search.engine import SearchEngine
from ecm.search.fusion import weighted_rrf
from ecm.search.opening import open_encoder, open_engine, open_ranking
from tests.factories import Indexer, asset_id, fake_profile, gallery, picture

PICTURES = gallery(3)
FOREIGN = {"secret-red.png": picture("red", 7), "red-0.png": picture("red", 0)}
COLOUR_OF = {asset_id(data): name.partition("-")[0] for name, data in PICTURES.items()}


@pytest.fixture(scope="module")
def indexer(tmp_path_factory: pytest.TempPathFactory) -> Indexer:
    profile = fake_profile(tmp_path_factory.mktemp("home"), "search.time_ceiling_ms=60000")
    made = Indexer(profile)
    made.add(PICTURES)
    made.add(FOREIGN, tenant="other", run_id="run-other")
    made.publish()
    return made


@pytest.fixture(scope="module")
def engine(indexer: Indexer) -> Iterator[SearchEngine]:
    with open_engine(search_parts(indexer.profile)) as opened:
        yield opened


FUSED = {"rerank": "off"}


def ask(engine: SearchEngine, text: str = "", **fields: object) -> SearchResponse:
    return engine.search(
        SearchRequest.model_validate({"tenant_id": "t", "text": text or None, **fields})
    )


def shown(data: bytes) -> bytes:
    return base64.b64encode(data)


def with_encoder(engine: SearchEngine, indexer: Indexer, encoder: object) -> SearchEngine:
    parts = search_parts(indexer.profile)
    return SearchEngine(
        engine.reader, encoder, open_ranking(parts), parts.search # type: ignore[arg-type]
    )  # fmt: skip


class Bent:
    """An encoder whose vectors are changed on their way to the engine."""

    def __init__(self, inner: object, changes: dict[Axis, AxisVector | str | None]) -> None:
        self._inner = inner
        self._changes = changes

    def encode(self, requests: Sequence[EncodingRequest]) -> list[EncodedQuery]:
        return [self._bend(one) for one in self._inner.encode(requests)]  # type: ignore[attr-defined]

    def _bend(self, one: EncodedQuery) -> EncodedQuery:
        vectors, failures = dict(one.vectors), dict(one.failures)
        for axis, change in self._changes.items():
            own = vectors.pop(axis, None)
            if isinstance(change, AxisVector):
                vectors[axis] = replace(change, transform=change.transform or own.transform)  # type: ignore[union-attr]
            elif isinstance(change, str):
                failures[axis] = change
        return EncodedQuery(vectors, failures)


@pytest.mark.parametrize("colour", ["red", "green", "yellow"])
def test_a_word_finds_its_pictures_and_says_why(engine: SearchEngine, colour: str) -> None:
    answer = ask(engine, colour, limit=3)
    assert [COLOUR_OF[hit.asset_id] for hit in answer.hits] == [colour] * 3
    best = answer.hits[0]
    assert colour in best.why
    assert best.why.endswith(".")
    assert {row.run_id for row in best.evidence} == {"run-1"}
    assert {"tag", "vector.vv", "vector.mv"} <= {row.kind for row in best.evidence}
    assert answer.degraded == ()
    assert answer.fingerprints[Axis.VV] in {row.transform for row in best.evidence}


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "red"},
        {"text": "a mostly blue picture of something"},
        {"image": shown(picture("brown", 9))},
        {"image": shown(picture("brown", 9)), "text": "black"},
        {"asset_id": asset_id(PICTURES["green-1.png"])},
    ],
)
def test_contributions_sum_to_the_score_and_ranks_are_places(
    engine: SearchEngine, fields: dict[str, object]
) -> None:
    answer = ask(engine, limit=50, **fields)
    scores = [hit.score for hit in answer.hits]
    assert scores == sorted(scores, reverse=True)
    assert [hit.rank for hit in answer.hits] == list(range(1, len(scores) + 1))
    for hit in answer.hits:
        assert math.fsum(part.value for part in hit.contributions) == pytest.approx(
            hit.score, abs=1e-9
        )
        fused = [part.feature for part in hit.contributions if part.feature.startswith("rrf.")]
        contributing = {feature.removeprefix("rrf.") for feature in fused}
        assert contributing <= {axis.value for axis, place in hit.axes.items() if place.rank}


def test_the_fused_list_is_the_fusion_of_the_single_axes(engine: SearchEngine) -> None:
    """Congruence: the engine against a fusion of what each axis answers alone."""
    text = "green grey"
    rankings = {
        axis: [hit.asset_id for hit in ask(engine, text, limit=200, axes=(axis,), **FUSED).hits]
        for axis in Axis
    }
    found = ask(engine, text, limit=200, **FUSED)
    expected = weighted_rrf(rankings, found.ranking.weights, k=engine.ranking.k)
    assert [(hit.asset_id, hit.score) for hit in found.hits] == [
        (one.asset_id, one.score) for one in expected
    ]


def test_scores_outside_the_candidates_are_filled_in(engine: SearchEngine) -> None:
    whole = {hit.asset_id: hit.axes for hit in ask(engine, "red", limit=200).hits}
    narrow = ask(engine, "red", limit=200, candidates=2)
    filled = 0
    for hit in narrow.hits:
        for axis in (Axis.VV, Axis.MV, Axis.X):
            assert hit.axes[axis].score == pytest.approx(whole[hit.asset_id][axis].score, abs=2e-6)
            filled += hit.axes[axis].rank is None
        assert Axis.FTS in hit.axes
    assert filled > 0


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30))
def test_pages_together_are_the_list_without_repeats_or_gaps(
    engine: SearchEngine, first: int, later: int
) -> None:
    whole = [hit.asset_id for hit in ask(engine, "blue", limit=200).hits]
    answer = ask(engine, "blue", limit=first)
    walked = [hit.asset_id for hit in answer.hits]
    while answer.cursor is not None:
        answer = ask(engine, "blue", limit=later, cursor=answer.cursor)
        assert answer.hits[0].rank == len(walked) + 1
        walked += [hit.asset_id for hit in answer.hits]
    assert walked == whole


@pytest.mark.parametrize("fields", [{"text": "green"}, {"text": "blue", "candidates": 7}])
def test_a_cursor_of_another_question_is_refused(
    engine: SearchEngine, fields: dict[str, object]
) -> None:
    cursor = ask(engine, "blue", limit=2).cursor
    with pytest.raises(QueryError) as caught:
        ask(engine, cursor=cursor, **fields)
    assert caught.value.code == "query.cursor"


def test_a_tenant_sees_its_own_assets_and_places_only(engine: SearchEngine) -> None:
    own = ask(engine, "red", limit=200)
    other = ask(engine, "red", limit=200, tenant_id="other")
    assert {hit.asset_id for hit in own.hits} <= set(COLOUR_OF)
    assert {uri for hit in other.hits for uri in hit.uris} == {
        "file:///photos/secret-red.png",
        "file:///photos/red-0.png",
    }
    assert {row.run_id for hit in other.hits for row in hit.evidence} == {"run-other"}
    with pytest.raises(QueryError, match="no asset"):
        ask(engine, asset_id=asset_id(FOREIGN["secret-red.png"]))
    assert ask(engine, "red", tenant_id="nobody").hits == ()


def test_an_image_finds_itself_and_its_like(engine: SearchEngine) -> None:
    asked = asset_id(PICTURES["yellow-2.png"])
    answer = ask(engine, image=shown(PICTURES["yellow-2.png"]), limit=3)
    assert answer.query_type is QueryType.VISUAL
    assert [hit.asset_id for hit in answer.hits if hit.axes[Axis.X].rank == 1] == [asked]
    assert [COLOUR_OF[hit.asset_id] for hit in answer.hits] == ["yellow"] * 3
    assert set(answer.hits[0].axes) == {Axis.VV, Axis.X, Axis.MV}


def test_an_asset_is_not_its_own_answer(engine: SearchEngine) -> None:
    asked = asset_id(PICTURES["white-0.png"])
    answer = ask(engine, asset_id=asked, limit=2)
    assert [COLOUR_OF[hit.asset_id] for hit in answer.hits] == ["white"] * 2
    assert asked not in {hit.asset_id for hit in ask(engine, asset_id=asked, limit=200).hits}


@pytest.mark.parametrize("data", [b"no image at all", picture("red")[:200]])
def test_what_is_no_image_is_refused(engine: SearchEngine, data: bytes) -> None:
    with pytest.raises(ImageError):
        ask(engine, image=shown(data))


@pytest.mark.parametrize(
    ("text", "colour"), [("blue background", "blue"), ("black", "black"), ("all white", "white")]
)
def test_named_colours_are_drawn_on_the_structure_axis(
    engine: SearchEngine, text: str, colour: str
) -> None:
    answer = ask(engine, text, axes=(Axis.X,), limit=3)
    assert [COLOUR_OF[hit.asset_id] for hit in answer.hits] == [colour] * 3


def test_axes_that_do_not_fit_the_query_are_refused(engine: SearchEngine) -> None:
    with pytest.raises(QueryError) as caught:
        ask(engine, "somebody", axes=(Axis.X,))
    assert caught.value.code == "query.axes"


DAMAGE = {
    "stale-model": (AxisVector(np.ones(8, np.float32), "0" * 64), "transform 000000000000"),
    "wrong-dimension": (AxisVector(np.ones(9, np.float32), ""), "shape"),
    "zero": (AxisVector(np.zeros(8, np.float32), ""), "zero"),
    "not-finite": (AxisVector(np.full(8, np.nan, np.float32), ""), "not finite"),
    "failed": ("the model failed: out of memory", "out of memory"),
    "silent": (None, "no vector"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_broken_axis_is_named_or_refused_never_silent(
    engine: SearchEngine, indexer: Indexer, damage: str
) -> None:
    change, reason = DAMAGE[damage]
    encoder = open_encoder(search_parts(indexer.profile))
    broken = with_encoder(engine, indexer, Bent(encoder, {Axis.VV: change}))  # type: ignore[dict-item]
    answer = ask(broken, "red", limit=3)
    assert [lost.axis for lost in answer.degraded] == [Axis.VV]
    assert reason in answer.degraded[0].reason
    assert Axis.VV not in answer.fingerprints
    assert all(Axis.VV not in hit.axes for hit in answer.hits)
    with pytest.raises(AxisUnavailable, match="vv"):
        ask(broken, "red", require=(Axis.VV,))
    with pytest.raises(AxisUnavailable, match="no axis"):
        ask(broken, "red", axes=(Axis.VV,))


def test_a_snapshot_without_an_axis_says_so(tmp_path: Path) -> None:
    made = Indexer(fake_profile(tmp_path))
    made.add(gallery(1), without=[TaskType.MV_EMBED])
    made.publish()
    with open_engine(search_parts(made.profile)) as opened:
        answer = ask(opened, "red", limit=1)
        assert [lost.axis for lost in answer.degraded] == [Axis.MV]
        assert "no vectors on this axis" in answer.degraded[0].reason
        assert answer.hits


class Waiting:
    """The axes of an engine, of which full text does not answer before it is let."""

    def __init__(self, inner: Candidates, answered: threading.Event) -> None:
        self._inner = inner
        self._answered = answered

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def by_text(self, *asked: object) -> object:
        self._answered.wait(30)
        return self._inner.by_text(*asked)  # type: ignore[arg-type]


class Unasked:
    """A snapshot whose words must not be waited for."""

    def __init__(self, inner: SnapshotReader) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def saying(self, *asked: object) -> frozenset[str]:
        raise AssertionError(f"asked again: {asked}")


def test_words_that_are_late_are_not_asked_again_for_what_is_not_wanted(
    engine: SearchEngine, indexer: Indexer
) -> None:
    slow, answered = with_encoder(engine, indexer, engine._encoder), threading.Event()
    slow.candidates = Waiting(slow.candidates, answered)  # type: ignore[assignment]
    slow.reader = Unasked(engine.reader)  # type: ignore[assignment]
    try:
        answer = ask(slow, "a picture without red", timeout_ms=2000)
    finally:
        answered.set()
    assert answer.partial
    assert [(one.axis, one.code) for one in answer.degraded if one.axis is not None] == [
        (Axis.FTS, LostReason.TIMEOUT)
    ]


def test_an_axis_that_is_late_is_left_out_and_named(engine: SearchEngine, indexer: Indexer) -> None:
    slow, answered = with_encoder(engine, indexer, engine._encoder), threading.Event()
    slow.candidates = Waiting(slow.candidates, answered)  # type: ignore[assignment]
    try:
        answer = ask(slow, "cat", timeout_ms=300)
        assert answer.partial
        lost = [(one.axis, one.code) for one in answer.degraded if one.axis is not None]
        assert lost == [(Axis.FTS, LostReason.TIMEOUT)]
        assert answer.hits
        assert all(Axis.FTS not in hit.axes for hit in answer.hits)
        first = ask(slow, "cat", timeout_ms=300, limit=2)
        with pytest.raises(AxisUnavailable, match="time ceiling of 300 ms"):
            ask(slow, "cat", timeout_ms=300, require=["fts"])
    finally:
        answered.set()
    later = ask(slow, "cat", limit=2, cursor=first.cursor)
    assert [lost.code for lost in later.degraded] == [LostReason.FIRST_PAGE]
    assert [hit.rank for hit in later.hits] == [3, 4]
    assert [h.asset_id for h in (*first.hits, *later.hits)] == [h.asset_id for h in answer.hits[:4]]
    assert not ask(slow, "cat").partial, "what was partial is not remembered"


def test_a_model_whose_file_is_another_costs_its_axis_only(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    profile = fake_profile(tmp_path / "home")
    for source in Path(profile.models_folder).glob("*.yaml"):
        (folder / source.name).write_text(source.read_text())
    made = Indexer(profile)
    made.add(gallery(1))
    made.publish()
    (folder / "weights").write_bytes(b"not these")
    query = (folder / "fake-query.yaml").read_text()
    (folder / "fake-query.yaml").write_text(
        query + "files: [{name: weights, path: weights, bytes: 9, sha256: '" + "1" * 64 + "'}]\n"
    )
    with open_engine(replace(search_parts(profile), manifest_folders=(folder,))) as opened:
        answer = ask(opened, "red", limit=1)
        assert [lost.axis for lost in answer.degraded] == [Axis.VV]
        assert "weights" in answer.degraded[0].reason
        assert ask(opened, image=shown(picture("red")), require=(Axis.VV,)).hits


def test_answers_stay_on_the_snapshot_they_were_opened_on(tmp_path: Path) -> None:
    made = Indexer(fake_profile(tmp_path))
    made.add({"red-0.png": picture("red")})
    first = made.publish()
    with open_engine(search_parts(made.profile)) as opened:
        made.add({"red-1.png": picture("red", 1)})
        second = made.publish()
        answer = ask(opened, "red")
        assert (answer.snapshot_id, len(answer.hits)) == (first.snapshot_id, 1)
    reader = SnapshotReader.open(made.store, second)
    assert reader.tenants() == {"t": 2}


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=60))
def test_no_text_breaks_a_search_or_leaves_the_tenant(engine: SearchEngine, text: str) -> None:
    answer = ask(engine, f"{text}' OR tenant_id='other' -- \"", limit=50)
    assert {hit.asset_id for hit in answer.hits} <= set(COLOUR_OF)
