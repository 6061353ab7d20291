"""Assets as plain values, and the tables of a snapshot that would show them.

What filters, facets and sorting give from arrays is compared with loops over these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ecm.contracts.filters import Colour
from ecm.contracts.search import Axis
from ecm.evidence.generation import search_schema
from ecm.search.facts import Facts, read_facts

LATER = ("size", "taken_at", "modified_at", "added_at", "said_at", "agreement", "path", "user")
Shares = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Known:
    """What is known of one asset; `said` are (kind, text, confidence, run) in order."""

    asset_id: str
    uris: tuple[str, ...] = ()
    width: int | None = None
    height: int | None = None
    format: str | None = None
    size: int | None = None
    taken: float | None = None
    modified: float | None = None
    added: float | None = None
    caption: str | None = None
    ocr: str | None = None
    user: str | None = None
    said: tuple[tuple[str, str, float | None, str], ...] = ()
    shares: tuple[float, ...] | None = None
    vector_run: str | None = None

    def labels(self, kind: str) -> dict[str, float | None]:
        """Casefolded labels of a kind, each as surely as it was said."""
        found: dict[str, float | None] = {}
        for said_kind, text, confidence, _ in self.said:
            if said_kind == kind and text:
                before = found.get(text.casefold())
                known = [c for c in (before, confidence) if c is not None]
                found[text.casefold()] = max(known, default=None)
        return found

    def runs(self) -> set[str]:
        return {run for *_, run in self.said} | ({self.vector_run} if self.vector_run else set())


@dataclass(frozen=True)
class KnownTables:
    """The snapshot of some assets, in the order given, `step` rows at a time."""

    assets: Sequence[Known]
    without: frozenset[str] = frozenset()
    step: int = 3
    read: list[str] = field(default_factory=list)

    def tenant_table(self, tenant_id: str, columns: Sequence[str]) -> pa.Table:
        schema = search_schema({Axis.X: len(Colour)})
        self.read.append(tenant_id)
        table = pa.Table.from_pylist([_row(asset) for asset in self.assets], schema)
        present = [c for c in columns if c in table.schema.names and c not in self.without]
        return table.select(present)

    def tenant_batches(self, tenant_id: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        yield from self.tenant_table(tenant_id, columns).to_batches(max_chunksize=self.step)


def facts_of(
    assets: Sequence[Known], without: frozenset[str] = frozenset(), *, coloured: bool = True
) -> Facts:
    """Facts of some assets; `without` are columns that the snapshot does not have."""
    tables = KnownTables(assets, without)
    return read_facts(tables, "t", _as_they_are if coloured else None)


def _as_they_are(vectors: Shares) -> Shares:
    return vectors


def _row(asset: Known) -> dict[str, Any]:
    statement = {
        "evidence_id": "e",
        "ordinal": 0,
        "transform": "f",
        "scheme": "",
        "composed": False,
    }
    origin = {"evidence_id": "e", "run_id": asset.vector_run, "transform": "f"}
    return {
        "tenant_id": "t",
        "asset_id": asset.asset_id,
        "uris": list(asset.uris),
        "name": "",
        "width": asset.width,
        "height": asset.height,
        "format": asset.format,
        "caption": asset.caption,
        "caption_composed": False,
        "tags": ", ".join(asset.labels("tag")) or None,
        "classification": ", ".join(asset.labels("classification")) or None,
        "ocr": asset.ocr,
        "size": asset.size,
        "taken_at": asset.taken,
        "modified_at": asset.modified,
        "added_at": asset.added,
        "user": asset.user,
        "statements": [
            statement | {"kind": kind, "text": text, "confidence": confidence, "run_id": run}
            for kind, text, confidence, run in asset.said
        ],
        "x": asset.shares,
        "x_evidence": origin if asset.vector_run else None,
    }
