"""Gates: an unchanged build passes, damage is blocked, and what cannot be told says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecm.config import conf_folder
from ecm.contracts.evaluation import EvaluationQuery
from ecm.contracts.measured import GateCheck, GateReport, Verdict
from ecm.delivery.gates import load_gates as load_rollout_gates
from ecm.errors import ConfigError, ContractError
from ecm.evaluation.config import EvaluationGates, Gate, GateSet, load_gates
from ecm.evaluation.gates import Harm, Side, checks_of, judge, ruled, worst
from ecm.evaluation.judgements import Judgements
from tests.drawn_comparisons import shifted, unchanged
from tests.evaluation_sides import (
    GOOD,
    POOR,
    asset,
    failed,
    queries,
    query,
    ranked,
    side,
)

GATES = EvaluationGates(resamples=1000)
NAMES = (
    "ndcg@10", "recall@50", "zero_results", "error_rate", "degraded_rate", "p95_latency",
    "cost_per_1k",
)  # fmt: skip


def check(report: GateReport, name: str) -> GateCheck:
    return next(one for one in report.checks if one.name == name)


def good(name: str, asked: tuple[EvaluationQuery, ...], **fields) -> Side:
    return side(name, asked, lambda *_: ranked(GOOD), **fields)


def test_an_unchanged_build_passes_on_fifty_queries() -> None:
    asked = queries(50)
    report = judge(good("before", asked), good("after", asked), GATES)
    assert report.verdict is Verdict.PASS
    assert tuple(one.name for one in report.checks) == NAMES
    assert check(report, "ndcg@10").reason == "all 50 queries score the same"
    assert (report.baseline, report.candidate, report.failed) == ("before", "after", ())


def test_damage_is_blocked_with_its_interval_and_what_could_have_been_found() -> None:
    asked = queries(100)
    damaged = side("after", asked, lambda number, _: ranked(POOR if number % 4 == 0 else GOOD))
    report = judge(good("before", asked), damaged, GATES)
    found = check(report, "ndcg@10")
    assert report.verdict is Verdict.BLOCK
    assert report.failed == ("ndcg@10", "recall@50")
    assert found.change == pytest.approx(-0.25 * (1 - 0.2471), abs=1e-3)
    assert found.lower < found.change < found.upper < 0
    assert found.detectable > found.threshold == 0.01
    assert found.wilcoxon_p < 0.001


def test_chance_is_not_blocked_and_a_small_sample_says_that_it_cannot_tell() -> None:
    asked = queries(50)
    before = side("before", asked, lambda number, _: ranked(POOR if number < 5 else GOOD))
    after = side("after", asked, lambda number, _: ranked(POOR if 3 <= number < 9 else GOOD))
    found = check(judge(before, after, GATES), "ndcg@10")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.change < -0.01
    assert "not surely" in found.reason


def test_a_drop_that_is_allowed_passes_though_it_is_sure() -> None:
    asked = queries(400)
    swapped = ("a0", "a1", "b0", "a2", "b1")
    after = side("after", asked, lambda number, _: ranked(swapped if number % 10 == 0 else GOOD))
    found = check(judge(good("before", asked), after, GATES), "ndcg@10")
    assert -0.01 < found.change < found.upper < 0
    assert found.verdict is Verdict.PASS


def test_failures_of_the_candidate_help_it_nowhere() -> None:
    asked = queries(60)
    rng = np.random.default_rng(1)
    slow = rng.lognormal(3, 0.5, 60).tolist()

    def of(number: int, _: int):
        return ranked(GOOD, latency_ms=slow[number], cost_usd=0.001)

    def drops_the_slow(number: int, round_: int):
        return failed() if slow[number] > np.quantile(slow, 0.8) else of(number, round_)

    report = judge(side("before", asked, of), side("after", asked, drops_the_slow), GATES)
    verdicts = {one.name: one.verdict for one in report.checks}
    assert verdicts["error_rate"] is Verdict.BLOCK
    assert verdicts["ndcg@10"] is Verdict.BLOCK
    assert verdicts["zero_results"] is Verdict.BLOCK
    assert check(report, "p95_latency").change >= 0
    assert check(report, "cost_per_1k").change == pytest.approx(0.0)


def test_degraded_answers_are_no_better_and_no_faster_than_whole_ones() -> None:
    asked = queries(40)
    before = side("before", asked, lambda *_: ranked(POOR, latency_ms=50.0))
    after = side("after", asked, lambda *_: ranked(GOOD, latency_ms=1.0, degraded=("vv",)))
    report = judge(before, after, GATES)
    assert check(report, "ndcg@10").change == 0
    assert check(report, "p95_latency").change == 0
    assert check(report, "degraded_rate").verdict is Verdict.WARN
    assert report.verdict is Verdict.WARN


def test_what_the_baseline_failed_is_left_out_and_much_of_it_tells_nothing() -> None:
    asked = queries(50)
    few = side("before", asked, lambda number, _: failed() if number < 3 else ranked(POOR))
    found = check(judge(few, good("after", asked), GATES), "ndcg@10")
    assert (found.queries, found.verdict) == (47, Verdict.PASS)
    assert "3 queries that the baseline failed are left out" in found.reason
    many = side("before", asked, lambda number, _: failed() if number < 9 else ranked(POOR))
    found = check(judge(many, good("after", asked), GATES), "ndcg@10")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "failed 9 of 50" in found.reason


def test_few_queries_tell_nothing_of_quality() -> None:
    asked = queries(10)
    found = check(judge(good("before", asked), good("after", asked), GATES), "ndcg@10")
    assert (found.verdict, found.queries) == (Verdict.INCONCLUSIVE, 10)
    assert "20 are needed" in found.reason


def sparse(asked: tuple[EvaluationQuery, ...], names: tuple[str, ...]) -> Judgements:
    labels = {asset(name): 2 if name == "a0" else 0 for name in names}
    return Judgements({one.query_id: labels for one in asked}, frozenset())


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (("a0", "b0"), ("c0", "a0"), Verdict.INCONCLUSIVE),  # worse, and not looked at
        (("b0", "a0"), ("a0", "c0"), Verdict.PASS),  # better all the same
        (("c0", "a0"), ("a0", "b0"), Verdict.INCONCLUSIVE),  # better than what is not looked at
        (("a0", "c0"), ("b0", "a0"), Verdict.BLOCK),  # worse than what may be better still
    ],
)
def test_what_nobody_has_labelled_speaks_against_no_side(before, after, verdict) -> None:
    asked = queries(30)
    judgements = sparse(asked, ("a0", "b0"))
    sides = [
        side(name, asked, lambda *_, names=names: ranked(names), judgements=judgements)
        for name, names in (("before", before), ("after", after))
    ]
    found = check(judge(sides[0], sides[1], GATES), "ndcg@10")
    assert found.verdict is verdict
    assert ("without a label" in found.reason) == (verdict is Verdict.INCONCLUSIVE)


def test_latencies_compare_within_a_run_and_on_one_machine() -> None:
    asked = queries(30)
    fast = good("before", asked, run_id="one", machine="m", concurrency=2)

    def slow(**conditions) -> Side:
        return side(
            "after", asked, lambda *_: ranked(GOOD, latency_ms=30.0), run_id="two", **conditions
        )

    same = check(judge(fast, slow(machine="m", concurrency=2), GATES), "p95_latency")
    assert (same.verdict, same.change) == (Verdict.BLOCK, pytest.approx(0.5))
    for conditions, said in (
        ({"machine": "other", "concurrency": 2}, "other machines"),
        ({}, "other machines"),
        ({"machine": "m", "concurrency": 8}, "at a time"),
    ):
        found = check(judge(fast, slow(**conditions), GATES), "p95_latency")
        assert found.verdict is Verdict.INCONCLUSIVE
        assert said in found.reason


def test_noise_of_latency_within_what_is_allowed_passes_and_says_how_far_it_may_reach() -> None:
    asked = queries(50)
    rng = np.random.default_rng(2)
    times = {name: rng.lognormal(3, 0.5, (50, 3)) for name in ("before", "after")}
    sides = [
        side(name, asked, lambda n, r, t=t: ranked(GOOD, latency_ms=float(t[n, r])), rounds=3)
        for name, t in times.items()
    ]
    found = check(judge(sides[0], sides[1], GATES), "p95_latency")
    assert found.lower < 0 < found.upper
    assert found.upper > 0.2 > found.change
    assert found.verdict is Verdict.PASS
    assert "may be worse by up to" in found.reason


def test_costs_warn_and_never_block() -> None:
    asked = queries(20)
    cheap = side("before", asked, lambda *_: ranked(GOOD, cost_usd=0.001))
    dear = side("after", asked, lambda *_: ranked(GOOD, cost_usd=0.002))
    free = good("before", asked)
    assert check(judge(cheap, dear, GATES), "cost_per_1k").verdict is Verdict.WARN
    assert check(judge(dear, cheap, GATES), "cost_per_1k").verdict is Verdict.PASS
    assert check(judge(free, dear, GATES), "cost_per_1k").verdict is Verdict.WARN
    nothing = side("before", asked, lambda *_: failed())
    assert check(judge(nothing, dear, GATES), "cost_per_1k").verdict is Verdict.INCONCLUSIVE


def test_a_gate_that_is_taken_away_says_nothing() -> None:
    asked = queries(20)
    gates = EvaluationGates(gates=GateSet(p95_latency=None, cost_per_1k=None))
    names = {one.name for one in judge(good("a", asked), good("b", asked), gates).checks}
    assert names == set(NAMES) - {"p95_latency", "cost_per_1k"}


def test_sides_that_do_not_belong_together_are_refused() -> None:
    asked = queries(20)
    others = (query(0, query_text="something else"), *asked[1:])
    with pytest.raises(ContractError, match="q0000 asks"):
        judge(good("before", asked), good("after", others), GATES)
    unjudged = Judgements({one.query_id: {asset("a0"): 1} for one in asked[1:]}, frozenset())
    with pytest.raises(ContractError, match="labels that differ"):
        judge(good("before", asked), good("after", asked, judgements=unjudged), GATES)


def test_only_queries_of_both_are_compared() -> None:
    asked = queries(60)
    report = judge(good("before", asked), good("after", asked[:30]), GATES)
    assert {one.queries for one in report.checks} == {30}


@pytest.mark.parametrize(
    ("harm", "verdict"),
    [
        (Harm(0.005, 0.001, 0.009, True), Verdict.PASS),
        (Harm(0.005, -0.01, 0.02, False), Verdict.INCONCLUSIVE),
        (Harm(0.02, -0.01, 0.05, False), Verdict.INCONCLUSIVE),
        (Harm(0.02, 0.001, 0.04, True), Verdict.BLOCK),
        (Harm(-0.05, -0.08, -0.02, False), Verdict.PASS),
    ],
)
def test_the_rule(harm: Harm, verdict: Verdict) -> None:
    assert ruled(harm, Gate(most=0.01), "points")[0] is verdict
    lenient = ruled(harm, Gate(most=0.01, breach="warn", unsure="pass"), "points")[0]
    within = harm.estimate <= 0.01
    assert lenient is (
        Verdict.WARN if verdict is Verdict.BLOCK else Verdict.PASS if within else verdict
    )


def test_the_worst_verdict_is_that_of_all() -> None:
    assert worst([]) is Verdict.PASS
    assert worst([Verdict.PASS, Verdict.WARN]) is Verdict.WARN
    assert worst([Verdict.INCONCLUSIVE, Verdict.WARN]) is Verdict.INCONCLUSIVE
    assert worst([Verdict.INCONCLUSIVE, Verdict.BLOCK, Verdict.PASS]) is Verdict.BLOCK


def test_the_gates_that_are_shipped_are_those_in_code_and_rollouts_keep_theirs(
    tmp_path: Path,
) -> None:
    assert load_gates(conf_folder({}) / "gates.yaml") == EvaluationGates()
    file = tmp_path / "gates.yaml"
    file.write_text("rollout: {min_assets: 7}\nevaluation: {gates: {ndcg_10: {most: 0.03}}}\n")
    assert load_gates(file).gates.ndcg_10 == Gate(most=0.03)
    assert load_rollout_gates(file).rollout.min_assets == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("evaluation: {gates: {ndcg: {most: 1}}}", "evaluation.gates.ndcg: unknown key"),
        ("evaluation: {gates: {ndcg_10: {most: -1}}}", "evaluation.gates.ndcg_10.most"),
        ("evaluation: 3", "evaluation"),
        ("evaluations: {}", "evaluations: unknown key"),
        ("- evaluation", "it has sections"),
        ("evaluation: [", "not YAML"),
    ],
)
def test_wrong_gates_are_told_by_their_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "gates.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said) as error:
        load_gates(tmp_path / "gates.yaml")
    assert error.value.code == "config.gates"
    with pytest.raises(ConfigError, match="cannot be read"):
        load_gates(tmp_path / "absent.yaml")


def test_builds_that_differ_by_noise_are_seldom_blocked_and_damage_that_is_detectable_is() -> None:
    rng = np.random.default_rng(11)
    gates = EvaluationGates(resamples=1000)
    blocked = found = 0
    for seed in range(40):
        first = tuple(checks_of(unchanged(rng, 100, 0.1), gates, seed))
        blocked += worst(one.verdict for one in first) is Verdict.BLOCK
        damaged = shifted(rng, unchanged(rng, 100, 0.1), first[0].detectable, 0.1)
        found += next(checks_of(damaged, gates, seed)).verdict is Verdict.BLOCK
    assert blocked <= 4
    assert found >= 27


def test_gates_that_block_share_a_chance_to_err() -> None:
    assert EvaluationGates().surely == pytest.approx(0.98)  # five of them
    none = dict.fromkeys(GateSet.model_fields)
    one = GateSet(**none | {"ndcg_10": Gate(most=0.01)})
    warns = GateSet(**none | {"ndcg_10": Gate(most=0.01, breach="warn")})
    for gates in (one, warns, GateSet(**none)):
        assert EvaluationGates(gates=gates).surely == pytest.approx(0.95)


def test_queries_that_stand_for_themselves_are_judged_by_the_estimate_alone() -> None:
    harm = Harm(0.02, -0.01, 0.05, False)
    verdict, reason = ruled(harm, Gate(most=0.01, beyond="at_all"), "points")
    assert verdict is Verdict.BLOCK
    assert "on these queries" in reason
