"""Real stores and ledgers, damaged on purpose: the audit says so, and names what."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import lance
import pytest

from ecm.contracts.identity import ContentIdentity
from ecm.contracts.result import ResultEnvelope, Space
from ecm.contracts.task import TaskSpec, TaskType
from ecm.delivery.audit import audit_batches, audit_job, audit_store
from ecm.delivery.reporting import report_batch
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.inventory import doubled_rows
from ecm.evidence.store import EvidenceStore
from ecm.ledger import Ledger, LedgerConfig, open_ledger
from ecm.ledger.records import JobRecord, ListingChunk, ResourceTasks, SkippedResource
from tests.evidence_envelopes import START, VISION, VV, embedded, vision
from tests.ledger_tasks import MODEL

TENANT = "t"
PLAN = {VISION: TaskType.VISION, VV: TaskType.VV_EMBED}
NAMES = [f"{number}" for number in range(8)]


def uri_of(name: str) -> str:
    return f"file:///photos/{name}.jpg"


def identity_of(name: str) -> ContentIdentity:
    return ContentIdentity(uri=uri_of(name), size=123, mtime_ns=77)


def listed(job_id: str, name: str) -> ResourceTasks:
    identity = identity_of(name)
    tasks = [
        TaskSpec.create(
            tenant_id=TENANT,
            job_id=job_id,
            identity=identity,
            task_type=kind,
            model=MODEL,
            transform=transform,
        )
        for transform, kind in PLAN.items()
    ]
    return ResourceTasks(identity, tuple(tasks))


@dataclass
class Home:
    """A ledger and a store in which one job is committed, two batches of four images."""

    path: Path
    ledger: Ledger
    store: EvidenceStore

    def fill(self) -> None:
        record = JobRecord(
            job_id="job", tenant_id=TENANT, source="s", transforms=tuple(PLAN), created_at=START
        )
        self.ledger.open_job(record, START)
        skipped = (SkippedResource("file:///photos/notes.txt", "extension"),)
        found = tuple(listed("job", name) for name in NAMES)
        self.ledger.record_listing("job", ListingChunk(found, skipped, "end"), START)
        self.ledger.close_listing("job", START)
        lease = self.ledger.acquire_lease("worker", START, 60)
        committer = EvidenceCommitter(self.store)
        for number in range(2):
            envelopes = [
                self._said(task.identity.uri, task.transform).model_copy(
                    update={"task_id": task.task_id, "fence": task.fence}
                )
                for task in self.ledger.claim(lease, list(PLAN), TENANT, "job", 4, START)
            ]
            batch = f"batch-{number}"
            report_batch(self.ledger, batch, envelopes, None)
            self.ledger.persist(batch, committer.append(batch, envelopes), START)

    def _said(self, uri: str, transform: str) -> ResultEnvelope:
        name = uri.rsplit("/", 1)[1].removesuffix(".jpg")
        if transform == VISION:
            return vision(name, f"picture {name}", (f"tag-{name}",))
        return embedded(name, Space.VV)

    def sql(self, statement: str, *values: str) -> None:
        """Damage: another program writes into the ledger's file."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            assert connection.execute(statement, values).rowcount > 0

    def table(self, name: str) -> lance.LanceDataset:
        return lance.dataset(self.store.storage.location(f"tables/{name}.lance"))

    def problems(self) -> tuple[str, ...]:
        """What `ecm audit --all` finds, with a store freshly opened."""
        store = EvidenceStore.open(self.store.config)
        job = audit_job(self.ledger, store, "job")
        assert job.balanced == (not job.problems)
        return (*job.problems, *audit_store(self.ledger, store, [TENANT], ["job"]).problems)


@pytest.fixture
def home(quick_folder: Path) -> Iterator[Home]:
    path = quick_folder / "ledger.db"
    store = EvidenceStore.create(EvidenceConfig(uri=str(quick_folder / "store")), START)
    with open_ledger(LedgerConfig(url=f"sqlite://{path}")) as ledger:
        made = Home(path, ledger, store)
        made.fill()
        yield made


def test_an_undamaged_home_balances(home: Home) -> None:
    assert home.problems() == ()
    found = audit_job(home.ledger, home.store, "job")
    assert (found.listed, found.committed, found.filtered) == (9, 8, 1)
    whole = audit_store(home.ledger, home.store, [TENANT], ["job"])
    assert (whole.batches, whole.evidence_keys) == (2, 16)


def test_a_resource_that_lost_its_place_in_the_job_is_named_by_the_digests_alone(
    home: Home,
) -> None:
    home.sql(
        "DELETE FROM job_resources WHERE resource_id = "
        "(SELECT resource_id FROM resources WHERE uri = ?)",
        uri_of("3"),
    )
    first = home.problems()[0]
    assert "9 images were listed but 8 are accounted for" in first
    assert f"{uri_of('3')} (identity key {identity_of('3').key()})" in first


def test_resources_without_tasks_are_named(home: Home) -> None:
    home.sql(
        "DELETE FROM tasks WHERE resource_id IN "
        "(SELECT resource_id FROM resources WHERE uri IN (?, ?))",
        uri_of("2"),
        uri_of("5"),
    )
    problems = home.problems()
    assert "9 images were listed but 7 are accounted for" in problems[0]
    assert uri_of("2") in problems[0]
    assert uri_of("5") in problems[0]
    assert "16 tasks were asked for but 12 have a row" in problems[1]
    assert "4 evidence keys are stored but of no done task" in problems[2]


def test_a_missing_task_row_is_named_by_the_digests(home: Home) -> None:
    lost = listed("job", "6").tasks[1]
    home.sql("DELETE FROM tasks WHERE task_id = ?", lost.task_id)
    (tasks, strangers) = home.problems()
    assert "16 tasks were asked for but 15 have a row" in tasks
    assert f"task {lost.task_id}" in tasks
    assert f"{uri_of('6')} (1 of 2 tasks)" in tasks
    assert "1 evidence keys are stored but of no done task" in strangers


def test_done_tasks_without_evidence_are_named_and_all_counted(home: Home) -> None:
    table = next(name for name in home.store.tables() if name.startswith("evidence_vectors_vv"))
    home.table(table).delete("true")
    (problem,) = home.problems()
    assert problem.startswith("8 evidence keys are done but not stored, digest ")
    assert problem.endswith(" and 3 more")
    assert problem.count("file:///photos/") == 5
    assert "(vv_embed, evidence key " in problem


def test_doubled_rows_are_found_in_whatever_fragment(home: Home) -> None:
    table = home.table("evidence_text")
    twice = table.to_table(limit=3)
    lance.write_dataset(twice, table.uri, mode="append")
    (problem,) = home.problems()
    assert problem.startswith("3 evidence rows are stored twice: evidence id ")
    found = doubled_rows(EvidenceStore.open(home.store.config), limit=2)
    ids = set(twice["evidence_id"].to_pylist())
    assert (found.rows, len(found.named)) == (3, 2)
    assert {name.removesuffix(" in evidence_text") for name in found.named} <= ids


def test_evidence_of_a_batch_the_ledger_never_heard_of_is_named(home: Home) -> None:
    strange = [vision("nobody", "listed this"), embedded("nobody", Space.VV)]
    EvidenceCommitter(home.store).append("foreign-1", strange)
    problems = home.problems()
    assert "2 evidence rows lie in 1 batches that the ledger never heard of" in problems[0]
    assert "batch foreign-1" in problems[0]
    assert "2 evidence keys are stored but of no done task" in problems[1]
    assert "batch foreign-1)" in problems[1]


def test_rows_of_a_batch_that_was_given_back_are_named(home: Home) -> None:
    home.sql("UPDATE batches SET state = 'requeued' WHERE batch_id = ?", "batch-1")
    (problem,) = audit_batches(home.ledger, home.store)
    assert "in 1 batches that the ledger gave back: batch batch-1" in problem


def test_a_batch_that_is_under_way_is_no_problem(home: Home) -> None:
    home.sql("UPDATE batches SET state = 'reported' WHERE batch_id = ?", "batch-1")
    assert audit_batches(home.ledger, home.store) == ()
