"""What may be learned from, and what only judges: each with the answers that figures count."""

from __future__ import annotations

from ecm.contracts.evaluation import Label, LabelSource, Split
from ecm.evaluation.shelf import Labels, Queries
from ecm.tuning.judging import held_out_of
from ecm.tuning.training import LEAST_GROUPS, TrainingSet
from tests.measured_runs import asset, label_set, query_set


def test_a_query_whose_only_answer_is_what_it_shows_teaches_and_judges_nothing() -> None:
    """Labels from elsewhere may say that a picture is like itself; no engine can find it."""
    made = query_set(2 * LEAST_GROUPS + 4)
    sides = (Split.LEARN, Split.HELD_OUT)
    asked = tuple(
        one.model_copy(update={"shown_asset_id": asset(0), "split": sides[number % 2]})
        for number, one in enumerate(made.queries)
    )
    itself, other = asset(0), asset(1)
    lines = tuple(
        Label(
            query_id=one.query_id,
            asset_id=asset_id,
            relevance=2,
            label_source=LabelSource.HUMAN,
        )
        for number, one in enumerate(asked)
        for asset_id in ((itself,) if number < 4 else (itself, other))
    )
    queries = Queries(made.head, asked)
    labels = Labels(label_set(made).head, lines)
    told = TrainingSet.of(queries, labels)
    assert {one.query_id for one in told.queries} == {one.query_id for one in asked[4::2]}
    assert all(of == {other: 2} for of in told.relevance.values())
    assert held_out_of(queries, labels) == asked[5::2]
