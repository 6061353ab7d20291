"""`ecm evaluate list`, `show`, `compare`, `accept`, `forget`: runs that are kept.

Knows how they are asked for; where runs lie is known to `ecm.evaluation.runs`, what follows from
their answers to `jobs.concluding`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecm.errors import ConfigError
from jobs.edge import (
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    TenantOption,
    emit,
    note,
    open_profile,
    printable,
    span_of,
)

if TYPE_CHECKING:
    from rich.console import Console

    from ecm.evaluation.comparing import SideOf
    from ecm.evaluation.runs import Kept
    from jobs.concluding import Desk

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run; see: ecm evaluate list.")]


def register(group: typer.Typer) -> None:
    """Add these commands to `ecm evaluate`."""
    group.command("list")(evaluate_list)
    group.command("show")(evaluate_show)
    group.command("compare")(evaluate_compare)
    group.command("accept")(evaluate_accept)
    group.command("forget")(evaluate_forget)


def evaluate_list(
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the runs of a tenant, the last first: finished ones with their verdict, and those that
    were stopped.
    """
    from jobs.concluding import Desk
    from jobs.evaluation_views import show_runs

    settings = open_profile(profile, home, overrides, tenant)
    items = [_line(kept) for kept in Desk.of(settings).runs.all()]

    def show(console: Console) -> None:
        show_runs(console, [list(item.values()) for item in items])

    emit({"tenant_id": settings.tenant, "items": items}, as_json, show)


def evaluate_show(
    run: RunArgument,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what came of a run. One that was stopped is measured on the answers it has."""
    from jobs.concluding import Desk
    from jobs.evaluation_views import show_summary

    settings = open_profile(profile, home, overrides, tenant)
    desk = Desk.of(settings)
    kept = desk.runs.kept(run)
    if kept.summary is None:
        _show_unfinished(desk, kept, as_json)
        return
    summary, accepted = kept.summary, kept.accepted
    value = {
        **summary.model_dump(mode="json"),
        "accepted": accepted.model_dump(mode="json") if accepted is not None else None,
    }

    def show(console: Console) -> None:
        show_summary(console, summary)
        if accepted is not None:
            said = f"accepted by {accepted.by}: {accepted.reason}"
            console.print(printable(said), markup=False)

    emit(value, as_json, show)


def evaluate_compare(
    baseline: Annotated[str, typer.Argument(metavar="RUN[:ENGINE]", help="Compare with this.")],
    candidate: Annotated[str, typer.Argument(metavar="RUN[:ENGINE]", help="Judge this.")],
    any_snapshot: Annotated[
        bool, typer.Option("--any-snapshot", help="Also where they are of two snapshots.")
    ] = False,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge one run against another by what they answered; nothing is asked.

    Both are measured by the labels of the second, on the queries both were asked. Of other query
    sets nothing is compared; on another snapshot no gate passes unless --any-snapshot is said.

    The exit code is 0 when all gates pass or only warn, 1 when one blocks, 3 when these queries
    cannot tell.
    """
    from ecm.evaluation.judgements import Judgements
    from ecm.evaluation.schedules import exit_code_of
    from jobs.concluding import Desk, Sets, compare
    from jobs.evaluation_views import show_figures, show_gates

    settings = open_profile(profile, home, overrides, tenant)
    desk = Desk.of(settings)
    judged = _side(desk, candidate, None)
    sets = Sets.of(desk, judged.plan)
    compared = compare(
        desk,
        _side(desk, baseline, judged.engine.engine_id),
        judged,
        sets.asked,
        Judgements.of(sets.labels),
        "any" if any_snapshot else "same",
    )
    gates, found = compared.gates, compared.found
    code = exit_code_of(gates.verdict)
    figures = (compared.baseline.figures, compared.candidate.figures)
    remarks = [*found.gates, *found.remarks]
    value = {
        "gates": gates.model_dump(mode="json"),
        "figures": [one.model_dump(mode="json") for one in figures],
        "queries": len(found.common),
        "remarks": remarks,
        "exit_code": code.value,
    }

    def show(console: Console) -> None:
        console.print(f"{gates.verdict.value}: {gates.candidate} against {gates.baseline}")
        for remark in remarks:
            console.print(f"mind: {remark}", markup=False)
        show_figures(console, judged.plan, figures, (gates.baseline, judged.name))
        show_gates(console, gates)

    emit(value, as_json, show)
    if code.value:
        raise typer.Exit(code.value)


def evaluate_accept(
    run: RunArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why it may pass all the same.")],
    by: Annotated[str, typer.Option("--by", metavar="WHO", help="Who says so.")],
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a run pass that the gates have not let pass, on record: for the pipeline it halted.

    It can be done once, and not be taken back. The next release is compared with what was accepted.
    """
    from jobs.concluding import Desk
    from jobs.evaluation_ending import Accepting, accept

    settings = open_profile(profile, home, overrides, tenant)
    desk = Desk.of(settings)
    summary = desk.runs.kept(run).summary
    if summary is None:
        raise ConfigError(
            f"run {run} is not finished", "evaluation.unfinished", "there is nothing to accept"
        )
    acceptance = accept(desk, summary, Accepting(reason, by))
    emit(
        acceptance.model_dump(mode="json"),
        as_json,
        lambda console: console.print(
            printable(f"{summary.verdict.value} of run {run} is accepted by {by}"), markup=False
        ),
    )


def evaluate_forget(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="These.", show_default=False)
    ] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="SPAN", help="90d, 26w, …")
    ] = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove runs with all their answers: those named, or those begun longer ago; sets stay.

    One that is damaged can be removed by its name alone.
    """
    from jobs.concluding import Desk

    settings = open_profile(profile, home, overrides, tenant)
    desk = Desk.of(settings)
    match runs, older_than:
        case [_, *_], None:
            removed = desk.runs.remove(runs)
        case None | [], str():
            removed = desk.runs.forget(time.time() - span_of(older_than))
        case _:
            raise ConfigError("name runs, or give --older-than", "evaluation.forget")
    emit(
        {"tenant_id": settings.tenant, "removed": list(removed)},
        as_json,
        lambda console: console.print(f"{len(removed)} runs removed"),
    )


def _line(kept: Kept) -> dict[str, Any]:
    plan, head, summary = kept.plan, kept.head, kept.summary
    gated = summary is not None and summary.gates is not None
    return {
        "run_id": plan.run_id,
        "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(plan.started_at)),
        "state": head.state.value if head is not None else "unfinished",
        "queries": len(plan.queries),
        "engines": ", ".join(one.engine_id for one in plan.engines),
        "verdict": summary.verdict.value if summary is not None and gated else "-",
        "accepted_by": kept.accepted.by if kept.accepted is not None else "-",
    }


def _show_unfinished(desk: Desk, kept: Kept, as_json: bool) -> None:
    from ecm.evaluation.judgements import Judgements
    from jobs.concluding import Sets, figures_of
    from jobs.evaluation_views import show_figures

    plan, sets = kept.plan, Sets.of(desk, kept.plan)
    answers = desk.runs.answers(plan.run_id)
    total = len(plan.queries) * len(plan.engines) * plan.rounds
    figures = [
        one.figures for one in figures_of(plan, answers, sets.asked, Judgements.of(sets.labels))
    ]
    value = {
        "plan": plan.model_dump(mode="json"),
        "answers": len(answers),
        "of": total,
        "figures": [one.model_dump(mode="json") for one in figures],
    }
    note(f"not finished; go on with: ecm evaluate run --resume {plan.run_id}")

    def show(console: Console) -> None:
        console.print(f"not finished: {len(answers):,} of {total:,} answers")
        show_figures(console, plan, figures)

    emit(value, as_json, show)


def _side(desk: Desk, text: str, like: str | None) -> SideOf:
    """RUN or RUN:ENGINE. Raises ConfigError."""
    from ecm.evaluation.schedules import engine_of
    from jobs.concluding import side_named

    run_id, _, engine = text.partition(":")
    kept = desk.runs.kept(run_id)
    meant = like or kept.plan.candidate or kept.plan.engines[0].engine_id
    return side_named(desk, kept.plan, (), f"{run_id}:{engine_of(kept, engine or None, meant)}")
