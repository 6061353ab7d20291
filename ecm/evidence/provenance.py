"""The proof of what a snapshot shows of an asset: each statement back to its row, run and bytes.

Reads the rows behind the statements and checks them: ids follow from what they are ids of, vectors
have their checksums, and the snapshot says what the rows say. Knows no manifests: the models behind
transforms are told by the caller.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecm.contracts.identity import Contract, Digest, TenantId
from ecm.contracts.result import Box
from ecm.errors import QueryError, SnapshotNotFound
from ecm.evidence.bundle import ModelNote
from ecm.evidence.changes import CREATED
from ecm.evidence.faults import lance_errors
from ecm.evidence.history import asset_story
from ecm.evidence.reader import SnapshotReader, SnapshotRow
from ecm.evidence.refs import SnapshotRef, read_published, read_ref
from ecm.evidence.regions import boxes
from ecm.evidence.row_checks import RowFault, check_rows
from ecm.evidence.runs import RunState
from ecm.evidence.schema import EVIDENCE_TEXT, is_vector_table
from ecm.evidence.store import EvidenceStore, of_assets
from ecm.evidence.story import Analysis, Facts
from ecm.evidence.timeline import PlaceEvent

_WORDS: Final = {
    RowFault.CHECKSUM: "its vector is not the one it has a checksum of",
    RowFault.VECTOR: "its vector is no unit vector",
    RowFault.KEY: "its ids do not follow from what it is about",
    RowFault.TEXT: "its text is not one that is ever written",
    RowFault.CONFIDENCE: "its confidence is not between 0 and 1",
    RowFault.VALUE: "a value is missing or not that of its table",
}


class Proof(Contract):
    """One statement that is shown, and the row of evidence it was taken from.

    `observed_at` is when the run said it, `committed_at` when the row entered the store (Unix
    seconds, UTC; null when the version that brought it was cleaned up). `box` is where in the
    picture its words stand, if that is known. `problems` is empty when the row is what it should be
    and the snapshot shows what it says.
    """

    kind: str
    ordinal: int
    text: str | None
    confidence: float | None
    box: Box | None = None
    evidence_id: str
    evidence_key: str | None = None
    table: str
    task_type: str | None = None
    transform: Digest
    run_id: str
    batch_id: str | None = None
    observed_at: float | None = None
    committed_at: float | None = None
    checksum: Digest | None = None
    problems: tuple[str, ...] = ()


class RunProof(Contract):
    """A run behind statements; everything but its id is null when it left no row."""

    run_id: str
    state: RunState | None = None
    job_id: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    code_version: str | None = None
    config_digest: Digest | None = None


class ModelProof(Contract):
    """The model behind a transform, with the sha256 of every file it read; null when no manifest
    of the profile makes this transform.
    """

    transform: Digest
    model: ModelNote | None


class Provenance(Contract):
    """What the published snapshot shows of an asset, and where each word of it comes from.

    The bytes are those whose sha256 is `asset_id`; `places` are the looks at where they lay.
    """

    tenant_id: TenantId
    asset_id: Digest
    snapshot_id: str
    created_at: float
    published_at: float
    uris: tuple[str, ...]
    facts: Facts | None
    places: tuple[PlaceEvent, ...]
    statements: tuple[Proof, ...]
    runs: tuple[RunProof, ...]
    models: tuple[ModelProof, ...]
    verified: bool
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Claim:
    """What the snapshot shows: a statement in words, or a vector."""

    kind: str
    ordinal: int
    evidence_id: str
    run_id: str
    transform: str
    text: str | None = None
    confidence: float | None = None
    vector: bytes | None = None


def provenance(
    store: EvidenceStore, tenant_id: str, asset_id: str, models: Mapping[str, ModelNote]
) -> Provenance:
    """Prove what the published snapshot shows of an asset of a tenant.

    Raises SnapshotNotFound when nothing is published, QueryError `query.asset_unknown` for an asset
    that the snapshot does not show, StoreCorrupt when evidence cannot be read at all.
    """
    published = read_published(store)
    if published is None:
        raise SnapshotNotFound("no snapshot is published", hint="index something first")
    ref = read_ref(store, published.current.snapshot_id)
    shown = SnapshotReader.open(store, ref).rows(tenant_id, [asset_id])
    if not shown:
        raise QueryError(
            f"the published snapshot does not show asset {asset_id}",
            "query.asset_unknown",
            "ecm history tells what became of it",
        )
    story = asset_story(store, tenant_id, asset_id, {})
    claims = [*_words(shown[0]), *_vectors(store, ref, shown[0])]
    ids = {claim.evidence_id for claim in claims}
    rows = _rows(store, tenant_id, asset_id, ids)
    where = boxes(
        store, of_assets(tenant_id, [asset_id]) & pc.field("evidence_id").isin(sorted(ids))
    )
    proofs = tuple(
        _proof(claim, rows.get(claim.evidence_id, []), where.get(claim.evidence_id))
        for claim in claims
    )
    problems = tuple(f"{p.kind} {p.evidence_id}: {each}" for p in proofs for each in p.problems)
    return Provenance(
        tenant_id=tenant_id,
        asset_id=asset_id,
        snapshot_id=ref.snapshot_id,
        created_at=ref.created_at,
        published_at=published.current.at,
        uris=shown[0].uris,
        facts=story.facts,
        places=tuple(event for event in story.events if event.asset_id == asset_id),
        statements=proofs,
        runs=_runs({proof.run_id for proof in proofs}, story.analyses),
        models=tuple(
            ModelProof(transform=transform, model=models.get(transform))
            for transform in sorted({proof.transform for proof in proofs})
        ),
        verified=not problems,
        problems=problems,
    )


def _words(row: SnapshotRow) -> Iterator[_Claim]:
    for said in row.statements:
        yield _Claim(
            said.kind,
            said.ordinal,
            said.evidence_id,
            said.run_id,
            said.transform,
            said.text,
            said.confidence,
        )


def _vectors(store: EvidenceStore, ref: SnapshotRef, row: SnapshotRow) -> Iterator[_Claim]:
    dataset = store.open_lance(ref.table, ref.version)
    axes = sorted(row.vectors, key=lambda axis: axis.value)
    with lance_errors(f"cannot read vectors of snapshot {ref.snapshot_id}"):
        found = dataset.to_table(
            columns=[axis.value for axis in axes], filter=of_assets(row.tenant_id, [row.asset_id])
        )
    for axis in axes:
        origin = row.vectors[axis]
        yield _Claim(
            f"vector.{axis.value}",
            0,
            origin.evidence_id,
            origin.run_id,
            origin.transform,
            vector=_bytes(found[axis.value][0].as_py()),
        )


def _bytes(vector: Sequence[float] | None) -> bytes:
    return b"" if vector is None else np.asarray(vector, dtype="<f4").tobytes()


def _rows(
    store: EvidenceStore, tenant_id: str, asset_id: str, ids: set[str]
) -> dict[str, list[dict[str, Any]]]:
    """The rows with these evidence ids, each with its table, its faults and its commit time."""
    where = of_assets(tenant_id, [asset_id]) & pc.field("evidence_id").isin(sorted(ids))
    found: dict[str, list[dict[str, Any]]] = {}
    for name in store.tables():
        if name != EVIDENCE_TEXT and not is_vector_table(name):
            continue
        dataset = store.dataset(name)
        with lance_errors(f"cannot read table {name}"):
            columns = [*dataset.schema.names, *([CREATED] if dataset.has_stable_row_ids else ())]
            table = dataset.to_table(columns=columns, filter=where).combine_chunks()
            times = _commit_times(dataset) if table.num_rows else {}
        created = table[CREATED].to_pylist() if CREATED in table.column_names else []
        rows = table.select(dataset.schema.names).replace_schema_metadata(dataset.schema.metadata)
        for number, batch in enumerate(rows.to_batches(max_chunksize=1)):
            row = batch.to_pylist()[0]
            row["table"] = name
            row["faults"] = [_WORDS[fault] for fault in _faults(name, batch)]
            row["committed_at"] = times.get(created[number]) if created else None
            found.setdefault(row["evidence_id"], []).append(row)
    return found


def _faults(name: str, row: pa.RecordBatch) -> list[RowFault]:
    with lance_errors(f"cannot check a row of {name}"):
        return sorted(check_rows(name, row).by_kind)


def _commit_times(dataset: Any) -> dict[int, float]:
    """When each version that was not cleaned up was committed, in Unix seconds."""
    return {each["version"]: each["timestamp"].timestamp() for each in dataset.versions()}


def _proof(claim: _Claim, rows: Sequence[Mapping[str, Any]], box: Box | None) -> Proof:
    base: dict[str, Any] = {
        "kind": claim.kind,
        "ordinal": claim.ordinal,
        "text": claim.text,
        "confidence": claim.confidence,
        "box": box,
        "evidence_id": claim.evidence_id,
        "transform": claim.transform,
        "run_id": claim.run_id,
    }
    if not rows:
        return Proof(table="", problems=("no table has its row of evidence",), **base)
    row = rows[0]
    problems = [*row["faults"], *_differences(claim, row)]
    if len(rows) > 1:
        problems.append(f"its row is there {len(rows)} times")
    names = ("table", "evidence_key", "task_type", "batch_id", "observed_at", "committed_at")
    own = {name: row[name] for name in names}
    return Proof(checksum=row.get("checksum"), problems=tuple(problems), **base, **own)


def _differences(claim: _Claim, row: Mapping[str, Any]) -> Iterator[str]:
    """Where the snapshot does not show what the row says."""
    if (claim.run_id, claim.transform) != (row["run_id"], row["transform"]):
        yield "the snapshot names another run or transform than its row"
    if claim.vector is not None:
        if claim.vector != _bytes(row["vector"]):
            yield "the snapshot has another vector than its row"
    elif (claim.kind, claim.text) != (row["kind"], row["text"]):
        yield "the snapshot has another text than its row"
    elif claim.confidence != row["confidence"]:
        yield "the snapshot has another confidence than its row"


def _runs(run_ids: set[str], analyses: Sequence[Analysis]) -> tuple[RunProof, ...]:
    told = {each.run_id: each for each in analyses}
    names = [name for name in RunProof.model_fields if name != "run_id"]
    return tuple(
        RunProof(
            run_id=run_id,
            **{name: getattr(told[run_id], name) for name in names if run_id in told},
        )
        for run_id in sorted(run_ids)
    )
