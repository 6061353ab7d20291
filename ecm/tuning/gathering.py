"""Training queries asked of an engine in this process, once, and kept: what learning works on.

Knows the steps of a search and where numbers of a query are kept; learns nothing. A query is asked
with the profile in force but for its weights of axes: every axis counts, so that candidates of all
are there whatever will be learned. What is kept hangs on the snapshot, the sets, the profile and
the code, so that a stopped run goes on where it was, and numbers of another state are not used.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np

from ecm.contracts.evaluation import EvaluationQuery
from ecm.contracts.identity import digest
from ecm.contracts.search import Axis, SearchRequest
from ecm.errors import AxisUnavailable
from ecm.search.engine import SearchEngine
from ecm.search.features import FEATURES, features_of
from ecm.search.fusion import distribution_shares
from ecm.search.ordered import Gathered
from ecm.search.penalties import PENALTIES, penalties_of
from ecm.search.plan import Plan
from ecm.search.profile import RankingProfile
from ecm.search.query_features import QUERY_FEATURES, query_features
from ecm.search.weights import AxisWeights, ShownWeights, TypeWeights
from ecm.tuning.examples import AXES, ROWS, Example, Floats
from ecm.tuning.objective import FIRST, dcg
from ecm.tuning.rows import RAISED
from ecm.tuning.tables import fusion_weight, rerank_of
from ecm.tuning.training import TrainingSet
from ecm.whole_files import write_whole

NEAR: Final = 100
"""Candidates of each axis that are kept; others could not come among the first ten."""
_BARELY: Final = 1e-9
_ARRAYS: Final = ("raised", "against", "gains", "answering", "mixture", "told")


def widened(profile: RankingProfile) -> RankingProfile:
    """The profile with a weight for every axis, and without what is predicted per query."""

    def row(own: AxisWeights) -> AxisWeights:
        return AxisWeights(**{name: max(getattr(own, name), _BARELY) for name in AXES})

    def rows(table: TypeWeights | ShownWeights) -> dict[str, AxisWeights]:
        return {name: row(getattr(table, name)) for name in type(table).model_fields}

    return profile.model_copy(
        update={
            "weights": TypeWeights(**rows(profile.weights)),
            "shown": ShownWeights(**rows(profile.shown)),
            "per_query": None,
            "learned": None,
        }
    )


def gathered(
    engine: SearchEngine, training: TrainingSet, folder: Path, code: str
) -> Iterator[Example]:
    """The examples of a training set in its order, from `folder` where they are kept there.

    Queries without a relevant candidate teach nothing and are left out. Raises as a search does;
    AxisUnavailable where an axis did not answer: weights learned without it would be wrong.
    """
    wide = engine.ranked_by(widened(engine.ranking))
    key = digest(
        [
            engine.reader.ref.snapshot_id,
            training.query_set.tenant_id,
            training.query_set.digest,
            training.label_set.digest,
            wide.ranking.digest(),
            code,
        ]
    )
    for query in training.queries:
        kept = folder / key / f"{digest(query.query_id)}.npz"
        example = _read(kept, query)
        if example is None:
            request = request_of(query, training.query_set.tenant_id)
            example = example_of(wide, query, request, training.relevance[query.query_id])
            _write(kept, example)
        if (example.gains > 0).any():
            yield example


def request_of(query: EvaluationQuery, tenant_id: str) -> SearchRequest:
    """A query of a set as a search."""
    return SearchRequest(
        tenant_id=tenant_id, text=query.query_text, asset_id=query.shown_asset_id, explain=False
    )


def example_of(
    engine: SearchEngine,
    query: EvaluationQuery,
    request: SearchRequest,
    relevance: Mapping[str, int],
) -> Example:
    """One query, asked of an engine whose profile is `widened`. Raises as `gathered`."""
    plan = engine.plan(request)
    found = engine.gather(plan, engine.encoded(plan))
    for axis, lost in found.found.lost.items():
        raise AxisUnavailable(
            f"query {query.query_id} cannot be learned from: axis {axis.value} did not answer: "
            f"{lost.reason}",
            f"axis.{axis.value}",
        )
    best = np.array(sorted(relevance.values(), reverse=True), np.float64)
    look = found.rerank.look if found.rerank is not None else 0.0
    told = query_features(plan, found.found, look)
    ids, raised, against, answering = _candidates(engine.ranking, found)
    gains = np.array([float(relevance.get(asset_id, 0)) for asset_id in ids])
    kept = (_least_rank(found, ids) <= NEAR) | (gains > 0)
    order = np.array([row for row in np.argsort(np.array(ids, object)) if kept[row]], np.intp)
    return Example(
        query_id=query.query_id,
        group=query.group,
        raised=raised[order],
        against=against[order],
        gains=gains[order],
        ideal=dcg(best[:FIRST]),
        answering=answering,
        mixture=_mixture(plan, look),
        told=np.array([told.get(name, np.nan) for name in QUERY_FEATURES]),
    )


def _candidates(
    profile: RankingProfile, gathered: Gathered
) -> tuple[list[str], Floats, Floats, Floats]:
    """Ids of n candidates, what they have before weights (n, p), penalties (n,), and axes (a,)."""
    pool, signals = gathered.pool, gathered.signals
    assert pool is not None, "a query that asks something has a pool"
    assert signals is not None, "a pool has signals"
    ids = pool.asset_ids
    at = {asset_id: row for row, asset_id in enumerate(ids)}
    axes = np.zeros((len(ids), len(AXES)))
    for axis, ranking in gathered.found.rankings.items():
        scores = np.array([score for _, score in ranking.scored])
        ranks = np.arange(1, len(scores) + 1)
        share = (profile.k + 1) / (profile.k + ranks)
        if profile.fusion == "dbsf":
            share = distribution_shares(scores)
        axes[[at[one] for one in ranking.asset_ids()], AXES.index(axis.value)] = share
    features = features_of(pool, signals, len(ids))
    own = np.zeros((len(ids), len(FEATURES)))
    for column, name in enumerate(features.names):
        own[:, FEATURES.index(name)] = features.values[:, column]
    scale, own_penalties = RAISED / fusion_weight(profile), rerank_of(profile).penalties
    weighed = np.array([scale * own_penalties.get(name, 0.0) for name in PENALTIES])
    penalties = penalties_of(pool, signals, len(ids)).values
    against = np.einsum("nc,c->n", penalties, weighed)
    answering = np.array([float(axis in pool.scores) for axis in Axis])
    return ids, np.concatenate([axes, own], axis=1), against, answering


def _least_rank(gathered: Gathered, ids: list[str]) -> Floats:
    """The best rank that any axis gives each candidate, float64 (n,)."""
    best = dict.fromkeys(ids, np.inf)
    for ranking in gathered.found.rankings.values():
        for rank, asset_id in enumerate(ranking.asset_ids(), start=1):
            best[asset_id] = min(best[asset_id], rank)
    return np.array([best[asset_id] for asset_id in ids])


def _mixture(plan: Plan, look: float) -> Floats:
    """How much of each of ROWS the weights of a query are, as `weights_of` mixes them."""
    shares = np.zeros(len(ROWS))
    question = plan.question
    if plan.by_example:
        shares[ROWS.index("with_text" if question.wanted else "alone")] = 1.0
        return shares
    shares[ROWS.index(question.query_type.value)] += (1.0 - look) * question.confidence
    shares[ROWS.index("mixed")] += (1.0 - look) * (1.0 - question.confidence)
    shares[ROWS.index("visual")] += look
    return shares


def _read(path: Path, query: EvaluationQuery) -> Example | None:
    """What is kept of a query; None where nothing is, or what was left of it is no such file."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            numbers = {name: arrays[name] for name in _ARRAYS}
            ideal = float(arrays["ideal"])
        return Example(query_id=query.query_id, group=query.group, ideal=ideal, **numbers)
    except (OSError, BadZipFile, KeyError, ValueError):
        return None


def _write(path: Path, example: Example) -> None:
    stream = io.BytesIO()
    arrays = {name: getattr(example, name) for name in _ARRAYS}
    np.savez_compressed(stream, ideal=np.float64(example.ideal), **arrays)
    write_whole(path, stream.getvalue())
