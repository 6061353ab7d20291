"""Who gets which arm: a pure function of experiment and unit.

A unit falls into one of BUCKETS buckets by a hash; a stage of p per cent has the first p of every
hundred of them. So each stage has all units of those before it, whatever replica asks and whenever,
and two experiments deal independently. Knows no service and no record.
"""

from __future__ import annotations

import hashlib

from ecm.contracts.experiment import BUCKETS, Arm, Definition, Method
from ecm.contracts.identity import canonical_json


def bucket_of(salt: str, experiment_id: str, unit: str) -> int:
    """The bucket of a unit, 0 to BUCKETS - 1: of sha256 over salt, experiment and unit.

    >>> bucket_of("", "first", "0" * 32)
    4044
    """
    said = canonical_json(["assignment", salt, experiment_id, unit])
    return int.from_bytes(hashlib.sha256(said).digest()[:8], "big") % BUCKETS


def arm_of(definition: Definition, stage: int, unit: str) -> Arm:
    """The arm of a unit (its mark) in a stage."""
    step = definition.steps()[stage]
    chosen = bucket_of(definition.salt, definition.id, unit) < step.pct * BUCKETS // 100
    if not chosen:
        return Arm.CONTROL
    return Arm.TREATMENT if step.method is Method.SPLIT else Arm.INTERLEAVED


def expected_share(definition: Definition, stage: int) -> float:
    """The share of units that a stage deals to the arm that is not control."""
    return definition.steps()[stage].pct / 100.0
