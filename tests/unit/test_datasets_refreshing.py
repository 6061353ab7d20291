"""A query set is renewed in part: who leaves, who comes, what is kept of what people said."""

from __future__ import annotations

import pytest

from ecm.contracts.evaluation import Label, LabelSource, QueryKind
from ecm.evaluation.datasets.building import Built
from ecm.evaluation.datasets.differences import differences
from ecm.evaluation.datasets.files import Written
from ecm.evaluation.datasets.known import KnownAssets
from ecm.evaluation.datasets.refreshing import Past, Refreshed, refreshed
from ecm.evaluation.datasets.sources import draw
from ecm.evaluation.datasets.words import normalised
from ecm.evaluation.shelf import Labels, digest_of
from tests.query_sources import (
    asked_file,
    asset_of,
    built,
    described,
    drawn,
    known,
    known_of,
    leaks_of,
    looked,
    named,
    sources,
)


@pytest.fixture(scope="module")
def first() -> Built:
    return built(count=60)


def second(
    first: Built,
    share: float = 0.25,
    labels: Labels | None = None,
    there: KnownAssets | None = None,
) -> Refreshed:
    those = there or known()
    found = drawn() if there is None else draw(sources(known=those, looked=looked(40)), 0)
    past = Past(first.queries, labels or first.labels, ((first.queries, first.labels),))
    return refreshed(past, found, those, named(version=2, seed=7), share)


def test_a_share_is_replaced_by_what_was_never_asked(first: Built) -> None:
    found = second(first)
    before = {one.query_id: one for one in first.queries.queries}
    after = {one.query_id: one for one in found.built.queries.queries}
    assert len(found.left) == 15
    assert found.gone == ()
    assert set(found.left) == before.keys() - after.keys()
    assert set(found.came) == after.keys() - before.keys()
    assert len(after) == len(before)
    assert all(before[key] == after[key] for key in before.keys() & after.keys())
    head = found.built.queries.head
    assert (head.version, head.earlier, found.built.labels.head.earlier) == (2, None, 1)
    told = differences(first.queries, found.built.queries)
    assert [one.query_id for one in told.left] == list(found.left)
    assert [one.query_id for one in told.came] == list(found.came)
    assert (told.changed, told.moved, told.same) == ((), (), 45)


def test_the_same_refreshment_is_the_same_and_none_changes_nothing(first: Built) -> None:
    assert second(first).built.queries.head.digest == second(first).built.queries.head.digest
    same = second(first, share=0.0)
    assert same.built.queries.head.digest == first.queries.head.digest
    assert same.built.labels.head.digest == first.labels.head.digest


def test_what_people_said_of_queries_that_stay_is_kept(first: Built) -> None:
    staying = next(one for one in first.queries.queries if one.query_id not in second(first).left)
    said = Label(
        query_id=staying.query_id,
        asset_id=asset_of(59),
        relevance=1,
        label_source=LabelSource.ADJUDICATED,
    )
    others = [
        label
        for label in first.labels.labels
        if (label.query_id, label.asset_id) != (said.query_id, said.asset_id)
    ]
    lines = tuple(sorted([*others, said], key=lambda one: (one.query_id, one.asset_id)))
    head = first.labels.head.model_copy(update={"labels": len(lines), "digest": digest_of(lines)})
    found = second(first, labels=Labels(head, lines))
    assert said in found.built.labels.labels


def test_what_is_gone_leaves_first_and_no_label_names_it(first: Built) -> None:
    there = known_of([known().by_id[asset_of(number)] for number in range(40)])
    found = second(first, share=0.1, there=there)
    assert len(found.gone) > 6
    assert found.left == found.gone
    assert {label.asset_id for label in found.built.labels.labels} <= there.by_id.keys()
    shown = {one.shown_asset_id for one in found.built.queries.queries} - {None}
    assert shown <= there.by_id.keys()


def test_queries_of_look_are_judged_anew_so_that_they_stay_complete(first: Built) -> None:
    there = known_of([known().by_id[asset_of(number)] for number in range(40)])
    found = second(first, share=0.0, there=there)
    queries = {one.query_id: one for one in found.built.queries.queries}
    layouts = [key for key, one in queries.items() if one.kind is QueryKind.LAYOUT]
    assert layouts
    looks = looked(40)
    assert looks.every
    again = {one.query_id: one for one in draw(sources(known=there, looked=looks), 0).drafts}
    for key in found.built.labels.head.complete:
        said = {one.asset_id for one in found.built.labels.labels if one.query_id == key}
        assert said == set(again[key].answered_by)


def test_a_query_that_new_knowledge_ties_to_the_other_side_leaves(first: Built) -> None:
    captions = [one for one in first.queries.queries if one.kind is QueryKind.CAPTION]
    staying = captions[0]
    other = next(one for one in captions if one.split is not staying.split)
    [label] = [one for one in first.labels.labels if one.query_id == other.query_id]
    lines = [
        one.model_copy(update={"captions": (*one.captions, staying.query_text or "")})
        if asset_of(number) == label.asset_id
        else one
        for number, one in enumerate(described().lines)
    ]
    found = draw(sources(described=Written("photos.jsonl", "2" * 64, tuple(lines))), 0)
    past = Past(first.queries, first.labels, ((first.queries, first.labels),))
    made = refreshed(past, found, known(), named(version=2), 0.0)
    assert len({staying.query_id, other.query_id} & set(made.torn)) == 1
    assert leaks_of(made.built.queries, made.built.labels) == []


def test_what_is_asked_already_does_not_come_again_under_another_id(first: Built) -> None:
    lines = [
        {"qid": f"written-{n}", "text": f"{one.query_text}!", "relevant": [asset_of(n)]}
        for n, one in enumerate(first.queries.queries)
        if one.query_text is not None and one.shown_asset_id is None
    ]
    found = draw(sources(asked=asked_file(*lines)), 0)
    past = Past(first.queries, first.labels, ((first.queries, first.labels),))
    made = refreshed(past, found, known(), named(version=2), 0.3).built
    asked = [(normalised(one.query_text or ""), one.shown_asset_id) for one in made.queries.queries]
    assert len(set(asked)) == len(asked)


def test_an_id_that_is_given_to_another_question_brings_it_no_answers(first: Built) -> None:
    query = next(one for one in first.queries.queries if one.kind is QueryKind.CAPTION)
    line = {"qid": query.query_id, "text": "something else", "relevant": [asset_of(50)]}
    found = draw(sources(asked=asked_file(line)), 0)
    past = Past(first.queries, first.labels, ((first.queries, first.labels),))
    made = refreshed(past, found, known(), named(version=2), 0.0).built
    assert made.queries.queries == first.queries.queries
    assert made.labels.labels == first.labels.labels
