"""Reading a fragment of a table whole, and saying what is damaged in it and which rows are sound.

What cannot be read is a finding, not an error, so that the rest is read. Whoever calls decides in
which process that is (see `examiners`): damaged files have killed readers. Changes nothing. Knows
no ledger.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ecm.errors import EcmError, StoreCorrupt
from ecm.evidence.damage import Damage, DamageKind, FragmentExam, FragmentRef, KeysOf
from ecm.evidence.faults import lance_errors
from ecm.evidence.known import packed
from ecm.evidence.row_checks import RowFault, RowFaults, check_rows
from ecm.evidence.salvage import Stretch, legible
from ecm.evidence.schema import is_evidence_table, is_vector_table, key_column
from ecm.evidence.seals import Seal, seal_of
from ecm.evidence.store import EvidenceStore

_ROWS: Final = 4096


def examine_fragment(store: EvidenceStore, ref: FragmentRef) -> FragmentExam:
    """Read a fragment whole: its files against their seals, every row by itself.

    Where a file was altered and bad rows show what was, they alone are bad; where none does, any
    row may be.
    """
    seals: dict[str, Seal] = {}
    altered: list[Damage] = []
    for name, size, known in zip(ref.files, ref.sizes, ref.seals, strict=True):
        seals[name] = seal_of(store, name)
        damage = _file_damage(store, ref, name, size, seals[name], known)
        if damage is not None and damage.kind is not DamageKind.ALTERED:
            return _lost(store, ref, damage)
        altered += [damage] if damage else []
    try:
        exam = _read(store, ref, [(0, ref.rows)])
    except StoreCorrupt as error:
        return _torn(store, ref, error)
    if altered and not exam.spoilt:
        return _lost(store, ref, altered[0])
    return exam if exam.damages else replace(exam, seals=seals)


def _torn(store: EvidenceStore, ref: FragmentRef, error: StoreCorrupt) -> FragmentExam:
    """What can be read of a fragment that cannot be read as a whole."""
    store.check_there()
    damage = _damage(ref, DamageKind.UNDECODABLE, error.message)
    stretches = legible(lambda first, number: _decode(store, ref, (first, number)), ref.rows)
    if not stretches:
        return _lost(store, ref, damage)
    exam = _read(store, ref, stretches)
    kept = sum(number for _, number in stretches)
    detail = f"{kept:,} of {ref.rows:,} rows can be read: {damage.detail}"
    told = replace(damage, rows=ref.rows - kept, detail=detail)
    return replace(
        exam,
        damages=(told, *exam.damages),
        spoilt=exam.spoilt | _cut(store, ref, stretches),
        legible=tuple(stretches),
    )


def _decode(store: EvidenceStore, ref: FragmentRef, stretch: Stretch) -> None:
    """Read rows and see that they are Arrow data. Raises StoreCorrupt."""
    rows = 0
    for batch in batches_of(store, ref, None, stretch):
        with lance_errors(f"cannot decode fragment {ref.fragment} of {ref.table}"):
            batch.validate(full=True)
        rows += batch.num_rows
    if rows != stretch[1]:
        raise StoreCorrupt(f"{rows} rows of fragment {ref.fragment} instead of {stretch[1]}")


def _cut(store: EvidenceStore, ref: FragmentRef, stretches: Sequence[Stretch]) -> set[str]:
    """Keys at the edges of legible stretches: some of their rows may lie beyond."""
    if key_column(ref.table) != "evidence_key" or is_vector_table(ref.table):
        return set()
    edges = [first for first, _ in stretches if first]
    edges += [first + number - 1 for first, number in stretches if first + number < ref.rows]
    return {
        key
        for edge in edges
        for batch in batches_of(store, ref, ["evidence_key"], (edge, 1))
        for key in batch.column(0).to_pylist()
    }


def _file_damage(
    store: EvidenceStore, ref: FragmentRef, name: str, size: int, seal: Seal, known: Seal | None
) -> Damage | None:
    said = known.size if known else size
    if not seal.size:
        folder, _, file = name.rpartition("/")
        if file not in store.storage.children(folder):
            return _damage(ref, DamageKind.MISSING, "the file is not there", name)
    if said and seal.size != said:
        detail = f"the file has {seal.size:,} bytes instead of {said:,}"
        return _damage(ref, DamageKind.TRUNCATED, detail, name)
    if known and seal != known:
        detail = "the file has other bytes than when it was sealed"
        return _damage(ref, DamageKind.ALTERED, detail, name)
    return None


def _damage(ref: FragmentRef, kind: DamageKind, detail: str, file: str = "") -> Damage:
    return Damage(
        ref.table,
        kind,
        detail,
        fragment=ref.fragment,
        file=file or (ref.files[0] if ref.files else None),
        rows=ref.rows,
    )


def _lost(store: EvidenceStore, ref: FragmentRef, damage: Damage) -> FragmentExam:
    """A fragment of which nothing can be trusted; its keys are counted where they are legible.

    Raises StoreUnavailable when it is the store that has gone.
    """
    store.check_there()
    try:
        keys = {
            key
            for batch in batches_of(store, ref, [key_column(ref.table)], (0, ref.rows))
            for key in _keys(batch)
        }
    except EcmError:
        keys = set()
    told = replace(damage, keys=len(keys), example=min(keys, default=""))
    return FragmentExam(ref, lost=True, damages=(told,))


def _keys(batch: pa.RecordBatch) -> Iterator[str]:
    with lance_errors("cannot read keys"):
        batch.validate(full=True)
        yield from (key for key in batch.column(0).to_pylist() if key is not None)


def _read(store: EvidenceStore, ref: FragmentRef, stretches: Sequence[Stretch]) -> FragmentExam:
    """Look at every row of some stretches. Raises StoreCorrupt when one cannot be read."""
    column = key_column(ref.table)
    id_column = "evidence_id" if is_evidence_table(ref.table) else column
    keys: list[Any] = []
    ids: list[Any] = []
    spoilt: set[str] = set()
    counts: dict[RowFault, tuple[int, set[str]]] = {}
    rows = 0
    for batch in (b for stretch in stretches for b in batches_of(store, ref, None, stretch)):
        with lance_errors(f"cannot decode fragment {ref.fragment} of {ref.table}"):
            faults = check_rows(ref.table, batch)
        rows += batch.num_rows
        sound = batch
        if faults.by_kind:
            _count(counts, faults, batch[column].to_pylist())
            spoilt |= faults.keys
            sound = batch.filter(pa.array(~faults.any(batch.num_rows)))
        keys.append(np.unique(packed(sound[column].to_pylist())))
        ids.append(packed(sound[id_column].to_pylist()))
    wanted = sum(number for _, number in stretches)
    if rows != wanted:
        detail = f"{rows:,} rows can be read, the manifest says {wanted:,}"
        return _lost(store, ref, _damage(ref, DamageKind.FEWER_ROWS, detail))
    damages = [
        Damage(
            ref.table,
            DamageKind(kind.value),
            _WRONG[kind],
            fragment=ref.fragment,
            file=ref.files[0] if ref.files else None,
            rows=number,
            keys=len(named),
            example=min(named, default=""),
        )
        for kind, (number, named) in counts.items()
    ]
    return FragmentExam(
        ref,
        lost=False,
        damages=tuple(damages),
        keys=np.unique(np.concatenate(keys)).tobytes() if keys else b"",
        ids=np.concatenate(ids).tobytes() if ids else b"",
        spoilt=frozenset(spoilt),
    )


_WRONG: Final = {
    RowFault.CHECKSUM: "vectors are not those their checksums were made of",
    RowFault.VECTOR: "vectors are not finite unit vectors",
    RowFault.KEY: "ids are not the digests of what they identify",
    RowFault.TEXT: "statements are too long or of no known kind",
    RowFault.CONFIDENCE: "confidences are not between 0 and 1",
    RowFault.VALUE: "values are missing or impossible",
}


def _count(
    counts: dict[RowFault, tuple[int, set[str]]], faults: RowFaults, keys: Sequence[str]
) -> None:
    for kind, mask in faults.by_kind.items():
        number, named = counts.get(kind, (0, set()))
        named |= {str(keys[place]) for place in np.flatnonzero(mask).tolist()}
        counts[kind] = (number + int(mask.sum()), named)


def keys_of(store: EvidenceStore, asked: KeysOf) -> tuple[str, ...]:
    """The keys of rows with one of these ids in a fragment. Raises StoreCorrupt."""
    wanted = np.frombuffer(asked.ids, dtype="S16")
    column = key_column(asked.ref.table)
    id_column = "evidence_id" if is_evidence_table(asked.ref.table) else column
    found: set[str] = set()
    for batch in batches_of(store, asked.ref, list({column, id_column}), (0, asked.ref.rows)):
        mask = np.isin(packed(batch[id_column].to_pylist()), wanted)
        found.update(batch[column].filter(pa.array(mask)).to_pylist())
    return tuple(sorted(found))


def batches_of(
    store: EvidenceStore, ref: FragmentRef, columns: list[str] | None, stretch: Stretch
) -> Iterator[pa.RecordBatch]:
    """The batches of a stretch of a fragment, with the metadata of the table's schema.

    Raises StoreCorrupt.
    """
    what = f"cannot read fragment {ref.fragment} of {ref.table}"
    dataset = store.dataset(ref.table, ref.version)
    first, number = stretch
    if not number:
        return
    with lance_errors(what):
        scanner = dataset.get_fragment(ref.fragment).scanner(
            columns=columns, batch_size=_ROWS, offset=first, limit=number
        )
        batches = iter(scanner.to_batches())
    while True:
        with lance_errors(what):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch.replace_schema_metadata(dataset.schema.metadata)
