"""No split leaks: whatever queries there are, what is tied lies on one side, now and later."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from ecm.contracts.evaluation import EvaluationQuery, QueryKind, Split
from ecm.contracts.search import QueryType
from ecm.evaluation.datasets.building import build_queries
from ecm.evaluation.datasets.refreshing import Past, refreshed
from ecm.evaluation.datasets.splits import Tied, compatible, components, sides_of, ties_of
from ecm.evaluation.shelf import Labels, Queries
from tests.query_sources import built, drawn, known, leaks_of, named

TIES = st.frozensets(st.sampled_from([f"tie {n}" for n in range(30)]), min_size=1, max_size=3)
QUERIES = st.lists(st.tuples(st.sampled_from(QueryType), TIES), max_size=40).map(
    lambda those: [Tied(f"q-{n}", kind, ties) for n, (kind, ties) in enumerate(those)]
)


def leaks(tied: list[Tied], sides: dict[str, Split | None]) -> list[str]:
    """Ties that queries of both sides have."""
    found: dict[str, set[Split]] = defaultdict(set)
    for one in tied:
        side = sides[one.query_id]
        if side is not None:
            for tie in one.ties:
                found[tie].add(side)
    return [tie for tie, those in found.items() if len(those) > 1]


@given(QUERIES, st.integers(0, 3), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_what_is_tied_over_any_number_of_steps_lies_on_one_side(
    tied: list[Tied], seed: int, held_out: float
) -> None:
    sides = sides_of(tied, held_out, seed)
    assert set(sides) == {one.query_id for one in tied}
    assert None not in sides.values()
    assert not leaks(tied, sides)
    assert sides == sides_of(list(reversed(tied)), held_out, seed)
    if held_out == 0.0:
        assert Split.HELD_OUT not in sides.values()
    if held_out == 1.0:
        assert Split.LEARN not in sides.values()


@given(QUERIES, QUERIES, st.integers(0, 3))
def test_what_comes_later_moves_nothing_and_leaks_nothing(
    early: list[Tied], late: list[Tied], seed: int
) -> None:
    late = [Tied(f"later-{one.query_id}", one.query_type, one.ties) for one in late]
    before = {key: side for key, side in sides_of(early, 0.5, seed).items() if side is not None}
    unfit = compatible(early, before, late)
    assert unfit <= {one.query_id for one in late}
    fit = [one for one in late if one.query_id not in unfit]
    after = sides_of([*early, *fit], 0.5, seed, before)
    assert None not in after.values()
    assert {key: after[key] for key in before} == before
    assert not leaks([*early, *fit], after)
    if unfit:  # they would have tied the sides together
        everything = sides_of([*early, *late], 0.5, seed, before)
        assert None in everything.values()


@given(QUERIES)
def test_components_are_the_smallest_sets_that_share_no_tie(tied: list[Tied]) -> None:
    found = components(tied)
    assert sorted(one.query_id for those in found for one in those) == sorted(
        one.query_id for one in tied
    )
    ties = [frozenset().union(*(one.ties for one in those)) for those in found]
    assert sum(map(len, ties)) == len(frozenset().union(*ties, frozenset()))


def test_shares_are_kept_in_every_type_as_far_as_ties_allow() -> None:
    alone = [Tied(f"q-{n}", list(QueryType)[n % 4], frozenset({f"tie {n}"})) for n in range(400)]
    sides = sides_of(alone, 0.3, 0)
    for query_type in QueryType:
        own = [sides[one.query_id] for one in alone if one.query_type is query_type]
        assert own.count(Split.HELD_OUT) == 30


def test_ties_are_words_groups_and_the_assets_that_a_query_is_about() -> None:
    a, b = "a" * 64, "b" * 64
    caption = ties_of("A dog.", None, QueryKind.CAPTION, f"asset:{a}", [a])
    assert caption & ties_of("a DOG", None, QueryKind.CLASS, "class:dog", [a, b])
    assert caption & ties_of(None, a, QueryKind.IMAGE, "class:cat", [b])
    assert caption & ties_of("cat", None, QueryKind.CLASS, "class:cat", [a])
    assert not caption & ties_of("cat", None, QueryKind.CLASS, "class:cat", [a, b])
    # Two shown assets are not tied by the same words beside them.
    first = ties_of("like this, but red", a, QueryKind.MIXED, "class:dog", [])
    assert not first & ties_of("like this, but red", b, QueryKind.MIXED, "class:cat", [])


def check_laws(queries: Queries, labels: Labels) -> None:
    assert leaks_of(queries, labels) == []


def test_a_set_and_all_its_refreshments_keep_the_laws() -> None:
    first = built(count=60)
    check_laws(first.queries, first.labels)
    versions = [(first.queries, first.labels)]
    ever: dict[str, EvaluationQuery] = {one.query_id: one for one in first.queries.queries}
    for version in range(2, 7):
        found = refreshed(
            Past(*versions[-1], tuple(versions)),
            drawn(),
            known(),
            named(version=version, seed=version),
            0.4,
        )
        made = found.built
        check_laws(made.queries, made.labels)
        for one in made.queries.queries:
            assert ever.setdefault(one.query_id, one).split is one.split
        everything = list(ever.values())
        assert len(everything) == len({one.query_id for one in everything})
        versions.append((made.queries, made.labels))
    whole = versions[0][0].head.model_copy(update={"queries": len(ever)})
    every = tuple(
        {(x.query_id, x.asset_id): x for _, said in versions for x in said.labels}.values()
    )
    # Also over all versions together: what was held out once is never learned from.
    check_laws(Queries(whole, tuple(ever.values())), Labels(versions[0][1].head, every))


def test_two_sets_beside_each_other_keep_the_laws_together() -> None:
    gold = built(count=60)
    sets = [(gold.queries, gold.labels)]
    for seed in (1, 2):
        more = build_queries(drawn(), known(), named(seed=seed), 40, 0.5, sets)
        check_laws(more.queries, more.labels)
        sets.append((more.queries, more.labels))
        lines = {one.query_id: one for queries, _ in sets for one in queries.queries}
        labels = {(one.query_id, one.asset_id): one for _, said in sets for one in said.labels}
        assert {one.split for one in more.queries.queries} == set(Split)
        check_laws(
            Queries(gold.queries.head, tuple(lines.values())),
            Labels(gold.labels.head, tuple(labels.values())),
        )
