"""Runs on the Shelf: parts until all is there, the head last, one process at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecm.contracts.measured import (
    Acceptance,
    Answered,
    EngineAnswer,
    RunHead,
    RunPlan,
    RunState,
    Schedule,
    Summary,
    Verdict,
)
from ecm.errors import ConfigError, LeaseLost, StoreCorrupt
from ecm.evaluation.runs import ANSWERS, HEAD, PARTS, PLAN, SUMMARY, Runs
from ecm.evaluation.schedules import earlier_run, engine_of, new_run_id
from ecm.evaluation.settings import Asked
from tests.evaluated import NOW, facts, labels, plan, queries, shelf_in

SET = queries(6)
LABELS = labels(SET)


def planned(run_id: str, at: float = NOW, schedule: Schedule = Schedule.NIGHTLY) -> RunPlan:
    return plan(SET, LABELS, [facts("a")], run_id=run_id, started_at=at, schedule=schedule)


def answered(run_id: str, *numbers: int) -> tuple[Answered, ...]:
    return tuple(
        Answered(
            run_id=run_id,
            engine_id="a",
            query_id=SET.queries[number].query_id,
            answer=EngineAnswer(latency_ms=float(number)),
        )
        for number in numbers
    )


def summary(
    of: RunPlan, verdict: Verdict = Verdict.PASS, state: RunState = RunState.COMPLETE
) -> Summary:
    told = {name: getattr(of, name) for name in RunPlan.model_fields}
    head = RunHead(**told, state=state, finished_at=of.started_at + 1)
    return Summary(head=head, figures=(), gates=None, verdict=verdict)


def finished(runs: Runs, of: RunPlan, verdict: Verdict = Verdict.PASS) -> Summary:
    runs.begin(of)
    return runs.finish(summary(of, verdict), answered(of.run_id, *range(6)), (), {})


def test_a_run_that_is_stopped_keeps_its_parts_and_one_that_ends_has_one_file(
    tmp_path: Path,
) -> None:
    shelf = shelf_in(tmp_path)
    runs = Runs(shelf)
    of = planned("r")
    runs.begin(of)
    first = runs.appender("r")
    first.keep(answered("r", 0, 1))
    first.keep(answered("r", 2))
    again = runs.appender("r")
    again.keep(answered("r", 2, 3))
    kept = runs.kept("r")
    assert (kept.head, kept.summary) == (None, None)
    assert runs.answers("r") == answered("r", 0, 1, 2, 3), "each once"
    every = answered("r", *range(6))
    runs.finish(summary(of), every, (), {"report.md": b"# good"})
    assert runs.answers("r") == every
    assert shelf.files("r", PARTS) == ()
    assert runs.kept("r").head == summary(of).head
    assert runs.file("r", "report.md") == b"# good"


def test_two_processes_that_go_on_with_one_run_do_not_both_write(tmp_path: Path) -> None:
    runs = Runs(shelf_in(tmp_path))
    runs.begin(planned("r"))
    one, other = runs.appender("r"), runs.appender("r")
    one.keep(answered("r", 0))
    with pytest.raises(LeaseLost, match="another process"):
        other.keep(answered("r", 1))


def test_an_end_that_was_killed_is_repeated_to_the_same_end(tmp_path: Path) -> None:
    shelf = shelf_in(tmp_path)
    runs, of = Runs(shelf), planned("r")
    runs.begin(of)
    runs.appender("r").keep(answered("r", *range(6)))
    before = summary(of)
    shelf.put(
        "r",
        ANSWERS,
        b"".join(one.model_dump_json().encode() + b"\n" for one in answered("r", *range(6))),
    )
    shelf.put("r", SUMMARY, before.model_dump_json().encode())
    assert runs.kept("r").head is None, "without its head it is not finished"
    later = before.model_copy(
        update={"head": before.head.model_copy(update={"finished_at": NOW + 99})}
    )
    assert runs.finish(later, answered("r", *range(6)), (), {}) == before
    assert runs.kept("r").head == before.head


def test_a_run_begins_once_and_unknown_ones_are_named(tmp_path: Path) -> None:
    runs = Runs(shelf_in(tmp_path))
    runs.begin(planned("r"))
    with pytest.raises(ConfigError, match="--resume r"):
        runs.begin(planned("r"))
    for unknown in ("q", "../r", "r/plan.json", ""):
        with pytest.raises(ConfigError, match=f"no run {unknown} of tenant t"):
            runs.kept(unknown)


def test_damage_is_told(tmp_path: Path) -> None:
    shelf = shelf_in(tmp_path)
    runs, of = Runs(shelf), planned("r")
    finished(runs, of)
    shelf.drop("r", SUMMARY)
    with pytest.raises(StoreCorrupt, match=SUMMARY):
        runs.kept("r")
    shelf.drop("r", HEAD)
    shelf.put("r", HEAD, b"{}")
    with pytest.raises(StoreCorrupt, match="ecm evaluate forget r"):
        list(runs.all())
    with pytest.raises(ConfigError, match="no run q"):
        runs.remove(["r", "q"])
    assert runs.remove(["r"]) == ("r",)
    assert list(runs.all()) == []


def test_a_schedule_compares_with_its_last_or_with_the_last_that_was_good(tmp_path: Path) -> None:
    runs = Runs(shelf_in(tmp_path))
    of = Schedule.RELEASE
    finished(runs, planned("r1", NOW, of))
    finished(runs, planned("r2", NOW + 10, of), Verdict.BLOCK)
    finished(runs, planned("n1", NOW + 20), Verdict.PASS)
    runs.begin(planned("r3", NOW + 30, of))
    last, good = Asked(compare="last"), Asked(compare="last_good")

    def found(asked: Asked, before: float = NOW + 99) -> str | None:
        kept = earlier_run(runs, of, asked, SET.head.digest, before)
        return None if kept is None else kept.plan.run_id

    assert (found(last), found(good)) == ("r2", "r1"), "an unfinished one is no yardstick"
    assert (found(last, NOW + 5), found(good, NOW)) == ("r1", None)
    refreshed = earlier_run(runs, of, last, "f" * 64, NOW + 99)
    assert refreshed is None, "of other queries there is nothing to compare with yet"
    runs.accept(Acceptance(run_id="r2", by="ada", reason="so be it", at=NOW, verdict=Verdict.BLOCK))
    assert found(good) == "r2"
    with pytest.raises(ConfigError, match="accepted by ada"):
        runs.accept(Acceptance(run_id="r2", by="bob", reason="too", at=NOW, verdict=Verdict.BLOCK))


def test_a_partial_run_is_no_yardstick(tmp_path: Path) -> None:
    runs, of = Runs(shelf_in(tmp_path)), planned("n1")
    runs.begin(of)
    runs.finish(summary(of, state=RunState.PARTIAL_FAILED), answered("n1", 0), (), {})
    assert earlier_run(runs, Schedule.NIGHTLY, Asked(), SET.head.digest, NOW + 99) is None


def test_the_engine_of_an_earlier_run(tmp_path: Path) -> None:
    runs = Runs(shelf_in(tmp_path))
    runs.begin(planned("r").model_copy(update={"candidate": "a"}))
    kept = runs.kept("r")
    assert engine_of(kept, None, "a") == "a"
    assert engine_of(kept, None, "other") == "a", "what that run judged"
    with pytest.raises(ConfigError, match="r:ENGINE with one of a"):
        engine_of(kept, "b", "a")


def test_old_runs_and_what_is_left_of_removed_ones_are_forgotten(tmp_path: Path) -> None:
    shelf = shelf_in(tmp_path)
    runs = Runs(shelf)
    finished(runs, planned("old", NOW))
    finished(runs, planned("new", NOW + 100))
    finished(runs, planned("half", NOW + 100))
    shelf.drop("half", PLAN)
    assert [one.plan.run_id for one in runs.all()] == ["new", "old"]
    assert sorted(runs.forget(NOW + 50)) == ["half", "old"]
    assert shelf.names("runs") == ("new",)


def test_ids_of_runs_sort_by_time() -> None:
    first, second = (new_run_id(Schedule.RUN, at, "ffff") for at in (NOW, NOW + 1))
    assert first < second
