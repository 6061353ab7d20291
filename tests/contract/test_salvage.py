"""One altered byte in a large fragment costs the rows of its page, not the fragment."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import lance
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from ecm.contracts.identity import evidence_id, evidence_key
from ecm.errors import StoreCorrupt
from ecm.evidence.committer import EvidenceCommitter, unquestioned
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.damage import DamageKind
from ecm.evidence.examination import examine
from ecm.evidence.examiners import Here
from ecm.evidence.mending import TableMending
from ecm.evidence.salvage import SMALLEST, legible
from ecm.evidence.schema import EVIDENCE_TEXT, fixed_schema
from ecm.evidence.store import EvidenceStore
from tests.damaged import flipped
from tests.evidence_envelopes import START, VISION, content_of

KEYS, STATEMENTS = 600, 20


def rows() -> pa.Table:
    """Many statements about many images, in one batch."""
    said = []
    for image in range(KEYS):
        asset = content_of(image)
        key = evidence_key("t", asset, "vision", VISION)
        for place in range(STATEMENTS):
            said.append(
                {
                    "evidence_id": evidence_id(key, "tag", place),
                    "evidence_key": key,
                    "tenant_id": "t",
                    "asset_id": asset,
                    "run_id": "r",
                    "transform": VISION,
                    "batch_id": "b",
                    "observed_at": START,
                    "task_type": "vision",
                    "ordinal": place,
                    "kind": "tag",
                    "text": f"word {content_of((image, place))[:12]}",
                    "confidence": 0.5,
                    "scheme": "",
                    "composed": False,
                }
            )
    return pa.Table.from_pylist(said, schema=fixed_schema(EVIDENCE_TEXT))


def decodes(fragment: lance.LanceFragment, first: int, number: int) -> bool:
    first %= KEYS * STATEMENTS
    try:
        fragment.scanner(offset=first, limit=number).to_table().validate(full=True)
    except (OSError, ValueError, RuntimeError):
        return False
    return True


def damage_a_page(store: EvidenceStore) -> None:
    """Alter bytes, one after the other, until one is found without which a page cannot be read.

    Where what lies in a file differs from run to run; its end says where the pages are.
    """
    (fragment,) = store.dataset(EVIDENCE_TEXT).get_fragments()
    folder = Path(store.storage.location(f"tables/{EVIDENCE_TEXT}.lance/data"))
    path = folder / fragment.metadata.files[0].path
    whole = path.read_bytes()
    for at in range(len(whole) // 10, len(whole), 997):
        flipped(at)(path)
        (fragment,) = store.dataset(EVIDENCE_TEXT).get_fragments()
        ends = [decodes(fragment, 0, SMALLEST), decodes(fragment, -SMALLEST, SMALLEST)]
        if any(ends) and not decodes(fragment, 0, KEYS * STATEMENTS):
            return
        path.write_bytes(whole)
    raise AssertionError("nothing makes it illegible")


def test_a_page_costs_its_own_rows_and_no_key_is_left_in_part(quick_folder: Path) -> None:
    store = EvidenceStore.create(EvidenceConfig(uri=str(quick_folder / "store")), START)
    EvidenceCommitter(store).append_rows(EVIDENCE_TEXT, rows(), "b", unquestioned)
    damage_a_page(store)

    exam = examine(store, Here(store), lambda *_: None).tables[EVIDENCE_TEXT]
    (damage,) = exam.damages
    assert damage.kind is DamageKind.UNDECODABLE
    assert 0 < damage.rows < KEYS * STATEMENTS
    assert f"of {KEYS * STATEMENTS:,} rows can be read" in damage.detail
    assert 0 < len(exam.keys) < KEYS

    steps = list(TableMending(store, exam, "repair", unquestioned).mend())
    assert "anew without" in steps[0]
    after = examine(store, Here(store), lambda *_: None).tables[EVIDENCE_TEXT]
    assert after.damages == []
    assert (after.keys == exam.keys).all()
    left = Counter(store.read(EVIDENCE_TEXT, ["evidence_key"])["evidence_key"].to_pylist())
    assert set(left.values()) == {STATEMENTS}

    EvidenceCommitter(store).append_rows(EVIDENCE_TEXT, rows(), "b-again", unquestioned)
    assert store.counts() == {EVIDENCE_TEXT: KEYS * STATEMENTS}


@given(rows=st.integers(0, 5000), bad=st.sets(st.integers(0, 4999), max_size=4))
def test_all_that_can_be_read_is_and_nothing_else(rows: int, bad: set[int]) -> None:
    def read(first: int, number: int) -> None:
        if any(first <= row < first + number for row in bad):
            raise StoreCorrupt("no")

    found = legible(read, rows)
    kept = {row for first, number in found for row in range(first, first + number)}
    inside = {row for row in bad if row < rows}
    assert not kept & bad
    assert rows - len(kept) <= SMALLEST * len(inside)
    assert all(a[0] + a[1] < b[0] for a, b in pairwise(found))
