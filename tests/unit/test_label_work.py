"""Votes, batches and versions as they lie in a store: once each, by anybody, never half."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ecm.contracts.evaluation import LabelSource
from ecm.contracts.labelling import Part
from ecm.errors import ConfigError, ContractError, StoreCorrupt
from ecm.evaluation.labels.exchange import labels_of, votes_of
from ecm.evaluation.labels.publishing import publish_told, publish_votes, queries_of
from ecm.evaluation.labels.sitting import Sitting
from ecm.evaluation.shelf import lines_of
from tests.label_sets import (
    NOW,
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

A, B = asset("a"), asset("b")


def sitting(folder: Path, labeler: str) -> Sitting:
    return Sitting(shelf_in(folder), work_in(folder), labeler)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A query set, a first version of labels, and a batch of two pairs."""
    shelf, work = shelf_in(tmp_path), work_in(tmp_path)
    head = put_queries(shelf, [query("q1"), query("q2", None, shown=asset("shown"))])
    put_labels(shelf, head, [label("q1", asset("old"), 1, LabelSource.WEAK, "clicks-pbm")])
    batch = drawn({("q1", A): None, ("q2", B): None}, head)
    assert work.add_batch(batch.head, batch.pairs)
    return tmp_path


def test_votes_are_kept_once_in_the_order_they_were_given(tmp_path: Path) -> None:
    first, second = vote("q", A, 1, at=NOW + 5), vote("q", A, 2, "bob", NOW)
    work = work_in(tmp_path)
    assert work.add_votes([first]) == 1
    assert work.add_votes([second]) == 1
    assert work_in(tmp_path).add_votes([first, second, second, vote("q", B, 0)]) == 1
    assert {one.asset_id for one in work.votes()[:2]} == {A, B}
    assert work.votes()[-1] == first
    with pytest.raises(ConfigError, match="tenant"):
        work.add_votes([first.model_copy(update={"tenant_id": "other"})])


def test_many_vote_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    told = [vote("q", asset(n), n % 3, f"p{n % 5}", NOW + n) for n in range(60)]
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(lambda one: work_in(tmp_path).add_votes([one]), told)) == 60
    assert work_in(tmp_path).votes() == tuple(told)


def test_damaged_votes_are_refused(tmp_path: Path) -> None:
    work_in(tmp_path).add_votes([vote("q", A, 1)])
    (path,) = tmp_path.rglob("votes/*/*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"relevance":1', b'"relevance":2'))
    with pytest.raises(StoreCorrupt, match="not the votes that were written"):
        work_in(tmp_path).votes()


def test_a_labeler_judges_what_waits_and_may_change_their_mind(home: Path) -> None:
    ann = sitting(home, "ann")
    waiting = ann.look(Part.JUDGE, 5).waiting
    assert {(one.query.query_id, one.asset_id) for one in waiting} == {("q1", A), ("q2", B)}
    assert all(ann.may_see(one) for one in (A, B, asset("shown")))
    assert not ann.may_see(asset("old"))
    ann.say(("q1", A), 2, Part.JUDGE, NOW, 3.0)
    ann.say(("q2", B), None, Part.JUDGE, NOW + 1)
    assert ann.look(Part.JUDGE, 5).waiting == ()
    earlier = ann.look(Part.JUDGE, 5).earlier
    assert [one.asset_id for one in earlier] == [B, A]
    ann.say(("q1", A), 0, Part.JUDGE, NOW + 2)
    assert ann.look(Part.JUDGE, 1).earlier[0].said == vote("q1", A, 0, at=NOW + 2).model_copy(
        update={"seconds": None}
    )
    now = ann.look(Part.JUDGE, 0).progress
    assert (now.judged, now.to_judge) == (2, 0)
    assert len(work_in(home).votes()) == 3
    with pytest.raises(ContractError, match="no batch"):
        ann.say(("q1", asset("stranger")), 1, Part.JUDGE, NOW)


def test_only_a_third_person_settles_and_sees_the_votes(home: Path) -> None:
    for who, relevance in (("ann", 0), ("bob", 2)):
        sitting(home, who).say(("q1", A), relevance, Part.JUDGE, NOW)
    carl = sitting(home, "carl")
    assert [one.votes for one in carl.look(Part.JUDGE, 5).waiting] == [()]
    (one,) = carl.look(Part.SETTLE, 5).waiting
    assert [(v.labeler, v.relevance) for v in one.votes] == [("ann", 0), ("bob", 2)]
    assert sitting(home, "ann").look(Part.SETTLE, 5).waiting == ()
    with pytest.raises(ContractError, match="does not settle"):
        sitting(home, "ann").say(("q1", A), 2, Part.SETTLE, NOW + 1)
    with pytest.raises(ContractError, match="nobody differs"):
        carl.say(("q2", B), 2, Part.SETTLE, NOW + 1)
    carl.say(("q1", A), 2, Part.SETTLE, NOW + 1)
    assert carl.look(Part.SETTLE, 5).waiting == ()
    assert carl.look(Part.SETTLE, 0).progress.settled == 1


def test_publishing_makes_a_version_only_where_something_is_new(home: Path) -> None:
    shelf, work = shelf_in(home), work_in(home)
    assert publish_votes(shelf, work, None, NOW).head is None
    for who in ("ann", "bob"):
        sitting(home, who).say(("q1", A), 2, Part.JUDGE, NOW)
    made = publish_votes(shelf, work, None, NOW)
    assert made.head is not None
    assert (made.head.label_version, made.head.earlier) == (2, 1)
    assert made.head.by_source == {LabelSource.WEAK: 1, LabelSource.ADJUDICATED: 1}
    assert made.head.agreement["pairs"] == 1.0
    assert publish_votes(shelf, work, None, NOW).head is None
    assert shelf.labels("gold").labels == made.merged.labels
    assert len(shelf.labels("gold", 1).labels) == 1


def test_those_who_publish_at_once_each_make_a_version(home: Path) -> None:
    def told(n: int) -> int | None:
        shelf = shelf_in(home)
        labels = [label("q1", asset(("new", n)), 2)]
        made = publish_told(shelf, "gold", queries_of(shelf, "gold", None), labels, NOW)
        return made.head.label_version if made.head is not None else None

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(told, range(6)), key=int) == [2, 3, 4, 5, 6, 7]
    assert len(shelf_in(home).labels("gold").labels) == 7


def test_labels_move_to_a_newer_query_set(home: Path) -> None:
    shelf = shelf_in(home)
    put_queries(shelf, [query("q3")], version=2)
    assert queries_of(shelf, "gold", None).head.version == 1
    made = publish_votes(shelf, work_in(home), "gold@2", NOW)
    assert made.head is not None
    assert (made.head.labels, made.merged.removed) == (0, 1)
    assert queries_of(shelf, "gold", None).head.version == 2
    with pytest.raises(ConfigError, match="not a query set"):
        queries_of(shelf, "gold", "gold@x")
    with pytest.raises(ConfigError, match="of which queries"):
        queries_of(shelf, "none", None)


def test_lines_of_elsewhere_come_whole_or_not_at_all() -> None:
    votes, labels = [vote("q", A, 1)], [label("q", A, 1)]
    assert votes_of(lines_of(votes), "f", "t", {"q"}) == tuple(votes)
    assert labels_of(lines_of(labels) + b"\n", "f", {"q"}) == tuple(labels)
    nameless = lines_of(votes).replace(b'"tenant_id":"t",', b"")
    assert votes_of(nameless, "f", "t", {"q"}) == tuple(votes)
    for data, said in (
        (b"{", "not JSON"),
        (b"[]", "f, line 1"),
        (lines_of(votes).replace(b'"relevance":1', b'"relevance":3'), "relevance"),
        (lines_of(votes).replace(b'"t"', b'"other"'), "tenant other"),
        (lines_of([vote("gone", A, 1)]), "no query gone"),
    ):
        with pytest.raises(ContractError, match=said):
            votes_of(data, "f", "t", {"q"})
    for data, said in (
        (lines_of([*labels, *labels]), "line 2: a second label"),
        (lines_of([label("gone", A, 1)]), "no query gone"),
        (b"{}", "query_id"),
    ):
        with pytest.raises(ContractError, match=said):
            labels_of(data, "f", {"q"})
