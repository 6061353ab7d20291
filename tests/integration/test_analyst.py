"""An image that kills the process of the models is found; its neighbours and the worker live on."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from ecm.config import Profile
from ecm.contracts.result import ErrorClass
from ecm.contracts.task import TaskType
from ecm.delivery.claimed import block_of
from ecm.delivery.entries import entries_of
from ecm.errors import ManifestError
from ecm.ledger import open_ledger
from ecm.opening import plan_of
from ecm.stages.assembly import StageSettings
from ecm.stages.plan import TransformPlan
from ecm.stages.prepare import AdmitDecision, AdmitRequest, admit_everything
from jobs.analyst import IsolatedAnalyst, LeaseGone
from tests.factories import fake_profile, gallery, picture
from tests.workers import claimed, put, queued

KILLER = """
import os, signal
from ecm.models import fakes
_analyse = fakes.FakeImageModel.analyse

def analyse(self, pixels, wanted):
    if (pixels.reshape(len(pixels), -1).max(axis=1) < 30).any():
        os.kill(os.getpid(), signal.SIGKILL)
    return _analyse(self, pixels, wanted)

fakes.FakeImageModel.analyse = analyse
"""
"""Loaded by the child as it starts: this model dies of a black picture."""


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    return fake_profile(tmp_path / "home")


@pytest.fixture
def block(profile: Profile, tmp_path: Path) -> pa.Table:
    pictures = {k: v for k, v in gallery(1).items() if not k.startswith("black")}
    profile.home.mkdir()
    with open_ledger(profile.ledger) as ledger:
        folder = put(tmp_path / "photos", pictures | {"poison.png": picture("black")})
        queued(ledger, profile, folder)
        return block_of(claimed(ledger, profile, 8))


@pytest.fixture
def settings(profile: Profile, tmp_path: Path) -> StageSettings:
    return StageSettings(
        plan_of(profile), profile.images, "run-w", 8, threads=1, scratch=tmp_path / "scratch"
    )


def child() -> psutil.Process:
    (found,) = [
        process
        for process in psutil.Process().children()
        if "spawn_main" in " ".join(process.cmdline())
    ]
    return found


def test_only_the_image_that_kills_is_lost(
    settings: StageSettings, block: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(KILLER, "utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.getcwd()]))
    with IsolatedAnalyst(settings, "here/1/x", admit_everything, print) as analyst:
        results = [entry.envelope for entry in entries_of(analyst(block))]
    failed = {e.task_type: e.error for e in results if e.error is not None}
    assert {e.resource_fingerprint.uri[-10:] for e in results if e.error} == {"poison.png"}
    assert failed[TaskType.VISION].error_class is ErrorClass.INPUT
    assert failed[TaskType.VISION].code == "model.kills_worker"
    assert len(results) - len(failed) == 7 * 4 + 1, "its structure needs no model"
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_child_that_is_killed_between_blocks_is_started_again(
    settings: StageSettings, block: pa.Table
) -> None:
    with IsolatedAnalyst(settings, "here/1/x", admit_everything, print) as analyst:
        first = child()
        first.send_signal(signal.SIGKILL)
        first.wait(10)
        results = entries_of(analyst(block))
        second = child()
    assert not any(entry.failed for entry in results)
    assert not second.is_running()


def test_a_lost_lease_stops_the_block_and_not_the_child(
    settings: StageSettings, block: pa.Table
) -> None:
    lost = True

    def admit(requests: Sequence[AdmitRequest]) -> list[AdmitDecision]:
        if lost:
            raise LeaseGone
        return [AdmitDecision(frozenset()) for _ in requests]

    with IsolatedAnalyst(settings, "here/1/x", admit, print) as analyst:
        before = child()
        with pytest.raises(LeaseGone):
            analyst(block)
        lost = False
        assert len(entries_of(analyst(block))) == 8 * 4
        assert child() == before


def test_a_model_that_cannot_be_opened_is_told_before_anything_is_leased(
    settings: StageSettings,
) -> None:
    vision = settings.plan.by_type[TaskType.VISION]
    file = {"name": "weights", "path": "/no/such/file", "sha256": "0" * 64, "bytes": 1}
    broken = vision.manifest.model_validate(vision.manifest.model_dump() | {"files": [file]})
    plan = TransformPlan({TaskType.VISION: dataclasses.replace(vision, manifest=broken)})
    with (
        pytest.raises(ManifestError),
        IsolatedAnalyst(dataclasses.replace(settings, plan=plan), "w", admit_everything, print),
    ):
        pass
