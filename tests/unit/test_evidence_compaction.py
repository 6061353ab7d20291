"""Which fragments are merged when: laws of the two rules, over any history of appends."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.evidence.compaction import FEWEST, Fragment, full_runs, next_run

MIB = 2**20
sizes = st.lists(st.integers(1, 6 * MIB), max_size=60)


def fragments(found: list[int], deleted: int = 0) -> list[Fragment]:
    return [Fragment(number, 100 - deleted, deleted, size) for number, size in enumerate(found)]


@given(sizes, st.integers(1, 8 * MIB))
def test_a_step_is_bounded_worth_it_and_of_neighbours(found: list[int], most: int) -> None:
    run = next_run(fragments(found), most)
    size = sum(fragment.bytes for fragment in run)
    assert not run or len(run) >= FEWEST or (len(run) > 1 and size > most // 2)
    assert size <= most
    assert all(b.number == a.number + 1 for a, b in pairwise(run))


def numbered(found: list[int]) -> list[Fragment]:
    return [Fragment(number, 100, 0, size) for number, size in enumerate(found)]


@given(
    st.lists(st.integers(1_000, 3 * MIB), min_size=1, max_size=7),
    st.integers(100, 1500),
    st.integers(8, 64),
)
@settings(max_examples=40)
def test_rows_are_rewritten_a_few_times_and_fragments_stay_few(
    batches: list[int], commits: int, every: int
) -> None:
    """What a loop does with a table that only grows; Lance puts what was merged last."""
    most = 32 * MIB
    there: list[int] = []
    written = 0
    for commit in range(1, commits + 1):
        there.append(batches[commit % len(batches)])
        if commit % every == 0 and (run := next_run(numbered(there), most)):
            size = sum(fragment.bytes for fragment in run)
            del there[run[0].number : run[-1].number + 1]
            there.append(size)
            written += size
    while run := next_run(numbered(there), most):
        del there[run[0].number : run[-1].number + 1]
        there.append(sum(fragment.bytes for fragment in run))
    total = sum(batches[commit % len(batches)] for commit in range(1, commits + 1))
    steps = max(1, commits // every)
    assert sum(there) == total
    assert written <= total * (2 + steps.bit_length())
    assert len(there) <= 4 * FEWEST + (2 + FEWEST // 2) * (total // (most // 2))


def test_what_is_much_bigger_than_what_follows_is_left_alone() -> None:
    run = next_run(fragments([10 * MIB, *[1000] * 20]), 32 * MIB)
    assert [fragment.number for fragment in run] == list(range(1, 21))


@given(sizes, st.integers(1, 8 * MIB))
def test_at_leisure_everything_small_is_merged_up_to_the_wanted_size(
    found: list[int], wanted: int
) -> None:
    there = fragments(found)
    runs = full_runs(there, wanted)
    for run in runs:
        assert len(run) > 1
        assert all(b.number == a.number + 1 for a, b in pairwise(run))
        assert sum(fragment.bytes for fragment in run) <= wanted
    sizes = found
    while runs := full_runs(numbered(sizes), wanted):
        merged = {fragment.number for run in runs for fragment in run}
        left = [size for number, size in enumerate(sizes) if number not in merged]
        sizes = [*left, *(sum(fragment.bytes for fragment in run) for run in runs)]
    assert sum(sizes) == sum(found)
    assert all(a + b > wanted for a, b in pairwise(sizes)), "no two neighbours are left to merge"


def test_a_fragment_full_of_holes_is_written_anew_whatever_its_size() -> None:
    there = [
        Fragment(0, 100, 0, 9 * MIB),
        Fragment(1, 80, 20, 9 * MIB),
        Fragment(2, 95, 5, 9 * MIB),
    ]
    assert full_runs(there, MIB) == [[there[1]]]
