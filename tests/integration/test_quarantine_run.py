"""A model that drifts in the middle of `ecm index`: what it said since is not shown, but redone."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ecm.config import Profile
from ecm.contracts.identity import KeyDigest, evidence_key
from ecm.contracts.result import Space
from ecm.contracts.task import TaskType
from ecm.evidence.quarantine import QuarantineState, quarantines
from ecm.evidence.schema import EVIDENCE_TEXT, vector_table
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import open_ledger
from ecm.ledger.states import TaskState
from ecm.opening import plan_of
from jobs.cli import run
from jobs.index import IndexSummary, run_index
from tests.drifting import BLOCK, EVERY, Drifting, drifting
from tests.factories import asset_id, picture
from tests.workers import put

KINDS = (TaskType.VISION, TaskType.VV_EMBED, TaskType.MV_EMBED)
"""What rests on the model that drifts."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Drifting:
    return drifting(tmp_path_factory.mktemp("drifting"))


def pictures(first: int, last: int) -> dict[str, bytes]:
    return {f"{n:02d}.png": picture("red", n, (64, 48)) for n in range(first, last)}


def index(profile: Profile, photos: Path) -> IndexSummary:
    return run_index(profile, (str(photos),), "t", Console(file=io.StringIO()))


def shown(profile: Profile) -> dict[str, dict[str, Any]]:
    store = EvidenceStore.open(profile.evidence)
    ref = SnapshotStore(store).published()
    assert ref is not None
    columns = ["asset_id", "caption", "vv_evidence", "mv_evidence", "x_evidence"]
    rows = store.open_lance(ref.table, ref.version).to_table(columns=columns).to_pylist()
    return {row["asset_id"]: row for row in rows}


def with_words(profile: Profile) -> set[str]:
    """The assets that are shown with what the model says; x is of another model."""
    rows = shown(profile)
    said = [
        {asset for asset, row in rows.items() if row[column] is not None}
        for column in ("caption", "vv_evidence", "mv_evidence", "x_evidence")
    ]
    assert said[0] == said[1] == said[2]
    assert said[3] == rows.keys()
    return said[0]


def keys_of(profile: Profile, asset: str, kinds: Iterable[TaskType]) -> set[str]:
    plan = plan_of(profile).by_type
    return {evidence_key("t", asset, kind.value, plan[kind].fingerprint) for kind in kinds}


def test_a_drift_is_quarantined_and_redone(
    ray_session: None, model: Drifting, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = model.profile(tmp_path / "home")
    options = ["--home", str(profile.home), "--tenant", "t"]
    options += [f"--set={setting}" for setting in model.settings()]
    photos = put(tmp_path / "photos", pictures(0, BLOCK))
    assert index(profile, photos).problems == ()
    before = shown(profile)
    put(photos, pictures(BLOCK, 6 * BLOCK))
    assets = {asset_id(data) for data in pictures(0, 6 * BLOCK).values()}

    model.drift()
    (line, *_) = index(profile, photos).problems
    assert "model fake-image: probe waves: vv cosine 0." in line
    assert "expected at least 0.999" in line
    assert "ecm quarantine redo q-" in line
    store = EvidenceStore.open(profile.evidence)
    (one,) = quarantines(store)
    doubtful = {a for a in assets if keys_of(profile, a, KINDS) <= set(one.notice.keys)}
    assert len(doubtful) == EVERY
    assert len(one.notice.keys) == EVERY * len(KINDS)
    rows = shown(profile)
    assert rows.keys() == assets  # the model of x is sound, and goes on
    said = store.read(EVIDENCE_TEXT, ["asset_id"])["asset_id"].to_pylist()
    assert with_words(profile) == set(said) - doubtful
    assert {asset: rows[asset] for asset in before} == before
    ref = SnapshotStore(store).published()
    assert ref is not None
    assert ref.quarantines == (one.quarantine_id,)
    with open_ledger(profile.ledger) as ledger:
        states = ledger.status(ledger.now(), "t").states
    assert states[TaskState.MODEL_MISMATCH] > 0
    assert states[TaskState.DEAD_LETTER] == 0

    assert run(["quarantine", "list", "--json", *options]) == 1
    assert json.loads(capsys.readouterr().out)["open"] == 1
    assert run(["audit", "--json", *options]) == 1
    assert one.quarantine_id in capsys.readouterr().out
    model.mend()
    assert run(["quarantine", "redo", "--json", one.quarantine_id, *options]) == 0
    redone = json.loads(capsys.readouterr().out)["items"][0]
    assert redone["unblocked"] == states[TaskState.MODEL_MISMATCH]
    assert run(["quarantine", "redo", "--json", one.quarantine_id, *options]) == 0
    assert json.loads(capsys.readouterr().out)["items"][0]["rows"] == 0
    assert [q.state for q in quarantines(store)] == [QuarantineState.REDONE]

    healed = index(profile, photos)
    assert healed.problems == ()
    every = (*KINDS, TaskType.X_EMBED)
    wanted = KeyDigest(key for asset in assets for key in keys_of(profile, asset, every))
    assert healed.key_digest == str(wanted)
    assert with_words(profile) == assets
    transform = plan_of(profile).by_type[TaskType.VV_EMBED].fingerprint
    seen = store.read(vector_table(Space.VV, transform), ["asset_id", "vector"]).to_pylist()
    assert len(seen) == len(assets)
    assert all(row["vector"][0] == max(row["vector"]) for row in seen)  # red, as they are
