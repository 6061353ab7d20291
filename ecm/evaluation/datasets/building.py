"""A query set and its label set, made of drafts: chosen by strata, put on sides, given heads.

Everything but the time of the heads follows from the drafts and the seed: the same give the same
digests. Knows no source, no file and no clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ecm.contracts.evaluation import (
    EvaluationQuery,
    Label,
    LabelSet,
    LabelSource,
    QuerySet,
    Split,
)
from ecm.contracts.identity import TenantId
from ecm.evaluation.datasets.difficulty import graded
from ecm.evaluation.datasets.drafts import Draft, Graded
from ecm.evaluation.datasets.known import KnownAssets
from ecm.evaluation.datasets.settled import choose_beside, settled_in, tied
from ecm.evaluation.datasets.sources import Drawn
from ecm.evaluation.datasets.splits import HELD_OUT_SHARE, sides_of
from ecm.evaluation.datasets.strata import Cell
from ecm.evaluation.shelf import Labels, Queries, digest_of


@dataclass(frozen=True)
class Named:
    """What the heads of a set say besides its lines. `now` is in Unix seconds."""

    tenant_id: TenantId
    name: str
    version: int
    label_version: int
    now: float
    seed: int
    made_from: Mapping[str, str] = field(default_factory=dict)
    earlier: int | None = None


@dataclass(frozen=True)
class Built:
    """A query set with its labels; how its strata were filled; what was left out, by why."""

    queries: Queries
    labels: Labels
    cells: tuple[Cell, ...]
    left: Mapping[str, int]


def build_queries(
    drawn: Drawn,
    known: KnownAssets,
    named: Named,
    count: int,
    held_out: float = HELD_OUT_SHARE,
    beside: Iterable[tuple[Queries, Labels | None]] = (),
) -> Built:
    """Choose `count` of what was drawn. Queries are of the time of the snapshot they were drawn
    from, so that they do not depend on when they were.

    What is held out in a set `beside` is held out in this one; what is tied to both of its sides is
    not asked.
    """
    fixed, known_sides = settled_in(beside)
    candidates = graded(drawn.drafts, known)
    chosen, cells, unfit = choose_beside(candidates, fixed, known_sides, count, named.seed)
    everything = [*fixed, *(tied(one.draft) for one in chosen)]
    sides = sides_of(everything, held_out, named.seed, known_sides)
    queries = tuple(
        query_of(one, side, known.created_at)
        for one in chosen
        if (side := sides[one.draft.query_id]) is not None
    )
    labels = [label for one in chosen for label in labels_of(one.draft)]
    complete = [one.draft.query_id for one in chosen if one.draft.complete]
    left = {**drawn.left, "queries that are tied to both sides": unfit} if unfit else drawn.left
    return Built(*headed(named, queries, labels, complete), cells, left)


def query_of(one: Graded, side: Split, at: float) -> EvaluationQuery:
    """The query of a draft; `at` is in Unix seconds."""
    draft = one.draft
    return EvaluationQuery(
        query_id=draft.query_id,
        query_text=draft.text,
        shown_asset_id=draft.shown,
        query_type=draft.query_type,
        kind=draft.kind,
        source=draft.source,
        locale=draft.locale,
        created_at=at,
        difficulty=one.difficulty,
        split=side,
        group=draft.group,
    )


def labels_of(draft: Draft) -> list[Label]:
    """Its answers; an asset that it shows is none."""
    return [one.label(draft.query_id) for one in draft.answers if one.asset_id != draft.shown]


def headed(
    named: Named,
    queries: Sequence[EvaluationQuery],
    labels: Iterable[Label],
    complete: Iterable[str],
) -> tuple[Queries, Labels]:
    """Lines in order (queries by id, labels by query and asset), with their heads."""
    asked = tuple(sorted(queries, key=lambda one: one.query_id))
    said = tuple(sorted(labels, key=lambda one: (one.query_id, one.asset_id)))
    set_digest = digest_of(asked)
    by_source = Counter(label.label_source for label in said)
    query_head = QuerySet(
        tenant_id=named.tenant_id,
        name=named.name,
        version=named.version,
        created_at=named.now,
        digest=set_digest,
        queries=len(asked),
        seed=named.seed,
        made_from=dict(named.made_from),
        earlier=named.earlier,
    )
    label_head = LabelSet(
        tenant_id=named.tenant_id,
        name=named.name,
        label_version=named.label_version,
        created_at=named.now,
        digest=digest_of(said),
        labels=len(said),
        query_set=named.name,
        query_set_digest=set_digest,
        by_source={source: by_source[source] for source in LabelSource if by_source[source]},
        complete=tuple(sorted(complete)),
        earlier=named.label_version - 1 or None,
    )
    return Queries(query_head, asked), Labels(label_head, said)
