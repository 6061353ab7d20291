"""Where in a picture the words of statements stand, read back from the store.

Knows the table of regions; a store of before it had one has none.
"""

from __future__ import annotations

import pyarrow.compute as pc

from ecm.contracts.result import Box
from ecm.evidence.schema import EVIDENCE_REGIONS, SIDES
from ecm.evidence.store import EvidenceStore


def boxes(store: EvidenceStore, where: pc.Expression) -> dict[str, Box]:
    """The boxes of the rows that a typed filter of one tenant matches, by evidence id.

    A row that holds no box is left out: an audit names it. Raises StoreCorrupt.
    """
    if not store.has_table(EVIDENCE_REGIONS):
        return {}
    rows = store.read(EVIDENCE_REGIONS, ["evidence_id", *SIDES], where).to_pylist()
    return {
        row["evidence_id"]: Box(**{side: row[side] for side in SIDES})
        for row in rows
        if _is_box(*(row[side] for side in SIDES))
    }


def _is_box(left: float, top: float, right: float, bottom: float) -> bool:
    return 0.0 <= left <= right <= 1.0 and 0.0 <= top <= bottom <= 1.0
