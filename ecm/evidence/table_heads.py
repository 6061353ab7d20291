"""The head of a table: the newest version that can be read, its schema, its fragments, its indices.

A version that cannot be read is a finding, and the one before it is tried. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa
from lance.file import LanceFileReader

from ecm.contracts.result import Space
from ecm.errors import ContractError, StoreCorrupt
from ecm.evidence.damage import (
    Damage,
    DamageKind,
    FragmentRef,
    HeadOf,
    IndexExam,
    IndexRef,
    TableHead,
)
from ecm.evidence.faults import lance_errors
from ecm.evidence.schema import check_schema, fixed_schema, is_vector_table, vector_schema
from ecm.evidence.seals import Seal, seal_of, seals_of
from ecm.evidence.store import EvidenceStore

DAMAGED: Final = "damaged"
"""The folder for files that nothing can read, below it one for each repair."""

_LAST_VERSION: Final = 2**64 - 1
"""Lance names manifests by their distance to it, so that the newest is listed first."""


def table_folder(table: str) -> str:
    """Where a table lies inside the store."""
    return f"tables/{table}.lance"


def known_tables(store: EvidenceStore) -> tuple[str, ...]:
    """The tables there are whose rows this release knows; what else lies there is left alone."""
    return tuple(name for name in store.tables() if is_vector_table(name) or _is_fixed(name))


def _is_fixed(name: str) -> bool:
    try:
        fixed_schema(name)
    except ContractError:
        return False
    return True


def manifests_of(store: EvidenceStore, table: str) -> dict[int, str]:
    """The names of a table's manifests inside the store by version, newest first."""
    return _manifests_in(store, f"{table_folder(table)}/_versions")


def manifest_of(store: EvidenceStore, head: TableHead) -> str | None:
    """The name of the manifest of a table's version inside the store."""
    return manifests_of(store, head.table).get(head.version or 0)


def _put_aside(store: EvidenceStore, table: str) -> int:
    """The newest version whose manifest a repair has put aside; 0 where none has."""
    folders = (
        f"{DAMAGED}/{repair}/{table_folder(table)}" for repair in store.storage.children(DAMAGED)
    )
    return max(
        (v for folder in folders for v in _manifests_in(store, f"{folder}/_versions")), default=0
    )


def _manifests_in(store: EvidenceStore, folder: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for name in store.storage.children(folder):
        stem, dot, kind = name.partition(".")
        if dot and kind == "manifest" and stem.isdigit():
            number = int(stem)
            version = _LAST_VERSION - number if number > _LAST_VERSION // 2 else number
            found[version] = f"{folder}/{name}"
    return dict(sorted(found.items(), reverse=True))


def examine_head(store: EvidenceStore, asked: HeadOf) -> TableHead:
    """Open a table at its newest version that can be read.

    Raises StoreUnavailable and ConfigError when that says nothing about the table, StoreCorrupt
    (code `store.version`) for a table that another release wrote.
    """
    table = asked.table
    manifests = manifests_of(store, table)
    store.check_there()
    newest = max(*manifests, _put_aside(store, table), 0)
    refused = [
        StoreCorrupt(f"version {version} of {table} ends every process that reads it")
        for version in asked.passing_over
    ]
    altered: list[TableHead] = []
    for version in (v for v in manifests if v not in asked.passing_over):
        try:
            head = _opened(store, table, version, newest, manifests[version])
        except StoreCorrupt as error:
            refused.append(error)
            continue
        if not head.damages:
            return _told(head, manifests.get(newest), refused)
        altered.append(head)
        refused.append(StoreCorrupt(head.damages[0].detail))
    if altered:  # none is what it was: the newest that can be read has to do
        return altered[0]
    if refused and all(error.code == "store.version" for error in refused):
        raise refused[0]
    detail = refused[0].message if refused else f"table {table} has no manifest"
    damage = Damage(table, DamageKind.MANIFEST, detail, file=manifests.get(newest))
    return TableHead(table, newest, None, damages=(damage,))


def _opened(
    store: EvidenceStore, table: str, version: int, newest: int, manifest: str
) -> TableHead:
    dataset = store.dataset(table, version)
    _check_columns(table, dataset.schema)
    known = seals_of(store, table)
    fragments = tuple(_fragments(table, dataset, known))
    _check_names(store, table, fragments)
    indices = tuple(_indices(store, table, dataset))
    seal = seal_of(store, manifest)
    damages: tuple[Damage, ...] = ()
    if known.get(manifest, seal) != seal:
        detail = f"the manifest of version {version} has other bytes than when it was sealed"
        damages = (Damage(table, DamageKind.MANIFEST, detail, file=manifest),)
    return TableHead(table, newest, version, fragments, indices, {manifest: seal}, damages)


def _told(head: TableHead, manifest: str | None, refused: Sequence[StoreCorrupt]) -> TableHead:
    """The head, with what there is to say against newer versions."""
    if head.version == head.newest:
        return head
    why = refused[0].message if refused else "newer versions were put aside"
    detail = f"{why}; version {head.version} is the newest of {head.newest} that can be read"
    damage = Damage(head.table, DamageKind.MANIFEST, detail, file=manifest)
    return replace(head, damages=(damage,))


def examine_index(store: EvidenceStore, ref: IndexRef) -> IndexExam:
    """Read the files of an index whole, and compare them with their seals."""
    known, seals = seals_of(store, ref.table), {}
    for file in ref.files:
        seals[file] = seal_of(store, file)
        try:
            if known.get(file, seals[file]) != seals[file]:
                raise StoreCorrupt(f"{file} has other bytes than when it was sealed")
            with lance_errors(f"cannot read {file}"):
                reader = LanceFileReader(
                    store.storage.location(file),
                    storage_options=dict(store.storage.lance_options or {}),
                )
                reader.read_all().to_table().validate(full=True)
        except StoreCorrupt as error:
            store.check_there()
            kind = DamageKind.INDEX
            damage = Damage(ref.table, kind, error.message, file=file, example=ref.name)
            return IndexExam(ref, (damage,))
    size = sum(seal.size for seal in seals.values())
    if ref.size and size != ref.size:
        detail = f"its files have {size:,} bytes instead of {ref.size:,}"
        damage = Damage(ref.table, DamageKind.INDEX, detail, file=ref.files[0], example=ref.name)
        return IndexExam(ref, (damage,))
    return IndexExam(ref, seals=seals)


def _check_columns(table: str, stored: pa.Schema) -> None:
    """Raises StoreCorrupt for a table with other columns or marks than its name promises."""
    if not is_vector_table(table):
        check_schema(table, stored, fixed_schema(table))
        return
    marks = {k.decode(): v.decode(errors="replace") for k, v in (stored.metadata or {}).items()}
    space, transform, dim = (marks.get(f"ecm.{k}", "") for k in ("space", "transform", "dim"))
    if table != f"evidence_vectors_{space}_{transform[:12]}" or not dim.isdigit():
        raise StoreCorrupt(f"table {table} belongs to another model", code="store.schema")
    check_schema(table, stored, vector_schema(Space(space), transform, int(dim)))


def _check_names(store: EvidenceStore, table: str, fragments: Sequence[FragmentRef]) -> None:
    """Raises StoreCorrupt for files with names that nobody can have given them."""
    try:
        for ref in fragments:
            for name in ref.files:
                store.storage.location(name)
    except ContractError as error:
        raise StoreCorrupt(f"a manifest of {table} is damaged: {error.message}") from error


def _fragments(table: str, dataset: Any, known: Mapping[str, Seal]) -> Iterator[FragmentRef]:
    with lance_errors(f"cannot read the fragments of {table}"):
        fragments = list(dataset.get_fragments())
        folder = table_folder(table)
        for fragment in fragments:
            files = fragment.metadata.files
            deletions = fragment.deletion_file()
            names = [f"{folder}/data/{file.path}" for file in files]
            sizes = [int(file.file_size_bytes or 0) for file in files]
            if deletions:
                names, sizes = [*names, f"{folder}/{deletions}"], [*sizes, 0]
            rows = int(fragment.physical_rows) - int(fragment.num_deletions)
            yield FragmentRef(
                table,
                int(dataset.version),
                int(fragment.fragment_id),
                tuple(names),
                tuple(sizes),
                tuple(known.get(name) for name in names),
                rows,
            )


def _indices(store: EvidenceStore, table: str, dataset: Any) -> Iterator[IndexRef]:
    with lance_errors(f"cannot read the indices of {table}"):
        segments = [
            (index.name, segment.uuid, int(segment.size_bytes or 0))
            for index in dataset.describe_indices()
            for segment in index.segments
        ]
    for name, uuid, size in segments:
        folder = f"{table_folder(table)}/_indices/{uuid}"
        files = tuple(f"{folder}/{file}" for file in store.storage.children(folder))
        yield IndexRef(table, name, files or (f"{folder}/page_data.lance",), size)
