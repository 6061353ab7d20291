"""One asset as a snapshot shows it. Knows which columns it is made of; reads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ecm.contracts.search import Axis
from ecm.evidence.schema import TextKind
from ecm.evidence.statement import Statement

ROW_COLUMNS: Final = (
    "asset_id",
    "uris",
    "name",
    "width",
    "height",
    "format",
    "caption",
    "caption_composed",
    "tags",
    "classification",
    "ocr",
    "statements",
)


@dataclass(frozen=True, slots=True)
class VectorEvidence:
    """Which row of evidence, run and transform a vector came from."""

    evidence_id: str
    run_id: str
    transform: str


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """One asset as the snapshot shows it; `tags` and `classification` are labels in their order."""

    tenant_id: str
    asset_id: str
    uris: tuple[str, ...]
    name: str
    width: int | None
    height: int | None
    format: str | None
    caption: str | None
    caption_composed: bool
    tags: tuple[str, ...]
    classification: tuple[str, ...]
    ocr: str | None
    statements: tuple[Statement, ...]
    vectors: Mapping[Axis, VectorEvidence]


def row_of(tenant_id: str, row: dict[str, Any], axes: Sequence[Axis]) -> SnapshotRow:
    """The row as Lance gives it, with the columns of ROW_COLUMNS and the evidence of axes."""
    statements = tuple(Statement.of(said) for said in row["statements"])
    vectors = {
        axis: VectorEvidence(**row[f"{axis}_evidence"]) for axis in axes if row[f"{axis}_evidence"]
    }
    labels = {
        kind: tuple(said.text for said in statements if said.kind == kind)
        for kind in (TextKind.TAG, TextKind.CLASSIFICATION)
    }
    plain = ("asset_id", "name", "width", "height", "format", "caption", "caption_composed", "ocr")
    return SnapshotRow(
        tenant_id=tenant_id,
        uris=tuple(row["uris"]),
        tags=labels[TextKind.TAG],
        classification=labels[TextKind.CLASSIFICATION],
        statements=statements,
        vectors=vectors,
        **{name: row[name] for name in plain},
    )
