"""What has changed in the evidence since a snapshot, told from the newest version of the tables.

Rows keep the version they came with through compaction (stable row ids), so no old version is
needed and clean-up may take them all. Rows that have gone are noticed by their number. Where that
cannot be told for certain the answer is to build anew, with the reason. Chooses and writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from ecm.evidence.faults import lance_errors
from ecm.evidence.refs import EvidenceTable
from ecm.evidence.schema import ASSET_SIGHTINGS, ASSET_VERSIONS
from ecm.evidence.store import TABLE_MARK

CREATED: Final = "_row_created_at_version"
"""Lance's column of the version a row came with."""
_UPDATED: Final = "_row_last_updated_at_version"

PLACE_TABLES: Final = (ASSET_VERSIONS, ASSET_SIGHTINGS)
ASSET_COLUMNS: Final = ("tenant_id", "asset_id")


@dataclass(frozen=True, slots=True)
class Anew:
    """The snapshot must be built anew, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Touched:
    """The assets whose rows of the snapshot may be other ones now; everything else is as it was.

    `assets` has the columns tenant_id and asset_id, each pair once. `since` is, by table, the
    version the snapshot saw; a table that it did not see is absent.
    """

    assets: pa.Table
    since: Mapping[str, int]


def state_of(datasets: Mapping[str, Any]) -> dict[str, EvidenceTable]:
    """What a snapshot remembers of the tables it is made of."""
    return {name: _state(name, dataset) for name, dataset in datasets.items()}


def touched_since(
    before: Mapping[str, EvidenceTable], datasets: Mapping[str, Any]
) -> Touched | Anew:
    """The assets that rows new since then speak of, or that lay where such rows saw something.

    Reads the versions of all rows and the ids of the new ones; where places are concerned, all
    places. Raises StoreCorrupt, StoreUnavailable.
    """
    reason = _unsure(before, datasets)
    if reason:
        return Anew(reason)
    since = {name: table.version for name, table in before.items()}
    changed = {n: d for n, d in datasets.items() if n not in since or d.version != since[n]}
    found = [_assets_of(name, dataset, since.get(name, 0)) for name, dataset in changed.items()]
    if any(name in changed for name in PLACE_TABLES):
        found.append(_once_there(datasets, changed, since))
    everything = pa.concat_tables([_NONE, *found])
    return Touched(everything.group_by(list(ASSET_COLUMNS)).aggregate([]), since)


def of_touched(touched: Touched) -> pc.Expression:
    """The filter for rows of the touched assets, of whatever tenant."""
    return pc.field("asset_id").isin(pc.unique(touched.assets["asset_id"]))


_NONE: Final = pa.table({name: pa.array([], pa.string()) for name in ASSET_COLUMNS})


def _state(name: str, dataset: Any) -> EvidenceTable:
    with lance_errors(f"cannot count table {name}"):
        return EvidenceTable(
            mark=_mark(dataset), version=int(dataset.version), rows=int(dataset.count_rows())
        )


def _mark(dataset: Any) -> str:
    """Empty where rows do not keep the version they came with."""
    if not dataset.has_stable_row_ids:
        return ""
    mark: bytes = (dataset.schema.metadata or {}).get(TABLE_MARK, b"")
    return mark.decode(errors="replace")


def _unsure(before: Mapping[str, EvidenceTable], datasets: Mapping[str, Any]) -> str:
    """Why what is new cannot be told for certain; empty when it can."""
    for name, dataset in datasets.items():
        if not _mark(dataset):
            return f"table {name} is of a release whose rows do not say when they came"
    for name, table in before.items():
        if name not in datasets:
            return f"table {name} is not part of it any more"
        dataset = datasets[name]
        if _mark(dataset) != table.mark or dataset.version < table.version:
            return f"table {name} is another one"
        with lance_errors(f"cannot count table {name}"):
            kept = int(dataset.count_rows(filter=f"{CREATED} <= {table.version}"))
        if kept != table.rows:
            return f"{table.rows - kept} rows of table {name} have gone"
    return ""


def _assets_of(name: str, dataset: Any, version: int) -> pa.Table:
    with lance_errors(f"cannot read table {name}"):
        found = dataset.to_table(columns=list(ASSET_COLUMNS), filter=f"{_UPDATED} > {version}")
    return found.cast(_NONE.schema)


def _once_there(
    datasets: Mapping[str, Any], changed: Mapping[str, Any], since: Mapping[str, int]
) -> pa.Table:
    """The assets ever seen at a place that a new row is about; all places are read, in batches."""
    columns = ["tenant_id", "uri"]
    places = []
    for name in (name for name in PLACE_TABLES if name in changed):
        where = f"{_UPDATED} > {since.get(name, 0)}"
        with lance_errors(f"cannot read table {name}"):
            places.append(changed[name].to_table(columns=columns, filter=where))
    news = pa.concat_tables(places).group_by(columns).aggregate([])
    found = [_NONE]
    for name in (name for name in PLACE_TABLES if name in datasets):
        with lance_errors(f"cannot read table {name}"):
            for batch in datasets[name].to_batches(columns=[*ASSET_COLUMNS, "uri"]):
                near = batch.filter(pc.is_in(batch["uri"], value_set=news["uri"]))
                mine = pa.Table.from_batches([near]).join(news, keys=columns, join_type="left semi")
                found.append(mine.select(list(ASSET_COLUMNS)).cast(_NONE.schema))
    return pa.concat_tables(found)
