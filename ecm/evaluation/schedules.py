"""What a schedule compares with, what a run is called, and what its end means for a pipeline.

| schedule | asks | compares with | what a failure stops |
|---|---|---|---|
| smoke | 50 | figures in the repository | the change that is proposed |
| nightly | 500 | the last nightly, on any snapshot | nothing: somebody is told |
| release | everything | the last release that passed or was accepted | the release |

Knows no engine, no file and no clock.
"""

from __future__ import annotations

import time
from enum import IntEnum

from ecm.contracts.identity import Digest
from ecm.contracts.measured import GateReport, RunHead, RunState, Schedule, Summary, Verdict
from ecm.errors import ConfigError
from ecm.evaluation.runs import Kept, Runs
from ecm.evaluation.settings import Asked

GOOD = (Verdict.PASS, Verdict.WARN)


class ExitCode(IntEnum):
    """Of a command that judges."""

    PASS = 0
    BLOCK = 1
    INCONCLUSIVE = 3
    PARTIAL = 75


def new_run_id(schedule: Schedule, now: float, chance: str) -> str:
    """An id that sorts by time (Unix seconds); `chance` keeps two of one second apart.

    >>> new_run_id(Schedule.NIGHTLY, 1_800_000_000.0, "3f9a")
    'nightly-20270115T080000Z-3f9a'
    """
    return f"{schedule.value}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{chance}"


def earlier_run(
    runs: Runs, schedule: Schedule, asked: Asked, queries: Digest, before: float
) -> Kept | None:
    """The finished run that a schedule compares with; None: there is none yet of these queries.

    A run that is not complete is no yardstick. Raises StoreCorrupt.

    Args:
        runs: of the tenant.
        schedule: whose.
        asked: what it compares with.
        queries: digest of the query set; a refreshed set begins anew.
        before: Unix seconds.
    """
    for kept in runs.all():
        head, summary = kept.head, kept.summary
        if head is None or summary is None or head.state is not RunState.COMPLETE:
            continue
        if head.schedule is not schedule or head.started_at >= before:
            continue
        if head.query_set.digest != queries:
            continue
        if asked.compare == "last" or summary.verdict in GOOD or kept.accepted is not None:
            return kept
    return None


def engine_of(kept: Kept, wanted: str | None, like: str) -> str:
    """The engine of an earlier run that is meant: the one named, or the one called `like`, or the
    one that run judged. Raises ConfigError when it has none of these.
    """
    names = [one.engine_id for one in kept.plan.engines]
    meant = (like, kept.plan.candidate) if wanted is None else (wanted,)
    found = next((name for name in meant if name in names), None)
    if found is not None:
        return found
    raise ConfigError(
        f"run {kept.plan.run_id} has no engine {wanted or like}",
        "evaluation.no_engine",
        f"write {kept.plan.run_id}:ENGINE with one of {', '.join(names)}",
    )


def verdict_of(head: RunHead, gates: GateReport | None) -> Verdict:
    """Of a whole run: a block stays one, but what is not complete or compared with nothing has not
    passed.
    """
    if gates is None:
        return Verdict.INCONCLUSIVE
    if gates.verdict in GOOD and head.state is not RunState.COMPLETE:
        return Verdict.INCONCLUSIVE
    return gates.verdict


def exit_code(summary: Summary) -> ExitCode:
    """What a pipeline is told. A run that was to be compared with nothing is judged by nobody: 0,
    unless a schedule wanted it compared.
    """
    if summary.verdict is Verdict.BLOCK:
        return ExitCode.BLOCK
    if summary.head.state is not RunState.COMPLETE:
        return ExitCode.PARTIAL
    if summary.gates is None and summary.head.schedule is Schedule.RUN:
        return ExitCode.PASS
    return exit_code_of(summary.verdict)


def exit_code_of(verdict: Verdict) -> ExitCode:
    """Of a comparison alone."""
    if verdict is Verdict.BLOCK:
        return ExitCode.BLOCK
    return ExitCode.PASS if verdict in GOOD else ExitCode.INCONCLUSIVE
