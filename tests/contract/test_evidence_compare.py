"""Comparing two runs or transforms: what is counted, of whom, and what is said about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecm.contracts.identity import digest
from ecm.contracts.result import LabelStatement, Outputs, Space, TextStatement
from ecm.errors import QueryError
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.comparing import Wishes, compare
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.runs import RunRecord, record_run
from ecm.evidence.store import EvidenceStore
from tests.evidence_envelopes import (
    START,
    VISION,
    VV,
    content_of,
    embedded,
    envelope,
    everything,
    vector_of,
    vision,
)

NEW, NEW_VV = digest("vision, newer"), digest("vv, newer")
COMMON = range(10, 40)


def _turned(seed: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """The vector of a seed in a space of another dimension in which neighbours are the same."""
    return np.concatenate([vector_of(Space.VV, seed)[::-1], np.zeros(3, np.float32)])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EvidenceStore:
    """Run `old` saw assets 0-39 by one model, `new` 10-59 by another; another tenant saw all."""
    folder = tmp_path_factory.mktemp("compare") / "store"
    store = EvidenceStore.create(EvidenceConfig(uri=str(folder)), START)
    commit = EvidenceCommitter(store)
    old = [e for i in range(40) for e in everything(i, "dog", "cat", run_id="old")]
    commit.append("b1", old)
    named = [
        vision(i, f"a photo of dog {i}", ("Dog", "bird"), transform=NEW, run_id="new")
        for i in range(10, 60)
    ]
    vectors = [
        embedded(i, Space.VV, NEW_VV, run_id="new", vector=_turned(i)) for i in range(10, 60)
    ]
    commit.append("b2", [*named, *vectors])
    foreign = [e for i in range(60) for e in everything(i, "fox", tenant="u", run_id="new")]
    commit.append("b3", foreign)
    record = RunRecord(
        run_id="new",
        tenant_id="t",
        job_id="job",
        transforms=(NEW, NEW_VV),
        config_digest=digest("config"),
        code_version="0.1.0",
        started_at=START,
    )
    record_run(store, record)
    done = {"images_through_models": 50, "dead": 2}
    record_run(store, record.finished(START + 25, done))
    return store


def test_two_runs_are_compared_over_the_assets_they_share(store: EvidenceStore) -> None:
    found = compare(store, "t", "old", "new", Wishes(examples=3, sample=20))
    assert (found.common, found.a.only, found.b.only) == (30, 10, 20)
    assert (found.a.assets, found.b.assets) == (40, 50)
    assert (found.b.images_per_second, found.b.counts["dead"]) == (2.0, 2)
    assert found.captions is not None
    assert (found.captions.assets, found.captions.exact) == (30, 0.0)
    assert found.captions.jaccard.mean == pytest.approx(4 / 7)
    assert (found.captions.a.repeated, found.captions.b.repeated) == (30, 0)
    assert found.tags is not None
    assert found.tags.jaccard.mean == pytest.approx(1 / 3)
    assert [(t.tag, t.assets) for t in found.tags.gained] == [("bird", 30)]
    assert [(t.tag, t.assets) for t in found.tags.lost] == [("cat", 30)]
    assert found.classes is not None
    assert (found.classes.agreement, found.classes.kappa, found.classes.ac1) == (1.0, None, 1.0)
    (space,) = found.spaces
    assert (space.dim_a, space.dim_b, space.assets, space.sample, space.k) == (8, 11, 30, 20, 10)
    assert space.overlap is not None
    assert space.overlap.mean == 1.0
    assert space.by_chance == pytest.approx(10 / 29)
    assert [example.agreement for example in found.worst] == sorted(
        example.agreement for example in found.worst
    )
    assert len(found.worst) == 3
    assert {e.asset_id for e in found.worst} <= {content_of(i) for i in COMMON}
    assert found.worst[0].uris[0].startswith("file:///photos/")
    assert "fox" not in found.model_dump_json()
    assert any("old is not on record" in note for note in found.notes)
    again = compare(store, "t", "old", "new", Wishes(examples=3, sample=20))
    assert again == found


def test_sides_may_be_turned_round(store: EvidenceStore) -> None:
    one, other = compare(store, "t", "old", "new"), compare(store, "t", "new", "old")
    assert one.common == other.common
    assert one.captions is not None
    assert other.captions is not None
    assert one.captions.jaccard == other.captions.jaccard
    assert one.tags is not None
    assert other.tags is not None
    assert one.tags.gained == other.tags.lost
    assert [s.overlap for s in one.spaces] == [s.overlap for s in other.spaces]
    assert {e.asset_id: e.agreement for e in one.worst} == {
        e.asset_id: e.agreement for e in other.worst
    }


def test_a_side_agrees_with_itself(store: EvidenceStore) -> None:
    found = compare(store, "t", "old", "old")
    assert found.captions is not None
    assert found.tags is not None
    assert found.ocr is not None
    assert found.captions.exact == found.tags.exact == found.ocr.exact == 1.0
    assert {space.overlap.mean for space in found.spaces if space.overlap} == {1.0}
    assert len(found.spaces) == 3
    assert found.worst == ()
    assert "a side is compared with itself" in found.notes


def test_transforms_are_meant_by_the_beginning_of_their_fingerprint(store: EvidenceStore) -> None:
    found = compare(store, "t", VISION[:8], NEW[:8])
    assert (found.a.kind, found.a.name, found.b.name) == ("transform", VISION, NEW)
    assert found.spaces == ()
    assert found.tags is not None
    vectors = compare(store, "t", VV, NEW_VV)
    assert (vectors.captions, vectors.tags, vectors.ocr) == (None, None, None)
    assert len(vectors.spaces) == 1


def test_who_shares_nothing_is_told_so(store: EvidenceStore) -> None:
    found = compare(store, "t", VISION, NEW_VV)
    assert (found.captions, found.spaces, found.confidences) == (None, (), ())
    assert any("of different kinds" in note for note in found.notes)
    commit = EvidenceCommitter(store)
    commit.append("b4", [vision(100, "a fox", ("fox",), run_id="late")])
    found = compare(store, "t", "old", "late")
    assert found.common == 0
    assert any("nothing about the same assets" in note for note in found.notes)
    assert any(VISION[:12] in note for note in found.notes)


@pytest.mark.parametrize(
    ("tenant", "side", "code"),
    [
        ("t", "nonsense", "compare.unknown"),
        ("u", "old", "compare.unknown"),
        ("u", NEW, "compare.unknown"),
        ("t", "ol", "compare.unknown"),
        ("t", "", "compare.unknown"),
        ("t", "' OR true --", "compare.unknown"),
    ],
)
def test_a_side_that_nobody_knows_is_refused(
    store: EvidenceStore, tenant: str, side: str, code: str
) -> None:
    with pytest.raises(QueryError) as caught:
        compare(store, tenant, "new", side)
    assert caught.value.code == code


def test_confidences_text_and_measures_are_compared(tmp_path: Path) -> None:
    store = EvidenceStore.create(EvidenceConfig(uri=str(tmp_path / "store")), START)

    def said(seed: int, sure: float, sharpness: float, read: str, run: str) -> None:
        outputs = Outputs(
            caption=TextStatement(text="a dog", confidence=None),
            tags=(LabelStatement(label="dog", confidence=sure), LabelStatement(label=run)),
            measures={"sharpness": sharpness},
        )
        lines = Outputs(ocr=(TextStatement(text=read),))
        envelopes = [
            envelope(seed, transform=digest(run), outputs=outputs, run_id=run),
            envelope(seed, "ocr", digest([run, "ocr"]), outputs=lines, run_id=run),
        ]
        EvidenceCommitter(store).append(f"{run}-{seed}", envelopes)

    for seed in range(4):
        said(seed, 0.5, 1.0, "STOP", "one1")
        said(seed, 0.7, 3.0, "ST0P", "two2")
    found = compare(store, "t", "one1", "two2")
    tags = next(shift for shift in found.confidences if shift.kind == "tag")
    assert tags.pairs == 4
    assert tags.difference is not None
    assert tags.difference.mean == pytest.approx(0.2)
    assert (tags.absent_a, tags.absent_b) == (4, 4)
    assert tags.histogram_a == (0, 0, 0, 0, 0, 4, 0, 0, 0, 0)
    (measure,) = found.measures
    assert (measure.name, measure.assets, measure.difference.mean) == ("sharpness", 4, 2.0)
    assert found.ocr is not None
    assert (found.ocr.exact, found.ocr.cer, found.ocr.similarity.mean) == (0.0, 0.25, 0.75)
