"""Who is meant by a name on the command line: a run, or a transform, and which rows are theirs.

Knows runs on record and the transforms that left evidence. Compares nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from ecm.errors import QueryError
from ecm.evidence.faults import lance_errors
from ecm.evidence.runs import RunRecord, runs_of
from ecm.evidence.schema import is_evidence_table, is_vector_table
from ecm.evidence.store import EvidenceStore, of_tenant

MIN_PREFIX: Final = 4
_FINGERPRINT: Final = re.compile(rf"^[0-9a-f]{{{MIN_PREFIX},64}}$")
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Speaker:
    """A run or a transform of one tenant; `record` is the run's, where there is one."""

    kind: Literal["run", "transform"]
    name: str
    tenant_id: str
    record: RunRecord | None = None

    def where(self) -> pc.Expression:
        """The filter for its rows in any evidence table."""
        column = "run_id" if self.kind == "run" else "transform"
        return of_tenant(self.tenant_id) & (pc.field(column) == self.name)


def speakers(store: EvidenceStore, tenant_id: str, *texts: str) -> tuple[Speaker, ...]:
    """Who is meant by run ids or transform fingerprints, or their beginnings (4 characters on).

    Runs come before transforms. Raises QueryError (code `compare.unknown` or `compare.ambiguous`).
    """
    runs = {run.run_id: run for run in runs_of(store, tenant_id)}
    told = told_by(store, tenant_id)
    return tuple(_speaker(tenant_id, text, runs, told) for text in texts)


def _speaker(
    tenant_id: str,
    text: str,
    runs: Mapping[str, RunRecord],
    told: Mapping[str, frozenset[str]],
) -> Speaker:
    names = runs.keys() | told["run_id"]
    run = _meant("runs", text, names)
    if run is not None:
        return Speaker("run", run, tenant_id, runs.get(run))
    known = told["transform"]
    fingerprint = _meant("transforms", text, known) if _FINGERPRINT.match(text) else None
    if fingerprint is not None:
        return Speaker("transform", fingerprint, tenant_id)
    raise QueryError(
        f"tenant {tenant_id} has no run and no transform {text[:100]!r} with evidence",
        code="compare.unknown",
        hint="see: ecm runs list",
    )


def told_by(store: EvidenceStore, tenant_id: str) -> Mapping[str, frozenset[str]]:
    """The run ids and the transforms that left evidence of a tenant, by column name."""
    found: dict[str, set[str]] = {"run_id": set(), "transform": set()}
    for name in filter(is_evidence_table, store.tables()):
        dataset = store.dataset(name)
        columns = [c for c in found if c == "run_id" or not is_vector_table(name)]
        with lance_errors(f"cannot read table {name}"):
            reader = dataset.scanner(columns=columns, filter=of_tenant(tenant_id)).to_reader()
            rows = _distinct_of(reader, columns)
        for column, values in rows.items():
            found[column] |= values
        if rows["run_id"] and is_vector_table(name):
            found["transform"].add(dataset.schema.metadata[b"ecm.transform"].decode())
    return {column: frozenset(values) for column, values in found.items()}


def _distinct_of(reader: pa.RecordBatchReader, columns: list[str]) -> dict[str, set[str]]:
    values: dict[str, set[str]] = {column: set() for column in columns}
    for batch in reader:
        for column in columns:
            values[column].update(pc.unique(batch[column]).to_pylist())
    return values


def _meant(what: str, text: str, names: Collection[str]) -> str | None:
    if text in names:
        return text
    begun = sorted(name for name in names if name.startswith(text))
    if len(text) < MIN_PREFIX or not begun:
        return None
    if len(begun) > 1:
        raise QueryError(
            f"{text!r} begins {len(begun)} {what}: {', '.join(begun[:_SHOWN])}",
            code="compare.ambiguous",
            hint="give more of it",
        )
    return begun[0]
