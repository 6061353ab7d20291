"""Team drafts: whose each place is, the same every time, fair to both."""

from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from ecm.evaluation.online.interleaving import (
    CONTROL,
    NOBODY,
    TREATMENT,
    coins_of,
    drafted,
    teams_of,
)

ITEMS = "abcdefghijkl"
RANKINGS = st.lists(st.sampled_from(ITEMS), unique=True, max_size=len(ITEMS))
UNIT = "0" * 32


def coins(number: int = 0) -> object:
    return coins_of("", "one", f"{number:064x}", UNIT)


@given(RANKINGS, RANKINGS, st.integers(0, 1000))
def test_everything_of_both_is_there_once(
    control: list[str], treatment: list[str], number: int
) -> None:
    shown = [one.asset_id for one in drafted(control, treatment, coins(number))]
    assert len(set(shown)) == len(shown)
    assert set(shown) == {*control, *treatment}


@given(RANKINGS, RANKINGS, st.integers(0, 1000))
def test_each_place_is_the_best_that_its_team_had_left(
    control: list[str], treatment: list[str], number: int
) -> None:
    sides, taken = {CONTROL: control, TREATMENT: treatment}, set[str]()
    for one in drafted(control, treatment, coins(number)):
        if one.team != NOBODY:
            assert next(a for a in sides[one.team] if a not in taken) == one.asset_id
        taken.add(one.asset_id)


@given(RANKINGS, RANKINGS, st.integers(0, 1000))
def test_while_both_have_something_neither_is_two_places_ahead(
    control: list[str], treatment: list[str], number: int
) -> None:
    ahead, taken = 0, set[str]()
    for one in drafted(control, treatment, coins(number)):
        if not ({*control} - taken and {*treatment} - taken):
            break
        ahead += {CONTROL: -1, TREATMENT: 1, NOBODY: 0}[one.team]
        taken.add(one.asset_id)
        assert abs(ahead) <= 1


@given(RANKINGS, st.integers(0, 1000))
def test_the_same_ranking_twice_is_itself_and_nobodys(ranking: list[str], number: int) -> None:
    shown = drafted(ranking, ranking, coins(number))
    assert [one.asset_id for one in shown] == ranking
    assert set(teams_of(shown)) <= {NOBODY}


def test_places_at_the_beginning_that_both_have_are_nobodys() -> None:
    shown = drafted(["a", "b", "c", "d"], ["a", "b", "d", "c"], coins())
    assert teams_of(shown)[:2] == "--"
    assert NOBODY not in teams_of(shown)[2:]


def test_a_page_is_cut_from_the_same_draft_whoever_makes_it() -> None:
    one, other = drafted(list("abcdef"), list("fedcba"), coins(7)), None
    other = drafted(list("abcdef"), list("fedcba"), coins(7))
    assert one == other
    assert list(islice(coins(7), 100)) == list(islice(coins(7), 100))


def test_coins_are_fair_and_differ_between_questions_and_units() -> None:
    first = sum(next(coins(number)) for number in range(4000))
    assert abs(first - 2000) < 4 * 32
    thrown = {tuple(islice(coins(number), 32)) for number in range(100)}
    assert len(thrown) == 100
    others = {tuple(islice(coins_of("", "one", "q", f"{n:032x}"), 32)) for n in range(100)}
    assert len(others) == 100


def test_either_ranking_is_first_as_often() -> None:
    """What both have at different places is either team's as often: neither is favoured."""
    teams = [drafted(["a", "b"], ["b", "a"], coins(n))[0].team for n in range(2000)]
    assert abs(teams.count(TREATMENT) - 1000) < 4 * 23
