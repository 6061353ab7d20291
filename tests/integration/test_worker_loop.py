"""One worker in this process, on a workplace that fails as networks and servers do."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

from ecm.config import Profile
from ecm.contracts.result import ResultEnvelope
from ecm.delivery.desk import Desk
from ecm.delivery.receipts import Receipt, WorkerRun
from ecm.delivery.workplace import LocalWorkplace, Terms
from ecm.errors import Forbidden, NetworkError
from ecm.evidence.runs import runs_of
from ecm.evidence.store import EvidenceStore
from ecm.ledger import Ledger, open_ledger
from ecm.ledger.lookahead import Runnable
from ecm.ledger.records import ClaimedTask, Lease
from ecm.ledger.states import TaskState
from ecm.opening import desk_settings, plan_of
from ecm.stages.assembly import StageSettings
from ecm.stages.prepare import AdmitDecision, AdmitRequest
from jobs.analyst import Analyst
from jobs.progress import LiveProgress
from jobs.worker import Worker, WorkSettings, WorkSummary
from tests.factories import START, fake_profile, gallery
from tests.workers import TASKS, put, queued, rows

HOLDER = "test-worker"
ONCE = WorkSettings(block=3, once=True, poll_seconds=0.05, beat_seconds=0.1)
PICTURES = gallery(2)


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    quick = ["serve.desk_idle_seconds=0.2", "pipeline.commit_seconds=0.05"]
    return fake_profile(tmp_path / "home", *quick)


@pytest.fixture
def ledger(profile: Profile, tmp_path: Path) -> Iterator[Ledger]:
    """Sixteen pictures and four copies under other names are queued."""
    profile.home.mkdir()
    copies = {f"copy-{name}": data for name, data in list(PICTURES.items())[:4]}
    with open_ledger(profile.ledger) as opened:
        queued(opened, profile, put(tmp_path / "photos", PICTURES | copies))
        yield opened


class Place(LocalWorkplace):
    """A workplace where `before` happens ahead of every call, by the call's name."""

    def __init__(self, ledger: Ledger, desk: Desk, terms: Terms) -> None:
        super().__init__(ledger, desk, terms, "t")
        self.before: Callable[[str], None] = lambda _: None
        self.after: Callable[[str], None] = lambda _: None

    def claim(self, lease: Lease, max_resources: int) -> tuple[ClaimedTask, ...]:
        self.before("claim")
        claimed = super().claim(lease, max_resources)
        self.after("claim")
        return claimed

    def heartbeat(self, lease: Lease, progress: int) -> bool:
        self.before("heartbeat")
        return super().heartbeat(lease, progress)

    def runnable(self) -> Runnable:
        self.before("runnable")
        return super().runnable()

    def admit(self, requests: Sequence[AdmitRequest]) -> list[AdmitDecision]:
        self.before("admit")
        return super().admit(requests)

    def deliver(self, envelopes: Sequence[ResultEnvelope]) -> Receipt:
        self.before("deliver")
        return super().deliver(envelopes)


@pytest.fixture
def place(profile: Profile, ledger: Ledger) -> Iterator[Place]:
    plan = plan_of(profile)
    with Desk(desk_settings(profile), "desk", ledger) as desk:
        yield Place(ledger, desk, Terms("t", plan.fingerprints, None, 30.0))


def work(
    profile: Profile,
    place: Place,
    during: Callable[[pa.Table], None] = lambda _: None,
    summary: WorkSummary | None = None,
    console: Console | None = None,
) -> WorkSummary:
    """Run a worker until nothing is left; `during` happens in the middle of every block."""
    stages = StageSettings(
        plan_of(profile), profile.images, "run-w", batch_size=4, threads=1, scratch=None
    )
    summary = summary or WorkSummary("run-w", "here/1/x")
    record = WorkerRun(
        run_id="run-w",
        transforms=stages.plan.fingerprints,
        config_digest=profile.digest(),
        code_version="1",
        started_at=START,
    )
    with LiveProgress(console or Console(file=io.StringIO())) as progress:
        worker = Worker(place, ONCE, HOLDER, record, summary, progress)
        with Analyst(stages, "here/1/x", worker.admit, worker.quarantine) as analyst:

            def analyse(block: pa.Table) -> pa.Table:
                during(block)
                return analyst(block)

            worker.run(analyse)
    return summary


def assert_all_is_committed_once(profile: Profile, ledger: Ledger) -> None:
    states = ledger.status(ledger.now()).states
    assert states[TaskState.PERSISTED] + states[TaskState.DONE] == (len(PICTURES) + 4) * TASKS
    assert rows(profile)["assets"] == len(PICTURES)
    assert ledger.live_holders(ledger.now()) == ()


def test_everything_queued_is_committed_and_copies_are_analysed_once(
    profile: Profile, ledger: Ledger, place: Place
) -> None:
    summary = work(profile, place)
    assert (summary.images, summary.images_through_models) == (20, 16)
    assert (summary.committed, summary.linked) == (16 * TASKS, 4 * TASKS)
    assert (summary.stale, summary.dropped, summary.leases) == (0, 0, 1)
    assert_all_is_committed_once(profile, ledger)
    (run,) = runs_of(EvidenceStore.open(profile.evidence))
    assert (run.run_id, run.tenant_id, run.state) == ("run-w", "t", "finished")
    assert run.counts["images_through_models"] == 16


def test_what_a_claim_without_an_answer_took_is_not_kept_from_everybody(
    profile: Profile, ledger: Ledger, place: Place
) -> None:
    lost = 2

    def after(_: str) -> None:
        nonlocal lost
        if lost:
            lost -= 1
            raise NetworkError("the answer was lost")

    place.after = after
    summary = work(profile, place)
    assert (summary.stale, summary.leases) == (0, 2)
    assert_all_is_committed_once(profile, ledger)


@pytest.mark.parametrize("call", ["claim", "admit", "deliver", "heartbeat"])
def test_a_server_that_is_away_for_a_while_costs_nothing(
    profile: Profile, ledger: Ledger, place: Place, call: str
) -> None:
    away = 2

    def before(name: str) -> None:
        nonlocal away
        if name == call and away:
            away -= 1
            raise NetworkError("the server does not answer")

    place.before = before
    summary = work(profile, place)
    assert summary.images_through_models == 16
    assert (summary.stale, summary.dropped) == (0, 0)
    assert_all_is_committed_once(profile, ledger)


def test_a_lost_lease_drops_its_block_and_the_work_goes_on_under_a_new_one(
    profile: Profile, ledger: Ledger, place: Place
) -> None:
    blocks = 0

    def during(_: pa.Table) -> None:
        nonlocal blocks
        blocks += 1
        if blocks == 2:
            ledger.expire_holder(HOLDER, ledger.now())

    summary = work(profile, place, during)
    assert summary.leases == 2
    assert summary.dropped + summary.stale > 0
    assert_all_is_committed_once(profile, ledger)


def test_an_answer_that_is_lost_after_the_commit_doubles_nothing(
    profile: Profile, ledger: Ledger, place: Place
) -> None:
    delivered = place.deliver
    lost = 0

    def deliver(envelopes: Sequence[ResultEnvelope]) -> Receipt:
        nonlocal lost
        receipt = delivered(envelopes)
        if lost < 3:
            lost += 1
            raise NetworkError("the connection broke")
        return receipt

    place.deliver = deliver  # type: ignore[method-assign]
    summary = work(profile, place)
    assert lost == 3
    assert (summary.committed, summary.linked) == (16 * TASKS, 4 * TASKS)
    assert ledger.status(ledger.now()).stale == 0
    assert_all_is_committed_once(profile, ledger)


def test_an_interrupted_worker_gives_its_lease_back_at_once(
    profile: Profile, ledger: Ledger, place: Place
) -> None:
    blocks = 0

    def during(_: pa.Table) -> None:
        nonlocal blocks
        blocks += 1
        if blocks == 3:
            raise KeyboardInterrupt

    summary = WorkSummary("run-w", "here/1/x")
    with pytest.raises(KeyboardInterrupt):
        work(profile, place, during, summary)
    assert ledger.live_holders(ledger.now()) == ()
    states = ledger.status(ledger.now()).states
    assert states[TaskState.RUNNING] == states[TaskState.LEASED] == 0
    assert states[TaskState.PERSISTED] == summary.committed + summary.linked == 6 * TASKS
    work(profile, place)
    assert_all_is_committed_once(profile, ledger)


@pytest.mark.parametrize(("terminal", "counts"), [(False, 0), (True, 1)])
def test_heartbeats_do_not_count_the_queue_again_and_again(
    profile: Profile, place: Place, terminal: bool, counts: int
) -> None:
    """Once in a while, and only for somebody who sees the bar."""
    calls: list[str] = []
    beaten = threading.Event()

    def before(name: str) -> None:
        if threading.current_thread().name == "heartbeat":
            calls.append(name)
            if calls.count("heartbeat") == 4:
                beaten.set()

    place.before = before
    console = Console(file=io.StringIO(), force_terminal=terminal)
    work(profile, place, lambda _: assert_happens(beaten), console=console)
    assert calls.count("runnable") == counts


def assert_happens(event: threading.Event) -> None:
    assert event.wait(30.0)


def test_a_refusal_ends_the_worker_with_its_reason(
    profile: Profile, ledger: Ledger, place: Place
) -> None:
    def before(name: str) -> None:
        if name == "deliver":
            raise Forbidden("this key is not known any more", "access.key")

    place.before = before
    with pytest.raises(Forbidden, match="not known any more"):
        work(profile, place)
    assert ledger.live_holders(ledger.now()) == ()
