"""`ecm rollout`: start, resume, status, list, promote, rollback, abort.

Knows how they are asked for and shown; what they do is in `jobs.rollout` and `jobs.rollback`.
"""

from __future__ import annotations

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

    from ecm.config import Profile
    from ecm.evidence.rollouts import Rollout
    from ecm.evidence.store import EvidenceStore
    from jobs.rollout import Driver

rollout = typer.Typer(
    no_args_is_help=True,
    help="A new model by steps: compared on the same images, promoted or rolled back by itself.",
)
IdArgument = Annotated[
    str | None, typer.Argument(help="A rollout; the newest by default.", show_default=False)
]
Reason = Annotated[str, typer.Option(help="Put on record with it.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the `ecm` command."""
    app.add_typer(rollout, name="rollout")


@rollout.command("start")
def rollout_start(
    old: Annotated[str, typer.Option("--from", metavar="A", help="Manifest that has the roles.")],
    new: Annotated[str, typer.Option("--to", metavar="B", help="Manifest that is to have them.")],
    role: Annotated[
        list[str] | None, typer.Option(help="Only this role of A: vision, vv, x, mv, ocr.")
    ] = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring model B in where the profile has A: 5, 25, 50, then 100 per cent of the images.

    At each step both are compared on the same images, by the bounds of conf/gates.yaml. What passes
    goes on; what fails is rolled back by itself; what the sample cannot tell is held. Search shows
    nothing of B before the last step has passed: then one snapshot is published, and from there on
    B has the roles wherever the profile says A. A rollout is of the store, for all its tenants, as
    snapshots are.

    Safe to kill: the same command, or `ecm rollout resume`, goes on; what is committed or in the
    spool is not computed again. The exit code is 0 when B was promoted.
    """
    from jobs.rollout import start

    settings, store = _opened(profile, home, overrides)
    begun = start(settings, store, old, new, role or ())
    note(f"rollout {begun.rollout_id}: {old} → {new} for {', '.join(begun.terms.roles)}")
    _drive(_driver(settings, store), begun, as_json)


@rollout.command("resume")
def rollout_resume(
    rollout_id: IdArgument = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with a rollout that was killed or held. What is held is measured again."""
    from jobs.rollback import named

    settings, store = _opened(profile, home, overrides)
    driver = _driver(settings, store)
    _drive(driver, named(driver, rollout_id), as_json)


@rollout.command("promote")
def rollout_promote(
    rollout_id: IdArgument = None,
    reason: Reason = "",
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the step that is held pass, on your own account, and go on."""
    from jobs.rollback import accept, named

    settings, store = _opened(profile, home, overrides)
    driver = _driver(settings, store)
    _drive(driver, accept(driver, named(driver, rollout_id), reason), as_json)


@rollout.command("abort")
def rollout_abort(
    rollout_id: IdArgument = None,
    reason: Reason = "",
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a rollout that is not promoted. What B said stays on record and is shown nowhere."""
    from jobs.rollback import abort, named

    settings, store = _opened(profile, home, overrides)
    driver = _driver(settings, store)
    _tell(abort(driver, named(driver, rollout_id), reason), as_json)


@rollout.command("rollback")
def rollout_rollback(
    rollout_id: IdArgument = None,
    reason: Reason = "",
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take back a rollout that was promoted: A has its roles again, and its snapshot is served.

    Takes seconds; nothing is computed. Images that came since the flip are in that snapshot again
    once `ecm index` has run.
    """
    from jobs.rollback import named, roll_back

    settings, store = _opened(profile, home, overrides)
    driver = _driver(settings, store)
    _tell(roll_back(driver, named(driver, rollout_id), reason), as_json)


@rollout.command("status")
def rollout_status(
    rollout_id: IdArgument = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """How far a rollout is, what was measured at each step, and who did what when."""
    from jobs.rollback import named

    settings, store = _opened(profile, home, overrides)
    _tell(named(_driver(settings, store), rollout_id), as_json)


@rollout.command("list")
def rollout_list(
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every rollout of the store, newest first."""
    from ecm.evidence.rollouts import all_rollouts

    _, store = _opened(profile, home, overrides)
    found = tuple(reversed(all_rollouts(store.storage)))
    rows: list[list[object]] = [
        [
            each.rollout_id,
            each.state.value,
            f"{each.pct} %",
            f"{each.terms.old} → {each.terms.new}",
            ", ".join(each.terms.roles),
            utc(each.events[0].at),
            each.last.reason,
        ]
        for each in found
    ]
    columns = ["rollout", "state", "step", "models", "roles", "started (UTC)", "why"]
    value = {"items": [_in_short(each) for each in found]}
    emit(value, as_json, lambda console: console.print(table_of("rollouts", columns, rows)))


def _opened(
    profile: str | None, home: Any, overrides: list[str] | None
) -> tuple[Profile, EvidenceStore]:
    from ecm.evidence.store import EvidenceStore

    settings = open_profile(profile, home, overrides)
    return settings, EvidenceStore.open(settings.evidence)


def _driver(settings: Profile, store: EvidenceStore) -> Driver:
    from jobs.progress import stderr_console
    from jobs.rollout import Driver
    from jobs.runtime import thread_environment
    from jobs.trialling import PipelineTrial

    thread_environment()
    return Driver(settings, store, PipelineTrial(settings, store, stderr_console()), note)


def _drive(driver: Driver, begun: Rollout, as_json: bool) -> None:
    from ecm.evidence.rollouts import RolloutState
    from jobs.rollout import drive

    with driver.trialling:
        done = drive(driver, begun)
    _tell(done, as_json)
    if done.state is not RolloutState.PROMOTED:
        raise typer.Exit(FAILED)


def _tell(found: Rollout, as_json: bool) -> None:
    value = {**_in_short(found), "terms": found.terms.model_dump(mode="json")}
    value["events"] = [event.model_dump(mode="json") for event in found.events]
    emit(value, as_json, lambda console: _show(found, console))


def _in_short(found: Rollout) -> dict[str, Any]:
    return {
        "rollout_id": found.rollout_id,
        "state": found.state.value,
        "pct": found.pct,
        "passed": found.passed,
        "from": found.terms.old,
        "to": found.terms.new,
        "roles": list(found.terms.roles),
        "started_at": found.events[0].at,
        "at": found.last.at,
        "reason": found.last.reason,
        "snapshot_id": found.last.snapshot_id,
    }


def _show(found: Rollout, console: Console) -> None:
    terms = found.terms
    line = f"{found.rollout_id}: {terms.old} → {terms.new} ({', '.join(terms.roles)})"
    console.print(printable(f"{line}: {found.state.value} at {found.pct} %"), markup=False)
    if found.last.reason:
        console.print(printable(f"  {found.last.reason}"), markup=False)
    for event in found.reports:
        report = event.report
        if report is None:
            continue
        title = (
            f"{event.pct} %: {report.assets} of {report.population} assets, {report.compared} "
            f"compared, {report.outcome.value} ({report.seconds:.1f} s)"
        )
        rows: list[list[object]] = [
            [
                m.name, m.verdict.value, _number(m.a), _number(m.b), _number(m.estimate),
                _number(m.lower), _number(m.upper), _bounds(m.bounds), m.note,
            ]
            for m in report.measures
        ]  # fmt: skip
        columns = ["measure", "verdict", "A", "B", "judged", "from", "to", "allowed", ""]
        console.print(table_of(title, columns, rows))
        for count in report.errors:
            console.print(
                f"  {count.side.upper()}: {count.images} images dead, {count.error_class}"
            )
    rows = [[utc(e.at), e.state.value, e.pct or "", e.by, e.reason] for e in found.events]
    console.print(table_of("", ["when (UTC)", "what", "%", "by", "why"], rows))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _bounds(bounds: Any) -> str:
    if bounds is None:
        return "anything"
    least = "" if bounds.least is None else f"≥ {bounds.least:g}"
    most = "" if bounds.most is None else f"≤ {bounds.most:g}"
    return " ".join(part for part in (least, most) if part)
