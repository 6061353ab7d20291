"""An experiment judged: what each stage has shown, what can be said, and what is to be done.

Knows sessions, counts and intervals that are always valid; knows no store. Every stage is judged by
its own sessions alone: who was dealt to another arm in a later stage carries nothing over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ecm.contracts.experiment import (
    LOWER_IS_BETTER,
    Arm,
    ArmCounts,
    ArmTally,
    Definition,
    GuardFigures,
    OnlineFigures,
    OnlineMetric,
    OnlineVerdict,
    ReplicaTally,
    StageReport,
)
from ecm.contracts.feedback import StoredEvent
from ecm.evaluation.online.assignment import expected_share
from ecm.evaluation.online.guards import P95, guarded, tally_of, tried_arm
from ecm.evaluation.online.latencies import quantile_ms
from ecm.evaluation.online.sample_ratio import sample_ratio
from ecm.evaluation.online.sequential import (
    Always,
    Plan,
    RatioMoments,
    preference,
    ratio_difference,
)
from ecm.evaluation.online.sessions import Session, Sessions, sessions_of
from ecm.evidence.experiments import Cause, Experiment, ExperimentEvent, ExperimentState

CAUSES: Final = {"error_rate": Cause.ERRORS, "p95_ratio": Cause.LATENCY}


def stage_reports(
    experiment: Experiment,
    events: Iterable[StoredEvent],
    counted: Sequence[ReplicaTally],
    now: float,
) -> tuple[StageReport, ...]:
    """A report for each stage that was begun, in order.

    `events` are those of its tenants since it began; `counted` is what replicas counted; `now` is
    in Unix seconds.
    """
    definition = experiment.definition
    sessions = sessions_of(definition, events, now)
    arms = [arm for one in counted for arm in one.arms]
    begun = 1 + max(event.stage for event in experiment.events)
    return tuple(_stage_report(definition, stage, sessions, arms) for stage in range(begun))


def advice_on(experiment: Experiment, report: StageReport, now: float) -> ExperimentEvent | None:
    """The event that ends an experiment as it must be; None where it may go on. Its number and who
    writes it are the caller's.
    """
    if not experiment.open:
        return None
    ended = ExperimentState.ABORTED
    breach = next((one for one in report.guards if one.breached), None)
    if breach is not None:
        cause, reason = CAUSES[breach.guard], breach.reason
    elif report.verdict is OnlineVerdict.WORSE:
        cause, reason = Cause.LOSS, report.reason
    elif now >= experiment.ends_at:
        ended, cause = ExperimentState.STOPPED, Cause.TIME
        reason = f"its {experiment.definition.max_days:g} days are over: {report.verdict.value}"
    else:
        return None
    return ExperimentEvent(
        number=0,
        state=ended,
        stage=experiment.stage,
        at=now,
        by="check",
        reason=reason,
        cause=cause,
    )


def breach_of(
    definition: Definition, stage: int, arms: Sequence[ArmTally]
) -> tuple[Cause, str] | None:
    """Why a stage is to be ended for the sake of the service; None where every guard holds."""
    for one in guarded(definition, stage, arms):
        if one.breached:
            return CAUSES[one.guard], one.reason
    return None


def _stage_report(
    definition: Definition,
    stage: int,
    sessions: Sessions,
    arms: Sequence[ArmTally],
) -> StageReport:
    step, tried = definition.steps()[stage], tried_arm(definition, stage)
    own = [one for one in sessions.over if one.stage == stage]
    units = {arm: sessions.units.get((stage, arm), 0) for arm in (Arm.CONTROL, tried)}
    p = _ratio_p(definition, stage, units[Arm.CONTROL], units[tried])
    guards = guarded(definition, stage, arms)
    metrics = tuple(
        _figures(definition, stage, metric, own) for metric in definition.metrics_of(step.method)
    )
    broken = p is not None and p < definition.ratio_alpha
    verdict, reason = _verdict(definition, metrics, guards)
    if broken:
        verdict = OnlineVerdict.BROKEN
        reason = (
            f"{units[tried]} of {sum(units.values())} units are in the arm that is tried, where "
            f"{step.pct} % were dealt to it: find out which ones are lost before anything is judged"
        )
    return StageReport(
        stage=stage,
        method=step.method,
        pct=step.pct,
        arms=tuple(_counts(arm, stage, units[arm], own, arms) for arm in (Arm.CONTROL, tried)),
        crossed=sessions.crossed.get(stage, 0),
        misassigned=sessions.misassigned.get(stage, 0),
        running=sessions.running.get(stage, 0),
        ratio_p=p,
        guards=guards,
        metrics=metrics,
        verdict=verdict,
        reason=reason,
    )


def _ratio_p(definition: Definition, stage: int, control: int, tried: int) -> float | None:
    share = expected_share(definition, stage)
    if share >= 1.0 or control + tried == 0:
        return None
    return sample_ratio((control, tried), (1.0 - share, share)).p


def _figures(
    definition: Definition, stage: int, metric: OnlineMetric, sessions: Sequence[Session]
) -> OnlineFigures:
    """The interval of a metric, which errs with its share of alpha: the mean of sessions, counted
    by unit, since those of one unit hang together.
    """
    plan = Plan(alpha=definition.share_of_alpha(stage), least=definition.min_units)
    own: float | None = None
    other: float | None = None
    if metric is OnlineMetric.PREFERENCE:
        units = _by_unit(sessions, Arm.INTERLEAVED, metric)
        wins = sum(total > 0 for total, _ in units)
        losses = sum(total < 0 for total, _ in units)
        found = preference(wins, losses, plan) if len(units) >= plan.least else None
        change = (wins - losses) / (wins + losses) if wins + losses else None
        count = wins + losses
    else:
        sides = [_by_unit(sessions, arm, metric) for arm in (Arm.CONTROL, Arm.TREATMENT)]
        moments = [RatioMoments.of(side) for side in sides]
        found = ratio_difference(moments[0], moments[1], plan)
        own, other = (each.ratio if each.below else None for each in moments)
        change = other - own if own is not None and other is not None else None
        count = len(sides[0]) + len(sides[1])
    return OnlineFigures(
        metric=metric,
        control=own,
        treatment=other,
        change=change,
        lower=found.lower if found is not None else None,
        upper=found.upper if found is not None else None,
        confidence=1.0 - plan.alpha,
        units=count,
        verdict=_says(definition, metric, found),
    )


def _says(definition: Definition, metric: OnlineMetric, found: Always | None) -> OnlineVerdict:
    if found is None:
        return OnlineVerdict.GO_ON
    lower, upper = found.lower, found.upper
    if metric in LOWER_IS_BETTER:
        lower, upper = -upper, -lower
    if lower > 0:
        return OnlineVerdict.BETTER
    if upper < 0:
        return OnlineVerdict.WORSE
    margin = definition.margin * _range_of(definition, metric)
    within = -margin <= lower and upper <= margin
    return OnlineVerdict.EQUIVALENT if within else OnlineVerdict.GO_ON


def _range_of(definition: Definition, metric: OnlineMetric) -> float:
    """The most that two means of a metric can differ by."""
    match metric:
        case OnlineMetric.TIME_TO_USEFUL:
            return definition.useful.cap
        case OnlineMetric.PREFERENCE:
            return 2.0
        case _:
            return 1.0


def _verdict(
    definition: Definition, metrics: Sequence[OnlineFigures], guards: Sequence[GuardFigures]
) -> tuple[OnlineVerdict, str]:
    """The first metric decides, but a significant loss of any other one is a loss."""
    for guard in guards:
        if guard.breached:
            return OnlineVerdict.WORSE, guard.reason
    for one in metrics:
        if one.verdict is OnlineVerdict.WORSE:
            return OnlineVerdict.WORSE, _sentence(one)
    return metrics[0].verdict, _sentence(metrics[0]) if metrics[0].lower is not None else (
        f"fewer than {definition.min_units} units of an arm have a session that is over"
    )


def _sentence(one: OnlineFigures) -> str:
    return (
        f"{one.metric.value} changes by {one.change:+.4f} "
        f"(always-valid interval {one.lower:+.4f} to {one.upper:+.4f})"
    )


def _counts(
    arm: Arm, stage: int, units: int, sessions: Sequence[Session], arms: Sequence[ArmTally]
) -> ArmCounts:
    tally = tally_of(arms, stage, arm)
    return ArmCounts(
        arm=arm,
        units=units,
        sessions=sum(one.arm is arm for one in sessions),
        requests=tally.requests,
        errors=tally.errors,
        p95_ms=quantile_ms(tally.latencies, P95),
    )


def _by_unit(
    sessions: Iterable[Session], arm: Arm, metric: OnlineMetric
) -> list[tuple[float, float]]:
    """The sum of a metric over the sessions of each unit of an arm, and how many there are."""
    found: dict[str, tuple[float, float]] = {}
    for one in sessions:
        if one.arm is arm:
            total, count = found.get(one.unit, (0.0, 0.0))
            found[one.unit] = total + one.values[metric], count + 1.0
    return list(found.values())
