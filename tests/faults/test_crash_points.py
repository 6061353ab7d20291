"""SIGKILL at every named point of the commit protocol and of the ledger's transactions.

Every process is the recovery of the one before and the next victim. In the end everything is in
the store once, as if nothing had happened. Over PostgreSQL the short form keeps to the ledger's
points after COMMIT, since before it a server rolls back, not we; the long form draws from all.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import cache

import pytest

from tests.fault_harness import STRUCK, Chain, Fault, indexing_points, table_of
from tests.faults.conftest import BACK_ENDS, LONG, MakeChain

FAULTS_OF_A_CHAIN = 40
OFTEN = ("commit.begun", "commit.spooled", "commit.reported", "commit.appended", "table.committed")
"""Points that every run passes again and again: the second and third passage is drawn as well."""


POSTGRES = pytest.mark.needs("postgres")
CASES = [("sqlite", point) for point in indexing_points()] + [
    pytest.param("postgres", point, marks=POSTGRES)
    for point in indexing_points()
    if point.startswith("ledger.") and point.endswith(".committed")
]


@pytest.fixture(scope="module")
def chains(make_chain: MakeChain) -> Callable[[str], Chain]:
    """The one chain of each kind that all tests of this module strike."""
    return cache(make_chain)


@pytest.mark.parametrize(("kind", "point"), CASES)
def test_a_process_killed_here_loses_and_doubles_nothing(
    chains: Callable[[str], Chain], kind: str, point: str
) -> None:
    chain = chains(kind)
    assert chain.strike(Fault(point)) == STRUCK
    assert not chain.recomputed


@pytest.mark.parametrize("kind", BACK_ENDS)
def test_after_all_of_them_the_store_is_that_of_a_run_left_alone(
    chains: Callable[[str], Chain], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = chains(kind)
    verdict = chain.verdict()
    with capsys.disabled():
        print(f"\n{kind}\n{table_of(chain.outcomes)}")
    assert verdict.clean, verdict


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", BACK_ENDS)
def test_many_faults_in_any_order(
    kind: str, make_chain: MakeChain, capsys: pytest.CaptureFixture[str]
) -> None:
    """The long form; without FAULTS it draws a handful."""
    draw = random.Random(20)
    faults = _drawn(draw, LONG or 5)
    outcomes: Counter[tuple[str, str]] = Counter()
    for start in range(0, len(faults), FAULTS_OF_A_CHAIN):
        chain = make_chain(kind)
        for fault in faults[start : start + FAULTS_OF_A_CHAIN]:
            assert chain.strike(fault) == STRUCK, fault
        verdict = chain.verdict()
        assert verdict.clean, (verdict, faults[start : start + FAULTS_OF_A_CHAIN])
        outcomes += chain.outcomes
    if LONG:
        with capsys.disabled():
            print(f"\n{kind}\n{table_of(outcomes)}\n{summary_of(outcomes)}")


def summary_of(outcomes: Counter[tuple[str, str]]) -> str:
    struck = sum(outcomes.values())
    return (
        f"{struck} faults: lost 0, duplicated 0, computed again 0; with 95 % confidence fewer than "
        f"{3 / struck:.2%} of such faults lose or double anything (3/n)"
    )


def _drawn(draw: random.Random, number: int) -> list[Fault]:
    """Every point comes before any comes again."""
    points: list[str] = []
    while len(points) < number:
        points += draw.sample(indexing_points(), len(indexing_points()))
    return [Fault(p, draw.randint(1, 3) if p in OFTEN else 1) for p in points[:number]]
