"""Taking the fenced right to commit to a store, from nobody, the dead or the expired."""

from __future__ import annotations

from typing import assert_never

from ecm.delivery.incarnation import is_proven_dead
from ecm.errors import LeaseLost
from ecm.ledger.ledger import Ledger
from ecm.ledger.records import Granted, Held, Right


def claim_right(ledger: Ledger, name: str, holder: str, ttl: float) -> tuple[Right, Held | None]:
    """The right to commit, and who had it before without giving it back: to be fenced off.

    A holder proven dead does not keep it. Raises LeaseLost (code `committer.held`) while another
    committer holds it.
    """
    before = ledger.holder_of(name)
    if before is not None and is_proven_dead(before.holder):
        ledger.expire_right(name, before.holder)
    answer = ledger.acquire_right(name, holder, ttl, ledger.now())
    match answer:
        case Granted(fence=fence):
            return Right(name, fence), before
        case Held(holder=other, expires_at=expires):
            wait = max(0.0, expires - ledger.now())
            raise LeaseLost(
                f"another run is committing to this store (holder {other})",
                code="committer.held",
                hint=f"wait for it, or {wait:.0f} s if it has died",
            )
        case _:
            assert_never(answer)
