"""`ecm evaluate run`, `nightly`, `release`: ask engines, measure, judge, report.

Knows how they are asked for and what they print; what they do is in `jobs.evaluating`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ecm.errors import ConfigError
from jobs.edge import (
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    TenantOption,
    open_profile,
)

if TYPE_CHECKING:
    from ecm.config import Profile
    from ecm.contracts.measured import Schedule
    from jobs.evaluating import Order

CANDIDATE = "candidate"
_ROUNDS_OF_RANKINGS = 3
"""Nobody pays for them, and latencies of one round tell little on a machine that is not alone."""

EnginesOption = Annotated[
    str | None,
    typer.Option(
        "--engines",
        metavar="A,B,…",
        help="Names in conf/engines, NAME@WHERE, or ID=NAME@WHERE; the profile's by default.",
    ),
]
QueriesOption = Annotated[
    str | None, typer.Option("--queries", metavar="NAME[@V]", help="Query set; the profile's.")
]
LabelsOption = Annotated[
    str | None, typer.Option("--labels", metavar="NAME[@V]", help="Label set; the profile's.")
]
CountOption = Annotated[
    int | None, typer.Option("--count", min=1, help="Ask so many, spread over types.")
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Write the report, its pictures and summary.json."),
]
ByOption = Annotated[
    str | None, typer.Option("--by", metavar="WHO", help="Who accepts, for --accept.")
]
AcceptOption = Annotated[
    str | None,
    typer.Option(
        "--accept", metavar="REASON", help="Let it pass whatever the gates say, on record."
    ),
]


def register(group: typer.Typer) -> None:
    """Add these commands to `ecm evaluate`."""
    group.command("run")(evaluate_run)
    group.command("nightly")(evaluate_nightly)
    group.command("release")(evaluate_release)


def evaluate_run(
    engines: EnginesOption = None,
    queries: QueriesOption = None,
    labels: LabelsOption = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="ENGINE|RUN[:ENGINE]",
            help="What to compare with; last: the last such run of these queries.",
        ),
    ] = None,
    candidate: Annotated[
        str | None,
        typer.Option("--candidate", metavar="ENGINE", help="Which engine is judged; the first."),
    ] = None,
    candidate_ranking: Annotated[
        str | None,
        typer.Option(
            "--candidate-ranking",
            metavar="FILE",
            help="Judge this ranking profile against the one in force, both asked in this run.",
        ),
    ] = None,
    ranking: Annotated[
        str | None,
        typer.Option("--ranking", metavar="FILE", help="Let `internal` rank by this profile."),
    ] = None,
    count: CountOption = None,
    split: Annotated[
        Literal["held_out", "learn", "all"],
        typer.Option("--split", help="Which side; what was learned from must not judge."),
    ] = "held_out",
    rounds: Annotated[
        int | None,
        typer.Option(
            "--rounds",
            min=1,
            max=100,
            help="The first is judged, all are timed; 3 with --candidate-ranking, else 1.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="The profile's.")] = None,
    any_snapshot: Annotated[
        bool,
        typer.Option("--any-snapshot", help="Compare with a run of another snapshot all the same."),
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option("--resume", metavar="RUN", help="Go on with a run that was stopped."),
    ] = None,
    out: OutOption = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask several engines the same queries, measure their answers, and judge one against another.

    Each query goes to every engine before the next one does. The first engine that is not the
    baseline is the candidate; without a baseline nothing is judged.

    ecm evaluate run --engines internal,open_source,commercial --baseline open_source

    ecm evaluate run --candidate-ranking new.yaml --out report/

    ecm evaluate run --baseline release-20261101T020000Z-3f9a

    Of runs of other queries nothing is compared; on another snapshot no gate passes unless
    --any-snapshot is said. Ctrl-C keeps what was answered: ecm evaluate show RUN reads it, --resume
    RUN goes on: after another warm-up only what is missing is asked, and paid.

    The exit code is 0 when all gates pass or only warn, 1 when one blocks, 3 when these queries
    cannot tell, and 75 when an engine gave up or the budget is used up.
    """
    from ecm.contracts.measured import Schedule
    from ecm.evaluation.settings import Asked
    from jobs.evaluating import Order, evaluate
    from jobs.evaluating import resume as go_on
    from jobs.evaluation_ending import Ending, carry_out

    ending = Ending(out, as_json)
    settings = open_profile(profile, home, overrides, tenant)
    if resume is not None:
        beside = (engines, queries, labels, baseline, candidate, candidate_ranking, ranking)
        if any(said is not None for said in (*beside, count, seed)):
            raise ConfigError(
                "a run that is gone on with asks what it was told to when it began",
                "evaluation.resume",
                "give --resume RUN alone, or begin another run without it",
            )
        carry_out(settings, lambda told: go_on(settings, resume, told), ending)
        return
    named = _engines(settings, engines, ranking)
    if candidate_ranking is not None:
        if candidate is not None:
            raise ConfigError(
                "--candidate or --candidate-ranking, not both", "evaluation.candidate"
            )
        named = (*named, f"{CANDIDATE}=internal@{candidate_ranking}")
        candidate, baseline = CANDIDATE, baseline or "internal"
    order = Order(
        schedule=Schedule.RUN,
        engines=named,
        asked=Asked(
            count=count,
            split=split,
            rounds=rounds or (_ROUNDS_OF_RANKINGS if candidate_ranking is not None else 1),
            snapshots="any" if any_snapshot else "same",
        ),
        seed=settings.evaluation.seed if seed is None else seed,
        queries=queries,
        labels=labels,
        baseline=baseline,
        candidate=candidate,
    )
    carry_out(settings, lambda told: evaluate(settings, order, told), ending)


def evaluate_nightly(
    engines: EnginesOption = None,
    queries: QueriesOption = None,
    labels: LabelsOption = None,
    count: CountOption = None,
    on_failure: Annotated[
        Path | None,
        typer.Option(
            "--on-failure", metavar="FILE", help="Where it has not passed, write an issue here."
        ),
    ] = None,
    out: OutOption = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask 500 queries and compare with the last nightly: what has drifted since?

    How many, and what they are compared with, is evaluation.nightly of the profile; the snapshot
    may be another one each night, which the report says. The first night has nothing to be compared
    with and ends in 3. --on-failure writes a Markdown file that begins with a title, for whatever
    opens issues; see: examples/workflows.

    Exit codes are those of ecm evaluate run.
    """
    from ecm.contracts.measured import Schedule
    from jobs.evaluating import evaluate
    from jobs.evaluation_ending import Ending, carry_out

    settings = open_profile(profile, home, overrides, tenant)
    order = _scheduled(settings, Schedule.NIGHTLY, engines, queries, labels)
    if count is not None:
        order = replace(order, asked=order.asked.model_copy(update={"count": count}))
    ending = Ending(out, as_json, on_failure=on_failure)
    carry_out(settings, lambda told: evaluate(settings, order, told), ending)


def evaluate_release(
    engines: EnginesOption = None,
    queries: QueriesOption = None,
    labels: LabelsOption = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="ENGINE|RUN[:ENGINE]",
            help="What to compare with; the last release that passed or was accepted.",
        ),
    ] = None,
    accept: AcceptOption = None,
    by: ByOption = None,
    out: OutOption = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask everything that is held out, and halt the pipeline unless the gates pass.

    Inconclusive halts, too, and so does the first release, which has nothing to be compared with.
    Whoever lets it pass all the same says so on record: --accept REASON --by WHO here, or ecm
    evaluate accept RUN afterwards. The next release is compared with it then.

    Exit codes are those of ecm evaluate run; what is accepted ends in 0.
    """
    from ecm.contracts.measured import Schedule
    from jobs.evaluating import evaluate
    from jobs.evaluation_ending import Ending, acceptance_of, carry_out

    accepted = acceptance_of(accept, by)
    settings = open_profile(profile, home, overrides, tenant)
    order = _scheduled(settings, Schedule.RELEASE, engines, queries, labels)
    if baseline is not None:
        order = replace(order, baseline=baseline)
    ending = Ending(out, as_json, accept=accepted)
    carry_out(settings, lambda told: evaluate(settings, order, told), ending)


def _scheduled(
    settings: Profile,
    schedule: Schedule,
    engines: str | None,
    queries: str | None,
    labels: str | None,
) -> Order:
    """What a schedule asks, by the profile, with what was said beside it."""
    from jobs.evaluating import LAST, Order

    return Order(
        schedule=schedule,
        engines=_engines(settings, engines, None),
        asked=settings.evaluation.asked(schedule),
        seed=settings.evaluation.seed,
        queries=queries,
        labels=labels,
        baseline=LAST,
    )


def _engines(settings: Profile, said: str | None, ranking: str | None) -> tuple[str, ...]:
    """Engines as they are named, `internal` with a ranking profile where one is given.

    Raises ConfigError.
    """
    named = settings.evaluation.engines
    if said is not None:
        named = tuple(filter(None, (part.strip() for part in said.split(","))))
    if not named:
        raise ConfigError("no engine is named", "evaluation.no_engine", "--engines internal")
    if ranking is None:
        return named
    if "internal" not in named:
        raise ConfigError(
            "--ranking is of the engine `internal`, which is not asked", "evaluation.no_engine"
        )
    return tuple(f"internal@{ranking}" if one == "internal" else one for one in named)
