"""Go or no-go: all that is wanted must be shown, and hard queries must not pay for easy ones."""

from __future__ import annotations

import pytest

from ecm.contracts.measured import GateCheck, GateReport, Verdict
from ecm.evaluation.config import EvaluationGates
from ecm.evaluation.gates import Side, judge
from ecm.evaluation.promotion import go_or_no_go
from tests.evaluation_sides import GOOD, POOR, failed, queries, ranked, side

GATES = EvaluationGates(resamples=1000)
ASKED = queries(200, hard=40)


def decided(baseline: Side, candidate: Side) -> GateReport:
    return go_or_no_go(judge(baseline, candidate, GATES), baseline, candidate, GATES)


def of(report: GateReport, name: str) -> GateCheck:
    return next(one for one in report.promotion if one.name == name)


def better_from(first: int, name: str = "after", **fields) -> Side:
    """Poor below a query's number, good from there on."""
    return side(name, ASKED, lambda number, _: ranked(GOOD if number >= first else POOR, **fields))


def test_what_is_better_everywhere_may_go() -> None:
    report = decided(better_from(100, "before"), better_from(0))
    assert report.go is True
    assert {one.verdict for one in report.promotion} == {Verdict.PASS}
    gain = of(report, "ndcg@10 gain")
    assert gain.change > gain.lower > 0.08
    assert gain.unit == "relative"


def test_the_same_again_is_no_gain() -> None:
    report = decided(better_from(100, "before"), better_from(100))
    assert report.go is False
    assert report.verdict is Verdict.PASS
    assert of(report, "ndcg@10 gain").verdict is Verdict.BLOCK
    assert of(report, "recall@20").verdict is Verdict.PASS


def test_a_gain_that_is_sure_but_less_than_wanted_is_no_go() -> None:
    report = decided(better_from(20, "before"), better_from(14))
    assert of(report, "ndcg@10 gain").change < 0.08
    assert report.go is False


def test_hard_queries_do_not_pay_for_a_gain() -> None:
    before = side("before", ASKED, lambda number, _: ranked(GOOD if number < 100 else POOR))
    report = decided(before, better_from(40))
    assert of(report, "ndcg@10 gain").verdict is Verdict.PASS
    assert of(report, "hardest ndcg@10").verdict is Verdict.BLOCK
    assert of(report, "hardest ndcg@10").queries == 40
    assert report.go is False


@pytest.mark.parametrize(
    ("fields", "name"), [({"latency_ms": 30.0}, "p95_latency"), ({}, "error_rate")]
)
def test_a_gain_is_not_bought_with_time_or_errors(fields: dict[str, float], name: str) -> None:
    def after(number: int, _: int):
        return failed() if not fields and number < 8 else ranked(GOOD, **fields)

    report = decided(better_from(100, "before"), side("after", ASKED, after))
    assert of(report, name).verdict is Verdict.BLOCK
    assert report.go is False


def test_one_error_more_is_no_go_until_it_is_told_from_chance() -> None:
    before = better_from(100, "before")
    after = side("after", ASKED, lambda number, _: ranked(GOOD) if number else failed())
    report = decided(before, after)
    assert of(report, "error_rate").verdict is Verdict.INCONCLUSIVE
    assert report.go is False


def test_without_hard_queries_nothing_is_told_of_them() -> None:
    easy = queries(50)
    sides = [side(name, easy, lambda *_: ranked(GOOD)) for name in ("before", "after")]
    found = of(decided(sides[0], sides[1]), "hardest ndcg@10")
    assert (found.verdict, found.queries) == (Verdict.INCONCLUSIVE, 0)
