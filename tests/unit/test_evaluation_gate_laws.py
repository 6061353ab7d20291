"""Laws of gates: a failure, or a degraded answer, never makes a candidate look better."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.contracts.measured import EngineAnswer
from ecm.evaluation.config import EvaluationGates
from ecm.evaluation.gates import judge
from tests.evaluation_sides import failed, queries, ranked, side

QUERIES, ROUNDS = 6, 2
ASKED = queries(QUERIES)
GATES = EvaluationGates(resamples=1000, min_queries=2, max_left_out=1.0)
FALLS = {"ndcg@10", "recall@50"}
"""Gates of what is better when higher."""

ANSWERS = st.one_of(
    st.just(failed()),
    st.builds(
        lambda names, latency, cost, degraded: ranked(
            names, latency_ms=latency, cost_usd=cost, degraded=degraded
        ),
        st.lists(st.sampled_from(["a0", "a1", "a2", "b0", "b1"]), unique=True),
        st.floats(1.0, 1000.0),
        st.floats(0.001, 1.0),
        st.sampled_from([(), ("vv",)]),
    ),
)
SIDES = st.lists(ANSWERS, min_size=QUERIES * ROUNDS, max_size=QUERIES * ROUNDS)
PLACES = st.integers(0, QUERIES * ROUNDS - 1)


def harms(before: list[EngineAnswer], after: list[EngineAnswer]) -> dict[str, float | None]:
    """How much worse the candidate is by each gate, None where it cannot be told."""
    sides = [
        side(name, ASKED, lambda n, r, one=one: one[ROUNDS * n + r], rounds=ROUNDS)
        for name, one in (("before", before), ("after", after))
    ]
    return {
        check.name: None
        if check.change is None
        else -check.change
        if check.name in FALLS
        else check.change
        for check in judge(sides[0], sides[1], GATES).checks
    }


def none_is_better(before: dict[str, float | None], after: dict[str, float | None]) -> None:
    for name, harm in before.items():
        now = after[name]
        if harm is not None and now is not None:
            assert now >= harm - 1e-9, name


@settings(max_examples=30, deadline=None)
@given(SIDES, SIDES, PLACES)
def test_one_more_failure_never_helps(before, after, place) -> None:
    """One that takes as long and costs as much as the answer would have."""
    failing = list(after)
    failing[place] = failed().model_copy(
        update={"latency_ms": after[place].latency_ms, "cost_usd": after[place].cost_usd}
    )
    none_is_better(harms(before, after), harms(before, failing))


@settings(max_examples=30, deadline=None)
@given(SIDES, SIDES, PLACES)
def test_one_more_degraded_answer_never_helps(before, after, place) -> None:
    poorer = [
        one.model_copy(update={"degraded": ("vv",)}) if n == place and one.error is None else one
        for n, one in enumerate(after)
    ]
    none_is_better(harms(before, after), harms(before, poorer))
