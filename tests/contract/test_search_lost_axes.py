"""Whatever is lost of a search is told: axis by axis, fault by fault, or refused where required.

Every fault is put into an otherwise sound search of all four axes. What must follow is the same for
all: the axis is named with the cause's code, or the search is refused; the hits are those of the
axes that are left; with `require` nothing is answered; a refusal names the axis.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import lance
import numpy as np
import pytest
import yaml

from ecm.contracts.search import Axis, LostReason, SearchRequest, SearchResponse
from ecm.errors import AxisUnavailable, QueryError, StoreCorrupt
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import VECTOR_AXES, SnapshotRef
from ecm.evidence.store import EvidenceStore
from ecm.search.candidates import Candidates, Lost, Ranking, Scope
from ecm.search.config import SearchConfig
from ecm.search.encoders import (
    NO_WORDS_FOR_LOOKS,
    AxisVector,
    EncodedQuery,
    EncodingRequest,
)
from ecm.search.engine import SearchEngine
from ecm.search.profile import RankingProfile
from ecm.search.rerank import FeatureReranker, Reranked, RerankQuestion
from tests.search_corpora import TRANSFORM, Oracle, drawn_assets, snapshot_of, unit

TEXT = "symmetrical bright dog cat -tiger"
RANKING = RankingProfile.model_validate(
    yaml.safe_load((Path(__file__).parents[2] / "conf" / "ranking" / "default.yaml").read_text())
)
CONFIG = SearchConfig(time_ceiling_ms=60_000, rerank_ceiling_ms=60_000)
VECTORS = (Axis.VV, Axis.X, Axis.MV)
Ask = Callable[..., SearchResponse]


@dataclass(frozen=True)
class Faulty:
    """An encoder that does as `fault` says on one axis: of all texts, or of one only."""

    fault: AxisVector | str | None
    axis: Axis
    of: str | None = None
    code: LostReason = LostReason.MODEL_FAILED

    def encode(self, requests: Sequence[EncodingRequest]) -> list[EncodedQuery]:
        """As `Oracle`, but for the fault; None: no vector, and nobody says why."""
        encoded = []
        for request, one in zip(requests, Oracle().encode(requests), strict=True):
            hit = self.axis in request.axes and self.of in (None, request.text)
            vectors = {a: v for a, v in one.vectors.items() if not hit or a is not self.axis}
            failures = {}
            if hit and isinstance(self.fault, AxisVector):
                vectors[self.axis] = self.fault
            elif hit and self.fault is not None:
                failures[self.axis] = self.fault
            encoded.append(EncodedQuery(vectors, failures, self.code))
        return encoded


class Counted:
    """Faults tried, and those that nobody was told of."""

    tried = 0
    silent = 0


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SnapshotRef]:
    folder = tmp_path_factory.mktemp("lost") / "store"
    return folder, snapshot_of(folder, drawn_assets(3))


@pytest.fixture(scope="module")
def reader(sound: tuple[Path, SnapshotRef]) -> SnapshotReader:
    return opened(sound[0], sound[1])


@pytest.fixture
def broken(sound: tuple[Path, SnapshotRef], tmp_path: Path) -> Path:
    """A copy of the store, for damage."""
    folder = tmp_path / "store"
    shutil.copytree(sound[0], folder)
    return folder


def opened(folder: Path, ref: SnapshotRef) -> SnapshotReader:
    config = EvidenceConfig(uri=str(folder))
    return SnapshotReader.open(EvidenceStore.open(config), ref)


def asking(reader: SnapshotReader, encoder: object, **how: object) -> Ask:
    """Asks an engine that is made for one question."""

    def ask(text: str = TEXT, **fields: object) -> SearchResponse:
        with SearchEngine(reader, encoder, RANKING, CONFIG, **how) as engine:  # type: ignore[arg-type]
            return engine.search(
                SearchRequest.model_validate({"tenant_id": "ann", "text": text, **fields})
            )

    return ask


def told(ask: Ask, axis: Axis, code: LostReason) -> None:
    """The search says what it lost, and refuses to do without it where it may not."""
    Counted.tried += 1
    answer = ask()
    named = {(one.axis, one.code) for one in answer.degraded}
    Counted.silent += (axis, code) not in named
    assert named == {(axis, code)}
    assert answer.hits
    assert all(axis not in hit.axes for hit in answer.hits)
    assert axis not in answer.fingerprints
    with pytest.raises(AxisUnavailable, match=axis.value):
        ask(require=[axis])
    assert ask(require=[a for a in Axis if a is not axis]).hits == answer.hits


def test_nothing_is_lost_where_nothing_is_wrong(reader: SnapshotReader) -> None:
    answer = asking(reader, Oracle())(require=list(Axis))
    assert answer.degraded == ()
    assert set(answer.fingerprints) == set(Axis)


def vector(axis: Axis, fault: str) -> AxisVector:
    good = unit(axis, "fault")
    match fault:
        case "fingerprint":
            return AxisVector(good, "f" * 64)
        case "dimension":
            return AxisVector(np.append(good, np.float32(0)), TRANSFORM)
        case "zero":
            return AxisVector(np.zeros_like(good), TRANSFORM)
        case "nan":
            return AxisVector(np.where(np.arange(len(good)) == 1, np.nan, good), TRANSFORM)
        case _:
            return AxisVector(np.where(np.arange(len(good)) == 1, np.inf, good), TRANSFORM)


OF_VECTORS = {
    "fingerprint": LostReason.FINGERPRINT,
    "dimension": LostReason.DIMENSION,
    "zero": LostReason.VECTOR_INVALID,
    "nan": LostReason.VECTOR_INVALID,
    "infinite": LostReason.VECTOR_INVALID,
}
OF_ENCODERS = (LostReason.MODEL_FAILED, LostReason.UNREACHABLE, LostReason.TIMEOUT)


@pytest.mark.parametrize("axis", VECTORS)
@pytest.mark.parametrize("fault", OF_VECTORS)
def test_a_query_vector_that_is_not_right(reader: SnapshotReader, axis: Axis, fault: str) -> None:
    told(asking(reader, Faulty(vector(axis, fault), axis)), axis, OF_VECTORS[fault])


@pytest.mark.parametrize("axis", VECTORS)
@pytest.mark.parametrize("code", OF_ENCODERS)
def test_an_encoder_that_gives_none(reader: SnapshotReader, axis: Axis, code: LostReason) -> None:
    told(asking(reader, Faulty("it did not answer", axis, code=code)), axis, code)


@pytest.mark.parametrize("axis", VECTORS)
def test_an_encoder_that_says_nothing(reader: SnapshotReader, axis: Axis) -> None:
    told(asking(reader, Faulty(None, axis)), axis, LostReason.NO_VECTOR)


@pytest.mark.parametrize("axis", [Axis.VV, Axis.MV])
@pytest.mark.parametrize("fault", [*OF_VECTORS, *OF_ENCODERS, None])
def test_what_is_not_wanted_cannot_be_compared(
    reader: SnapshotReader, axis: Axis, fault: str | LostReason | None
) -> None:
    """What is wanted has its vector; without the other one the question would be another."""
    if fault in OF_VECTORS:
        told(asking(reader, Faulty(vector(axis, fault), axis, "tiger")), axis, OF_VECTORS[fault])
    elif fault is None:
        told(asking(reader, Faulty(None, axis, "tiger")), axis, LostReason.NO_VECTOR)
    else:
        code = LostReason(fault)
        told(asking(reader, Faulty("no answer", axis, "tiger", code)), axis, code)


def test_a_network_for_looks_does_not_hear_words(reader: SnapshotReader) -> None:
    ask = asking(reader, Faulty(NO_WORDS_FOR_LOOKS, Axis.X))
    told(ask, Axis.X, LostReason.MODEL_FAILED)


@pytest.mark.parametrize("fault", OF_VECTORS)
def test_one_of_several_images(reader: SnapshotReader, fault: str) -> None:
    """No axis answers for a part of what is shown."""

    class OneBad:
        def encode(self, requests: Sequence[EncodingRequest]) -> list[EncodedQuery]:
            encoded = Oracle().encode(requests)
            bad = {**encoded[-1].vectors, Axis.VV: vector(Axis.VV, fault)}
            return [*encoded[:-1], replace(encoded[-1], vectors=bad)]

    Counted.tried += 1
    images = [{"image": b"aW1hZ2UgMQ=="}, {"image": b"aW1hZ2UgMg=="}]
    answer = asking(reader, OneBad())(text=None, examples=images)
    lost = {one.axis: one.code for one in answer.degraded}
    Counted.silent += Axis.VV not in lost
    expected = {"nan", "infinite", "zero"}
    code = LostReason.VECTOR_INVALID if fault in expected else LostReason.FINGERPRINT
    assert lost == {Axis.VV: code}


@pytest.mark.parametrize("axis", VECTORS)
@pytest.mark.parametrize("weight", [1.0, -0.5])
def test_one_of_several_assets_has_no_vector(
    reader: SnapshotReader, axis: Axis, weight: float
) -> None:
    Counted.tried += 1
    own = [one for one in drawn_assets(3) if one.tenant == "ann"]
    lacking = next(one for one in own if set(one.vectors) == {*VECTORS} - {axis})
    whole = next(one for one in own if set(one.vectors) == {*VECTORS})
    shown = [
        {"asset_id": whole.asset_id},
        {"asset_id": lacking.asset_id, "weight": weight},
    ]
    answer = asking(reader, Oracle())(text=None, examples=shown)
    lost = {one.axis: one.code for one in answer.degraded}
    Counted.silent += axis not in lost
    assert lost == {axis: LostReason.NO_VECTOR}


def test_what_is_liked_and_disliked_at_once_asks_for_nothing(reader: SnapshotReader) -> None:
    """No fault of the service: coming again would not help."""
    one = {"image": b"aW1hZ2UgMQ=="}
    with pytest.raises(QueryError, match="cancel") as refused:
        asking(reader, Oracle())(text=None, examples=[one, {**one, "weight": -1.0}])
    assert refused.value.code == "query.empty"


@pytest.mark.parametrize("axis", VECTORS)
def test_a_column_or_its_description_is_missing(
    broken: Path, sound: tuple[Path, SnapshotRef], axis: Axis
) -> None:
    ref = sound[1]
    without = {a: d for a, d in ref.dims.items() if a is not axis}
    longer = {**ref.dims, axis: ref.dims[axis] + 1}
    unknown = {a: marks for a, marks in ref.transforms.items() if a is not axis}
    for changes, code in (
        ({"dims": without}, LostReason.INDEX_MISSING),
        ({"dims": longer}, LostReason.INDEX_MISSING),
        ({"transforms": unknown}, LostReason.FINGERPRINT),
    ):
        told(asking(opened(broken, ref.model_copy(update=changes)), Oracle()), axis, code)
    dataset = lance.dataset(str(broken / ref.table))
    dataset.drop_columns([axis.value])
    dropped = ref.model_copy(update={"version": int(dataset.version)})
    told(asking(opened(broken, dropped), Oracle()), axis, LostReason.INDEX_MISSING)


def test_an_index_of_words_is_missing_or_partial(
    broken: Path, sound: tuple[Path, SnapshotRef]
) -> None:
    dataset = lance.dataset(str(broken / sound[1].table))
    dataset.drop_index("tags")
    ref = sound[1].model_copy(update={"version": int(dataset.version)})
    told(asking(opened(broken, ref), Oracle()), Axis.FTS, LostReason.INDEX_MISSING)
    rows = dataset.to_table()
    dataset.insert(rows)
    dataset.create_scalar_index("tags", "INVERTED", name="tags")
    twice = {name: 2 * count for name, count in ref.tenants.items()}
    partial = {"version": int(dataset.version), "assets": 2 * ref.assets, "tenants": twice}
    with pytest.raises(StoreCorrupt):
        opened(broken, ref.model_copy(update={"version": int(dataset.version)}))
    reader = opened(broken, ref.model_copy(update=partial))
    assert Axis.FTS in reader.broken


def test_a_large_tenant_without_a_vector_index(sound: tuple[Path, SnapshotRef]) -> None:
    """None of the three can answer; words still do, and each is named."""
    Counted.tried += 1
    folder, ref = sound
    reader = opened(folder, ref.model_copy(update={"tenants": {"ann": 10_000_000}}))
    ask = asking(reader, Oracle())
    lost = {one.axis: one.code for one in ask().degraded}
    Counted.silent += len(set(VECTORS) - lost.keys())
    assert lost == dict.fromkeys(VECTORS, LostReason.INDEX_UNREADABLE)
    with pytest.raises(AxisUnavailable):
        ask(require=["vv"])


def test_files_that_are_gone(broken: Path, sound: tuple[Path, SnapshotRef]) -> None:
    Counted.tried += 1
    reader = opened(broken, sound[1])
    for index in (broken / sound[1].table / "_indices").iterdir():
        shutil.rmtree(index)
    try:
        lost = {one.axis: one.code for one in asking(reader, Oracle())().degraded}
    except (StoreCorrupt, AxisUnavailable):
        return
    Counted.silent += Axis.FTS not in lost
    assert lost[Axis.FTS] is LostReason.INDEX_UNREADABLE


class Stuck(Candidates):
    """Words are searched for without end, until they are let go."""

    let_go = threading.Event()

    def by_text(self, query: object, scope: Scope) -> Ranking | Lost:
        self.let_go.wait(60)
        return super().by_text(query, scope)  # type: ignore[arg-type]


def test_an_axis_that_takes_too_long(reader: SnapshotReader) -> None:
    config = CONFIG.model_copy(update={"time_ceiling_ms": 400.0})
    asked = SearchRequest(tenant_id="ann", text=TEXT)
    Counted.tried += 1
    with SearchEngine(reader, Oracle(), RANKING, config) as engine:
        engine.search(asked.model_copy(update={"timeout_ms": 60_000}))  # all is in memory
        engine.candidates = Stuck(reader, RANKING.boosts())
        stuck = asked.model_copy(update={"candidates": 100})
        answer = engine.search(stuck)
        lost = {one.axis: one.code for one in answer.degraded}
        Counted.silent += Axis.FTS not in lost
        assert lost[Axis.FTS] is LostReason.TIMEOUT
        assert answer.partial
        with pytest.raises(AxisUnavailable, match="fts"):
            engine.search(stuck.model_copy(update={"require": (Axis.FTS,)}))
        Stuck.let_go.set()


def test_no_axis_in_time_is_an_empty_answer_that_says_so(reader: SnapshotReader) -> None:
    """The encoder took all the time there was."""
    Counted.tried += 1
    now = [0.0]

    class Slow(Oracle):
        def encode(self, requests: Sequence[EncodingRequest]) -> list[EncodedQuery]:
            now[0] += 100.0
            return super().encode(requests)

    answer = asking(reader, Slow(), clock=lambda: now[0])(axes=VECTOR_AXES)
    assert {one.axis: one.code for one in answer.degraded} == dict.fromkeys(
        VECTOR_AXES, LostReason.TIMEOUT
    )
    assert (answer.partial, answer.hits) == (True, ())


def test_words_found_while_the_encoder_took_all_the_time_are_an_answer(
    reader: SnapshotReader,
) -> None:
    Counted.tried += 1
    now = [0.0]
    with SearchEngine(reader, Oracle(), RANKING, CONFIG, clock=lambda: now[0]) as engine:
        plan = engine.plan(SearchRequest(tenant_id="ann", text=TEXT))
        begun = engine.begin(plan)
        assert begun.words is not None
        begun.words.result()
        now[0] += 100.0
        found = engine.gather(plan, Oracle().encode(plan.encodings), begun).found
    assert found.answering() == (Axis.FTS,)
    assert {axis: lost.code for axis, lost in found.lost.items()} == dict.fromkeys(
        VECTOR_AXES, LostReason.TIMEOUT
    )
    assert found.late


def test_reranking_that_takes_too_long(reader: SnapshotReader) -> None:
    Counted.tried += 1
    now = [0.0]

    class Slow(FeatureReranker):
        def rerank(self, question: RerankQuestion) -> Reranked:
            now[0] += 100.0
            return super().rerank(question)

    answer = asking(reader, Oracle(), reranker=Slow(RANKING), clock=lambda: now[0])()
    assert [(one.step, one.code) for one in answer.degraded] == [("rerank", LostReason.CEILING)]
    plain = asking(reader, Oracle())(rerank="off")
    assert [hit.asset_id for hit in answer.hits] == [hit.asset_id for hit in plain.hits]


def test_no_fault_was_silent() -> None:
    """Runs last: every fault above was told."""
    assert Counted.silent == 0
