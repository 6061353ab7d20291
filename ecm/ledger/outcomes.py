"""What became of claimed tasks: reported, failed, given back. Every word is checked by its fence.

Knows the fence rule and the retry rule; knows nothing of claiming or of how a batch is committed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ecm.contracts.result import EnvelopeError
from ecm.contracts.task import RetryPolicy
from ecm.errors import ContractError
from ecm.ledger.connector import Row, Session
from ecm.ledger.duty import (
    Duty,
    Ended,
    Move,
    Step,
    add_tally,
    count_attempts,
    json_list,
    loaded_deadline,
    take,
    tenants_of,
)
from ecm.ledger.records import (
    FailOutcome,
    Failure,
    Reported,
    ReportOutcome,
    Right,
    TaskFence,
)
from ecm.ledger.retry import FailedAttempt, GiveUp, RetryAt, decide
from ecm.ledger.rights import check_right
from ecm.ledger.states import HELD, BatchState, TaskState

MOST_CLAIMS = 64
"""Claims looked up by their fences in one call; a worker reports a few at a time."""


class Outcomes(Duty):
    """The ends of attempts."""

    def report(
        self,
        batch_id: str,
        results: Sequence[Reported],
        now: float,
        right: Right | None = None,
    ) -> ReportOutcome:
        """Take results into a commit batch; from here on they belong to the batch, not to a lease.

        Repeating the call is harmless. Stale are results whose task has another holder, another
        batch or no holder any more, and everything new for a batch that is already closed. Raises
        LeaseLost when `right`, the right to commit, has been taken by another.
        """
        self._operator("report")
        with self._db.write("report") as session:
            check_right(session, right)
            batch = session.one("lock_batch", {"batch_id": batch_id})
            tasks = self._lock(session, {result.task_id: result.fence for result in results})
            closed = batch is not None and batch["state"] != BatchState.REPORTED
            fresh = [r for r in results if not closed and _holds(tasks.get(r.task_id), r.fence)]
            again = [r for r in results if _in_batch(tasks.get(r.task_id), r.fence, batch)]
            if fresh:
                _add_to_batch(session, batch_id, fresh, tasks, now)
            accepted = frozenset(result.task_id for result in (*fresh, *again))
            stale = frozenset(result.task_id for result in results) - accepted
            self._count_stale(session, stale, tasks)
        return ReportOutcome(accepted, stale)

    def fail(self, failures: Sequence[Failure], now: float) -> FailOutcome:
        """End attempts as failed: the retry policy of the error class decides what comes next."""
        by_id = {failure.task_id: failure for failure in failures}
        with self._db.write("fail") as session:
            tasks = self._lock(session, {f.task_id: f.fence for f in by_id.values()})
            policies = _policies(session, tasks.values())
            held = [f for f in by_id.values() if _holds(tasks.get(f.task_id), f.fence)]
            moves = {f.task_id: _failed(tasks[f.task_id], f, policies, now) for f in held}
            take(session, list(moves.values()), now)
            ended = (
                Ended(tasks[f.task_id]["stream_id"], f.worker, f.error.error_class) for f in held
            )
            count_attempts(session, ended, now)
            stale = frozenset(by_id) - frozenset(moves)
            self._count_stale(session, stale, tasks)
        dead = frozenset(t for t, move in moves.items() if move.target is TaskState.DEAD_LETTER)
        return FailOutcome(retried=frozenset(moves) - dead, dead=dead, stale=stale)

    def release(self, claims: Sequence[TaskFence], now: float) -> frozenset[str]:
        """Give tasks back without costing an attempt. Returns those that were ours to give."""
        with self._db.write("release") as session:
            tasks = self._lock(session, {claim.task_id: claim.fence for claim in claims})
            held = [c for c in claims if _holds(tasks.get(c.task_id), c.fence)]
            session.many(
                "release_task",
                ({"seq": tasks[c.task_id]["seq"], "fence": c.fence, "now": now} for c in held),
            )
            released = frozenset(claim.task_id for claim in held)
            stale = frozenset(claim.task_id for claim in claims) - released
            self._count_stale(session, stale, tasks)
        return released

    def _lock(self, session: Session, fences: Mapping[str, int]) -> dict[str, Row]:
        """The tasks of this ledger by id; nobody else moves them before the transaction ends.

        By their fences first: the tasks of a claim lie side by side, ids are strewn everywhere.
        """
        found: dict[str, Row] = {}
        claims = set(fences.values())
        if len(claims) <= MOST_CLAIMS:
            rows = session.all("lock_held", {"fences": json_list(claims)})
            found = {row["task_id"]: row for row in rows if row["task_id"] in fences}
        if rest := fences.keys() - found.keys():
            rows = session.all("lock_tasks", {"task_ids": json_list(rest)})
            found |= {row["task_id"]: row for row in rows}
        return {row["task_id"]: row for row in self._own(session, found.values())}

    def _count_stale(
        self, session: Session, stale: frozenset[str], tasks: Mapping[str, Row]
    ) -> None:
        """Count refused words under the tenant of their task, or of nobody when it is unknown."""
        if not stale:
            return
        known = [tasks[task_id]["stream_id"] for task_id in stale if task_id in tasks]
        tenants = tenants_of(session, known)
        sums = Counter(tenants[stream] for stream in known)
        sums[self._scope or ""] += len(stale) - len(known)
        for tenant_id, number in sorted(sums.items()):
            add_tally(session, tenant_id, "stale", number)


def _holds(task: Row | None, fence: int) -> bool:
    """Whether this fence is still the one the task was last claimed with."""
    return task is not None and task["fence"] == fence and task["state"] in HELD


def _in_batch(task: Row | None, fence: int, batch: Row | None) -> bool:
    """Whether the batch took this very result before."""
    return (
        task is not None
        and batch is not None
        and task["fence"] == fence
        and task["batch_seq"] == batch["batch_seq"]
    )


def _add_to_batch(
    session: Session, batch_id: str, fresh: Sequence[Reported], tasks: dict[str, Row], now: float
) -> None:
    """Move held tasks into the batch, which is made with its first task."""
    added = {result.task_id for result in fresh}
    session.run("grow_batch", {"batch_id": batch_id, "tasks": len(added), "now": now})
    batch = session.one("lock_batch", {"batch_id": batch_id})
    if batch is None:
        raise ContractError(f"batch {batch_id} vanished while it grew", "ledger.batch")
    session.many(
        "report_task",
        (
            {
                "seq": tasks[result.task_id]["seq"],
                "fence": result.fence,
                "batch_seq": batch["batch_seq"],
                "asset_id": result.asset_id,
                "evidence_key": result.evidence_key,
                "linked": int(result.linked),
                "now": now,
            }
            for result in fresh
        ),
    )
    ended = (Ended(tasks[r.task_id]["stream_id"], r.worker, "reported") for r in fresh)
    count_attempts(session, ended, now)


def _policies(session: Session, tasks: Iterable[Row]) -> dict[int, RetryPolicy]:
    streams = json_list({int(task["stream_id"]) for task in tasks})
    return {
        row["stream_id"]: RetryPolicy.model_validate_json(row["retry_policy"])
        for row in session.all("list_policies", {"stream_ids": streams})
    }


def _failed(task: Row, failure: Failure, policies: dict[int, RetryPolicy], now: float) -> Move:
    """The move a failure makes: its class alone decides, counted since the last redrive."""
    counts: dict[str, int] = json.loads(task["failures"] or "{}")
    error = failure.error
    counts[error.error_class] = counts.get(error.error_class, 0) + 1
    failed = FailedAttempt(
        attempt=counts[error.error_class],
        error_class=error.error_class,
        at=now,
        deadline_at=loaded_deadline(task["deadline_at"]),
        seed=failure.task_id,
    )
    decision = decide(failed, policies[task["stream_id"]])
    return Move(
        task=task,
        steps=(Step(TaskState.FAILED, _cause(error), error), _after(decision, error)),
        run_after=decision.at if isinstance(decision, RetryAt) else now,
        failures=json.dumps(counts),
        expiries=task["expiries"],
        asset_id=failure.asset_id,
        worker=failure.worker,
    )


def _after(decision: RetryAt | GiveUp, error: EnvelopeError) -> Step:
    match decision:
        case RetryAt(at):
            return Step(TaskState.RETRY_QUEUED, f"again at {at:.3f}")
        case GiveUp(reason):
            return Step(TaskState.DEAD_LETTER, reason, error)


def _cause(error: EnvelopeError) -> str:
    return f"{error.error_class} error {error.code} in {error.stage}"
