"""New versions of label sets on the Shelf: from votes, and from clicks.

Knows the Shelf and label work; what holds of a pair is `merging`'s. Of several who publish at once
each makes a version on top of what the others have made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from ecm.contracts.evaluation import Label, LabelSet, QuerySet
from ecm.errors import ConfigError, StoreUnavailable
from ecm.evaluation.labels.batches import Known, checks_of
from ecm.evaluation.labels.consensus import Consensus, consensus
from ecm.evaluation.labels.merging import Base, Merged, with_labels, with_votes, with_weak
from ecm.evaluation.labels.standing import standings
from ecm.evaluation.labels.work import LabelWork
from ecm.evaluation.shelf import Labels, Queries, Shelf, digest_of

_TRIES: Final = 20


@dataclass(frozen=True)
class Making:
    """When (Unix seconds) and of what a version is made, and the agreement of those behind it."""

    now: float
    made_from: dict[str, str]
    said: Consensus | None = None


@dataclass(frozen=True)
class NewVersion:
    """What publishing made: the head of the version, None where nothing is other than before."""

    head: LabelSet | None
    merged: Merged
    agreement: Consensus | None


def newest(shelf: Shelf, name: str) -> Labels | None:
    """The newest version of a label set; None where there is none. Raises StoreCorrupt."""
    return shelf.labels(name) if shelf.versions("label_sets", name) else None


def queries_of(shelf: Shelf, name: str, query_set: str | None) -> Queries:
    """The queries that a label set is of: `query_set` (NAME or NAME@V), else those its newest
    version names, by their digest. Raises ConfigError, StoreCorrupt.
    """
    if query_set is not None:
        asked, _, version = query_set.partition("@")
        if version and not version.isdecimal():
            raise ConfigError(f"not a query set: {query_set!r}", "labels.queries", "NAME@V")
        return shelf.queries(asked, int(version) if version else None)
    there = newest(shelf, name)
    if there is None:
        known = ", ".join(shelf.names("query_sets")) or "none yet"
        raise ConfigError(
            f"no label set {name} yet: of which queries would it be?",
            "labels.queries",
            f"give --queries NAME (there are: {known})",
        )
    return queries_by_digest(shelf, there.head.query_set, there.head.query_set_digest)


def queries_by_digest(shelf: Shelf, name: str, digest: str) -> Queries:
    """The version of a query set that has this digest, the newest of several.

    Raises ConfigError, StoreCorrupt.
    """
    for version in reversed(shelf.versions("query_sets", name)):
        found = shelf.queries(name, version)
        if found.head.digest == digest:
            return found
    raise ConfigError(
        f"no version of query set {name} has the digest {digest[:12]}",
        "labels.queries",
        "restore it, or say which queries to go on with: --queries NAME@V",
    )


def known_of(shelf: Shelf, name: str) -> Known:
    """What the newest version of a label set says; nothing where there is none."""
    base = _base(newest(shelf, name))
    return Known(base.labels, base.complete)


def publish_votes(shelf: Shelf, work: LabelWork, query_set: str | None, now: float) -> NewVersion:
    """A new version of the work's label set with what people say. Raises ConfigError,
    StoreCorrupt, StoreUnavailable (many others publish at the same time).
    """
    votes, batches = work.votes(), work.batches()
    standing = standings(votes)
    checks = checks_of(batches)
    said = consensus(standing, checks)
    queries = queries_of(shelf, work.name, query_set)

    def merge(base: Base, query_ids: Collection[str]) -> Merged:
        return with_votes(base, standing, checks, query_ids)

    made_from = {"by": "votes", "votes": str(len(votes)), "batches": str(len(batches))}
    return _published(shelf, work.name, queries, merge, Making(now, made_from, said))


def publish_weak(
    shelf: Shelf, name: str, queries: Queries, weak: Sequence[Label], making: Making
) -> NewVersion:
    """A new version of a label set with weak labels where nobody has judged. Raises as above."""

    def merge(base: Base, query_ids: Collection[str]) -> Merged:
        return with_weak(base, weak, query_ids)

    return _published(shelf, name, queries, merge, making)


def preview_weak(
    shelf: Shelf, name: str, queries: Queries, weak: Sequence[Label], making: Making
) -> NewVersion:
    """What `publish_weak` would make, without making it."""
    there = newest(shelf, name)
    merged = with_weak(_base(there), weak, {query.query_id for query in queries.queries})
    head = _head(shelf, name, queries.head, there, merged, making) if merged.is_new else None
    return NewVersion(head, merged, None)


def publish_told(
    shelf: Shelf, name: str, queries: Queries, told: Sequence[Label], now: float
) -> NewVersion:
    """A new version of a label set with labels from elsewhere. Raises as above."""

    def merge(base: Base, query_ids: Collection[str]) -> Merged:
        return with_labels(base, told, query_ids)

    made_from = {"by": "import", "labels": digest_of(told)}
    return _published(shelf, name, queries, merge, Making(now, made_from))


def _published(
    shelf: Shelf,
    name: str,
    queries: Queries,
    merge: Callable[[Base, Collection[str]], Merged],
    making: Making,
) -> NewVersion:
    query_ids = {query.query_id for query in queries.queries}
    for _ in range(_TRIES):
        there = newest(shelf, name)
        merged = merge(_base(there), query_ids)
        if not merged.is_new and (there is None or _is_of(there, queries.head)):
            return NewVersion(None, merged, making.said)
        head = _head(shelf, name, queries.head, there, merged, making)
        if shelf.add_labels(head, merged.labels):
            return NewVersion(head, merged, making.said)
    raise StoreUnavailable(f"others keep publishing versions of {name}", hint="try again")


def _head(
    shelf: Shelf,
    name: str,
    queries: QuerySet,
    there: Labels | None,
    merged: Merged,
    making: Making,
) -> LabelSet:
    said = making.said
    before = there.head if there is not None else None
    kept = dict(before.agreement) if before is not None else {}
    return LabelSet(
        tenant_id=shelf.tenant_id,
        name=name,
        label_version=before.label_version + 1 if before is not None else 1,
        created_at=making.now,
        digest=digest_of(merged.labels),
        labels=len(merged.labels),
        query_set=queries.name,
        query_set_digest=queries.digest,
        by_source=merged.by_source,
        complete=merged.complete,
        agreement=said.figures() if said is not None and said.of.items else kept,
        made_from=making.made_from,
        earlier=before.label_version if before is not None else None,
    )


def _base(there: Labels | None) -> Base:
    if there is None:
        return Base()
    labels = {(label.query_id, label.asset_id): label for label in there.labels}
    return Base(labels, frozenset(there.head.complete))


def _is_of(there: Labels, queries: QuerySet) -> bool:
    return there.head.query_set_digest == queries.digest
