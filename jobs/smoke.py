"""`ecm evaluate smoke`: packaged photos are indexed and asked, and held against what is expected.

Knows where photos, queries and baseline lie, and the order of things; needs no network and no store
of yours. What a query's answer is worth is known to `ecm.evaluation`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ecm.config import Profile
from ecm.contracts.evaluation import EvaluationQuery
from ecm.contracts.identity import asset_id_of
from ecm.contracts.measured import Measure, RunHead, RunPlan, RunState, Schedule, Summary
from ecm.errors import BackendMissing, ConfigError
from ecm.evaluation.judgements import Judgements
from ecm.evaluation.runs import Runs
from ecm.evaluation.schedules import verdict_of
from ecm.evaluation.settings import Asked
from ecm.evaluation.smoke import (
    BASELINE,
    SMOKE,
    Photos,
    SmokeBaseline,
    SmokeFile,
    answers_of,
    baseline_of,
    baseline_text,
    facts_of,
    load_baseline,
    load_smoke,
    sets_of,
)
from ecm.evidence.refs import published_ref
from ecm.evidence.store import EvidenceStore
from jobs.concluding import Concluded, Desk, Sets, figures_of
from jobs.demo import DemoFailed, index, packaged_photos
from jobs.evaluating import Order, Told, evaluate
from jobs.surroundings import code_version

QUERIES_FILE = "smoke.yaml"
BASELINE_FILE = "smoke_baseline.json"
GATES_FILE = "smoke-gates.yaml"
UNHURRIED = ("search.time_ceiling_ms=60000", "search.rerank_ceiling_ms=60000")
"""A busy machine must not make another ranking."""


@dataclass(frozen=True)
class Worse:
    """A query that is answered worse than it was."""

    query: EvaluationQuery
    before: float
    after: float


@contextmanager
def home_of(wanted: Path | None) -> Iterator[Path]:
    """The folder that is wanted, which stays, or one that is gone afterwards."""
    if wanted is not None:
        yield wanted.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="ecm-smoke-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def indexed(home: Path, options: Sequence[str]) -> Photos:
    """Index the packaged photos by `ecm index`, with options of a profile; what they are.

    Raises BackendMissing where the packages that carry them are not installed, ConfigError when
    indexing fails or leaves some out.
    """
    try:
        photos = photos_in(packaged_photos(home / "photos"))
        summary = index(home / "photos", home, options)
    except DemoFailed as failure:
        raise BackendMissing(str(failure), "evaluation.smoke", "pip install 'ecm[demo]'") from None
    there = summary["committed"] + summary["reused"]
    if there < len(photos.by_name):
        raise ConfigError(
            f"only {there} of {len(photos.by_name)} packaged photos could be indexed",
            "evaluation.smoke",
            "ecm evaluate smoke --home DIR, then ecm dead-letters list --home DIR",
        )
    return photos


def photos_in(folder: Path) -> Photos:
    """What the files of a folder are."""
    return Photos({path.name: asset_id_of(path.read_bytes()) for path in folder.iterdir()})


def smoke(
    settings: Profile, folder: Path, photos: Photos, ranking: str | None, told: Told
) -> Concluded:
    """Ask the indexed photos, and judge the answers by the baseline of `folder`.

    Raises ConfigError where its files do not fit, and as `jobs.evaluating.evaluate`.
    """
    _check_alone(settings, photos)
    file = load_smoke(folder / QUERIES_FILE)
    desk = Desk.of(settings)
    sets = _on_shelf(desk, file, photos)
    expected = load_baseline(folder / BASELINE_FILE, file)
    named = _expected_run(desk, sets, expected, photos)
    return evaluate(settings, _order(ranking, f"{named}:{BASELINE}"), told)


def fresh_baseline(
    settings: Profile, folder: Path, photos: Photos, ranking: str | None, told: Told
) -> str:
    """The text of a baseline file: what this build answers. Raises as `smoke`."""
    _check_alone(settings, photos)
    file = load_smoke(folder / QUERIES_FILE)
    desk = Desk.of(settings)
    _on_shelf(desk, file, photos)
    done = evaluate(settings, _order(ranking, None), told)
    run_id, facts = done.summary.head.run_id, done.summary.head.engines[0]
    ndcg = {one.query_id: one.values[Measure.NDCG_10] for one in desk.runs.queries(run_id)}
    answers = desk.runs.answers(run_id)
    return baseline_text(baseline_of(file, facts, code_version(), answers, ndcg, photos))


def worse_than_before(desk: Desk, summary: Summary) -> list[Worse]:
    """Queries that are answered worse than by the baseline, the worst change first."""
    head = summary.head
    sets = Sets.of(desk, head)
    before_id = (head.baseline or "").partition(":")[0]
    before, after = _ndcg(desk.runs, before_id), _ndcg(desk.runs, head.run_id)
    found = [
        Worse(one, before[one.query_id], after[one.query_id])
        for one in sets.asked
        if one.query_id in before and after.get(one.query_id, 0.0) < before[one.query_id]
    ]
    return sorted(found, key=lambda one: one.after - one.before)


def _check_alone(settings: Profile, photos: Photos) -> None:
    """Among other images the same queries have other answers."""
    ref = published_ref(EvidenceStore.open(settings.evidence))
    assets = ref.tenants.get(settings.tenant, 0) if ref is not None else 0
    if assets != len(photos.by_name):
        raise ConfigError(
            f"{settings.home} has {assets} images, not the {len(photos.by_name)} packaged ones",
            "evaluation.smoke",
            "give --home a new folder, or none",
        )


def _ndcg(runs: Runs, run_id: str) -> dict[str, float]:
    values = {one.query_id: one.values[Measure.NDCG_10] for one in runs.queries(run_id)}
    return {query_id: value for query_id, value in values.items() if value is not None}


def _order(ranking: str | None, baseline: str | None) -> Order:
    return Order(
        schedule=Schedule.SMOKE,
        engines=("internal" if ranking is None else f"internal@{ranking}",),
        asked=Asked(split="all", snapshots="any"),
        seed=0,
        queries=SMOKE,
        labels=SMOKE,
        baseline=baseline,
    )


def _on_shelf(desk: Desk, file: SmokeFile, photos: Photos) -> Sets:
    """The sets of the file, kept: as a new version where those of a home that stays are others."""
    tenant = desk.settings.tenant
    there = desk.shelf.versions("query_sets", SMOKE)
    version = there[-1] if there else 1
    queries, labels = sets_of(file, photos, tenant, version)
    if there and (
        desk.shelf.queries(SMOKE).head != queries.head
        or desk.shelf.labels(SMOKE).head != labels.head
    ):
        queries, labels = sets_of(file, photos, tenant, version + 1)
    desk.shelf.add_queries(queries.head, queries.queries)
    desk.shelf.add_labels(labels.head, labels.labels)
    return Sets(queries, labels, queries.queries)


def _expected_run(desk: Desk, sets: Sets, expected: SmokeBaseline, photos: Photos) -> str:
    """Keep the baseline as a run of its own; its id."""
    queries = sets.queries.head
    run_id = f"{SMOKE}-{BASELINE}-{expected.digest()[:12]}-{queries.version}"
    begun = run_id in desk.shelf.names("runs")
    if begun and desk.runs.kept(run_id).head is not None:
        return run_id
    plan = RunPlan(
        run_id=run_id,
        tenant_id=desk.settings.tenant,
        schedule=Schedule.SMOKE,
        started_at=queries.created_at,
        query_set=queries,
        label_set=sets.labels.head,
        queries=tuple(one.query_id for one in sets.asked),
        engines=(facts_of(expected),),
        candidate=BASELINE,
        code_version=expected.code_version,
        seed=0,
        depth=desk.settings.evaluation.depth,
        concurrency=1,
        rounds=1,
        warm_up=0,
    )
    if not begun:
        desk.runs.begin(plan)
    told = {name: getattr(plan, name) for name in RunPlan.model_fields}
    head = RunHead(**told, state=RunState.COMPLETE, finished_at=queries.created_at)
    answers = answers_of(expected, photos, run_id)
    found = figures_of(head, answers, sets.asked, Judgements.of(sets.labels))
    figures = tuple(one.figures for one in found)
    summary = Summary(head=head, figures=figures, gates=None, verdict=verdict_of(head, None))
    desk.runs.finish(summary, answers, [line for one in found for line in one.queries], {})
    return run_id
