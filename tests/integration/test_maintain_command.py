"""`ecm maintain` as an operator meets it, and the little of it that a commit loop does itself."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ecm.config import Profile
from ecm.contracts.identity import digest
from ecm.delivery.committing import CommitLoop, CommitSettings
from ecm.delivery.maintaining import BetweenBatches
from ecm.delivery.reporting import report_batch
from ecm.delivery.tenure import commit_right
from ecm.errors import LeaseLost
from ecm.evidence.committer import EvidenceCommitter, unquestioned
from ecm.evidence.compaction import fragments_of
from ecm.evidence.runs import RunRecord, record_run
from ecm.evidence.schema import ANALYSIS_RUNS, ASSETS
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger import Ledger, open_ledger
from jobs.cli import run
from tests import maintained
from tests.evidence_envelopes import everything
from tests.factories import START, fake_profile, picture
from tests.maintained import contents, is_well, litter, made, orphans
from tests.workers import analysed, claimed, put, queued


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("made") / "home"
    litter(made(home, "evidence.maintenance.every_commits=0"))
    return home


@pytest.fixture
def profile(indexed: Path, tmp_path: Path) -> Profile:
    shutil.copytree(indexed, tmp_path / "home")
    return fake_profile(tmp_path / "home")


def ecm(profile: Profile, *words: str) -> int:
    return run(maintained.command(profile, *words)[3:])


def store_of(profile: Profile) -> EvidenceStore:
    return EvidenceStore.open(profile.evidence)


def tables(said: dict[str, Any], when: str, field: str) -> set[Any]:
    return {table[field] for table in said[when]}


def test_it_says_what_it_would_do_does_it_and_has_nothing_left_to_do(
    profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(profile)
    assert ecm(profile, "--json", "--dry-run") == 0
    planned = json.loads(capsys.readouterr().out)
    assert orphans(profile), "a dry run removes nothing"
    assert ecm(profile, "--json") == 0
    captured = capsys.readouterr()
    done = json.loads(captured.out)
    assert "table 1 of 7" in captured.err
    assert done["fragments_merged"] == planned["fragments_merged"] > 0
    assert done["orphans_removed"] == planned["orphans_removed"] > 0
    assert tables(done, "before", "fragments") == {12}
    assert tables(done, "after", "fragments") == {1}
    assert tables(done, "after", "versions") == {1}
    assert (done["complete"], done["problems"]) == (True, [])
    assert done["bytes_freed"] > 0
    assert orphans(profile) == []
    assert contents(profile) == before
    assert is_well(profile)
    assert ecm(profile) == 0
    assert "0 fragments were merged, 0 versions and 0 orphans removed" in capsys.readouterr().out


def test_while_a_run_commits_it_says_so_in_one_line(
    profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    before = store_of(profile).versions()
    with open_ledger(profile.ledger) as ledger:
        ledger.acquire_right(
            commit_right(store_of(profile)), "another-machine/1/1/x", 60.0, ledger.now()
        )
    assert ecm(profile) == 75
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "another run is committing to this store (holder another-machine/1/1/x)" in error
    assert store_of(profile).versions() == before
    assert ecm(profile, "--dry-run") == 0, "looking needs no right"


def unresolved(profile: Profile, ledger: Ledger, folder: Path) -> None:
    """A batch that was reported and whose committer died then."""
    queued(ledger, profile, put(folder, {"late.png": picture("red", 77)}))
    report_batch(ledger, "late-000001", analysed(profile, claimed(ledger, profile, 1)), None)


def test_while_a_batch_is_unresolved_nothing_is_touched(
    profile: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_ledger(profile.ledger) as ledger:
        unresolved(profile, ledger, tmp_path / "late")
        before = store_of(profile).versions()
        assert ecm(profile) == 75
        assert "1 batches of an interrupted run are not resolved yet" in capsys.readouterr().err
        upkeep = BetweenBatches(store_of(profile))
        for _ in range(64):
            upkeep.committed([ASSETS])
        upkeep.step(ledger, unquestioned)
    assert store_of(profile).versions() == before
    assert upkeep.steps == 0


def test_what_a_killed_export_held_goes_when_its_day_is_over(profile: Profile) -> None:
    tags = store_of(profile).dataset(ASSETS).tags
    tags.create("held-1-0123abcd", 2)
    tags.create("held-99999999999-0123abcd", 3)
    assert ecm(profile) == 0
    left = store_of(profile).dataset(ASSETS)
    assert list(left.tags.list()) == ["held-99999999999-0123abcd"]
    assert [each["version"] for each in left.versions()] == [3, left.version]


def test_again_and_again_until_it_is_told_to_stop(profile: Profile) -> None:
    process = subprocess.Popen(
        [*maintained.command(profile, "--json"), "--every", "0.2"],
        cwd=maintained.REPO,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    said = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert [each["fragments_merged"] > 0 for each in said] == [True, False]


def test_a_commit_loop_merges_while_it_commits(indexed: Path, tmp_path: Path) -> None:
    profile = made(tmp_path / "busy", "evidence.maintenance.every_commits=8")
    store = store_of(profile)
    fragments = [len(fragments_of(store.dataset(name))) for name in store.tables()]
    assert min(fragments) <= 5
    assert is_well(profile)
    assert store.counts() == store_of(fake_profile(indexed)).counts() | {
        name: rows for name, rows in store.counts().items() if name == "analysis_runs"
    }


def test_tables_take_turns_and_rows_stay(profile: Profile) -> None:
    store = store_of(profile)
    names = store.tables()
    before = contents(profile)
    upkeep = BetweenBatches(store)
    with open_ledger(profile.ledger) as ledger:
        for _ in range(64):
            upkeep.committed(names)
        for _ in range(3 * len(names)):
            versions = store.versions()
            upkeep.step(ledger, unquestioned)
            changed = [n for n in names if store.versions()[n] != versions[n]]
            assert len(changed) <= 1, "one table a step"
    fragments = {name: len(fragments_of(store.dataset(name))) for name in names}
    indexed = [name for name in names if store.dataset(name).describe_indices()]
    assert {name for name, number in fragments.items() if number == 1} == set(names) - set(indexed)
    assert upkeep.steps == len(names) - len(indexed)
    assert contents(profile) == before


def test_a_damaged_table_stops_no_committing(
    profile: Profile, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_of(profile)
    for file in (Path(store.dataset(ASSETS).uri) / "data").iterdir():
        file.write_bytes(b"damaged")
    upkeep = BetweenBatches(store)
    with open_ledger(profile.ledger) as ledger:
        for _ in range(200):
            upkeep.committed([ASSETS])
            upkeep.step(ledger, unquestioned)
    assert caplog.text.count("no upkeep of table assets any more") == 1


def test_without_the_right_a_step_ends_the_loop(profile: Profile) -> None:
    def lost() -> None:
        raise LeaseLost("taken")

    upkeep = BetweenBatches(store_of(profile))
    with open_ledger(profile.ledger) as ledger:
        for _ in range(64):
            upkeep.committed([ASSETS])
        with pytest.raises(LeaseLost):
            upkeep.step(ledger, lost)


def test_a_committer_goes_on_over_merges_and_doubles_nothing(profile: Profile) -> None:
    store = store_of(profile)
    committer, upkeep = EvidenceCommitter(store), BetweenBatches(store)
    batches = {f"b{n}": everything(n, "dog", tenant="u") for n in range(20)}
    with open_ledger(profile.ledger) as ledger:
        for batch_id, batch in batches.items():
            for _ in range(64):
                upkeep.committed(committer.append(batch_id, batch))
            upkeep.step(ledger, unquestioned)
    counts = store.counts()
    for batch_id, batch in batches.items():
        committer.append(batch_id, batch)
        EvidenceCommitter(store).append(f"{batch_id}-again", batch)
    assert store.counts() == counts


def test_many_short_runs_are_merged_all_the_same(profile: Profile) -> None:
    """A loop of its own for every batch, as with --follow and as desks open them."""
    store = store_of(profile)
    with open_ledger(profile.ledger) as ledger:
        for number in range(20):
            upkeep = BetweenBatches(store)
            upkeep.committed(EvidenceCommitter(store).append(f"f{number}", everything(number)))
            for _ in range(2 * len(store.tables())):
                upkeep.step(ledger, unquestioned)
    assert len(fragments_of(store.dataset(ASSETS))) < 12


def test_runs_that_find_nothing_new_leave_few_fragments(profile: Profile) -> None:
    """Each adds two rows to the table of runs and commits no batch."""
    store, spool = store_of(profile), Spool(profile.spool)
    for number in range(24):
        settings = CommitSettings(f"idle-{number}", "test", envelopes=8, seconds=0.01)
        with CommitLoop(profile.ledger, store, spool, settings, lambda _: None) as loop:
            loop.wait_until_recovered()
            began = RunRecord(
                run_id=f"idle-{number}",
                tenant_id="t",
                job_id="job",
                transforms=(),
                config_digest=digest("settings"),
                code_version="1",
                started_at=START,
            )
            record_run(store, began)
            loop.drain(lambda: None)
    table = store.dataset(ANALYSIS_RUNS)
    assert table.count_rows() >= 24
    assert len(fragments_of(table)) < 12
