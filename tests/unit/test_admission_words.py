"""What of a meaning vector's words is known before its picture is looked at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ecm.contracts.task import TaskType
from ecm.delivery.admission import Admission
from ecm.delivery.receipts import AdmittedBytes
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.store import EvidenceStore
from ecm.ledger import open_ledger
from ecm.stages.prepare import AdmitDecision, AdmitRequest
from tests.evidence_envelopes import MV, OCR, START, VISION, content_of, ocr, vision
from tests.factories import fake_profile


@pytest.fixture(scope="module")
def admission(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admission]:
    """Of a store in which `both` was seen and read, `blank` without words, and `seen` only seen."""
    profile = fake_profile(tmp_path_factory.mktemp("home"))
    store = EvidenceStore.create(profile.evidence, START)
    said = [vision(name, tags=("shop",)) for name in ("both", "blank", "seen")]
    EvidenceCommitter(store).append("b1", [*said, ocr("both", "OPEN", "9-17"), ocr("blank")])
    with open_ledger(profile.ledger) as ledger:
        yield Admission(ledger, profile.evidence)


def decided(
    admission: Admission, seed: str, *running: TaskType, reader: str | None = OCR
) -> AdmitDecision:
    """What is decided of content of which these tasks are left to do, beside its meaning."""
    transforms = {TaskType.VISION: VISION, TaskType.OCR: OCR, TaskType.MV_EMBED: MV}
    tasks = tuple(
        (f"{place:064x}", kind, transforms[kind])
        for place, kind in enumerate([*running, TaskType.MV_EMBED])
    )
    (decision,) = admission.admit([AdmitRequest("t", content_of(seed), tasks)], VISION, reader)
    return decision


def test_what_was_seen_and_what_was_read_are_known_apart(admission: Admission) -> None:
    decision = decided(admission, "both")
    assert (decision.known_text, decision.known_read) == ("a photo of shop", "OPEN 9-17")


def test_no_words_are_something_else_than_no_reading(admission: Admission) -> None:
    assert decided(admission, "blank").known_read == ""
    seen = decided(admission, "seen")
    assert (seen.known_text, seen.known_read) == ("a photo of shop", None)
    assert decided(admission, "unseen").known_text is None


def test_a_plan_without_a_reader_waits_for_no_words(admission: Admission) -> None:
    assert decided(admission, "seen", reader=None).known_read == ""


def test_who_looks_again_is_not_told_what_was_said(admission: Admission) -> None:
    again = decided(admission, "both", TaskType.VISION)
    assert (again.known_text, again.known_read) == (None, "OPEN 9-17")
    again = decided(admission, "both", TaskType.OCR)
    assert (again.known_text, again.known_read) == ("a photo of shop", None)


@pytest.mark.parametrize("read", [None, "", "OPEN"])
def test_a_decision_survives_the_way_to_a_worker(read: str | None) -> None:
    decision = AdmitDecision(frozenset({"0" * 64}), "a shop", read)
    told = AdmittedBytes.model_validate_json(AdmittedBytes.of(decision).model_dump_json())
    assert told.decision() == decision
