"""Captions in the child of a worker: the deaths of the engine are its own, the child lives on."""

from __future__ import annotations

from pathlib import Path

import psutil

from ecm.contracts.quarantine import QuarantineNotice
from ecm.contracts.task import TaskType
from ecm.delivery.claimed import block_of
from ecm.delivery.entries import entries_of
from ecm.ledger import open_ledger
from ecm.opening import plan_of
from ecm.stages.assembly import StageSettings
from ecm.stages.prepare import admit_everything
from jobs.analyst import IsolatedAnalyst
from tests.captioners import caption_profile, journal_of, models_folder, plain
from tests.workers import claimed, put, queued

COLOURS = ("red", "black", "green", "blue", "yellow", "white")


def nobody_told(notice: QuarantineNotice) -> None:
    raise AssertionError(f"no model drifted, but {notice} was told")


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def test_an_engine_that_a_picture_kills_is_started_again_in_the_same_child(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    models = models_folder(tmp_path, journal=str(journal), deadly="black")
    profile = caption_profile(tmp_path / "home", models)
    profile.home.mkdir()
    pictures = {f"{colour}.png": plain(colour, n) for n, colour in enumerate(COLOURS)}
    with open_ledger(profile.ledger) as ledger:
        queued(ledger, profile, put(tmp_path / "photos", pictures))
        block = block_of(claimed(ledger, profile, len(COLOURS)))
    settings = StageSettings(
        plan_of(profile), profile.images, "run-w", 8, threads=1, scratch=tmp_path / "scratch"
    )
    with IsolatedAnalyst(settings, "here/1/x", admit_everything, nobody_told) as analyst:
        before = children()
        results = [entry.envelope for entry in entries_of(analyst(block))]
        assert children() == before, "the child was started again"
    visions = {
        e.resource_fingerprint.uri.rsplit("/", 1)[1]: e
        for e in results
        if e.task_type == TaskType.VISION
    }
    failed = {name: e.error.code for name, e in visions.items() if e.error is not None}
    assert failed == {"black.png": "model.kills_engine"}
    said = visions["red.png"].outputs
    assert said is not None
    assert said.caption is not None
    assert said.caption.text == "a mostly red picture in a wide frame"
    assert visions["red.png"].telemetry.counts["captioned"] == 1
    requests = [name for name, _ in journal_of(journal)]
    assert requests.count("restart") == 1
