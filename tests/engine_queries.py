"""Queries of an evaluation, for tests of what answers them. Needs nothing that is opened."""

from __future__ import annotations

from ecm.contracts.evaluation import (
    Difficulty,
    EvaluationQuery,
    QueryKind,
    QuerySource,
    Split,
)
from ecm.contracts.search import QueryType


def asked(
    text: str | None = None, shown: str | None = None, query_id: str = "q1"
) -> EvaluationQuery:
    """A query of words, of a shown asset, or both."""
    return EvaluationQuery(
        query_id=query_id,
        query_text=text,
        shown_asset_id=shown,
        query_type=QueryType.SEMANTIC if text else QueryType.VISUAL,
        kind=QueryKind.CLASS if text else QueryKind.IMAGE,
        source=QuerySource.WRITTEN,
        created_at=0.0,
        difficulty=Difficulty.EASY,
        split=Split.HELD_OUT,
        group=(text or shown or "")[:200],
    )
