"""Which evidence exists: one answer from memory, from the table, and while one becomes another."""

from __future__ import annotations

from collections.abc import Callable, Collection

import pytest

from ecm.errors import Forbidden
from ecm.ledger import Ledger, LedgerConfig, open_ledger
from tests.ledger_tasks import START, TENANT, TTL, claim, commit, list_names, report, result

Configure = Callable[..., LedgerConfig]
NAMES = [f"r{number}" for number in range(12)]


def committed(ledger: Ledger, batches: int) -> list[str]:
    """Evidence keys of two tasks on each of NAMES, committed in so many batches."""
    list_names(ledger, "job", NAMES)
    lease = ledger.acquire_lease("w", START, TTL)
    keys = []
    for number in range(batches):
        tasks = claim(ledger, lease, -(-len(NAMES) // batches))
        commit(ledger, f"batch-{number}", tasks)
        keys += [result(task).evidence_key for task in tasks]
    return keys


def asked(ledger: Ledger, keys: Collection[str]) -> frozenset[str]:
    """What exists of the keys and of neighbours that share their first digits or their last."""
    strangers = [key[:16] + "0" * 48 for key in keys] + ["f" * 16 + key[16:] for key in keys]
    return ledger.done_evidence([*keys, *strangers])


def test_evidence_is_found_before_and_after_it_is_folded(ledger_config: Configure) -> None:
    with open_ledger(ledger_config()) as ledger, open_ledger(ledger_config()) as other:
        keys = committed(ledger, 4)
        assert asked(ledger, keys) == asked(other, keys) == set(keys)
        assert ledger.fold_evidence(len(keys) + 1) == 0
        assert ledger.fold_evidence(len(keys)) == 4
        assert ledger.fold_evidence(1) == 0
        assert asked(ledger, keys) == asked(other, keys) == set(keys)
    with open_ledger(ledger_config()) as fresh:
        assert asked(fresh, keys) == set(keys)


def test_persisting_folds_when_enough_has_come_together(ledger_config: Configure) -> None:
    with open_ledger(ledger_config(fold_tasks=10)) as ledger:
        keys = committed(ledger, 6)  # four tasks a batch
        assert asked(ledger, keys) == set(keys)
        assert ledger.fold_evidence(1) == 0  # the last batch reached the threshold


def test_links_lost_batches_and_unpersisted_tasks_are_no_evidence(ledger: Ledger) -> None:
    list_names(ledger, "job", NAMES[:3])
    tasks = claim(ledger, ledger.acquire_lease("w", START, TTL))
    link, lost, open_one, good = tasks[:4]
    ledger.report("batch", [result(good), result(link, linked=True)], START)
    ledger.persist("batch", {}, START)
    report(ledger, "lost", [lost])
    ledger.requeue_batch("lost", START)
    report(ledger, "open", [open_one])
    keys = [result(task).evidence_key for task in tasks]
    for _ in range(2):
        assert ledger.done_evidence(keys) == {result(good).evidence_key}
        ledger.fold_evidence(1)
    ledger.persist("open", {}, START)
    expected = {result(good).evidence_key, result(open_one).evidence_key}
    assert ledger.done_evidence(keys) == expected


def test_a_tenant_learns_nothing_of_anothers_evidence(ledger: Ledger) -> None:
    keys = committed(ledger, 2)
    mine, theirs = ledger.scoped(TENANT), ledger.scoped("other")
    for _ in range(2):
        assert mine.done_evidence(keys) == set(keys)
        assert theirs.done_evidence(keys) == frozenset()
        ledger.fold_evidence(1)
    with pytest.raises(Forbidden):
        mine.fold_evidence(1)
