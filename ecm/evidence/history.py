"""The whole story of an asset: where it was seen, what every run said about it, what shows it.

Reads each table once, by typed filters of one tenant, up to limits that the answer names when they
cut something off. Knows no ledger and no manifests: what models are called, and what was given up,
is told by the caller.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import pyarrow.compute as pc

from ecm.contracts.identity import Contract
from ecm.errors import QueryError, SnapshotNotFound, StoreCorrupt
from ecm.evidence.asset_words import words_in_file
from ecm.evidence.faults import lance_errors
from ecm.evidence.refs import SnapshotRef, all_refs, read_published, read_ref
from ecm.evidence.regions import boxes
from ecm.evidence.runs import RunState
from ecm.evidence.schema import (
    ANALYSIS_RUNS,
    ASSET_SIGHTINGS,
    ASSET_VERSIONS,
    ASSETS,
    EVIDENCE_MEASURES,
    EVIDENCE_TEXT,
    Sighting,
    is_vector_table,
)
from ecm.evidence.store import EvidenceStore, of_assets, of_tenant
from ecm.evidence.story import (
    Analysis,
    AssetHistory,
    Facts,
    Measured,
    Said,
    Shown,
    VectorSaid,
)
from ecm.evidence.timeline import Row, timeline

MIN_PREFIX: Final = 8
MAX_PLACES: Final = 200
MAX_LOOKS: Final = 2_000
MAX_STATEMENTS: Final = 5_000
MAX_SNAPSHOTS: Final = 100

_Value = TypeVar("_Value", bound=Contract)
_SEEN: Final = ["uri", "asset_id", "run_id", "observed_at", "size", "mtime_ns", "etag"]
_SAID: Final = ["evidence_id", "run_id", "transform", "task_type", "observed_at", "ordinal"]


def find_asset(store: EvidenceStore, tenant_id: str, name: str) -> str:
    """The asset that an id, or the first MIN_PREFIX or more digits of one, names in a tenant.

    Raises QueryError `query.asset_unknown`, or `query.asset_ambiguous` when there are several.
    """
    low = name.lower()
    if not MIN_PREFIX <= len(low) <= 64 or set(low) - set("0123456789abcdef"):
        raise QueryError(
            f"{name[:80]!r} is no asset id",
            "query.asset_unknown",
            f"give at least {MIN_PREFIX} of its 64 hexadecimal digits",
        )
    where = (
        of_tenant(tenant_id)
        & (pc.field("asset_id") >= low)
        & (pc.field("asset_id") <= low.ljust(64, "f"))
    )
    found: set[str] = set()
    for table in (ASSETS, ASSET_VERSIONS, ASSET_SIGHTINGS):
        found |= {row["asset_id"] for row in _read(store, table, ["asset_id"], where, MAX_LOOKS)}
    if not found:
        raise QueryError(
            f"no asset {name}", "query.asset_unknown", "ids are shown by ecm history PATH"
        )
    if len(found) > 1:
        few = ", ".join(sorted(found)[:3])
        raise QueryError(
            f"{name} could be {len(found)} assets: {few}",
            "query.asset_ambiguous",
            "give more digits",
        )
    return found.pop()


def asset_at(store: EvidenceStore, tenant_id: str, uri: str) -> str:
    """The asset that lies, or lay last, at a place. Raises QueryError `query.asset_unknown`."""
    rows = _looks(store, of_tenant(tenant_id) & (pc.field("uri") == uri))
    if not rows:
        raise QueryError(
            f"nothing was ever indexed at {uri}",
            "query.asset_unknown",
            "name an image, not a folder, or an asset id; other tenants' images are not known here",
        )
    return max(rows, key=lambda row: row.order).asset_id


def asset_history(
    store: EvidenceStore,
    tenant_id: str,
    asset_id: str,
    models: Mapping[str, str],
) -> AssetHistory:
    """The whole story of one asset of a tenant; `models` as for `asset_story`, which raises.

    Raises besides: StoreCorrupt when a snapshot cannot be read.
    """
    story = asset_story(store, tenant_id, asset_id, models)
    snapshots, older = _snapshots(store, tenant_id, asset_id)
    cut = (*story.truncated, "snapshots") if older else story.truncated
    return story.model_copy(update={"snapshots": snapshots, "truncated": cut})


def asset_story(
    store: EvidenceStore,
    tenant_id: str,
    asset_id: str,
    models: Mapping[str, str],
) -> AssetHistory:
    """The story of an asset but for the snapshots that show it, which are not opened.

    `models` names the model of each known transform. Raises QueryError `query.asset_unknown`,
    ContractError for malformed ids, StoreCorrupt.
    """
    mine = of_assets(tenant_id, [asset_id])
    own = _looks(store, mine)
    facts = _read(store, ASSETS, [*Facts.model_fields], mine, 1)
    if not own and not facts:
        raise QueryError(f"no asset {asset_id}", "query.asset_unknown")
    uris = sorted({row.uri for row in own})
    at_them = of_tenant(tenant_id) & pc.field("uri").isin(uris[:MAX_PLACES])
    looks = _looks(store, at_them)
    analyses, many = _analyses(store, tenant_id, asset_id, models)
    runs = _runs(store, tenant_id, {row.run_id for row in looks} | {a.run_id for a in analyses})
    told = timeline(looks, {run: row["finished_at"] for run, row in runs.items()})
    cut = {
        "places": len(uris) > MAX_PLACES,
        "events": len(looks) > MAX_LOOKS,
        "analyses": many,
    }
    return AssetHistory(
        tenant_id=tenant_id,
        asset_id=asset_id,
        facts=Facts(**facts[0]) if facts else None,
        written=words_in_file(store, tenant_id, asset_id),
        lies_at=tuple(sorted(u for u, held in told.holders.items() if held == asset_id)),
        events=told.events,
        analyses=tuple(_with_run(each, runs.get(each.run_id)) for each in analyses),
        snapshots=(),
        truncated=tuple(name for name, is_cut in cut.items() if is_cut),
    )


def _looks(store: EvidenceStore, where: pc.Expression) -> list[Row]:
    """Rows of both tables, at most MAX_LOOKS + 1 of each."""
    found = [
        Row(state=Sighting.PRESENT, is_version=True, row_id=row.pop("version_id"), **_at(row))
        for row in _read(store, ASSET_VERSIONS, [*_SEEN, "version_id"], where, MAX_LOOKS)
    ]
    columns = [*_SEEN, "sighting_id", "state"]
    found += [
        Row(
            state=Sighting(row.pop("state")),
            is_version=False,
            row_id=row.pop("sighting_id"),
            **_at(row),
        )
        for row in _read(store, ASSET_SIGHTINGS, columns, where, MAX_LOOKS)
    ]
    return found


def _at(row: dict[str, Any]) -> dict[str, Any]:
    return {"at" if name == "observed_at" else name: value for name, value in row.items()}


def _analyses(
    store: EvidenceStore, tenant_id: str, asset_id: str, models: Mapping[str, str]
) -> tuple[list[Analysis], bool]:
    """What was said, by run and transform in time order, and whether there is more."""
    mine = of_assets(tenant_id, [asset_id])
    columns = [*_SAID, "kind", "text", "confidence", "scheme", "composed"]
    texts = _read(store, EVIDENCE_TEXT, columns, mine, MAX_STATEMENTS)
    said_by = pc.field("evidence_id").isin([row["evidence_id"] for row in texts])
    where = boxes(store, mine & said_by) if texts else {}
    texts = [{**row, "box": where.get(row["evidence_id"])} for row in texts]
    measures = _read(store, EVIDENCE_MEASURES, [*_SAID, "name", "value"], mine, MAX_STATEMENTS)
    vectors = _vectors(store, mine)
    cut = max(len(texts), len(measures)) > MAX_STATEMENTS
    rows: dict[tuple[str, str, str], dict[str, list[dict[str, Any]]]] = {}
    for kind, part in (("texts", texts), ("measures", measures), ("vectors", vectors)):
        for row in part[:MAX_STATEMENTS]:
            key = (row["run_id"], row["transform"], row["task_type"])
            rows.setdefault(key, defaultdict(list))[kind].append(row)
    found = [
        Analysis(
            run_id=run_id,
            transform=transform,
            task_type=task_type,
            model=models.get(transform),
            at=min(row["observed_at"] for part in said.values() for row in part),
            texts=_values(Said, said["texts"]),
            measures=_values(Measured, said["measures"]),
            vectors=_values(VectorSaid, said["vectors"]),
        )
        for (run_id, transform, task_type), said in rows.items()
    ]
    return sorted(found, key=lambda each: (each.at, each.task_type, each.transform)), cut


def _values(kind: type[_Value], rows: Iterable[dict[str, Any]]) -> tuple[_Value, ...]:
    ordered = sorted(rows, key=lambda row: (row.get("kind", ""), row["ordinal"]))
    return tuple(kind(**{name: row[name] for name in kind.model_fields}) for row in ordered)


def _vectors(store: EvidenceStore, mine: pc.Expression) -> list[dict[str, Any]]:
    columns = [*_SAID, "norm", "quantization", "checksum"]
    found: list[dict[str, Any]] = []
    for name in filter(is_vector_table, store.tables()):
        marks = store.dataset(name).schema.metadata
        about = {"space": marks[b"ecm.space"].decode(), "dim": int(marks[b"ecm.dim"])}
        found += [{**row, **about} for row in _read(store, name, columns, mine, MAX_STATEMENTS)]
    return found


def _runs(
    store: EvidenceStore, tenant_id: str, run_ids: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """The last recorded state of some runs of a tenant, by id."""
    columns = ["run_id", "state", "job_id", "started_at", "finished_at", "code_version"]
    columns += ["config_digest", "recorded_at"]
    where = of_tenant(tenant_id) & pc.field("run_id").isin(sorted(run_ids))
    rows = _read(store, ANALYSIS_RUNS, columns, where, MAX_LOOKS)
    rows.sort(key=lambda row: (row.pop("recorded_at"), row["state"] != RunState.RUNNING))
    return {row["run_id"]: row for row in rows}


def _with_run(analysis: Analysis, run: dict[str, Any] | None) -> Analysis:
    return (
        analysis
        if run is None
        else analysis.model_copy(update={**run, "state": RunState(run["state"])})
    )


def _snapshots(
    store: EvidenceStore, tenant_id: str, asset_id: str
) -> tuple[tuple[Shown, ...], bool]:
    """Snapshots that show the asset, oldest first: of the newest and the one that is served."""
    refs = all_refs(store)
    published = read_published(store)
    served = published.current.snapshot_id if published else None
    looked = [ref for n, ref in enumerate(refs) if n < MAX_SNAPSHOTS or ref.snapshot_id == served]
    found = []
    for ref in sorted(looked, key=lambda ref: (ref.created_at, ref.snapshot_id)):
        uris = _places_in(store, ref, tenant_id, asset_id)
        if uris is not None:
            found.append(
                Shown(
                    snapshot_id=ref.snapshot_id,
                    created_at=ref.created_at,
                    published=ref.snapshot_id == served,
                    uris=uris,
                )
            )
    return tuple(found), len(refs) > len(looked)


def _places_in(
    store: EvidenceStore, ref: SnapshotRef, tenant_id: str, asset_id: str
) -> tuple[str, ...] | None:
    """The places a snapshot names for an asset; None when it does not show it, or has just been
    collected.
    """
    try:
        dataset = store.open_lance(ref.table, ref.version)
        with lance_errors(f"cannot read snapshot {ref.snapshot_id}"):
            rows = dataset.to_table(columns=["uris"], filter=of_assets(tenant_id, [asset_id]))
    except StoreCorrupt:
        try:
            read_ref(store, ref.snapshot_id)
        except SnapshotNotFound:
            return None
        raise
    return tuple(rows["uris"][0].as_py()) if rows.num_rows else None


def _read(
    store: EvidenceStore, name: str, columns: Sequence[str], where: pc.Expression, limit: int
) -> list[dict[str, Any]]:
    """Rows of a table that a typed filter matches, at most limit + 1; none of one not written."""
    if not store.has_table(name):
        return []
    dataset = store.dataset(name)
    with lance_errors(f"cannot read table {name}"):
        rows: list[dict[str, Any]] = dataset.to_table(
            columns=list(columns), filter=where, limit=limit + 1
        ).to_pylist()
    return rows
