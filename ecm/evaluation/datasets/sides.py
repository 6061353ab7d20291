"""What one side of a split may see: its own queries and their labels, and nothing of the other.

Whoever learns asks for `learning`: there is no way from it to a query that is held out.
"""

from __future__ import annotations

from dataclasses import dataclass

from ecm.contracts.evaluation import EvaluationQuery, Label, LabelSet, QuerySet, Split
from ecm.errors import ConfigError
from ecm.evaluation.shelf import Labels, Queries, Shelf


@dataclass(frozen=True)
class Side:
    """One side of a query set with its labels. The heads are those of the whole sets."""

    split: Split
    query_set: QuerySet
    label_set: LabelSet
    queries: tuple[EvaluationQuery, ...]
    labels: tuple[Label, ...]


def learning(
    shelf: Shelf, name: str, version: int | None = None, label_version: int | None = None
) -> Side:
    """What may be learned from, of the newest versions by default. Raises as `side_of`, and as the
    shelf does.
    """
    labels = shelf.labels(name, label_version)
    return side_of(shelf.queries(labels.head.query_set, version), labels, Split.LEARN)


def side_of(queries: Queries, labels: Labels, split: Split) -> Side:
    """One side alone. Raises ConfigError where the labels are of other queries."""
    if labels.head.query_set_digest != queries.head.digest:
        raise ConfigError(
            f"labels {labels.head.name}, version {labels.head.label_version}, are of other queries "
            f"than {queries.head.name}, version {queries.head.version}",
            "evaluation.other_queries",
            "choose versions that belong together",
        )
    own = tuple(one for one in queries.queries if one.split is split)
    ids = {one.query_id for one in own}
    return Side(
        split=split,
        query_set=queries.head,
        label_set=labels.head,
        queries=own,
        labels=tuple(label for label in labels.labels if label.query_id in ids),
    )
