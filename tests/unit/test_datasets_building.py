"""Query sets: what is asked, what answers it, how strata are filled, what is the same again."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from ecm.contracts.evaluation import Difficulty, LabelSource, QueryKind, Split
from ecm.contracts.search import QueryType
from ecm.evaluation.datasets.building import Built, build_queries
from ecm.evaluation.datasets.drafts import Draft
from ecm.evaluation.datasets.files import Written
from ecm.evaluation.datasets.known import known_asset
from ecm.evaluation.datasets.log_words import anonymous
from ecm.evaluation.datasets.sides import side_of
from ecm.evaluation.datasets.sources import Sources, draw
from ecm.evaluation.datasets.words import normalised
from tests.query_sources import (
    asked_file,
    asset_of,
    built,
    described,
    drawn,
    known,
    known_of,
    named,
    row,
    sources,
    thing_of,
)


@pytest.fixture(scope="module")
def gold() -> Built:
    return built()


def by_text(drafts: tuple[Draft, ...], text: str) -> Draft:
    [found] = [one for one in drafts if one.text == text and one.shown is None]
    return found


def test_a_class_is_answered_by_what_has_its_label_whatever_the_tagger_says() -> None:
    dogs = {asset_of(number) for number in range(60) if thing_of(number) == "dog"}
    for name in ("dog", "Canis familiaris"):
        draft = by_text(drawn().drafts, name)
        assert draft.kind is QueryKind.CLASS
        assert draft.answered_by == dogs
        assert {one.source for one in draft.answers} == {LabelSource.HUMAN}
        assert not draft.complete  # of what is not described nothing is known


def test_a_caption_is_answered_by_the_asset_that_it_describes() -> None:
    draft = by_text(drawn().drafts, "A cat number 12 seen at noon.")
    assert draft.kind is QueryKind.CAPTION
    assert draft.query_type is QueryType.SEMANTIC
    assert [(one.asset_id, one.relevance) for one in draft.answers] == [(asset_of(12), 2)]


def test_what_is_shown_is_no_answer_to_itself_and_others_of_its_class_are(gold: Built) -> None:
    answers = defaultdict(set)
    for label in gold.labels.labels:
        answers[label.query_id].add(label.asset_id)
    number_of = {asset_of(number): number for number in range(60)}
    shown = [one for one in gold.queries.queries if one.shown_asset_id is not None]
    assert {one.kind for one in shown} == {QueryKind.IMAGE, QueryKind.MIXED}
    for one in shown:
        number = number_of[one.shown_asset_id or ""]
        assert one.shown_asset_id not in answers[one.query_id]
        same = {thing_of(number_of[asset]) for asset in answers[one.query_id]}
        assert same == {thing_of(number)}


def test_looks_are_complete_where_every_picture_was_looked_at(gold: Built) -> None:
    layouts = {one.query_id for one in gold.queries.queries if one.kind is QueryKind.LAYOUT}
    assert layouts == set(gold.labels.head.complete)
    some = draw(sources(looked=None), 0)
    assert not any(one.kind in (QueryKind.LAYOUT, QueryKind.MIXED) for one in some.drafts)


def test_types_have_their_shares_and_what_is_short_is_said(gold: Built) -> None:
    types = Counter(one.query_type for one in gold.queries.queries)
    assert types[QueryType.KEYWORD] <= 28
    assert types[QueryType.SEMANTIC] == 28
    assert types[QueryType.VISUAL] == 16
    assert types[QueryType.MIXED] == 8
    keywords = [cell for cell in gold.cells if cell.query_type is QueryType.KEYWORD]
    # Eleven names and sixty file names are all the keywords there are; none is made up.
    assert sum(cell.taken for cell in keywords) == types[QueryType.KEYWORD]
    assert sum(cell.wanted for cell in keywords) == 28
    few = built(count=5000, assets=30)
    assert sum(cell.short for cell in few.cells) > 0
    assert all(cell.taken == cell.available for cell in few.cells)


def test_every_difficulty_is_asked_and_missed_classes_are_harder(gold: Built) -> None:
    assert {one.difficulty for one in gold.queries.queries} == set(Difficulty)
    # A tagger that never says what assets show leaves their classes hard to find.
    blind = known_of(
        [
            known_asset(row(n, caption=None, tags="", classification=""))
            if thing_of(n) == "castle"
            else known_asset(row(n))
            for n in range(60)
        ]
    )
    made = build_queries(draw(sources(known=blind), 0), blind, named(), 400)
    hard = {one.query_text: one.difficulty for one in made.queries.queries}
    assert hard["castle"] is Difficulty.HARD
    assert hard["lemon"] is not Difficulty.HARD


def test_the_same_sources_and_seed_make_the_same_set_at_any_time(gold: Built) -> None:
    again = built(now=1_800_000_000.0)
    assert again.queries.head.digest == gold.queries.head.digest
    assert again.labels.head.digest == gold.labels.head.digest
    other = built(seed=1)
    assert other.queries.head.digest != gold.queries.head.digest
    ids = {one.query_id: one.query_text for one in gold.queries.queries}
    for one in other.queries.queries:
        assert ids.get(one.query_id, one.query_text) == one.query_text


def test_one_question_from_two_sources_is_asked_once_with_the_answers_of_both() -> None:
    written = asked_file(
        {"qid": "my-1", "kind": "class", "text": "Lemon", "relevant": [asset_of(3)]},
        {"qid": "my-2", "kind": "hypernym", "text": "animal", "relevant": {asset_of(0): 1}},
    )
    drafts = draw(sources(asked=written), 0).drafts
    [lemon] = [one for one in drafts if normalised(one.text or "") == "lemon" and not one.shown]
    assert lemon.query_id == "my-1"
    assert asset_of(3) in lemon.answered_by
    assert len(lemon.answered_by) == 11
    assert by_text(drafts, "animal").answers[0].relevance == 1


def test_a_complete_query_stays_complete_unless_somebody_knows_more() -> None:
    written = asked_file(
        {"text": "odd", "relevant": [asset_of(1)], "complete": True},
        {"text": "lemon", "relevant": [asset_of(2)], "complete": True},
        {"text": "gone", "relevant": [asset_of(3), "gone.jpg"], "complete": True},
    )
    drafts = draw(sources(asked=written), 0).drafts
    complete = {text: by_text(drafts, text).complete for text in ("odd", "lemon", "gone")}
    assert complete == {"odd": True, "lemon": False, "gone": False}


def test_what_is_not_in_the_snapshot_is_counted_and_never_an_answer() -> None:
    written = asked_file(
        {"kind": "class", "text": "pet", "relevant": ["cat/photo-000.jpg", "gone.jpg"]},
        {"kind": "class", "text": "ghost", "relevant": ["gone.jpg"]},
        {"kind": "image", "shown": "gone.jpg", "relevant": ["cat/photo-000.jpg"]},
    )
    twice = known_of(
        [known_asset(row(n, uris=[f"file:///photos/{n % 2}/same.jpg"])) for n in range(4)]
    )
    found = draw(sources(asked=written, known=known(30)), 0)
    assert "ghost" not in {one.text for one in found.drafts}
    assert found.left["written queries without an answer in the snapshot"] == 1
    assert found.left["answers of written queries that are no asset"] == 2
    assert found.left["written queries whose shown image is no asset"] == 1
    assert found.left["described images that are no asset of the snapshot"] == 30
    unsure = asked_file({"kind": "class", "text": "pet", "relevant": ["same.jpg"]})
    assert draw(Sources(twice, asked=unsure), 0).left["names that are the end of several paths"]


def test_without_files_the_evidence_speaks_and_is_weak() -> None:
    found = draw(sources(described=None), 0)
    dog = by_text(found.drafts, "dog")
    assert dog.answered_by == {
        asset_of(n) for n in range(60) if thing_of(n + (n % 5 == 0)) == "dog"
    }
    assert {(one.source, one.weight) for one in dog.answers} == {(LabelSource.WEAK, 0.5)}
    assert not any(one.kind is QueryKind.CAPTION for one in found.drafts)  # all were composed
    spoken = known(4, caption="two cats asleep on a warm car", caption_composed=False)
    kinds = Counter(one.kind for one in draw(Sources(spoken), 0).drafts)
    assert kinds[QueryKind.CAPTION] == 1  # four assets, one caption: all four answer
    [caption] = [d for d in draw(Sources(spoken), 0).drafts if d.kind is QueryKind.CAPTION]
    assert len(caption.answered_by) == 4


def test_templates_are_not_made_for_another_language() -> None:
    german = draw(sources(locale="de-AT"), 0)
    assert {one.locale for one in german.drafts} == {"de-AT"}
    assert not any(one.kind in (QueryKind.LAYOUT, QueryKind.MIXED) for one in german.drafts)
    lines = [
        one.model_copy(update={"locale": "la"}) if "dog" in one.labels else one
        for one in described().lines
    ]
    some = draw(sources(described=Written("x", "0" * 64, tuple(lines))), 0)
    locales = {one.text: one.locale for one in some.drafts if one.kind is QueryKind.CLASS}
    assert (locales["dog"], locales["cat"]) == ("la", "en")
    mixed = [one.text or "" for one in some.drafts if one.kind is QueryKind.MIXED]
    assert any("cat" in text for text in mixed)
    assert not any("dog" in text for text in mixed)


def test_searches_are_asked_without_any_answer() -> None:
    log = anonymous([])
    asked = draw(sources(log=type(log)(("sleeping cats",), log.left)), 0)
    draft = by_text(asked.drafts, "sleeping cats")
    assert (draft.kind, draft.answers) == (QueryKind.LOG, ())


def test_one_side_has_nothing_of_the_other(gold: Built) -> None:
    learn = side_of(gold.queries, gold.labels, Split.LEARN)
    out = side_of(gold.queries, gold.labels, Split.HELD_OUT)
    assert {one.split for one in learn.queries} == {Split.LEARN}
    assert len(learn.queries) + len(out.queries) == len(gold.queries.queries)
    ids = {one.query_id for one in learn.queries}
    assert {label.query_id for label in learn.labels} <= ids
    assert len(learn.labels) + len(out.labels) == len(gold.labels.labels)
    share = len(out.queries) / len(gold.queries.queries)
    assert 0.4 <= share <= 0.6
