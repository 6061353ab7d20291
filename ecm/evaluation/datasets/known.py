"""What a snapshot says of a tenant's assets, as far as drawing queries needs it.

Knows the columns of a snapshot; knows no query. What is in memory is about 3 kB for each asset.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from ecm.contracts.identity import TenantId
from ecm.evaluation.datasets.words import content_words
from ecm.evidence.reader import SnapshotReader

COLUMNS: Final = (
    "asset_id",
    "uris",
    "width",
    "height",
    "caption",
    "caption_composed",
    "tags",
    "classification",
    "ocr",
    "user",
)
SURE: Final = 3
"""How often the text of a snapshot repeats a label that is sure."""


@dataclass(frozen=True, slots=True)
class KnownAsset:
    """One asset: where it lies, its size in pixels (upright), and what is stored of it in words.

    `classes` are those that its evidence is sure of. `words` are all content words stored of it.
    """

    asset_id: str
    uris: tuple[str, ...]
    width: int | None
    height: int | None
    caption: str | None
    caption_composed: bool
    classes: tuple[str, ...]
    ocr: str | None
    user: str | None
    words: frozenset[str]

    @property
    def file_name(self) -> str:
        """The last part of its first place, "" without any."""
        return unquote(self.uris[0].rsplit("/", 1)[-1]) if self.uris else ""


class KnownAssets:
    """The assets of one tenant in one snapshot."""

    def __init__(
        self, tenant_id: TenantId, snapshot_id: str, created_at: float, assets: Iterable[KnownAsset]
    ) -> None:
        """`created_at`: of the snapshot, Unix seconds."""
        self.tenant_id = tenant_id
        self.snapshot_id = snapshot_id
        self.created_at = created_at
        self.by_id: Mapping[str, KnownAsset] = {
            asset.asset_id: asset for asset in sorted(assets, key=lambda one: one.asset_id)
        }
        self._spread = Counter(word for asset in self.by_id.values() for word in asset.words)

    def __len__(self) -> int:
        return len(self.by_id)

    def rarity(self, word: str) -> float:
        """How much a word tells assets apart: ln(1 + n / (1 + assets that say it))."""
        return math.log1p(len(self) / (1 + self._spread[word]))


def read_known(reader: SnapshotReader, tenant_id: TenantId) -> KnownAssets:
    """Everything that a snapshot knows of a tenant. Raises StoreCorrupt."""
    ref = reader.ref
    rows = (
        known_asset(row)
        for batch in reader.tenant_batches(tenant_id, COLUMNS)
        for row in batch.to_pylist()
    )
    return KnownAssets(tenant_id, ref.snapshot_id, ref.created_at, rows)


def known_asset(row: Mapping[str, Any]) -> KnownAsset:
    """One row of a snapshot, with the columns of COLUMNS; older snapshots lack some."""
    said = [row.get(name) or "" for name in ("caption", "tags", "classification", "ocr", "user")]
    return KnownAsset(
        asset_id=row["asset_id"],
        uris=tuple(sorted(row["uris"])),
        width=row.get("width"),
        height=row.get("height"),
        caption=row.get("caption"),
        caption_composed=bool(row.get("caption_composed")),
        classes=_sure(row.get("classification") or "", row.get("tags") or ""),
        ocr=row.get("ocr"),
        user=row.get("user"),
        words=frozenset(content_words(" ".join(said))),
    )


def _sure(classification: str, tags: str) -> tuple[str, ...]:
    """Classes that are sure: the text of tags repeats a label the more the surer it is."""
    repeated = Counter(part.strip() for part in tags.split(","))
    classes = dict.fromkeys(part.strip() for part in classification.split(","))
    return tuple(name for name in classes if name and repeated[name] >= SURE)
