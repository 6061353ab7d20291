"""Learning finds what was planted, learns nothing from noise, and does the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecm.errors import ConfigError
from ecm.search.profile import RankingProfile, load_ranking_profile
from ecm.search.query_features import QUERY_FEATURES
from ecm.tuning.examples import ROWS, WEIGHTS, Floats
from ecm.tuning.factors import Spread, learned_factors
from ecm.tuning.learning import learnt
from ecm.tuning.objective import Batch
from ecm.tuning.rows import absolute, learned_rows, mixed
from ecm.tuning.tables import profile_of, rounded, rows_of
from tests.planted import TELLING, planted

PROFILE = load_ranking_profile("default", Path(__file__).parents[2] / "conf" / "ranking")


def held_out(found, examples) -> dict[str, Floats]:  # type: ignore[no-untyped-def]
    """nDCG@10 by query of other examples: one row for all, per type, and per query."""
    batch = Batch(examples)
    one = np.repeat(found.one[None], len(examples), axis=0)
    typed = mixed(batch.mixture, found.rows)
    moved = typed.copy()
    for place, told in enumerate(batch.told):
        named = {n: float(v) for n, v in zip(QUERY_FEATURES, told, strict=True) if not np.isnan(v)}
        if found.per_query is not None and found.per_query.knows(named):
            factors = found.per_query.factors_of(named)
            moved[place] *= [factors.get(name, 1.0) for name in WEIGHTS]
    tables = {"global": one, "per_type": typed, "per_query": moved}
    return {kind: batch.ndcg(absolute(own, batch.answering)) for kind, own in tables.items()}


def test_what_hangs_on_the_query_is_learned_per_query() -> None:
    found = learnt(planted(80, 1), PROFILE, seed=0, folds=2)
    assert found.per_query is not None
    factors = found.per_query.factors
    assert factors["vv"].of[TELLING] > 0 > factors["fts"].of[TELLING]
    means = {kind: own.mean() for kind, own in held_out(found, planted(150, 2)).items()}
    assert means["per_query"] >= 1.07 * means["global"]
    assert means["per_query"] >= 1.07 * means["per_type"]


def test_nothing_is_predicted_where_nothing_tells() -> None:
    found = learnt(planted(50, 3, tells=0.0), PROFILE, seed=0, folds=2)
    means = {kind: own.mean() for kind, own in held_out(found, planted(120, 4)).items()}
    assert means["per_query"] == pytest.approx(means["per_type"], abs=0.02)


def test_the_same_examples_give_the_same_numbers() -> None:
    found = []
    for _ in range(2):
        batch = Batch(planted(20, 5))
        rows = learned_rows(batch, batch.mixture, rows_of(PROFILE), 1e-3)
        spread = Spread.of(batch.told)
        found.append((rows, learned_factors(batch, rows, spread, 1e-2)))
    assert (found[0][0] == found[1][0]).all()
    assert (found[0][1] == found[1][1]).all()


def test_rows_without_queries_stay_what_they_were() -> None:
    now, batch = rows_of(PROFILE), Batch(planted(20, 6))
    found = rounded(learned_rows(batch, batch.mixture, now, 1e-3), now)
    for place, name in enumerate(ROWS):
        same = bool((found[place] == rounded(now, now)[place]).all())
        assert same is (name != "keyword")


def test_rows_are_read_as_they_are_written() -> None:
    now = rows_of(PROFILE)
    again = profile_of(now, PROFILE, "again")
    assert (rows_of(again) == now).all()
    assert again.model_copy(update={"version": PROFILE.version}).digest() == PROFILE.digest()


def test_features_count_beside_fusion_whatever_that_counts() -> None:
    tree = PROFILE.model_dump(mode="json")
    for row in tree["rerank"]["weights"].values():
        for name in row:
            row[name] /= 2
    halved = RankingProfile.model_validate(tree)
    np.testing.assert_allclose(rows_of(halved), rows_of(PROFILE))
    assert profile_of(rows_of(halved), halved, PROFILE.version).digest() == halved.digest()
    tree["rerank"]["weights"]["visual"]["rrf"] = 1.0
    with pytest.raises(ConfigError, match="not the same weight in all rows"):
        rows_of(RankingProfile.model_validate(tree))
    with pytest.raises(ConfigError, match="does not rerank"):
        rows_of(RankingProfile.model_validate(tree | {"rerank": None}))
