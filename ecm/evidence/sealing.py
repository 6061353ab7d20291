"""Sealing what a table has gained, and asking seals before files are merged into others.

The files of the newest version are read once, as soon after they were written as somebody has time
for it: at the end of a run, and by maintenance. See `seals` for what a seal is good for.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from ecm.errors import StoreCorrupt
from ecm.evidence.damage import HeadOf, TableHead
from ecm.evidence.seals import add_seals, seal_of, seals_of
from ecm.evidence.store import EvidenceStore
from ecm.evidence.table_heads import examine_head, known_tables, manifest_of

AT_ONCE: Final = 2**30
"""Bytes that are read for new seals at the end of a run; maintenance sees to the rest."""


def seal_store(store: EvidenceStore, most_bytes: int = AT_ONCE) -> int:
    """Seal files of every table that are new, up to so many bytes; how many were sealed.

    A table that cannot be opened is left to the deep audit. Raises StoreUnavailable.
    """
    sealed = 0
    for table in known_tables(store):
        try:
            sealed += (new := seal_table(store, table, most_bytes))[0]
        except StoreCorrupt:
            continue
        most_bytes -= new[1]
    return sealed


def seal_table(store: EvidenceStore, table: str, most_bytes: int) -> tuple[int, int]:
    """Seal new files of one table; how many, and their bytes. Raises StoreCorrupt."""
    head = examine_head(store, HeadOf(table))
    if head.damages:
        raise StoreCorrupt(head.damages[0].detail)
    present = _files(store, head)
    known = seals_of(store, table)
    found = {}
    left = most_bytes
    for name in present:
        if name in known or left <= 0:
            continue
        seal = seal_of(store, name)
        if seal.size:
            found[name] = seal
            left -= seal.size
    add_seals(store, table, found, present)
    return len(found), most_bytes - left


def check_seals(store: EvidenceStore, table: str, fragments: Collection[int]) -> None:
    """Read the sealed files of some fragments before they are written anew as others.

    Merged, an altered byte would get a seal of its own. Raises StoreCorrupt.
    """
    known = seals_of(store, table)
    head = examine_head(store, HeadOf(table))
    for ref in head.fragments:
        for name in ref.files if ref.fragment in fragments else ():
            if name in known and seal_of(store, name) != known[name]:
                raise StoreCorrupt(
                    f"{name} has other bytes than when it was sealed",
                    hint="`ecm audit --deep` names what is damaged, `ecm repair` mends it",
                )


def _files(store: EvidenceStore, head: TableHead) -> list[str]:
    """All that the newest version consists of."""
    files = [file for ref in head.fragments for file in ref.files]
    files += [file for index in head.indices for file in index.files]
    manifest = manifest_of(store, head)
    return [*files, *([manifest] if manifest else [])]
