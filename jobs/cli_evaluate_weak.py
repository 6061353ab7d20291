"""`ecm evaluate labels weak`: labels from what people clicked.

Knows how it is asked for; the models of clicks are `ecm.evaluation.labels`'.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ecm.config import Profile
from ecm.errors import ConfigError
from jobs.edge import (
    FAILED,
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    TenantOption,
    emit,
    note,
    open_profile,
    span_of,
    table_of,
)
from jobs.label_options import QueriesOption, SetArgument, checked_name, shelf_of
from jobs.label_views import published_value, show_published

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecm.contracts.feedback import StoredEvent
    from ecm.evaluation.labels.click_log import ClickCounts
    from ecm.evaluation.labels.examination import ClickModel, Examination

TOP = 10
"""Ranks whose examination is shown."""


def register(labels: typer.Typer) -> None:
    """Add this command to `ecm evaluate labels`."""
    labels.command("weak")(labels_weak)


def labels_weak(
    name: SetArgument,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="SPAN", help="Only the last 12h, 30d, …; all by default."),
    ] = None,
    model: Annotated[
        str, typer.Option(help="How clicks are corrected for rank: pbm, or coec to compare.")
    ] = "pbm",
    satisfied: Annotated[
        float, typer.Option(help="Seconds of looking that make a click count.", min=0)
    ] = 5.0,
    good: Annotated[
        float, typer.Option(help="Attractiveness from which relevance is 2.", min=0, max=1)
    ] = 0.5,
    partly: Annotated[
        float, typer.Option(help="Attractiveness from which relevance is 1.", min=0, max=1)
    ] = 0.15,
    confidence: Annotated[
        float, typer.Option(help="Of the credible bounds.", min=0.5, max=0.999)
    ] = 0.9,
    min_looks: Annotated[
        float, typer.Option(help="Looks at an asset below which it gets no label.", min=0)
    ] = 10.0,
    per_person: Annotated[
        int, typer.Option(help="Showings that count of one person, query and asset.", min=1)
    ] = 3,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would come of it; make no version.")
    ] = False,
    queries: QueriesOption = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a new version of a label set with weak labels from impressions, clicks and looks.

    What stands high is clicked more for that alone. How likely each rank is looked at is estimated
    from the log itself (position-based model, by expectation maximisation), where the same assets
    were shown at several ranks; what is left is attractiveness, with credible bounds. A label comes
    where these are clear of the thresholds, weighted by how sure it is; what was seen too little
    gets none. People's labels stay as they are; where they have judged the same pairs, both are
    compared, which says whether --good and --partly are right for this log.

    Queries of the log and of the set are matched by their text. The exit code is 1 when a batch of
    feedback is damaged: the rest counts.
    """
    from ecm.evaluation.labels.click_log import ClickRules, click_counts
    from ecm.evaluation.labels.examination import examined
    from ecm.evaluation.labels.publishing import (
        Making,
        newest,
        preview_weak,
        publish_weak,
        queries_of,
    )
    from ecm.evaluation.labels.weak import WeakRules, attractions, calibrated, weak_labels

    how = _model(model)
    if partly >= good:
        raise ConfigError("--partly is to be below --good", "labels.thresholds")
    rules = WeakRules(good, partly, confidence, min_looks)
    clicks = ClickRules(satisfied, per_person)
    settings = open_profile(profile, home, overrides, tenant)
    shelf, name = shelf_of(settings), checked_name(name)
    chosen = queries_of(shelf, name, queries)
    damaged: list[str] = []
    events = _events(settings, since, damaged)
    with Console(stderr=True).status("reading the log") as status:
        counts = click_counts(events, clicks)
        status.update(f"estimating from {counts.searches} searches")
        examination = examined(counts, how)
        found = attractions(counts, examination, rules)
    weak = weak_labels(found, chosen.queries, rules, f"clicks-{how.value}")
    there = newest(shelf, name)
    judged = there.labels if there is not None else ()
    calibration = calibrated(found, chosen.queries, weak, judged)
    publish = preview_weak if dry_run else publish_weak
    options = {**asdict(rules), **asdict(clicks), "since": since or "all"}
    made_from = {"by": f"clicks-{how.value}", "searches": str(counts.searches)}
    made_from |= {option: str(value) for option, value in options.items()}
    made = publish(shelf, name, chosen, weak, Making(time.time(), made_from))
    by_relevance = Counter(label.relevance for label in weak)
    value = {
        "tenant_id": settings.tenant,
        "name": name,
        "model": how.value,
        **_counted(counts),
        "examination": _examined(examination),
        "unidentified_ranks": list(examination.unidentified),
        "weak": len(weak),
        "weak_by_relevance": {str(n): by_relevance.get(n, 0) for n in (0, 1, 2)},
        "weak_queries": len({label.query_id for label in weak}),
        "calibration": asdict(calibration),
        **published_value(made),
        "damaged": damaged,
    }

    def show(console: Console) -> None:
        console.print(
            f"{counts.searches} searches, {len(counts.pairs)} queries and assets; left out: "
            f"{counts.without_text} searches without words, {counts.of_robots} of machines, "
            f"{counts.capped} showings too many of one person, {counts.too_short} short clicks"
        )
        rows: list[list[object]] = [
            [rank, "not identified" if share is None else f"{share:.2f}"]
            for rank, share in list(_examined(examination).items())[:TOP]
        ]
        if examination.unidentified:
            console.print(
                f"{len(examination.unidentified)} ranks are not identified: what they show was "
                "hardly ever shown at other ranks, and is left out; searches that interleave "
                "two rankings would tell"
            )
        if rows:
            console.print(table_of("looked at, compared with the first", ["rank", "share"], rows))
        console.print(
            f"{len(weak)} weak labels of {value['weak_queries']} queries: "
            + ", ".join(f"{by_relevance.get(n, 0)} of relevance {n}" for n in (0, 1, 2))
        )
        if calibration.medians:
            medians = ", ".join(f"{n}: {value:.2f}" for n, value in calibration.medians.items())
            console.print(
                f"of {calibration.pairs} that people have judged {calibration.same} are the same, "
                f"{calibration.far} are 0 and 2; median attractiveness by their relevance {medians}"
            )
        show_published(console, name, made)

    emit(value, as_json, show)
    if damaged:
        raise typer.Exit(FAILED)


def _model(name: str) -> ClickModel:
    from ecm.evaluation.labels.examination import ClickModel

    try:
        return ClickModel(name)
    except ValueError as error:
        known = ", ".join(model.value for model in ClickModel)
        raise ConfigError(f"no click model {name!r}", "labels.model", known) from error


def _events(settings: Profile, since: str | None, damaged: list[str]) -> Iterator[StoredEvent]:
    """The events of the tenant; names of damaged batches are put into `damaged`."""
    from ecm.evidence.feedback import DamagedBatch, FeedbackStore
    from ecm.evidence.storage import open_storage

    start = max(0.0, time.time() - span_of(since)) if since else 0.0
    for event in FeedbackStore(open_storage(settings.evidence)).events(settings.tenant, start):
        if isinstance(event, DamagedBatch):
            note(f"{event.name}: {event.reason}; its events are left out")
            damaged.append(event.name)
        else:
            yield event


def _counted(counts: ClickCounts) -> dict[str, int]:
    return {
        "searches": counts.searches,
        "pairs": len(counts.pairs),
        "shown": int(counts.shown.sum()),
        "clicked": int(counts.clicked.sum()),
        "without_text": counts.without_text,
        "of_robots": counts.of_robots,
        "capped": counts.capped,
        "too_short": counts.too_short,
    }


def _examined(examination: Examination) -> dict[str, float | None]:
    """How likely each rank is looked at; null where it is not identified."""
    return {
        str(int(rank)): None if share != share else float(share)  # NaN is not itself
        for rank, share in zip(examination.ranks, examination.theta, strict=True)
    }
