"""Guards of an experiment: what is bad for the service ends it, whatever anybody finds useful.

Judged on counts of requests, again and again, so by intervals that are always valid. Knows no
records and no feedback.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ecm.contracts.experiment import Arm, ArmTally, Definition, GuardFigures, Guards, Method
from ecm.evaluation.online.latencies import above, added, quantile_ms
from ecm.evaluation.online.sequential import Events, Plan, rate_ratio

P95: Final = 0.95
BOTH: Final = 2.0
"""An interleaved answer is made of two rankings, so it may take so many times as long."""
ALPHA: Final = 0.001
"""Chance that a guard ever ends a stage though neither arm is worse than the other."""


def tally_of(arms: Iterable[ArmTally], stage: int, arm: Arm) -> ArmTally:
    """The sum of what replicas counted of an arm in a stage."""
    own = [one for one in arms if (one.stage, one.arm) == (stage, arm)]
    return ArmTally(
        stage=stage,
        arm=arm,
        requests=sum(one.requests for one in own),
        errors=sum(one.errors for one in own),
        latencies=added(one.latencies for one in own),
    )


def tried_arm(definition: Definition, stage: int) -> Arm:
    """The arm of a stage that is not control."""
    interleaves = definition.steps()[stage].method is Method.INTERLEAVING
    return Arm.INTERLEAVED if interleaves else Arm.TREATMENT


def guarded(
    definition: Definition, stage: int, arms: Sequence[ArmTally]
) -> tuple[GuardFigures, ...]:
    """Each guard with what was counted in a stage by all replicas.

    Errors: breached when more requests fail than of control, which is sure from the first ones on,
    by more than is allowed, which is estimated; where control had none yet, as with few units, it
    is taken for one that had as many and failed none. Latency: breached when more requests than of
    control take longer than the allowed factor of control's 95th percentile, which is sure, and
    more than one of twenty does.
    """
    guards = definition.guards
    own = tally_of(arms, stage, Arm.CONTROL)
    other = tally_of(arms, stage, tried_arm(definition, stage))
    enough = min(own.requests, other.requests) >= guards.min_requests
    return (_errors(guards, own, other), _latency(guards, own, other, enough))


def _errors(guards: Guards, own: ArmTally, other: ArmTally) -> GuardFigures:
    rates = [one.errors / one.requests if one.requests else 0.0 for one in (own, other)]
    compared = Events(own.errors, own.requests or other.requests)
    sure = _more_often(compared, Events(other.errors, other.requests))
    breached = sure and rates[1] - rates[0] > guards.error_rate
    return GuardFigures(
        guard="error_rate",
        control=rates[0] if own.requests else None,
        treatment=rates[1] if other.requests else None,
        limit=guards.error_rate,
        breached=breached,
        reason=f"{other.errors} of {other.requests} requests failed, of control "
        f"{own.errors} of {own.requests}"
        if breached
        else "",
    )


def _latency(guards: Guards, own: ArmTally, other: ArmTally, enough: bool) -> GuardFigures:
    p95s = [quantile_ms(one.latencies, P95) for one in (own, other)]
    breached, reason = False, ""
    factor = guards.p95_ratio * (BOTH if other.arm is Arm.INTERLEAVED else 1.0)
    if enough and p95s[0] is not None:
        limit = factor * p95s[0]
        slow = [above(one.latencies, limit) for one in (own, other)]
        answered = [sum(one.latencies.values()) for one in (own, other)]
        sure = _more_often(Events(slow[0], answered[0]), Events(slow[1], answered[1]))
        breached = sure and slow[1] > (1.0 - P95) * answered[1]
        if breached:
            reason = (
                f"{slow[1]} of {answered[1]} requests took longer than {limit:.0f} ms, which is "
                f"{factor:g} times the 95th percentile of control"
            )
    return GuardFigures(
        guard="p95_ratio",
        control=p95s[0],
        treatment=p95s[1],
        limit=factor,
        breached=breached,
        reason=reason,
    )


def _more_often(own: Events, other: Events) -> bool:
    """Whether something surely happens more often than in control."""
    found = rate_ratio(own, other, Plan(alpha=ALPHA))
    return found is not None and found.lower > 1.0
