"""A batch committed ten times over, and a second committer started on purpose: the same rows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ecm.config import Profile
from ecm.delivery.committing import CommitLoop, CommitSettings
from ecm.delivery.recovery import recover
from ecm.delivery.tenure import commit_tenure
from ecm.errors import LeaseLost
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger import open_ledger
from jobs.cli import run
from tests import maintained
from tests.evidence_envelopes import START, everything
from tests.factories import FAKE_MODELS
from tests.maintained import contents, made

BATCH = [envelope for seed in range(6) for envelope in everything(seed, "dog", "sea")]
_AGAIN = """
import sys
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.store import EvidenceStore
from tests.integration.test_replays import BATCH
EvidenceCommitter(EvidenceStore.open(EvidenceConfig(uri=sys.argv[1]))).append("b1", BATCH)
"""


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    return made(tmp_path / "home")


def test_ten_replays_leave_what_one_commit_leaves(profile: Profile) -> None:
    """By the same committer, another, another process, under another name, over a maintenance,
    from the spool, by a loop that takes over.
    """
    store, spool = EvidenceStore.open(profile.evidence), Spool(profile.spool)
    committer = EvidenceCommitter(store)
    committer.append("b1", BATCH)
    counts, said = store.counts(), contents(profile)
    for _ in range(3):
        committer.append("b1", BATCH)
    for batch_id in ("b1", "b2"):
        EvidenceCommitter(store).append(batch_id, BATCH)
    again = [sys.executable, "-c", _AGAIN, store.config.uri]
    here = {**os.environ, "PYTHONPATH": str(maintained.REPO)}
    subprocess.run(again, cwd=maintained.REPO, env=here, check=True)
    assert maintained.maintain(profile).returncode == 0
    committer.append("b1", BATCH)
    EvidenceCommitter(store).append("b3", list(reversed(BATCH)))
    spool.write("b1", BATCH, START)
    with commit_tenure(profile.ledger, store) as tenure, open_ledger(profile.ledger) as ledger:
        recover(ledger, EvidenceCommitter(store), spool, tenure.right)
    committer.append("b1", BATCH[:7])
    assert store.counts() == counts
    assert contents(profile) == said


def test_a_second_committer_is_refused_in_one_line_whatever_it_is(
    profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    store, spool = EvidenceStore.open(profile.evidence), Spool(profile.spool)
    counts, said = store.counts(), contents(profile)
    settings = CommitSettings("run-1", "first", envelopes=8, seconds=1.0)
    options = ["--home", str(profile.home), *(f"--set={setting}" for setting in FAKE_MODELS)]
    with CommitLoop(profile.ledger, store, spool, settings, lambda _: None) as loop:
        loop.wait_until_recovered()
        other = CommitSettings("run-2", "second", envelopes=8, seconds=1.0)
        second = CommitLoop(profile.ledger, store, Spool(profile.spool), other, lambda _: None)
        with pytest.raises(LeaseLost, match="another run is committing") as refused, second:
            second.wait_until_recovered()
        assert refused.value.code == "committer.held"
        index = [sys.executable, "-m", "jobs.cli", "index", str(profile.home / "photos"), *options]
        done = subprocess.run(index, cwd=maintained.REPO, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (75, "")
        assert done.stderr.count("\n") == 1
        assert "another run is committing to this store (holder first)" in done.stderr
        assert run(["maintain", *options]) == 75
        assert "another run is committing" in capsys.readouterr().err
        assert loop.failure is None
    assert store.counts() == counts
    assert contents(profile) == said
    assert run(["maintain", *options]) == 0, "the first gave the right back"
