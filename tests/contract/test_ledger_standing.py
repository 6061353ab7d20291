"""Where tasks stand, as those who take results and those who work for anybody ask, everywhere."""

from __future__ import annotations

from ecm.ledger import Ledger
from ecm.ledger.states import TaskState
from tests.ledger_tasks import (
    BOTH,
    START,
    TENANT,
    TTL,
    VISION,
    claim,
    fences,
    ids,
    list_names,
    report,
)


def states(ledger: Ledger, task_ids: set[str]) -> set[TaskState]:
    return {stands.state for stands in ledger.standing(task_ids).values()}


def test_a_task_stands_where_its_last_step_led_with_the_fence_of_its_claim(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a", "b"], transforms=(VISION,))
    lease = ledger.acquire_lease("w", START, TTL)
    tasks = claim(ledger, lease)
    every = ids(tasks)
    assert states(ledger, every) == {TaskState.LEASED}
    ledger.start(lease, START)
    assert states(ledger, every) == {TaskState.RUNNING}
    for task in tasks:
        stands = ledger.standing([task.task_id])[task.task_id]
        assert (stands.fence, stands.tenant_id) == (task.fence, TENANT)
        assert (stands.task_type, stands.transform) == (task.task_type, task.transform)
    ledger.release(fences(tasks[:1]), START)
    report(ledger, "batch", tasks[1:])
    assert states(ledger, every) == {TaskState.QUEUED, TaskState.REPORTED}
    ledger.persist("batch", {}, START)
    assert states(ledger, every) == {TaskState.QUEUED, TaskState.PERSISTED}
    assert ledger.standing([]) == ledger.standing(["0" * 64]) == {}


def test_a_worker_for_anybody_sees_what_is_left_of_everybody(ledger: Ledger) -> None:
    list_names(ledger, "one", ["a"], transforms=(VISION,))
    list_names(ledger, "two", ["b", "c"], transforms=(VISION,), tenant_id="another")
    assert ledger.runnable(None, BOTH, START).resources == 3
    assert ledger.runnable(TENANT, BOTH, START).resources == 1
    assert ledger.scoped("another").runnable(None, BOTH, START).resources == 2
