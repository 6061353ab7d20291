"""The table of transitions: complete, without dead ends, and kept by every statement."""

from __future__ import annotations

import re
from itertools import pairwise, product

import pytest

from ecm.errors import ContractError
from ecm.ledger.connector import load_migrations, load_statements
from ecm.ledger.states import (
    COMMITTED,
    HELD,
    INITIAL,
    PENDING,
    SETTLED,
    TRANSIENT,
    TRANSITIONS,
    TaskState,
    allowed,
    transition,
)

S = TaskState


def _reachable(start: TaskState) -> set[TaskState]:
    seen, ahead = {start}, [start]
    while ahead:
        here = ahead.pop()
        found = {target for source, target in TRANSITIONS if source is here} - seen
        seen |= found
        ahead.extend(found)
    return seen


def test_the_paths_of_the_design_are_allowed() -> None:
    normal = [S.QUEUED, S.LEASED, S.RUNNING, S.REPORTED, S.PERSISTED, S.DONE]
    paths = [
        normal,
        [S.RUNNING, S.FAILED, S.RETRY_QUEUED, S.LEASED],
        [S.FAILED, S.DEAD_LETTER, S.RETRY_QUEUED],
        [S.LEASED, S.LEASE_EXPIRED, S.RETRY_QUEUED],
        [S.RUNNING, S.LEASE_EXPIRED],
        [S.LEASED, S.MODEL_MISMATCH, S.RETRY_QUEUED],
        [S.QUEUED, S.CANCELLED],
    ]
    assert all(allowed(a, b) for path in paths for a, b in pairwise(path))


def test_every_state_is_reached_and_only_settled_states_end_a_path() -> None:
    assert _reachable(INITIAL) == set(TaskState)
    for state in TaskState:
        assert _reachable(state) & SETTLED


def test_committed_tasks_are_derived_again_from_the_start_and_nothing_else_is_committed() -> None:
    assert {b for a, b in TRANSITIONS if a in (S.PERSISTED, S.DONE)} == {S.DONE, S.QUEUED}
    assert {a for a, b in TRANSITIONS if b is S.PERSISTED} == {S.REPORTED}
    assert {a for a, b in TRANSITIONS if b is S.REPORTED} == HELD


def test_every_pair_is_either_in_the_table_with_a_cause_or_refused() -> None:
    for source, target in product(TaskState, TaskState):
        if allowed(source, target):
            assert transition(source, target).cause
        else:
            with pytest.raises(ContractError, match=f"from {source} to {target}"):
                transition(source, target)


def test_every_exception_leaves_a_row_and_the_normal_path_none() -> None:
    exceptional = {S.FAILED, S.LEASE_EXPIRED, S.MODEL_MISMATCH, S.DEAD_LETTER, S.CANCELLED}
    for (source, target), step in TRANSITIONS.items():
        redriven = target is S.RETRY_QUEUED and source not in TRANSIENT | HELD
        restored = target is S.DONE and source is not S.PERSISTED
        reopened = target is S.QUEUED and source in COMMITTED
        assert step.recorded == (target in exceptional or redriven or restored or reopened), (
            source,
            target,
        )


def test_states_are_pending_settled_or_passed_through() -> None:
    assert set(TaskState) == PENDING | SETTLED | TRANSIENT
    assert not PENDING & SETTLED
    schema = load_migrations("sqlite")[1]
    stored = re.search(r"CREATE TABLE tasks.*?CHECK \(state IN \((.*?)\)\)", schema, re.DOTALL)
    assert stored is not None
    assert set(re.findall(r"'(\w+)'", stored[1])) == PENDING | SETTLED


STEPS_IN_SQL = {
    "claim": ({S.QUEUED, S.RETRY_QUEUED}, {S.LEASED}),
    "start_leased": ({S.LEASED}, {S.RUNNING}),
    "report_task": ({S.LEASED, S.RUNNING}, {S.REPORTED}),
    "persist_tasks": ({S.REPORTED}, {S.PERSISTED}),
    "complete_tasks": ({S.PERSISTED}, {S.DONE}),
    "release_task": ({S.LEASED, S.RUNNING}, {S.QUEUED, S.RETRY_QUEUED}),
}


@pytest.mark.parametrize("name", STEPS_IN_SQL)
def test_statements_of_the_normal_path_take_only_steps_of_the_table(name: str) -> None:
    sources, targets = STEPS_IN_SQL[name]
    text = load_statements("sqlite")[name]
    update = text[text.index("UPDATE tasks") :]
    assignment, condition = update.split("WHERE", 1)
    assert {S(word) for word in re.findall(r"'(\w+)'", assignment)} == targets
    assert {S(word) for word in re.findall(r"'(\w+)'", condition)} == sources
    assert all(allowed(source, target) for source, target in product(sources, targets))


def test_only_the_listed_statements_write_the_state_of_a_task() -> None:
    writing = {
        name
        for name, text in load_statements("sqlite").items()
        if re.search(r"UPDATE tasks\b[^;]*?\bSET\b[^;]*?\bstate = ", text, re.DOTALL)
    }
    assert writing == {*STEPS_IN_SQL, "move_task"}
