"""`ecm experiment`: start, status, list, advance, pause, resume, stop, check.

Knows how they are asked for and shown; what they do is in `jobs.experimenting`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.edge import (
    FAILED,
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    emit,
    note,
    open_profile,
    printable,
    table_of,
    utc,
)

if TYPE_CHECKING:
    from rich.console import Console

    from ecm.contracts.experiment import StageReport
    from ecm.evidence.experiments import Experiment
    from jobs.experimenting import Desk, Known

BROKEN = 3
"""Exit code of `check` where nothing that is measured means anything."""

experiment = typer.Typer(
    no_args_is_help=True,
    help="One ranking against another, by those who search: interleaved, then 10, 25, 50 per cent.",
)
IdArgument = Annotated[
    str | None, typer.Argument(help="An experiment; the newest by default.", show_default=False)
]
ByOption = Annotated[
    str | None, typer.Option("--by", help="Who does it, for the record; you by default.")
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Put on record with it.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the `ecm` command."""
    app.add_typer(experiment, name="experiment")


@experiment.command("start")
def experiment_start(
    file: Annotated[Path, typer.Argument(help="What it is: see conf/experiments/example.yaml.")],
    by: ByOption = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put the ranking in force against the one that FILE names, on the published snapshot.

    Both rankings go on record as they are now; services with `serve.experiments: on` take part
    within seconds. Units (sessions, people or keys) are dealt by a hash: the same unit always gets
    the same arm, and a later stage has all units of those before it. Without a unit: control.

    One experiment runs for a tenant at a time. A guard that is breached (errors, latency), or a
    significant loss found by `ecm experiment check`, ends it by itself: then everybody gets control
    at once, without a restart.
    """
    from jobs.experimenting import begun

    desk = _desk(profile, home, overrides, by)
    started = begun(desk, file, time.time())
    note(f"experiment {started.id}: {_stage_of(started)}; see: ecm experiment status")
    _tell(desk, started, as_json)


@experiment.command("status")
def experiment_status(
    experiment_id: IdArgument = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """How far an experiment is, what was measured of each arm, and what can be said.

    Intervals are always valid: they may be looked at as often as you like. A verdict is better,
    equivalent, worse or go_on; broken where the arms do not have the shares that were dealt, so
    that nothing that is measured means anything.
    """
    desk = _desk(profile, home, overrides, None)
    _tell(desk, desk.named(experiment_id), as_json)


@experiment.command("list")
def experiment_list(
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every experiment of the store, newest first."""
    desk = _desk(profile, home, overrides, None)
    found = tuple(reversed(desk.all()))
    rows: list[list[object]] = [
        [
            each.id,
            each.last.state.value,
            _stage_of(each),
            f"{each.terms.control.version} ↔ {each.terms.treatment.version}",
            each.definition.tenant_id or "all",
            utc(each.started_at),
            each.events[0].by,
            each.last.reason,
        ]
        for each in found
    ]
    columns = ["experiment", "state", "stage", "rankings", "tenant", "started (UTC)", "by", "why"]
    value = {"items": [_in_short(each) for each in found]}
    emit(value, as_json, lambda console: console.print(table_of("experiments", columns, rows)))


@experiment.command("advance")
def experiment_advance(
    experiment_id: IdArgument = None,
    reason: ReasonOption = "",
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Though this stage is worse, or broken.")
    ] = False,
    by: ByOption = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on to the next stage, which has all units of this one and more.

    Refused where this stage is worse, or broken.
    """
    from jobs.experimenting import advanced, check_may_advance, known_of

    desk = _desk(profile, home, overrides, by)
    found, now = desk.named(experiment_id), time.time()
    if not anyway:
        check_may_advance(known_of(desk, found, now))
    _tell(desk, advanced(desk, found, reason, now), as_json)


@experiment.command("pause")
def experiment_pause(
    experiment_id: IdArgument = None,
    reason: ReasonOption = "",
    by: ByOption = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give everybody control for now."""
    from ecm.evidence.experiments import ExperimentState
    from jobs.experimenting import changed

    desk = _desk(profile, home, overrides, by)
    found = desk.named(experiment_id)
    done = changed(desk, found, ExperimentState.PAUSED, reason, time.time())
    _tell(desk, done, as_json)


@experiment.command("resume")
def experiment_resume(
    experiment_id: IdArgument = None,
    reason: ReasonOption = "",
    by: ByOption = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with an experiment that is paused, at the same stage."""
    from ecm.evidence.experiments import ExperimentState
    from jobs.experimenting import changed

    desk = _desk(profile, home, overrides, by)
    found = desk.named(experiment_id)
    done = changed(desk, found, ExperimentState.RUNNING, reason, time.time())
    _tell(desk, done, as_json)


@experiment.command("stop")
def experiment_stop(
    experiment_id: IdArgument = None,
    reason: Annotated[
        str, typer.Option("--reason", help="Put on record with it.", prompt=False)
    ] = "",
    by: ByOption = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """End an experiment: everybody gets control within seconds. Nothing is promoted by it."""
    from ecm.evidence.experiments import ExperimentState
    from jobs.experimenting import changed

    desk = _desk(profile, home, overrides, by)
    found = desk.named(experiment_id)
    done = changed(desk, found, ExperimentState.STOPPED, reason, time.time())
    _tell(desk, done, as_json)


@experiment.command("check")
def experiment_check(
    experiment_id: IdArgument = None,
    watch: Annotated[
        float | None,
        typer.Option(
            "--watch", metavar="SECONDS", help="Look again and again until it ends.", min=1
        ),
    ] = None,
    by: ByOption = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge an experiment, and end it where it must: for schedulers and `ray job submit`.

    Ends it for a breached guard, a significant loss, or when its time is over. The exit code is 0
    where it may go on, 1 where it has been ended, 3 where the arms do not have the shares that were
    dealt: then nothing is judged.
    """
    from jobs.experimenting import checked

    desk = _desk(profile, home, overrides, by)
    while True:
        known = checked(desk, desk.named(experiment_id), time.time())
        if watch is None or not known.experiment.open:
            break
        note(f"{known.experiment.id}: {_stage_of(known.experiment)}, {known.verdict.value}")
        time.sleep(watch)
    _emit(known, as_json)
    if not known.experiment.open:
        raise typer.Exit(FAILED)
    if known.is_broken:
        raise typer.Exit(BROKEN)


def _desk(profile: str | None, home: Any, overrides: list[str] | None, by: str | None) -> Desk:
    from jobs.experimenting import Desk, somebody

    return Desk.opened(open_profile(profile, home, overrides), by or somebody())


def _tell(desk: Desk, found: Experiment, as_json: bool) -> None:
    from jobs.experimenting import known_of

    _emit(known_of(desk, found, time.time()), as_json)


def _emit(known: Known, as_json: bool) -> None:
    found = known.experiment
    value = {
        **_in_short(found),
        "verdict": known.verdict.value,
        "definition": found.definition.model_dump(mode="json"),
        "control": {"version": found.terms.control.version, "digest": found.terms.control.digest},
        "treatment": {
            "version": found.terms.treatment.version,
            "digest": found.terms.treatment.digest,
        },
        "is_over": known.is_over,
        "stages": [one.model_dump(mode="json") for one in known.stages],
        "unassigned": known.unassigned,
        "untried": known.untried,
        "troubles": list(known.troubles),
        "damaged": list(known.damaged),
        "events": [one.model_dump(mode="json", exclude={"terms"}) for one in found.events],
    }
    emit(value, as_json, lambda console: _show(known, console))


def _in_short(found: Experiment) -> dict[str, Any]:
    return {
        "id": found.id,
        "state": found.last.state.value,
        "stage": found.stage,
        "method": found.step.method.value,
        "pct": found.step.pct,
        "tenant_id": found.definition.tenant_id,
        "started_at": found.started_at,
        "started_by": found.events[0].by,
        "ends_at": found.ends_at,
        "at": found.last.at,
        "by": found.last.by,
        "reason": found.last.reason,
        "cause": found.last.cause.value if found.last.cause is not None else None,
    }


def _stage_of(found: Experiment) -> str:
    steps = found.definition.steps()
    return f"stage {found.stage + 1} of {len(steps)}, {found.step.method.value} {found.step.pct} %"


def _show(known: Known, console: Console) -> None:
    found = known.experiment
    terms = found.terms
    line = f"{found.id}: {terms.treatment.version} against {terms.control.version}"
    state = f"{found.last.state.value}, {_stage_of(found)}: {known.verdict.value}"
    console.print(printable(f"{line}: {state}"), markup=False)
    if found.last.reason:
        console.print(printable(f"  {found.last.reason}"), markup=False)
    if known.is_over:
        console.print("  its time is over: control answers everybody; end it: ecm experiment check")
    if known.unassigned:
        console.print(f"  {known.unassigned} requests named no unit and got control")
    for trouble in known.troubles:
        line = f"  control answered {known.untried} requests instead: {trouble}"
        console.print(printable(line), markup=False)
    for name in known.damaged:
        console.print(printable(f"  damaged, its events are left out: {name}"), markup=False)
    for stage in known.stages:
        _show_stage(stage, console)
    rows: list[list[object]] = [
        [utc(e.at), e.state.value, e.stage + 1, e.by, e.reason] for e in found.events
    ]
    console.print(table_of("", ["when (UTC)", "what", "stage", "by", "why"], rows))


def _show_stage(stage: StageReport, console: Console) -> None:
    ratio = "" if stage.ratio_p is None else f", sample ratio p {stage.ratio_p:.3g}"
    title = f"stage {stage.stage + 1}: {stage.method.value} {stage.pct} %: {stage.verdict.value}"
    rows: list[list[object]] = [
        [a.arm.value, a.units, a.sessions, a.requests, a.errors, _number(a.p95_ms, 1)]
        for a in stage.arms
    ]
    columns = ["arm", "units", "sessions", "requests", "failed", "p95 ms"]
    console.print(table_of(title + ratio, columns, rows))
    left = {
        "sessions not over yet": stage.running,
        "sessions in several arms": stage.crossed,
        "not of the arm that was dealt": stage.misassigned,
    }
    said = ", ".join(f"{count} {name}" for name, count in left.items() if count)
    if said:
        console.print(f"  left out: {said}")
    if stage.reason:
        console.print(printable(f"  {stage.reason}"), markup=False)
    rows = [
        [
            m.metric.value, _number(m.control), _number(m.treatment), _number(m.change),
            _number(m.lower), _number(m.upper), f"{100 * m.confidence:.2f} %", m.units,
            m.verdict.value,
        ]
        for m in stage.metrics
    ]  # fmt: skip
    columns = ["metric", "control", "treatment", "change", "from", "to", "sure", "units", "says"]
    console.print(table_of("", columns, rows))
    for guard in stage.guards:
        if guard.breached:
            console.print(printable(f"  guard {guard.guard}: {guard.reason}"), markup=False)


def _number(value: float | None, places: int = 3) -> str:
    return "" if value is None else f"{value:.{places}f}"
