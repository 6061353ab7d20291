"""Seals: size and sha256 of the files of a table, kept beside it, so that bytes that rot are seen.

Files of a Lance table never change. Once a file has been read whole and found sound it is sealed;
from then on any other byte in it is noticed, also where no row has a checksum, as in texts. What
was altered before its file was sealed is not noticed by its seal. `seals/<table>.json` holds those
of one table; it can be removed at any time and is made anew. Knows no Lance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Final

from pydantic import Field, ValidationError

from ecm.contracts.identity import Contract, Digest
from ecm.evidence.store import EvidenceStore

_SEALS: Final = "seals"


class Seal(Contract):
    """What a file was when it was sealed; `size` in bytes."""

    size: int = Field(ge=0)
    sha256: Digest


class _Seals(Contract):
    table: str
    files: dict[str, Seal]


def seals_of(store: EvidenceStore, table: str) -> Mapping[str, Seal]:
    """The seals of a table by the names of the files inside the store; none where they are lost."""
    raw = store.storage.read(_name(table))
    try:
        return {} if raw is None else _Seals.model_validate_json(raw).files
    except ValidationError:
        return {}


def seal_of(store: EvidenceStore, name: str) -> Seal:
    """What a file is now: read whole, a block at a time; size 0 where there is none."""
    size, sha256 = 0, hashlib.sha256()
    for block in store.storage.blocks(name):
        size += len(block)
        sha256.update(block)
    return Seal(size=size, sha256=sha256.hexdigest())


def add_seals(
    store: EvidenceStore, table: str, found: Mapping[str, Seal], present: Collection[str]
) -> None:
    """Seal files that have none yet; seals of files that are not `present` any more are dropped."""
    known = seals_of(store, table)
    kept = {name: seal for name, seal in {**found, **known}.items() if name in present}
    if kept != known:
        document = _Seals(table=table, files=dict(sorted(kept.items())))
        store.storage.put(_name(table), document.model_dump_json().encode())


def _name(table: str) -> str:
    return f"{_SEALS}/{table}.json"


def drop_seals(store: EvidenceStore, table: str) -> None:
    """Forget what the files of a table were: names may come again with other bytes."""
    store.storage.remove(_name(table))
