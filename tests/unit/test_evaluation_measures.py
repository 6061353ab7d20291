"""Measures are those of ir_measures and pytrec_eval, and figures say what was left out."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from ecm.contracts.evaluation import Difficulty, Label, LabelSet, LabelSource
from ecm.contracts.measured import Answered, EngineProblem, Measure
from ecm.contracts.search import QueryType
from ecm.errors import ContractError, StoreCorrupt
from ecm.evaluation.judgements import Judgements
from ecm.evaluation.measures import measured, values_of
from ecm.evaluation.shelf import Labels
from tests.evaluation_sides import GOOD, asset, failed, judged_all, queries, query, ranked

RUNS = 10_000
OF_ORACLE = {
    Measure.NDCG_10: "nDCG@10",
    Measure.RECALL_50: "R@50",
    Measure.RECALL_20: "R@20",
    Measure.MRR_10: "RR@10",
    Measure.PRECISION_5: "P@5",
    Measure.UNJUDGED_10: "Judged@10",
}
OF_TREC = {
    Measure.NDCG_10: "ndcg_cut_10",
    Measure.RECALL_50: "recall_50",
    Measure.RECALL_20: "recall_20",
    Measure.PRECISION_5: "P_5",
}


def random_runs() -> tuple[dict[str, list[str]], dict[str, dict[str, int]]]:
    """Rankings and relevances of RUNS queries: empty ones, short ones, nothing relevant, nothing
    judged, nothing answered, names that sort against their ranks.
    """
    rng = np.random.default_rng(20261125)
    names = np.array([f"d{name}" for name in range(80)])
    kinds = np.array([[0, 0, 0, 1, 2], [0, 0, 0, 0, 0], [1, 2, 1, 2, 2]])
    runs, judged = {}, {}
    for number in range(RUNS):
        deep = rng.choice([0, 1, 3, 9, 10, 11, 20, 50, 70])
        known = rng.random(80) < rng.choice([0.0, 0.1, 0.5, 1.0])
        gains = kinds[rng.integers(3)][rng.integers(0, 5, 80)]
        runs[f"q{number}"] = names[rng.permutation(80)[:deep]].tolist()
        judged[f"q{number}"] = dict(zip(names[known].tolist(), gains[known].tolist(), strict=True))
    return runs, judged


def test_ten_thousand_random_runs_measure_as_ir_measures_and_pytrec_eval_measure_them() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ir_measures
        import pytrec_eval
    runs, judged = random_runs()
    # Ties are broken before: scores that fall strictly with the rank.
    scored = {q: {d: float(-rank) for rank, d in enumerate(ranks)} for q, ranks in runs.items()}
    parsed = {ir_measures.parse_measure(name): ours for ours, name in OF_ORACLE.items()}
    oracle = {
        (one.query_id, parsed[one.measure]): one.value
        for one in ir_measures.iter_calc(
            list(parsed), judged, {q: ranks for q, ranks in scored.items() if ranks}
        )
    }
    trec = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut.10", "recall.20,50", "P.5"}).evaluate(
        {q: ranks for q, ranks in scored.items() if ranks}
    )
    apart: dict[Measure, list[float]] = {measure: [] for measure in OF_ORACLE}
    for query_id, ranks in runs.items():
        ours = values_of(ranks, judged[query_id], complete=False)
        relevant = any(gain > 0 for gain in judged[query_id].values())
        assert (ours[Measure.NDCG_10] is not None) == relevant
        assert ours[Measure.ZERO_RESULTS] == float(not ranks)
        for measure, found in apart.items():
            theirs, value = oracle.get((query_id, measure)), ours[measure]
            if not ranks and value is not None:
                assert value == 0.0
            elif theirs is not None and value is not None:
                found.append(value - (1 - theirs if measure is Measure.UNJUDGED_10 else theirs))
            if measure in OF_TREC and relevant and ranks:
                found.append(value - trec[query_id][OF_TREC[measure]])
    assert min(len(found) for found in apart.values()) > RUNS / 3
    assert max(abs(one) for found in apart.values() for one in found) < 1e-9


def test_a_query_that_finds_nothing_scores_nothing_and_one_without_answers_scores_not_at_all() -> (
    None
):
    nothing = values_of([], {"a": 2}, complete=True)
    assert nothing == {
        Measure.NDCG_10: 0.0,
        Measure.RECALL_50: 0.0,
        Measure.RECALL_20: 0.0,
        Measure.MRR_10: 0.0,
        Measure.PRECISION_5: 0.0,
        Measure.ZERO_RESULTS: 1.0,
        Measure.UNJUDGED_10: 0.0,
    }
    unanswerable = values_of(["a"], {"a": 0}, complete=False)
    assert unanswerable[Measure.NDCG_10] is None
    assert unanswerable[Measure.ZERO_RESULTS] == 0.0
    assert values_of(["a", "b"], {"a": 0}, complete=False)[Measure.UNJUDGED_10] == 0.5
    assert values_of(["a", "b"], {"a": 0}, complete=True)[Measure.UNJUDGED_10] == 0.0
    with pytest.raises(ContractError, match="twice"):
        values_of(["a", "a"], {}, complete=True)


def test_failures_count_as_nothing_found_and_are_in_no_mean_of_latencies() -> None:
    asked = queries(4)
    said = [ranked(GOOD, latency_ms=10.0, cost_usd=0.002), failed(), ranked(()), None]
    answers = [
        Answered(run_id="r", engine_id="e", query_id=one.query_id, answer=answer)
        for one, answer in zip(asked, said, strict=True)
        if answer is not None
    ]
    answers.append(
        Answered(
            run_id="r", engine_id="e", query_id="q0000", round=1, answer=ranked((), latency_ms=30.0)
        )
    )
    found = measured("e", asked, answers, judged_all(asked)).figures
    assert found.all.values[Measure.NDCG_10] == pytest.approx(1 / 4)
    assert found.all.values[Measure.ZERO_RESULTS] == pytest.approx(3 / 4)
    assert found.all.error_rate == pytest.approx(2 / 5)
    assert found.all.p50_ms == pytest.approx(20.0)
    assert found.all.cost_per_1k_usd == pytest.approx(2 / 3)
    assert {kind: one.queries for kind, one in found.by_type.items()} == dict.fromkeys(QueryType, 1)
    assert found.by_difficulty[Difficulty.MEDIUM] == found.all


def test_means_leave_out_queries_without_relevant_assets_and_say_how_many_are_judged() -> None:
    asked = queries(2)
    judgements = Judgements({"q0000": {asset("a0"): 1}}, frozenset())
    answers = [
        Answered(run_id="r", engine_id="e", query_id=one.query_id, answer=ranked(GOOD))
        for one in asked
    ]
    found = measured("e", asked, answers, judgements).figures.all
    assert (found.queries, found.judged) == (2, 1)
    assert found.values[Measure.MRR_10] == 1.0
    assert found.values[Measure.UNJUDGED_10] == pytest.approx((0.8 + 1.0) / 2)


def test_a_shown_asset_is_no_answer_to_itself() -> None:
    asked = (query(0, shown_asset_id=asset("a0")),)
    answer = ranked(("a0", "a1", "a2"))
    answers = [Answered(run_id="r", engine_id="e", query_id="q0000", answer=answer)]
    found = measured("e", asked, answers, judged_all(asked))
    assert found.queries[0].values[Measure.NDCG_10] == 1.0
    alone = [Answered(run_id="r", engine_id="e", query_id="q0000", answer=ranked(("a0",)))]
    assert measured("e", asked, alone, judged_all(asked)).value(Measure.ZERO_RESULTS) == {
        "q0000": 1.0
    }


def test_answers_that_do_not_belong_are_refused() -> None:
    asked = queries(1)
    one = Answered(run_id="r", engine_id="e", query_id="q0000", answer=failed(EngineProblem.FAILED))
    strange = one.model_copy(update={"query_id": "other"})
    for answers, said in (([one, one], "twice"), ([strange], "not asked")):
        with pytest.raises(ContractError, match=said):
            measured("e", asked, answers, judged_all(asked))
    others = [one.model_copy(update={"engine_id": "other"})]
    assert measured("e", asked, others, judged_all(asked)).figures.all.error_rate == 1.0


def test_judgements_are_the_labels_of_a_set_and_two_of_one_asset_are_refused() -> None:
    labels = tuple(
        Label(
            query_id="q1", asset_id=asset(name), relevance=2, label_source=LabelSource.ADJUDICATED
        )
        for name in ("a", "b")
    )
    head = LabelSet(
        tenant_id="t", name="l", label_version=1, created_at=0, digest="0" * 64, labels=2,
        query_set="s", query_set_digest="0" * 64, complete=("q1",),
    )  # fmt: skip
    found = Judgements.of(Labels(head, labels))
    assert found.relevance("q1") == {asset("a"): 2, asset("b"): 2}
    assert found.relevance("q2") == {}
    assert (found.is_complete("q1"), found.is_complete("q2")) == (True, False)
    with pytest.raises(StoreCorrupt, match="two labels"):
        Judgements.of(Labels(head, (labels[0], labels[0])))
