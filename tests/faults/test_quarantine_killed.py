"""SIGKILL while a notice is told and while it is done again: it goes on, and nothing is lost."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ecm.config import Profile
from ecm.contracts.identity import evidence_key
from ecm.contracts.quarantine import Drift, QuarantineNotice
from ecm.crashpoints import STORE_POINTS, VARIABLE
from ecm.delivery.quarantining import redo
from ecm.delivery.tenure import commit_tenure
from ecm.evidence.quarantine import QuarantineState, quarantines
from ecm.evidence.schema import ASSETS, EVIDENCE_TEXT
from ecm.evidence.store import EvidenceStore
from ecm.ledger import open_ledger
from ecm.opening import plan_of
from ecm.publishing import materialize
from tests.damaged import derived_again, key_digest
from tests.factories import fake_profile
from tests.maintained import is_well, made

REPO = Path(__file__).resolve().parents[2]
TELLER = """
import os, sys
from pathlib import Path
from ecm.contracts.quarantine import QuarantineNotice
from ecm.crashpoints import arm
from ecm.delivery.quarantining import tell
from tests.factories import fake_profile
from tests.faults.test_quarantine_killed import redone
arm(os.environ)
profile = fake_profile(Path(sys.argv[1]))
tell(profile.evidence, QuarantineNotice.model_validate_json(sys.argv[2]))
redone(profile)
"""
POINTS = [point for point in STORE_POINTS if point.startswith("quarantine.")]
ASSETS_NAMED = 3


def redone(profile: Profile) -> int:
    """Do every quarantine again; the rows taken out."""
    store = EvidenceStore.open(profile.evidence)
    with commit_tenure(profile.ledger, store) as tenure, open_ledger(profile.ledger) as ledger:
        return sum(redo(ledger, store, one, tenure.confirm).rows for one in quarantines(store))


def notice(profile: Profile) -> QuarantineNotice:
    """What the run of `made` said about some assets, all of it."""
    plan = plan_of(profile).by_type
    store = EvidenceStore.open(profile.evidence)
    assets = sorted(store.read(ASSETS, ["asset_id"])["asset_id"].to_pylist())[:ASSETS_NAMED]
    (run_id,) = set(store.read(EVIDENCE_TEXT, ["run_id"])["run_id"].to_pylist())
    keys = [
        evidence_key("t", asset, kind.value, transform.fingerprint)
        for asset in assets
        for kind, transform in plan.items()
    ]
    return QuarantineNotice(
        tenant_id="t",
        manifest="fake-image",
        transforms=tuple(transform.fingerprint for transform in plan.values()),
        run_id=run_id,
        worker_id="w",
        drift=Drift(probe="waves", measured=0.5, needed=0.999, said="probe waves: cosine 0.5"),
        since=1.0,
        until=2.0,
        keys=tuple(sorted(keys)),
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made") / "home"
    made(place)
    return place


@pytest.mark.parametrize("point", POINTS)
def test_a_quarantine_killed_here_goes_on(home: Path, point: str, tmp_path: Path) -> None:
    shutil.copytree(home / "store", tmp_path / "store")
    shutil.copy(home / "ledger.sqlite3", tmp_path)
    (tmp_path / "photos").symlink_to(home / "photos")
    profile = fake_profile(tmp_path)
    said, told = key_digest(profile), notice(profile)
    killed = subprocess.run(
        [sys.executable, "-c", TELLER, str(tmp_path), told.model_dump_json()],
        cwd=REPO,
        env={"PYTHONPATH": str(REPO), VARIABLE: point},
    )
    assert killed.returncode == -signal.SIGKILL
    store = EvidenceStore.open(profile.evidence)
    (one,) = quarantines(store)
    assert one.notice == told
    assert one.state is QuarantineState.OPEN
    assert materialize(store, plan_of(profile)).quarantines == (one.quarantine_id,)
    assert redone(profile) > 0
    assert redone(profile) == 0
    assert derived_again(profile) == len(told.keys)
    assert is_well(profile)
    assert key_digest(profile) == said
    assert [each.state for each in quarantines(store)] == [QuarantineState.REDONE]
