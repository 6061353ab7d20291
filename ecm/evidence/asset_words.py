"""What people wrote into a file, read back from the store, with the run that read it there.

Knows the table of words; a store of before it had one has none.
"""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from ecm.contracts.result import Written, WrittenKind
from ecm.errors import StoreCorrupt
from ecm.evidence.schema import ASSET_WORDS
from ecm.evidence.store import EvidenceStore, of_assets

_KINDS: Final = tuple(WrittenKind)


class WordsInFile(Written):
    """Words that stand in the file itself; `observed_at` is when a run read them (Unix seconds)."""

    words_id: str
    ordinal: int
    run_id: str
    observed_at: float


def words_in_file(store: EvidenceStore, tenant_id: str, asset_id: str) -> tuple[WordsInFile, ...]:
    """Those of an asset of a tenant, by kind, source and place. Raises StoreCorrupt."""
    if not store.has_table(ASSET_WORDS):
        return ()
    columns = list(WordsInFile.model_fields)
    rows = store.read(ASSET_WORDS, columns, of_assets(tenant_id, [asset_id])).to_pylist()
    try:
        found = [WordsInFile(**row) for row in rows]
    except ValidationError as error:
        raise StoreCorrupt(
            f"table {ASSET_WORDS} has words of asset {asset_id} that no file can have",
            hint="`ecm audit --deep` names what is damaged, `ecm repair` mends it",
        ) from error
    return tuple(sorted(found, key=lambda w: (_KINDS.index(w.kind), w.source, w.ordinal)))
