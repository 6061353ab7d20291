"""What is known of which asset answers which query, for looking up. Knows labels; no measure.

A weak label judges like one of people: its `weight` says how sure it is and changes no measure, so
that figures of a label set mean the same whoever computes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ecm.contracts.evaluation import EvaluationQuery
from ecm.errors import StoreCorrupt
from ecm.evaluation.shelf import Labels

_NONE: Final[Mapping[str, int]] = MappingProxyType({})


class Judgements:
    """The labels of one set by query and asset."""

    def __init__(self, by_query: Mapping[str, Mapping[str, int]], complete: frozenset[str]) -> None:
        self._by_query = by_query
        self._complete = complete

    @classmethod
    def of(cls, labels: Labels) -> Judgements:
        """Raises StoreCorrupt where an asset has two labels for one query."""
        found: dict[str, dict[str, int]] = {}
        for label in labels.labels:
            of_query = found.setdefault(label.query_id, {})
            if label.asset_id in of_query:
                raise StoreCorrupt(
                    f"labels {labels.head.name}: query {label.query_id} has two labels of asset "
                    f"{label.asset_id}"
                )
            of_query[label.asset_id] = int(label.relevance)
        return cls(found, frozenset(labels.head.complete))

    def relevance(self, query_id: str) -> Mapping[str, int]:
        """Relevance 0, 1 or 2 by asset id of all that is judged; empty for an unknown query."""
        return MappingProxyType(self._by_query.get(query_id, _NONE))

    def answers_to(self, query: EvaluationQuery) -> Mapping[str, int]:
        """The same of a query, without the asset that it shows, which is no answer to itself."""
        judged = self.relevance(query.query_id)
        if query.shown_asset_id not in judged:
            return judged
        return {asset: value for asset, value in judged.items() if asset != query.shown_asset_id}

    def is_complete(self, query_id: str) -> bool:
        """Whether every asset is judged: what has no label is not relevant."""
        return query_id in self._complete
