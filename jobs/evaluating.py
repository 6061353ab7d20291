"""A run of an evaluation, from what is asked for to what is kept: begun, gone on with, concluded.

Knows the order of the steps and opens what each needs; what they do is known to `ecm.evaluation`.
Killed anywhere, it can go on: the plan is kept before the first question, answers as they come, and
what follows from them is computed again.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ecm.config import Profile
from ecm.contracts.measured import Answered, EngineFacts, RunPlan, Schedule
from ecm.errors import ConfigError
from ecm.evaluation.comparing import check_same_queries
from ecm.evaluation.drawing import drawn
from ecm.evaluation.engines.base import Engine
from ecm.evaluation.engines.budget import Budget
from ecm.evaluation.runner import run_benchmark
from ecm.evaluation.schedules import earlier_run, engine_of, new_run_id
from ecm.evaluation.settings import Asked
from jobs.concluding import Concluded, Desk, Sets, conclude, side_named
from jobs.engines import open_engines
from jobs.surroundings import code_version, machine

LAST = "last"
Told = Callable[[str, int, int], None]
"""Hears of which run how many answers of how many are there."""


@dataclass(frozen=True)
class Order:
    """A new run that is asked for.

    `queries` and `labels` are NAME or NAME@VERSION, None: the profile's. `baseline` is an engine of
    this run, RUN, RUN:ENGINE, or LAST: what the schedule compares with, if there is one yet.
    """

    schedule: Schedule
    engines: tuple[str, ...]
    asked: Asked
    seed: int
    queries: str | None = None
    labels: str | None = None
    baseline: str | None = None
    candidate: str | None = None


def evaluate(settings: Profile, order: Order, told: Told) -> Concluded:
    """Begin a run and carry it out.

    Raises ConfigError where something that is named is not there or does not fit, and as
    `jobs.engines.open_engines`. Interrupted (KeyboardInterrupt), what was answered is kept.
    """
    desk, now = Desk.of(settings), time.time()
    sets = _chosen(settings, desk, order)
    config = settings.evaluation
    with ExitStack() as stack:
        budget = Budget(config.budget_usd)
        engines = _opened(settings, order.engines, budget, stack)
        facts = tuple(one.facts for one in engines)
        candidate = _candidate(order, facts)
        plan = RunPlan(
            run_id=new_run_id(order.schedule, now, secrets.token_hex(2)),
            tenant_id=settings.tenant,
            schedule=order.schedule,
            started_at=now,
            query_set=sets.queries.head,
            label_set=sets.labels.head,
            queries=tuple(one.query_id for one in sets.asked),
            engines=facts,
            specs=order.engines,
            baseline=_baseline(desk, order, facts, sets, candidate, now),
            candidate=candidate,
            code_version=code_version(),
            seed=order.seed,
            depth=config.depth,
            concurrency=config.concurrency,
            rounds=order.asked.rounds,
            warm_up=config.warm_up,
            budget_usd=config.budget_usd,
            snapshots=order.asked.snapshots,
            machine=machine(),
        )
        if plan.baseline is not None:  # before anything is asked, or paid for
            check_same_queries(side_named(desk, plan, (), plan.baseline).plan, plan)
        desk.runs.begin(plan)
        return _carried_out(desk, plan, sets, engines, (), told)


def resume(settings: Profile, run_id: str, told: Told) -> Concluded:
    """Go on with a run that was stopped; what it has been answered is not asked again.

    Raises ConfigError where there is none, it is finished, or its engines are others now; and as
    `jobs.engines.open_engines`.
    """
    desk = Desk.of(settings)
    kept = desk.runs.kept(run_id)
    plan = kept.plan
    if kept.head is not None:
        raise ConfigError(
            f"run {run_id} is finished", "evaluation.finished", f"see: ecm evaluate show {run_id}"
        )
    sets, earlier = Sets.of(desk, plan), desk.runs.answers(run_id)
    spent = sum(one.answer.cost_usd for one in earlier)
    left = None if plan.budget_usd is None else max(0.0, plan.budget_usd - spent)
    with ExitStack() as stack:
        engines = _opened(settings, plan.specs, Budget(left), stack)
        for was, one in zip(plan.engines, engines, strict=True):
            _check_same(was, one.facts, run_id)
        return _carried_out(desk, plan, sets, engines, earlier, told)


def _carried_out(
    desk: Desk,
    plan: RunPlan,
    sets: Sets,
    engines: Sequence[Engine],
    earlier: Sequence[Answered],
    told: Told,
) -> Concluded:
    head, answers = run_benchmark(
        plan,
        sets.asked,
        engines,
        earlier=earlier,
        keep=desk.runs.appender(plan.run_id).keep,
        told=lambda done, total: told(plan.run_id, done, total),
        clock=time.time,
    )
    return conclude(desk, head, answers, sets)


def _opened(
    settings: Profile, specs: Sequence[str], budget: Budget, stack: ExitStack
) -> list[Engine]:
    engines: list[Engine] = []
    for engine in open_engines(specs, settings, environ=os.environ, budget=budget):
        stack.callback(engine.close)
        engines.append(engine)
    return engines


def _chosen(settings: Profile, desk: Desk, order: Order) -> Sets:
    """The sets that are named, and the queries of them that are asked."""
    config = settings.evaluation
    queries = desk.shelf.queries(*_named(order.queries or config.queries, "queries"))
    labels = desk.shelf.labels(*_named(order.labels or config.labels, "labels"))
    if labels.head.query_set_digest != queries.head.digest:
        raise ConfigError(
            f"labels {labels.head.name}@{labels.head.label_version} are of other queries than "
            f"{queries.head.name}@{queries.head.version}",
            "evaluation.other_queries",
            f"they are of a version of {labels.head.query_set}",
        )
    asked = drawn(queries.queries, order.asked.split, order.asked.count, order.seed)
    return Sets(queries, labels, asked)


def _named(text: str | None, what: str) -> tuple[str, int | None]:
    """Name and version of NAME or NAME@VERSION."""
    if text is None:
        raise ConfigError(
            f"no {what} are named",
            f"evaluation.{what}",
            f"give --{what} NAME, or set evaluation.{what} in the profile; "
            f"ecm evaluate queries build makes both",
        )
    name, at, version = text.partition("@")
    if at and not version.isdecimal():
        raise ConfigError(
            f"not a version: {text!r}", f"evaluation.{what}", "write NAME or NAME@VERSION"
        )
    return name, int(version) if at else None


def _candidate(order: Order, facts: Sequence[EngineFacts]) -> str:
    """The engine that is judged: the one named, else the first that is not the baseline."""
    names = [one.engine_id for one in facts]
    if order.candidate is not None and order.candidate not in names:
        raise ConfigError(
            f"no engine {order.candidate} in this run",
            "evaluation.no_engine",
            f"it asks {', '.join(names)}",
        )
    others = [name for name in names if name != order.baseline]
    if not others:
        raise ConfigError(
            f"{order.baseline} is compared with itself",
            "evaluation.no_engine",
            "name another engine in --engines, or give --candidate-ranking FILE",
        )
    return order.candidate or others[0]


def _baseline(
    desk: Desk,
    order: Order,
    facts: Sequence[EngineFacts],
    sets: Sets,
    candidate: str,
    now: float,
) -> str | None:
    """An engine of this run, or RUN:ENGINE."""
    if order.baseline is None or order.baseline in {one.engine_id for one in facts}:
        return order.baseline
    if order.baseline == LAST:
        queries = sets.queries.head.digest
        kept = earlier_run(desk.runs, order.schedule, order.asked, queries, now)
        if kept is None:
            return None
        return f"{kept.plan.run_id}:{engine_of(kept, None, candidate)}"
    run_id, _, engine = order.baseline.partition(":")
    kept = desk.runs.kept(run_id)
    return f"{run_id}:{engine_of(kept, engine or None, candidate)}"


def _check_same(was: EngineFacts, now: EngineFacts, run_id: str) -> None:
    """Answers of two rankings, or of two snapshots, are not those of one run."""
    if was == now:
        return
    changed = next(
        name for name in EngineFacts.model_fields if getattr(was, name) != getattr(now, name)
    )
    raise ConfigError(
        f"engine {was.engine_id} is not the one that run {run_id} began with: {changed} was "
        f"{getattr(was, changed)}, is {getattr(now, changed)}",
        "evaluation.other_engine",
        "bring it back, or begin another run",
    )
