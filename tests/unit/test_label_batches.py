"""Pools of what engines find, batches drawn from them, and who sees what of these when."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ecm.contracts.evaluation import LabelSource, QueryKind
from ecm.contracts.labelling import PooledPair
from ecm.contracts.measured import Answered, EngineAnswer, EngineProblem
from ecm.errors import ConfigError
from ecm.evaluation.labels.batches import (
    Draw,
    Known,
    checks_of,
    draw,
    order_for,
    to_judge,
    to_settle,
)
from ecm.evaluation.labels.pooling import found_alone, joined, pooled
from ecm.evaluation.labels.preparing import make_batch, make_pool
from ecm.evaluation.labels.standing import standings
from ecm.evaluation.shelf import Queries
from tests.label_sets import (
    KINDS,
    NOW,
    answered,
    asset,
    drawn,
    label,
    put_labels,
    put_queries,
    query,
    shelf_in,
    vote,
    work_in,
)

NOTHING = Known({}, frozenset())


def test_a_pool_is_what_any_engine_finds_near_the_top() -> None:
    a, b, c, d = (asset(one) for one in "abcd")
    queries = [query("q1"), query("q2", None, shown=c, kind=QueryKind.IMAGE)]
    failed = EngineAnswer(error=EngineProblem.TIMEOUT)
    result = pooled(
        [
            answered("q1", [a, b, c]),
            answered("q1", [b, d, a], "other"),
            answered("q2", [c, d]),
            answered("unknown", [a]),
            Answered(run_id="run-1", engine_id="other", query_id="q2", answer=failed),
            answered("q1", [asset("later")]).model_copy(update={"round": 1}),
        ],
        queries,
        depth=2,
    )
    assert {one.pair: one.best_rank for one in result.pairs} == {
        ("q1", a): 1, ("q1", b): 1, ("q1", d): 2, ("q2", d): 2,
    }  # fmt: skip
    assert (result.failed, result.foreign) == (1, 1)
    assert found_alone(result.pairs) == {"run-1:internal": 2, "run-1:other": 1}
    again = pooled([answered("q1", [d, a], "third", "run-2")], queries, 2)
    both = joined([result.pairs, again.pairs])
    assert {one.pair: one.best_rank for one in both}["q1", d] == 1
    assert len(both) == 4


def pool_of(queries: int, per_query: int) -> list[PooledPair]:
    return [
        PooledPair(
            query_id=f"q{q:03d}",
            asset_id=asset((q, n)),
            best_rank=n + 1,
            found_by=("run-1:internal",),
        )
        for q in range(queries)
        for n in range(per_query)
    ]


def test_query_types_get_their_share_and_queries_take_turns() -> None:
    shares = [0] * 35 + [1] * 35 + [2] * 20 + [3] * 10
    queries = [query(f"q{n:03d}", query_type=KINDS[kind]) for n, kind in enumerate(shares)]
    found = draw(pool_of(100, 10), queries, NOTHING, (), Draw(60, 0, 1))
    kinds = {one.query_id: one.query_type for one in queries}
    assert [Counter(kinds[one.query_id] for one in found)[kind] for kind in KINDS] == [
        21,
        21,
        12,
        6,
    ]
    assert max(Counter(one.query_id for one in found).values()) == 1
    assert {one.pair for one in found} <= {(f"q{q:03d}", asset((q, 0))) for q in range(100)}
    assert found == draw(pool_of(100, 10)[::-1], queries[::-1], NOTHING, (), Draw(60, 0, 1))
    assert found != draw(pool_of(100, 10), queries, NOTHING, (), Draw(60, 0, 2))
    everything = draw(pool_of(100, 10), queries, NOTHING, (), Draw(5000, 0, 1))
    assert len(everything) == 1000


def test_what_has_no_label_comes_first_and_what_is_settled_never() -> None:
    queries = [query("q000"), query("q001")]
    pool = pool_of(2, 3)
    labels = [
        label("q000", asset((0, 0)), 1, LabelSource.WEAK),
        label("q000", asset((0, 1)), 1),
        label("q001", asset((1, 0)), 1, LabelSource.HUMAN, "ann"),
    ]
    known = Known({(one.query_id, one.asset_id): one for one in labels}, frozenset())
    first = draw(pool, queries, known, (), Draw(3, 0, 1))
    assert {one.asset_id for one in first} == {asset((0, 2)), asset((1, 1)), asset((1, 2))}
    second = draw(pool, queries, known, {one.pair for one in first}, Draw(1, 0, 1))
    assert [one.asset_id for one in second] == [asset((0, 0))]
    whole = Known(known.labels, frozenset({"q001"}))
    every = {one.pair for one in draw(pool, queries, whole, (), Draw(99, 0, 1))}
    assert every == {("q000", asset((0, 0))), ("q000", asset((0, 2))), ("q001", asset((1, 0)))}


def test_checks_are_good_and_bad_and_wait_for_everybody(tmp_path: Path) -> None:
    queries = [query("q000"), query("q001")]
    labels = [label("q000", asset((0, 0)), 2), label("q000", asset((0, 1)), 2)]
    known = Known({(one.query_id, one.asset_id): one for one in labels}, frozenset({"q001"}))
    found = draw(pool_of(2, 3), queries, known, (), Draw(1, 2, 1))
    assert sorted(one.check for one in found if one.check is not None) == [0, 2]
    head = put_queries(shelf_in(tmp_path), queries)
    batch = drawn({one.pair: one.check for one in found}, head)
    assert len(checks_of([batch])) == 2
    said = [vote(*pair, 2, who) for pair in checks_of([batch]) for who in ("ann", "bob")]
    waiting = {one.pair for one in to_judge([batch], standings(said), "carl")}
    assert waiting == {one.pair for one in batch.pairs}
    differ = [vote(*pair, n, who) for pair in checks_of([batch]) for n, who in ((0, "a"), (2, "b"))]
    assert to_settle([batch], standings(differ), "carl") == ()


def test_everybody_sees_an_order_of_their_own_with_the_pairs_of_a_query_together(
    tmp_path: Path,
) -> None:
    head = put_queries(shelf_in(tmp_path), [query(f"q{n}") for n in range(6)])
    batch = drawn({(f"q{q}", asset((q, n))): None for q in range(6) for n in range(4)}, head)
    orders = {who: order_for(batch, who, batch.pairs) for who in ("ann", "bob", "carl")}
    assert len(set(orders.values())) == 3
    for who, order in orders.items():
        assert order == order_for(batch, who, batch.pairs)
        assert sorted(one.pair for one in order) == [one.pair for one in batch.pairs]
        queries = [one.query_id for one in order]
        assert len([n for n, one in enumerate(queries) if n == 0 or queries[n - 1] != one]) == 6


def test_a_pair_waits_for_as_many_labelers_as_it_needs(tmp_path: Path) -> None:
    head = put_queries(shelf_in(tmp_path), [query("q")])
    a, b = asset("a"), asset("b")
    batch = drawn({("q", a): None, ("q", b): None}, head)

    def left(labeler: str, *votes: object) -> set[str]:
        now = standings(votes)  # type: ignore[arg-type]
        return {one.asset_id for one in to_judge([batch, batch], now, labeler)}

    assert left("ann") == {a, b}
    assert left("ann", vote("q", a, 1)) == {b}
    assert left("carl", vote("q", a, 1), vote("q", a, 2, "bob")) == {b}
    assert left("carl", vote("q", a, 1), vote("q", a, None, "bob")) == {a, b}
    differ = standings([vote("q", a, 1), vote("q", a, 2, "bob")])
    assert to_settle([batch], differ, "carl") == (("q", a),)
    assert to_settle([batch], differ, "bob") == ()


def test_pools_and_batches_are_kept_once_each_with_a_number(tmp_path: Path) -> None:
    shelf, work = shelf_in(tmp_path), work_in(tmp_path)
    queries = [query("q1"), query("q2")]
    head = put_queries(shelf, queries)
    put_labels(shelf, head, [label("q1", asset("a"), 2)])
    answers = [answered("q1", [asset(one) for one in "abc"]), answered("q2", [asset("d")])]
    with pytest.raises(ConfigError, match="no pool"):
        make_batch(shelf, work, Queries(head, tuple(queries)), Draw(2, 0, 0), 2, NOW)
    chosen = Queries(head, tuple(queries))
    made = make_pool(shelf, work, chosen, answers, ["run-1"], 10, NOW)
    assert (made.head.pairs, made.unjudged) == (4, 3)
    first = make_batch(shelf, work, chosen, Draw(2, 0, 1), 2, NOW)
    second = make_batch(shelf, work_in(tmp_path), chosen, Draw(5, 0, 2), 2, NOW)
    assert (first.head.number, second.head.number, first.left) == (1, 2, 1)
    pairs = sorted(one.pair for batch in work.batches() for one in batch.pairs)
    assert pairs == sorted([("q1", asset("b")), ("q1", asset("c")), ("q2", asset("d"))])
    with pytest.raises(ConfigError, match="left to judge"):
        make_batch(shelf, work, chosen, Draw(5, 0, 3), 2, NOW)
    with pytest.raises(ConfigError, match="no result"):
        make_pool(shelf, work, chosen, [answered("other", [asset("a")])], ["run-1"], 10, NOW)
