"""SIGKILL while committed tasks are opened again, and while a store is repaired: it goes on."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ecm.config import Profile
from ecm.crashpoints import STORE_POINTS, VARIABLE
from ecm.evidence.refs import all_refs
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from ecm.ledger import LedgerConfig, open_ledger
from ecm.ledger.states import TaskState
from tests.damaged import (
    derived_again,
    examined,
    flipped,
    fragment_file,
    key_digest,
    manifests,
    mended,
    table_of,
    truncated,
    vector_place,
)
from tests.factories import fake_profile
from tests.ledger_tasks import START, TENANT, TTL, claim, commit, list_names, result
from tests.maintained import is_well, made

REPO = Path(__file__).resolve().parents[2]
REOPENER = """
import os, sys
from ecm.crashpoints import arm
from ecm.ledger import LedgerConfig, open_ledger
arm(os.environ)
with open_ledger(LedgerConfig(url=sys.argv[1], slice_tasks=2)) as ledger:
    ledger.reopen_evidence("studio", sys.argv[2:], "damaged", ledger.now())
"""

REPAIRER = """
import os, sys
from pathlib import Path
from ecm.crashpoints import arm
from tests.damaged import mended
from tests.factories import fake_profile
arm(os.environ)
mended(fake_profile(Path(sys.argv[1])))
"""
POINTS = [point for point in STORE_POINTS if point.startswith("repair.")]


@pytest.mark.parametrize(
    ("kind", "point"),
    [("sqlite", "ledger.reopen.uncommitted"), ("sqlite", "ledger.reopen.committed")],
)
def test_a_reopening_killed_here_goes_on(kind: str, point: str, tmp_path: Path) -> None:
    url = f"{kind}://{tmp_path / 'ledger.db'}"
    with open_ledger(LedgerConfig(url=url)) as ledger:
        list_names(ledger, "job", ["a", "b", "c"])
        tasks = claim(ledger, ledger.acquire_lease("w", START, TTL))
        commit(ledger, "batch", tasks)
        keys = [result(task).evidence_key for task in tasks]
        killed = subprocess.run(
            [sys.executable, "-c", REOPENER, url, *keys],
            cwd=REPO,
            env={"PYTHONPATH": str(REPO), VARIABLE: f"{point}:2"},
        )
        assert killed.returncode == -signal.SIGKILL
        left = ledger.status(START).states[TaskState.PERSISTED]
        assert left == (4 if point.endswith("uncommitted") else 2)
        assert ledger.reopen_evidence(TENANT, keys, "damaged", START) == left
        assert ledger.status(START).states[TaskState.QUEUED] == len(tasks)
        assert not ledger.done_evidence(keys)
        assert ledger.job_counts("job").balanced


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A home with something damaged for every point, and the digest of its keys before."""
    home = tmp_path_factory.mktemp("made") / "home"
    profile = made(home)
    store = EvidenceStore.open(profile.evidence)
    (ref,) = all_refs(store)
    SnapshotStore(store).build_anew(ref.policy, START + 1)
    said = key_digest(profile)
    tables = [table_of(profile, f"evidence_vectors_{space}") for space in ("vv", "x", "mv")]
    truncated(fragment_file(profile, tables[0], 2))
    truncated(manifests(profile, tables[1])[0])
    path, at = vector_place(profile, tables[2], 4)
    flipped(at + 2)(path)
    store_folder = home / "store"
    (index,) = (store_folder / "tables/evidence_text.lance/_indices").glob("*/page_data.lance")
    index.unlink()
    for snapshot in all_refs(store):
        (data,) = (store_folder / snapshot.table / "data").glob("*.lance")
        flipped(50)(data)
    return home, said


@pytest.mark.parametrize("point", POINTS)
def test_a_repair_killed_here_goes_on(
    damaged: tuple[Path, str], point: str, tmp_path: Path
) -> None:
    for name in ("store", "ledger.sqlite3"):
        source = damaged[0] / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    (tmp_path / "photos").symlink_to(damaged[0] / "photos")
    profile: Profile = fake_profile(tmp_path)
    killed = subprocess.run(
        [sys.executable, "-c", REPAIRER, str(tmp_path)],
        cwd=REPO,
        env={"PYTHONPATH": str(REPO), VARIABLE: point},
    )
    assert killed.returncode == -signal.SIGKILL
    assert mended(profile).problems == []
    assert examined(profile).sound
    assert derived_again(profile) == 5
    assert examined(profile).sound
    assert is_well(profile)
    assert key_digest(profile) == damaged[1]
