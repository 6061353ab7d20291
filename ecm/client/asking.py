"""Questions in words of Python, and the answers to them with the name they were given.

Reads image files that are to be sent; knows no HTTP.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, cast

from ecm.client.where import made
from ecm.contracts.feedback import MAX_SHOWN, Click, Dwell, Impression, Shown
from ecm.contracts.filters import Condition, Filter
from ecm.contracts.identity import TenantId
from ecm.contracts.search import (
    MAX_IMAGE_BYTES,
    Axis,
    Example,
    FacetField,
    Hit,
    SearchRequest,
    SearchResponse,
    SortOrder,
)
from ecm.errors import ImageError, SourceError

Picture = bytes | str | Path
"""The bytes of an image file, or where it lies."""


class Asked(TypedDict, total=False):
    """All that can be said of a question beside its text; see SearchRequest for each.

    `image` is a picture to be like, `like` the id of an asset to be like.
    """

    image: Picture
    like: str
    examples: Sequence[Example]
    filter: Filter | Condition | None
    facets: Sequence[FacetField | str]
    sort: SortOrder | str
    limit: int
    cursor: str | None
    candidates: int
    axes: Sequence[Axis | str] | None
    require: Sequence[Axis | str]
    rerank: Literal["auto", "off"]
    min_relevance: Literal["auto"] | float | None
    timeout_ms: float | None
    explain: bool
    profile: bool


class Question(SearchRequest):
    """A question of whoever the key speaks for."""

    tenant_id: TenantId | None = None  # type: ignore[assignment]


class Who(TypedDict, total=False):
    """Who did it and in which session, in words of your own: the store keeps keyed hashes."""

    unit: str
    session: str


class AskedBy(Asked, Who, total=False):
    """A question and who asks it: experiments of a service deal by them."""


class Found(SearchResponse):
    """An answer, and what its question is called: feedback names it by `query_id`."""

    query_id: str

    def impression(self, at: float, query: str | None = None, **who: Unpack[Who]) -> Impression:
        """That these hits were shown at a moment (Unix seconds); `query` are the words, if they may
        be stored. Raises QueryError without hits.
        """
        shown = tuple(Shown(asset_id=h.asset_id, rank=h.rank) for h in self.hits[:MAX_SHOWN])
        said = {"snapshot_id": self.snapshot_id, "ranking": self.ranking.digest, "query": query}
        return made(Impression, {**said, "shown": shown, **self._of(at, who)})

    def click(self, hit: Hit, at: float, **who: Unpack[Who]) -> Click:
        """That a hit was opened. Raises QueryError."""
        said = {"asset_id": hit.asset_id, "rank": hit.rank}
        return made(Click, {**said, **self._of(at, who)})

    def dwell(self, hit: Hit, seconds: float, at: float, **who: Unpack[Who]) -> Dwell:
        """That a hit was looked at for so long. Raises QueryError."""
        said = {"asset_id": hit.asset_id, "seconds": seconds}
        return made(Dwell, {**said, **self._of(at, who)})

    def _of(self, at: float, who: Who) -> dict[str, Any]:
        return {"at": at, "query_id": self.query_id, **who}


def who_of(unit: str | None, session: str | None) -> Who:
    """Who asks, as far as it is said."""
    said = (("unit", unit), ("session", session))
    return cast(Who, {name: value for name, value in said if value is not None})


def parted(asked: AskedBy) -> tuple[Asked, Who]:
    """What is asked, and who asks."""
    who, rest = Who(), dict(asked)
    for name in Who.__annotations__:
        if name in rest:
            who[name] = rest.pop(name)  # type: ignore[literal-required]
    return cast(Asked, rest), who


def question(text: str | None = None, **asked: Unpack[Asked]) -> Question:
    """A question, checked as the service would.

    Raises QueryError for what can be no question, SourceError for an image that cannot be read,
    ImageError for one that is too large.
    """
    said: dict[str, Any] = dict(asked)
    if "image" in said:
        said["image"] = base64.b64encode(picture_bytes(said["image"]))
    if "like" in said:
        said["asset_id"] = said.pop("like")
    narrowed = said.get("filter")
    if narrowed is not None and not isinstance(narrowed, Filter):
        said["filter"] = Filter(must=(narrowed,))
    for name in ("examples", "facets", "axes", "require"):
        if said.get(name) is not None:
            said[name] = tuple(said[name])
    return made(Question, {"text": text, **said})


def example(shown: Picture, weight: float = 1.0) -> Example:
    """A picture to be like, or with a negative weight unlike. Raises as `question`."""
    image = base64.b64encode(picture_bytes(shown))
    return made(Example, {"image": image, "weight": weight})


def asset_example(asset_id: str, weight: float = 1.0) -> Example:
    """An asset to be like, or with a negative weight unlike. Raises QueryError."""
    return made(Example, {"asset_id": asset_id, "weight": weight})


def picture_bytes(shown: Picture) -> bytes:
    """The bytes of a picture. Raises SourceError, ImageError."""
    if isinstance(shown, bytes):
        data = shown
    else:
        try:
            with Path(shown).open("rb") as file:
                data = file.read(MAX_IMAGE_BYTES + 1)
        except OSError as error:
            raise SourceError(f"cannot read {shown}: {error.strerror}", "source.read") from error
    if len(data) > MAX_IMAGE_BYTES:
        raise ImageError(f"the image has more than {MAX_IMAGE_BYTES} bytes", "input.too_large")
    return data
