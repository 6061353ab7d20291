"""Evidence that is shut out of snapshots, since a golden probe failed after it was said.

Notices are small immutable objects below `quarantines/`, created exclusively: whoever sees a probe
fail may write one at once, without the right to commit that a table would want, and on S3 as on a
disk. What became of it is a second such object. Rows are shut out by tenant, evidence key and run;
they stay in their tables until `ecm quarantine redo` takes them out. Runs no model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, ValidationError

from ecm.contracts.identity import Contract
from ecm.contracts.quarantine import QuarantineNotice
from ecm.errors import ConfigError, StoreCorrupt
from ecm.evidence.faults import lance_errors
from ecm.evidence.schema import is_evidence_table
from ecm.evidence.storage import Storage

if TYPE_CHECKING:
    from ecm.evidence.store import EvidenceStore  # Lance takes seconds; a status needs none

QUARANTINES: Final = "quarantines"
KEY_COLUMNS: Final = ("tenant_id", "evidence_key", "run_id")
_ID: Final = re.compile(r"^q-[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$")
_Document = TypeVar("_Document", bound=Contract)


class QuarantineState(StrEnum):
    """Where a quarantine stands. `open` is a problem; nobody has decided about it."""

    OPEN = "open"
    RELEASED = "released"
    REDONE = "redone"


class Release(Contract):
    """An operator's decision that the evidence was right after all. Unix seconds (UTC)."""

    format_version: Literal[1] = 1
    at: float
    by: str = Field(min_length=1, max_length=256)
    why: str = Field(min_length=1, max_length=1000)


class Redone(Contract):
    """The rows are out of the tables, and their tasks queued. Unix seconds (UTC)."""

    format_version: Literal[1] = 1
    at: float
    rows: int = Field(ge=0)
    tasks: int = Field(ge=0)


@dataclass(frozen=True, slots=True)
class Quarantine:
    """One notice and what became of it."""

    quarantine_id: str
    notice: QuarantineNotice
    released: Release | None
    redone: Redone | None

    @property
    def state(self) -> QuarantineState:
        if self.released is not None:
            return QuarantineState.RELEASED
        return QuarantineState.OPEN if self.redone is None else QuarantineState.REDONE


@dataclass(frozen=True, slots=True)
class ShutOut:
    """What snapshots leave out: the columns KEY_COLUMNS, and the quarantines these come from.

    Redone quarantines are among them: a batch of theirs that was on its way may still arrive.
    """

    ids: tuple[str, ...]
    keys: pa.Table

    def rows_of(self, dataset: Any, columns: Iterable[str] = ()) -> pa.Table:
        """The rows of a table of evidence that are shut out: KEY_COLUMNS and `columns`.

        Reads these columns of the runs concerned. Raises as `lance_errors` says.
        """
        wanted = [*KEY_COLUMNS, *columns]
        where = pc.field("run_id").isin(pc.unique(self.keys["run_id"]))
        with lance_errors("cannot look for quarantined rows"):
            found = dataset.to_table(columns=wanted, filter=where)
        return found.join(self.keys, keys=list(KEY_COLUMNS), join_type="left semi").select(wanted)

    def without(self, rows: pa.Table) -> pa.Table:
        """Rows of a table of evidence, in their order, but for those that are shut out."""
        near = pc.is_in(rows["evidence_key"], value_set=self.keys["evidence_key"])
        if not pc.any(near).as_py():
            return rows
        shut = set(zip(*(self.keys[name].to_pylist() for name in KEY_COLUMNS), strict=True))
        asked = zip(*(rows[name].to_pylist() for name in KEY_COLUMNS), strict=True)
        return rows.filter(pa.array([each not in shut for each in asked]))

    def count(self, datasets: Mapping[str, Any]) -> int:
        """How many rows of these tables are shut out."""
        if not self.keys.num_rows:
            return 0
        tables = [data for name, data in datasets.items() if is_evidence_table(name)]
        return sum(self.rows_of(data).num_rows for data in tables)


LISTED_SCHEMA: Final = pa.schema(
    [
        *((name, pa.string()) for name in KEY_COLUMNS),
        ("quarantine_id", pa.string()),
        ("state", pa.string()),
        ("manifest", pa.string()),
        ("probe", pa.string()),
        ("since", pa.float64()),
        ("until", pa.float64()),
    ]
)
"""Of `listed`: a row for each evidence key of each quarantine. Times in Unix seconds (UTC)."""

NOTHING_SHUT_OUT: Final = ShutOut(
    (), pa.table({name: pa.array([], pa.string()) for name in KEY_COLUMNS})
)


def quarantine(store: EvidenceStore, notice: QuarantineNotice) -> str:
    """Make a notice durable; its id. Saying it again changes nothing. Raises StoreUnavailable."""
    quarantine_id = notice.quarantine_id()
    store.storage.put_new(_name(quarantine_id, "notice"), notice.model_dump_json().encode())
    return quarantine_id


def quarantines(store: EvidenceStore) -> tuple[Quarantine, ...]:
    """Every quarantine, oldest first. Raises StoreCorrupt when a notice cannot be read."""
    return _all(store.storage)


def quarantine_of(store: EvidenceStore, quarantine_id: str) -> Quarantine:
    """One quarantine by its id. Raises ConfigError when there is none, StoreCorrupt."""
    return _one(store.storage, quarantine_id)


def _all(storage: Storage) -> tuple[Quarantine, ...]:
    ids = filter(_ID.match, storage.children(QUARANTINES))
    return tuple(_one(storage, quarantine_id) for quarantine_id in ids)


def _one(storage: Storage, quarantine_id: str) -> Quarantine:
    notice = None
    if _ID.match(quarantine_id):
        notice = _read(storage, quarantine_id, "notice", QuarantineNotice)
    if notice is None:
        raise unknown(quarantine_id)
    return Quarantine(
        quarantine_id,
        notice,
        _read(storage, quarantine_id, "released", Release),
        _read(storage, quarantine_id, "redone", Redone),
    )


def listed(store: EvidenceStore, tenant_id: str | None) -> pa.Table:
    """All that was ever quarantined of a tenant or (None) of all, with what became of it:
    LISTED_SCHEMA. What is in state `released` is shown by snapshots, the rest is not.
    """
    tables = [LISTED_SCHEMA.empty_table()]
    for one in quarantines(store):
        if tenant_id not in (None, one.notice.tenant_id):
            continue
        keys = shut_out_by(one).keys
        said = (one.quarantine_id, one.state.value, one.notice.manifest, one.notice.drift.probe)
        values = (*said, one.notice.since, one.notice.until)
        for field, value in zip(list(LISTED_SCHEMA)[len(KEY_COLUMNS) :], values, strict=True):
            keys = keys.append_column(field, pa.array([value] * keys.num_rows, field.type))
        tables.append(keys)
    return pa.concat_tables(tables)


def unknown(quarantine_id: str) -> ConfigError:
    """The error for an id of no quarantine, or of another tenant's."""
    return ConfigError(
        f"no quarantine {quarantine_id[:100]!r}",
        "quarantine.unknown",
        "`ecm quarantine list` shows those there are",
    )


def shut_out(store: EvidenceStore) -> ShutOut:
    """What snapshots leave out now. Raises StoreCorrupt, StoreUnavailable."""
    return _shut_out(q for q in quarantines(store) if q.released is None)


def unheeded(store: EvidenceStore, heeded: Iterable[str]) -> tuple[str, ...]:
    """Quarantines whose evidence is shown by a snapshot that leaves out that of `heeded`, if it has
    any of it. Raises StoreCorrupt, StoreUnavailable.
    """
    known = set(heeded)
    return tuple(name for name in shut_out(store).ids if name not in known)


def shut_out_by(one: Quarantine) -> ShutOut:
    """What one quarantine names."""
    return _shut_out([one])


def open_quarantines(store: EvidenceStore, tenant_id: str | None) -> tuple[Quarantine, ...]:
    """Those nobody has decided about, of one tenant or (None) of all."""
    return open_in(store.storage, tenant_id)


def open_in(storage: Storage, tenant_id: str | None) -> tuple[Quarantine, ...]:
    """The same, for whoever opens no table."""
    return tuple(
        each
        for each in _all(storage)
        if each.state is QuarantineState.OPEN and tenant_id in (None, each.notice.tenant_id)
    )


def release(store: EvidenceStore, one: Quarantine, why: Release) -> Quarantine:
    """Let the evidence be seen again; the first release stands. Raises ConfigError when redone."""
    if one.redone is not None:
        raise ConfigError(
            f"the rows of {one.quarantine_id} were taken out: there is nothing to release",
            "quarantine.redone",
        )
    store.storage.put_new(_name(one.quarantine_id, "released"), why.model_dump_json().encode())
    return quarantine_of(store, one.quarantine_id)


def mark_redone(store: EvidenceStore, one: Quarantine, done: Redone) -> Quarantine:
    """Put on record that its rows are out; the first record stands."""
    store.storage.put_new(_name(one.quarantine_id, "redone"), done.model_dump_json().encode())
    return quarantine_of(store, one.quarantine_id)


def _shut_out(some: Iterable[Quarantine]) -> ShutOut:
    ids, tables = [], [NOTHING_SHUT_OUT.keys]
    for each in some:
        notice = each.notice
        ids.append(each.quarantine_id)
        number = len(notice.keys)
        columns = [[notice.tenant_id] * number, notice.keys, [notice.run_id] * number]
        made = dict(zip(KEY_COLUMNS, columns, strict=True))
        tables.append(pa.table(made, schema=NOTHING_SHUT_OUT.keys.schema))
    return ShutOut(tuple(ids), pa.concat_tables(tables))


def _name(quarantine_id: str, document: str) -> str:
    return f"{QUARANTINES}/{quarantine_id}/{document}.json"


def _read(
    storage: Storage, quarantine_id: str, document: str, kind: type[_Document]
) -> _Document | None:
    raw = storage.read(_name(quarantine_id, document))
    if raw is None:
        return None
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        raise StoreCorrupt(
            f"{_name(quarantine_id, document)} of the evidence store is damaged",
            hint="restore it from a copy: what it shuts out cannot be told",
        ) from error
