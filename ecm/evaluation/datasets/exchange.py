"""Query sets and label sets as files that are handed on: heads and lines, as the shelf keeps them.

    query_set.json  queries.jsonl  label_set.json  labels.jsonl

A set that was handed on is checked against the digests in its heads, and gets a version of its own
where it comes to. Knows names and contracts; touches no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from pydantic import ValidationError

from ecm.contracts.evaluation import (
    MAX_QUERIES,
    EvaluationQuery,
    Label,
    LabelSet,
    QuerySet,
    Split,
)
from ecm.contracts.identity import TenantId
from ecm.errors import ConfigError, StoreCorrupt
from ecm.evaluation.datasets.building import Named, headed
from ecm.evaluation.datasets.settled import made_with
from ecm.evaluation.datasets.sides import side_of
from ecm.evaluation.datasets.splits import Tied, components, ties_of_query
from ecm.evaluation.shelf import Labels, Queries, digest_of, lines_of, read_lines

QUERY_HEAD, QUERIES = "query_set.json", "queries.jsonl"
LABEL_HEAD, LABELS = "label_set.json", "labels.jsonl"
FILES: Final = (QUERY_HEAD, QUERIES, LABEL_HEAD, LABELS)
_CODE: Final = "evaluation.input"
Head = TypeVar("Head", QuerySet, LabelSet)


def exported(queries: Queries, labels: Labels) -> dict[str, bytes]:
    """The files of a set by name. Raises ConfigError where the labels are of other queries."""
    side_of(queries, labels, Split.LEARN)
    return {
        QUERY_HEAD: queries.head.model_dump_json().encode() + b"\n",
        QUERIES: lines_of(queries.queries),
        LABEL_HEAD: labels.head.model_dump_json().encode() + b"\n",
        LABELS: lines_of(labels.labels),
    }


def of_side(queries: Queries, labels: Labels, split: Split) -> tuple[Queries, Labels]:
    """One side as a set of its own, with heads that tell of nothing else."""
    side = side_of(queries, labels, split)
    head = queries.head
    named = Named(
        tenant_id=head.tenant_id,
        name=head.name,
        version=head.version,
        label_version=labels.head.label_version,
        now=head.created_at,
        seed=head.seed,
        made_from={**head.made_from, "side": split.value},
        earlier=head.earlier,
    )
    ids = {one.query_id for one in side.queries}
    complete = [query_id for query_id in labels.head.complete if query_id in ids]
    return headed(named, side.queries, side.labels, complete)


def imported(files: Mapping[str, bytes], tenant_id: TenantId) -> tuple[Queries, Labels]:
    """The sets in files. Raises ConfigError for a file that is missing, is not what its head tells
    of, breaks a law of a set (each query once, each label of one of its queries and once), or is
    another tenant's.
    """
    for name in FILES:
        if name not in files:
            raise ConfigError(f"no file {name}", _CODE, "give a folder that was exported")
    query_head = _head(QuerySet, files[QUERY_HEAD], QUERY_HEAD)
    label_head = _head(LabelSet, files[LABEL_HEAD], LABEL_HEAD)
    try:
        queries = read_lines(EvaluationQuery, files[QUERIES], QUERIES)
        labels = read_lines(Label, files[LABELS], LABELS)
    except StoreCorrupt as error:
        raise ConfigError(error.message, _CODE) from error
    for head, name, lines in (
        (query_head, QUERIES, queries),
        (label_head, LABELS, labels),
    ):
        if head.tenant_id != tenant_id:
            raise ConfigError(f"{name} is of tenant {head.tenant_id}, not {tenant_id}", _CODE)
        if head.digest != digest_of(lines):
            raise ConfigError(f"{name} is not what its head tells of", _CODE, "export it again")
    _check(query_head, queries, label_head, labels)
    return Queries(query_head, queries), Labels(label_head, labels)


def _check(
    query_head: QuerySet,
    queries: tuple[EvaluationQuery, ...],
    label_head: LabelSet,
    labels: tuple[Label, ...],
) -> None:
    ids = {one.query_id for one in queries}
    if len(ids) < len(queries) or len(queries) > MAX_QUERIES:
        raise ConfigError(f"{QUERIES}: a query is there twice, or too many are", _CODE)
    if label_head.query_set_digest != query_head.digest:
        raise ConfigError(f"{LABELS} are of other queries than {QUERIES}", _CODE)
    keys = {(label.query_id, label.asset_id) for label in labels}
    if len(keys) < len(labels):
        raise ConfigError(f"{LABELS}: an asset is judged twice for one query", _CODE)
    _check_sides(queries, labels)
    if unknown := {label.query_id for label in labels} - ids:
        raise ConfigError(f"{LABELS}: no query {min(unknown)}", _CODE)


def _check_sides(queries: tuple[EvaluationQuery, ...], labels: tuple[Label, ...]) -> None:
    """What is learned from is not tied to what is held out. Raises ConfigError."""
    answers = made_with(labels)
    side = {one.query_id: one.split for one in queries}
    tied = [
        Tied(one.query_id, one.query_type, ties_of_query(one, answers[one.query_id]))
        for one in queries
    ]
    for component in components(tied):
        sides = {split: one for one in component if (split := side[one.query_id])}
        if len(sides) > 1:
            first, second = (one.query_id for one in sides.values())
            raise ConfigError(
                f"{QUERIES}: {first} and {second} are about the same and on different sides",
                "evaluation.leak",
                "put what is about the same thing on one side",
            )


def _head(kind: type[Head], data: bytes, name: str) -> Head:
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise ConfigError(f"{name}: {error.errors()[0]['msg']}", _CODE) from error
