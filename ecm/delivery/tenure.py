"""Holding the right to commit for as long as a piece of work on the store takes.

For everything that changes tables and is no commit loop: maintenance, repair, imports, collection.
Whoever held the right and may still be alive is fenced off, the right is renewed by a thread, and
given back. Resolves no batches and changes no rows.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ecm.delivery.incarnation import Incarnation
from ecm.delivery.taking_over import claim_right
from ecm.errors import LeaseLost, TransientError
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.store import EvidenceStore
from ecm.ledger.config import LedgerConfig
from ecm.ledger.ledger import Ledger, open_ledger
from ecm.ledger.records import Right


class Tenure:
    """The right while it is held. `confirm` is a `StillMine` for the committer.

    `was_held`: its holder before did not give it back and may be alive.
    """

    def __init__(self, ledger: Ledger, right: Right, was_held: bool) -> None:
        self.right = right
        self.was_held = was_held
        self._ledger = ledger

    def confirm(self) -> None:
        """Raises LeaseLost when another has taken the right."""
        self._ledger.confirm_right(self.right)


@contextmanager
def commit_tenure(ledger: LedgerConfig, store: EvidenceStore) -> Iterator[Tenure]:
    """The right to commit to a store, renewed while the block runs.

    Raises LeaseLost (code `committer.held`) while another committer holds it.
    """
    with unfenced_tenure(ledger, store) as tenure:
        if tenure.was_held:
            EvidenceCommitter(store).fence()
        yield tenure


@contextmanager
def unfenced_tenure(ledger: LedgerConfig, store: EvidenceStore) -> Iterator[Tenure]:
    """The same for whoever mends a store that cannot be fenced as it is, and fences it afterwards.

    Raises as `commit_tenure` does.
    """
    with open_ledger(ledger) as mine:
        holder = str(Incarnation.here())
        right, before = claim_right(mine, commit_right(store), holder, ledger.lease_seconds)
        done = threading.Event()
        renewing = threading.Thread(
            target=_renew, args=(ledger, right, done), name="tenure", daemon=True
        )
        renewing.start()
        try:
            yield Tenure(mine, right, before is not None)
        finally:
            done.set()
            renewing.join()
            mine.release_right(right.name, right.fence)


def commit_right(store: EvidenceStore) -> str:
    """The name of the right to commit to a store, by whatever path a machine has mounted it."""
    return f"committer:{store.header.store_id}"


def _renew(config: LedgerConfig, right: Right, done: threading.Event) -> None:
    """Prolong until done; a right that is lost is noticed by `confirm`, not here."""
    with open_ledger(config) as ledger:
        while not done.wait(config.lease_seconds / 4):
            try:
                ledger.renew_right(right.name, right.fence, config.lease_seconds, ledger.now())
            except (TransientError, LeaseLost):
                continue
