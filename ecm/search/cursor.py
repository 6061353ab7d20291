"""The opaque cursor: where the next page starts, and on which snapshot and question.

Knows how to seal and open it; knows no engine. The seal shows damage and hand-made cursors; it is
no secret, and need not be one: a cursor grants nothing that the request itself does not.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json

from pydantic import Field, ValidationError

from ecm.contracts.identity import Contract, Digest, canonical_json, digest
from ecm.contracts.search import Axis, Example, SearchRequest
from ecm.errors import QueryError

_SEAL_BYTES = 12
_SEAL_KEY = b"ecm.search.cursor.1"


class Cursor(Contract):
    """Start of a page: hits to skip, and what the ranking hung on when the first page was made."""

    snapshot_id: str = Field(min_length=1, max_length=128)
    query: Digest
    ranking: str = Field(pattern=r"^[0-9a-f]{16}$", description="digest of the ranking profile")
    axes: tuple[Axis, ...] = Field(description="axes that answered the first page")
    reranked: int = Field(default=0, ge=0, le=1000, description="candidates reranked there")
    offset: int = Field(ge=1, lt=1 << 31)

    def seal(self) -> str:
        """URL-safe text; `opened` gives the cursor back."""
        packed = [
            self.snapshot_id,
            self.query,
            self.ranking,
            [axis.value for axis in self.axes],
            self.reranked,
            self.offset,
        ]
        body = canonical_json(packed)
        return base64.urlsafe_b64encode(_mark(body) + body).decode("ascii").rstrip("=")

    @classmethod
    def opened(cls, text: str) -> Cursor:
        """The cursor that `text` seals. Raises QueryError `query.cursor` for any other text."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            mark, body = raw[:_SEAL_BYTES], raw[_SEAL_BYTES:]
            if mark != _mark(body):
                raise ValueError("seal")
            snapshot_id, query, ranking, axes, reranked, offset = json.loads(body)
            return cls(
                snapshot_id=snapshot_id,
                query=query,
                ranking=ranking,
                axes=axes,
                reranked=reranked,
                offset=offset,
            )
        except (ValueError, TypeError, binascii.Error, ValidationError) as error:
            raise QueryError(
                "the cursor is damaged or was not made by this service",
                "query.cursor",
                "ask again without a cursor",
            ) from error


def query_digest(request: SearchRequest) -> str:
    """Digest of all that a ranking hangs on.

    Page size, cursor, explanation, requirements, facets and time limits do not count.
    """
    return digest(
        [
            request.tenant_id,
            request.text.strip() if request.text else "",
            [[_image_digest(one), one.asset_id or "", repr(one.weight)] for one in request.shown()],
            request.filter.model_dump(mode="json") if request.filter is not None else None,
            request.sort.value,
            request.candidates,
            sorted(axis.value for axis in request.axes) if request.axes is not None else None,
            request.rerank,
            repr(request.min_relevance),
        ]
    )


def _image_digest(example: Example) -> str:
    return hashlib.sha256(example.image).hexdigest() if example.image is not None else ""


def _mark(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_SEAL_BYTES, key=_SEAL_KEY).digest()
