"""What may be compared: never other queries, and nothing passes on another snapshot unsaid."""

from __future__ import annotations

import pytest

from ecm.contracts.measured import (
    Answered,
    EngineAnswer,
    GateCheck,
    GateReport,
    RunHead,
    RunPlan,
    RunState,
    Schedule,
    Summary,
    Verdict,
)
from ecm.errors import ConfigError
from ecm.evaluation.comparing import Comparability, SideOf, comparability, side_of, tempered
from ecm.evaluation.schedules import ExitCode, exit_code, verdict_of
from tests.evaluated import NOW, facts, labels, plan, queries

SET = queries(10)
LABELS = labels(SET)


def side(run_id: str = "r1", asked: int = 10, snapshot: str = "s1", **said: object) -> SideOf:
    of = plan(SET, LABELS, [facts("a", snapshot_id=snapshot)], run_id=run_id, **said)
    answers = (
        Answered(run_id=run_id, engine_id="a", query_id=one.query_id, answer=EngineAnswer())
        for one in SET.queries[:asked]
    )
    return side_of(of, "a", answers)


def test_alike_sides_compare_without_remarks() -> None:
    found = comparability(side("r1"), side("r2"))
    assert (len(found.common), found.gates, found.remarks) == (10, (), ())


def test_other_queries_another_tenant_or_nothing_in_common_are_refused() -> None:
    other = queries(11)
    with pytest.raises(ConfigError, match=r"small@1 \([0-9a-f]{12}\).*not the same queries"):
        comparability(side(query_set=other.head), side("r2"))
    with pytest.raises(ConfigError, match="tenant u"):
        comparability(side(tenant_id="u"), side("r2"))
    with pytest.raises(ConfigError, match="no query in common"):
        comparability(side(asked=0), side("r2"))
    with pytest.raises(ConfigError, match="no engine b"):
        side_of(side().plan, "b", ())


def test_another_snapshot_keeps_gates_from_passing_unless_any_will_do() -> None:
    found = comparability(side(), side("r2", snapshot="s2"))
    assert found.gates == ("the baseline searched snapshot s1, the candidate s2: other assets",)
    found = comparability(side(), side("r2", snapshot="s2"), "any")
    assert (found.gates, len(found.remarks)) == ((), 1)


def test_what_was_not_asked_of_both_and_another_depth_keep_gates_from_passing() -> None:
    assert comparability(side(asked=7), side("r2")).gates == (
        "only 7 of 10 queries were asked of both",
    )
    assert "results" in comparability(side(depth=5), side("r2")).gates[0]
    fewer = tuple(one.query_id for one in SET.queries[:4])
    found = comparability(side(), side("r2", asked=4, queries=fewer))
    assert (found.gates, found.remarks) == ((), ("compared on the 4 queries that both were asked",))


def test_other_labels_are_remarked_on() -> None:
    other = LABELS.head.model_copy(update={"digest": "f" * 64, "label_version": 2})
    found = comparability(side(label_set=other), side("r2"))
    assert found.gates == ()
    assert "small@2" in found.remarks[0]


def check(verdict: Verdict, name: str = "ndcg@10") -> GateCheck:
    return GateCheck(
        name=name,
        baseline=0.5,
        candidate=0.5,
        change=0.0,
        threshold=0.01,
        unit="points",
        confidence=0.95,
        queries=10,
        verdict=verdict,
        reason="so it is",
    )


def report(*verdicts: Verdict) -> GateReport:
    return GateReport(
        baseline="b",
        candidate="a",
        verdict=max(verdicts),
        checks=tuple(check(one) for one in verdicts),
        promotion=(check(Verdict.PASS),),
        go=True,
    )


def test_passes_become_inconclusive_and_say_why_but_a_block_stays() -> None:
    unsure = Comparability(frozenset("q"), gates=("other assets",))
    found = tempered(report(Verdict.PASS, Verdict.WARN), unsure)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert {one.verdict for one in found.checks} == {Verdict.INCONCLUSIVE}
    assert found.checks[0].reason == "other assets; so it is"
    assert found.go is False, "nothing is promoted on what cannot be told"
    blocked = tempered(report(Verdict.PASS, Verdict.BLOCK), unsure)
    assert (blocked.verdict, blocked.failed) == (Verdict.BLOCK, ("ndcg@10",))
    same = report(Verdict.PASS)
    assert tempered(same, Comparability(frozenset("q"), remarks=("one",))) is same


def ended(gates: GateReport | None, state: RunState, schedule: Schedule) -> Summary:
    of = plan(SET, LABELS, [facts("a")], schedule=schedule)
    told = {name: getattr(of, name) for name in RunPlan.model_fields}
    head = RunHead(**told, state=state, finished_at=NOW)
    return Summary(head=head, figures=(), gates=gates, verdict=verdict_of(head, gates))


@pytest.mark.parametrize(
    ("gates", "state", "schedule", "code"),
    [
        (report(Verdict.PASS), RunState.COMPLETE, Schedule.RELEASE, ExitCode.PASS),
        (report(Verdict.WARN), RunState.COMPLETE, Schedule.NIGHTLY, ExitCode.PASS),
        (report(Verdict.BLOCK), RunState.COMPLETE, Schedule.RUN, ExitCode.BLOCK),
        (report(Verdict.BLOCK), RunState.PARTIAL_FAILED, Schedule.RUN, ExitCode.BLOCK),
        (report(Verdict.PASS), RunState.PARTIAL_FAILED, Schedule.RUN, ExitCode.PARTIAL),
        (report(Verdict.PASS), RunState.BUDGET_STOPPED, Schedule.RUN, ExitCode.PARTIAL),
        (report(Verdict.INCONCLUSIVE), RunState.COMPLETE, Schedule.RUN, ExitCode.INCONCLUSIVE),
        (None, RunState.COMPLETE, Schedule.RUN, ExitCode.PASS),
        (None, RunState.PARTIAL_FAILED, Schedule.RUN, ExitCode.PARTIAL),
        (None, RunState.COMPLETE, Schedule.NIGHTLY, ExitCode.INCONCLUSIVE),
        (None, RunState.COMPLETE, Schedule.RELEASE, ExitCode.INCONCLUSIVE),
    ],
)
def test_what_a_pipeline_is_told(
    gates: GateReport | None, state: RunState, schedule: Schedule, code: ExitCode
) -> None:
    assert exit_code(ended(gates, state, schedule)) is code


def test_what_is_not_complete_has_not_passed() -> None:
    partial = ended(report(Verdict.PASS), RunState.PARTIAL_FAILED, Schedule.RUN)
    assert partial.verdict is Verdict.INCONCLUSIVE
