"""What two versions of a query set differ in. Knows queries alone."""

from __future__ import annotations

from dataclasses import dataclass

from ecm.contracts.evaluation import EvaluationQuery
from ecm.evaluation.shelf import Queries


@dataclass(frozen=True)
class Differences:
    """Queries that left and came, those that are asked otherwise, and those on another side.

    All are sorted by id; `changed` and `moved` are as they are after. No refresh moves any.
    """

    left: tuple[EvaluationQuery, ...]
    came: tuple[EvaluationQuery, ...]
    changed: tuple[EvaluationQuery, ...]
    moved: tuple[EvaluationQuery, ...]
    same: int


def differences(before: Queries, after: Queries) -> Differences:
    """How one version became another."""
    old = {one.query_id: one for one in before.queries}
    new = {one.query_id: one for one in after.queries}
    both = sorted(old.keys() & new.keys())
    moved = [key for key in both if old[key].split is not new[key].split]
    changed = [key for key in both if old[key] != new[key] and key not in set(moved)]
    return Differences(
        left=tuple(old[key] for key in sorted(old.keys() - new.keys())),
        came=tuple(new[key] for key in sorted(new.keys() - old.keys())),
        changed=tuple(new[key] for key in changed),
        moved=tuple(new[key] for key in moved),
        same=len(both) - len(moved) - len(changed),
    )
