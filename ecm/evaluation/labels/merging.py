"""A new version of a label set from an earlier one and what people, or clicks, say since.

Pure. The rules, for each query and asset:

- What people agree on or have settled replaces whatever there was.
- What one labeler says replaces a weak or a human label; an adjudicated one stands until people
  agree anew or settle it anew.
- While labelers differ, and where the third person could not say either, a weak or human label goes
  and an adjudicated one stands: what is disputed is not judged.
- A weak label comes only where no person has judged, and replaces an earlier weak one alone.
- Of a `complete` query everything is judged, also what has no label: a single labeler, people who
  differ, and clicks change nothing of it.
- Where nobody says anything the earlier label stays. Labels of queries that are no longer in the
  query set go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ecm.contracts.evaluation import Label, LabelSource
from ecm.evaluation.labels.standing import Pair, Standing, State

SURENESS: Final = {LabelSource.WEAK: 1, LabelSource.HUMAN: 2, LabelSource.ADJUDICATED: 3}


@dataclass(frozen=True)
class Base:
    """What there was: labels by pair, and queries of which every asset is judged."""

    labels: Mapping[Pair, Label] = field(default_factory=dict)
    complete: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Merged:
    """Labels of a new version, sorted by query and asset, and how they came to be.

    `added`, `changed` (relevance or source) and `removed` compare with what there was; `disputed`
    are pairs that nobody has settled, `undecidable` those that the third person could not.
    """

    labels: tuple[Label, ...]
    complete: tuple[str, ...]
    added: int
    changed: int
    removed: int
    disputed: int
    undecidable: int

    @property
    def by_source(self) -> dict[LabelSource, int]:
        """Labels by source."""
        return dict(Counter(label.label_source for label in self.labels))

    @property
    def is_new(self) -> bool:
        """Whether anything is other than it was."""
        return bool(self.added or self.changed or self.removed)


def with_votes(
    base: Base,
    standing: Mapping[Pair, Standing],
    checks: Collection[Pair],
    query_ids: Collection[str],
) -> Merged:
    """The labels of `base`, and what people say. Votes on checks make no label."""
    labels = {pair: label for pair, label in base.labels.items() if pair[0] in query_ids}
    states: Counter[State] = Counter()
    for pair, now in standing.items():
        if pair in checks or pair[0] not in query_ids:
            continue
        states[now.state] += 1
        said = now.label()
        if said is not None and said.label_source is LabelSource.ADJUDICATED:
            labels[pair] = said
        elif now.state is not State.UNSAID and not _stands(base, pair):
            labels.pop(pair, None)
            if said is not None:
                labels[pair] = said
    return _merged(base, labels, query_ids, states)


def with_weak(base: Base, weak: Iterable[Label], query_ids: Collection[str]) -> Merged:
    """The labels of `base`, and weak ones where nobody has judged."""
    labels = {pair: label for pair, label in base.labels.items() if pair[0] in query_ids}
    for label in weak:
        pair = (label.query_id, label.asset_id)
        there = labels.get(pair)
        free = there is None or there.label_source is LabelSource.WEAK
        if free and pair[0] in query_ids and pair[0] not in base.complete:
            labels[pair] = label
    return _merged(base, labels, query_ids, Counter())


def with_labels(base: Base, told: Iterable[Label], query_ids: Collection[str]) -> Merged:
    """The labels of `base`, and labels from elsewhere: each replaces what is not surer than it."""
    labels = {pair: label for pair, label in base.labels.items() if pair[0] in query_ids}
    for label in told:
        pair = (label.query_id, label.asset_id)
        there = labels.get(pair)
        sure = SURENESS[there.label_source] if there is not None else 0
        if pair[0] in query_ids and SURENESS[label.label_source] >= sure:
            labels[pair] = label
    return _merged(base, labels, query_ids, Counter())


def _stands(base: Base, pair: Pair) -> bool:
    """Whether what was known of a pair only gives way to what people agree on."""
    there = base.labels.get(pair)
    settled = there is not None and there.label_source is LabelSource.ADJUDICATED
    return settled or pair[0] in base.complete


def _merged(
    base: Base,
    labels: Mapping[Pair, Label],
    query_ids: Collection[str],
    states: Mapping[State, int],
) -> Merged:
    shared = base.labels.keys() & labels.keys()
    return Merged(
        labels=tuple(labels[pair] for pair in sorted(labels)),
        complete=tuple(sorted(base.complete & set(query_ids))),
        added=len(labels.keys() - base.labels.keys()),
        changed=sum(labels[pair] != base.labels[pair] for pair in shared),
        removed=len(base.labels.keys() - labels.keys()),
        disputed=states.get(State.DISPUTED, 0),
        undecidable=states.get(State.UNDECIDABLE, 0),
    )
