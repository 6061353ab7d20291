"""How many of the best candidates are looked at again: the more, the harder the query is.

Pure arithmetic. A query is hard when its axes do not agree on the first candidates, or when it is
not clear what kind of question it is:

    agreement  = share of the first FIRST candidates that two axes or more have in their own first
                 `least`
    difficulty = 1 - agreement * confidence
    depth      = least + difficulty * (most - least), rounded, and never more than there are
"""

from __future__ import annotations

from typing import Final

from ecm.search.pool import Pool
from ecm.search.query import Question
from ecm.search.weights import Depth

FIRST: Final = 20
_TWO: Final = 2


def depth_of(pool: Pool, question: Question, bounds: Depth) -> int:
    """Candidates of a pool to rerank."""
    wanted = bounds.least + difficulty_of(pool, question, bounds.least) * (
        bounds.most - bounds.least
    )
    return min(round(wanted), len(pool.fused))


def difficulty_of(pool: Pool, question: Question, least: int) -> float:
    """Between 0 (the axes agree and the question is clear) and 1."""
    first = pool.fused[:FIRST]
    if not first:
        return 0.0
    agreed = sum(
        sum(ranks.get(one.asset_id, least + 1) <= least for ranks in pool.ranks.values()) >= _TWO
        for one in first
    )
    return 1.0 - question.confidence * agreed / len(first)
