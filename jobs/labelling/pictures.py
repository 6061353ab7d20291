"""The pictures of a tenant for whoever judges them: small as the store keeps them, large from where
they lie, and what is known of them in words.

Knows the published snapshot, and how an original is read; knows no query and no vote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ecm.config import Profile
from ecm.contracts.identity import ContentIdentity, TenantId
from ecm.errors import EcmError, SnapshotNotFound
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import published_ref
from ecm.evidence.store import EvidenceStore
from ecm.images.cuts import thumbnail_jpeg
from ecm.images.decode import decode
from ecm.images.limits import ImageLimits
from ecm.images.reading import read_resource

LARGE_SIDE: Final = 1_600
"""Pixels of the longer side of a large picture."""
QUALITY: Final = 88


@dataclass(frozen=True)
class Words:
    """What is known of an asset in words: where it lies, its size in pixels, what models say."""

    uris: tuple[str, ...] = ()
    width: int | None = None
    height: int | None = None
    caption: str | None = None
    tags: tuple[str, ...] = ()


class Pictures:
    """The pictures of one tenant. Thread-safe. Raises StoreUnavailable, StoreCorrupt."""

    def __init__(self, reader: SnapshotReader, tenant_id: TenantId, limits: ImageLimits) -> None:
        self._reader = reader
        self._tenant_id = tenant_id
        self._limits = limits

    @classmethod
    def open(cls, settings: Profile) -> Pictures:
        """Those of the profile's tenant. Raises SnapshotNotFound where nothing is published."""
        store = EvidenceStore.open(settings.evidence)
        ref = published_ref(store)
        if ref is None:
            raise SnapshotNotFound("no snapshot is published", hint="index something first")
        return cls(SnapshotReader.open(store, ref), settings.tenant, settings.images)

    def small(self, asset_id: str) -> bytes | None:
        """A JPEG of at most 256 pixels a side, None where none was kept."""
        return self._reader.thumbnail(self._tenant_id, asset_id)

    def large(self, asset_id: str) -> bytes | None:
        """A JPEG of at most LARGE_SIDE pixels a side, from the first place where the picture that
        was analysed still lies; None where it lies nowhere any more, or cannot be read.

        Only bytes whose hash is the asset's id are looked at, so that it does not matter who has
        put something there since; and what goes out is made anew from pixels.
        """
        for uri in self.words(asset_id).uris:
            try:
                found = read_resource(ContentIdentity(uri=uri, size=0, mtime_ns=0), self._limits)
                if found.content_hash == asset_id:
                    image = decode(found.data, self._limits, LARGE_SIDE)
                    return thumbnail_jpeg(image.pixels, LARGE_SIDE, QUALITY)
            except EcmError:  # of this place; another may have it, and the small one is there
                continue
        return None

    def words(self, asset_id: str) -> Words:
        """What is known of an asset; nothing where the snapshot does not show it."""
        rows = self._reader.rows(self._tenant_id, [asset_id])
        if not rows:
            return Words()
        row = rows[0]
        return Words(row.uris, row.width, row.height, row.caption, row.tags)
