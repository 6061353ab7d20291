"""The recorded contract of Azure AI Search: which searches it takes and refuses, as documented.

Search Documents (POST), api-version 2024-07-01: the properties of SearchRequest and VectorQuery,
their types and bounds; the shape of answers and errors; which status means what. What is documented
but not recorded here (filters, facets, semantic ranking …) is refused by name. Rankings are exact
(see `exact`): the product's own may differ, so figures of a run say that this stood in. No I/O.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ecm.evaluation.engines.exact import ExactIndex, Ranking, fused
from ecm.evaluation.engines.vectors import VectorField

PRODUCT: Final = "Azure AI Search"
API_VERSION: Final = "2024-07-01"
KEY_FIELD: Final = "asset_id"
MOST_ON_A_PAGE: Final = 1000
MOST_SKIPPED: Final = 100_000
MOST_BODY_BYTES: Final = 16 << 20
_PATH: Final = re.compile(
    r"^/indexes(?:\('([^'/]+)'\)|/([^/]+))/docs/(?:(search(?:\.post\.search)?)|(\$count))$"
)
_RECORDED_ONLY: Final = "is documented, but this recorded contract does not have it"


@dataclass(frozen=True)
class ContractRequest:
    """A request as it came: names of headers in lower case, the path decoded."""

    method: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class ContractReply:
    """What is answered: JSON, or for a fault whatever else.

    `waits` is so many seconds before the answer begins; `cut`: it ends in the middle.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    waits: float = 0.0
    cut: bool = False


class _Documented(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


_Single = Annotated[float, Field(ge=-1e30, le=1e30)]
"""Of which products and their sums are numbers, too."""


class _VectorQuery(_Documented):
    kind: Literal["vector", "text"]
    vector: list[_Single] | None = None
    text: str | None = None
    fields: str
    k: Annotated[int, Field(ge=1)] = 50
    exhaustive: bool = False
    oversampling: float | None = None
    weight: Annotated[float, Field(gt=0)] = 1.0

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> _VectorQuery:
        if self.kind == "vector" and self.vector is None:
            raise ValueError("a query of kind 'vector' needs 'vector'")
        if self.kind == "text" and self.text is None:
            raise ValueError("a query of kind 'text' needs 'text'")
        return self


class _SearchRequest(_Documented):
    search: str | None = None
    searchFields: str | None = None  # noqa: N815 - the product's names, as all below
    searchMode: Literal["any", "all"] = "any"  # noqa: N815
    queryType: Literal["simple", "full", "semantic"] = "simple"  # noqa: N815
    select: str | None = None
    count: bool = False
    top: Annotated[int, Field(ge=0)] = 50
    skip: Annotated[int, Field(ge=0, le=MOST_SKIPPED)] = 0
    vectorQueries: list[_VectorQuery] = []  # noqa: N815
    vectorFilterMode: Literal["preFilter", "postFilter"] | None = None  # noqa: N815
    scoringStatistics: Literal["local", "global"] | None = None  # noqa: N815
    sessionId: str | None = None  # noqa: N815
    minimumCoverage: float | None = None  # noqa: N815
    facets: list[str] | None = None
    filter: str | None = None
    highlight: str | None = None
    highlightPostTag: str | None = None  # noqa: N815
    highlightPreTag: str | None = None  # noqa: N815
    orderby: str | None = None
    scoringParameters: list[str] | None = None  # noqa: N815
    scoringProfile: str | None = None  # noqa: N815
    semanticConfiguration: str | None = None  # noqa: N815
    semanticErrorHandling: str | None = None  # noqa: N815
    semanticMaxWaitInMilliseconds: int | None = None  # noqa: N815
    semanticQuery: str | None = None  # noqa: N815
    answers: str | None = None
    captions: str | None = None


_NOT_RECORDED: Final = (
    "facets",
    "filter",
    "highlight",
    "orderby",
    "scoringParameters",
    "scoringProfile",
    "searchFields",
    "semanticConfiguration",
    "semanticQuery",
    "answers",
    "captions",
)


class _Refused(Exception):
    """An answer that is an error as the product documents it."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class AzureContract:
    """One index of one service, which a key opens. Thread-safe."""

    def __init__(self, index: ExactIndex, name: str, key: str) -> None:
        self._index = index
        self._name = name
        self._key = key
        self.product = f"{PRODUCT}, REST {API_VERSION}"

    def answer(self, request: ContractRequest) -> ContractReply:
        """What the product would answer, as far as it is recorded."""
        try:
            if self._counts(request):
                said = str(len(self._index.ids)).encode()
                return ContractReply(200, said, {"content-type": "text/plain"})
            return _reply(200, self._found(request))
        except _Refused as error:
            told = {"error": {"code": error.code, "message": error.message}}
            return _reply(error.status, told)

    def _found(self, request: ContractRequest) -> dict[str, Any]:
        if len(request.body) > MOST_BODY_BYTES:
            raise _Refused(413, "The request body is too large.")
        asked = _parsed(request.body)
        ranking = self._ranking(asked)
        top = min(asked.top, MOST_ON_A_PAGE)
        page = ranking[asked.skip : asked.skip + top]
        answer: dict[str, Any] = {}
        if asked.count:
            answer["@odata.count"] = len(ranking)
        answer["value"] = [
            {"@search.score": score, KEY_FIELD: self._index.ids[place]} for place, score in page
        ]
        if asked.top > top and len(ranking) > asked.skip + top:
            answer["@search.nextPageParameters"] = {
                **asked.model_dump(exclude_unset=True),
                "skip": asked.skip + top,
                "top": asked.top - top,
            }
        return answer

    def _counts(self, request: ContractRequest) -> bool:
        """Whether documents are to be counted, not searched: version, key, place and method, in
        the order in which they are looked at.
        """
        version = request.params.get("api-version", "")
        if version != API_VERSION:
            said = f"The api-version '{version}' is invalid or missing; supported: {API_VERSION}."
            raise _Refused(400, said, "InvalidApiVersionParameter")
        key = request.headers.get("api-key")
        if key is None:
            raise _Refused(401, "Access denied: no credentials were sent.")
        if not hmac.compare_digest(key.encode(), self._key.encode()):
            raise _Refused(403, "Access denied: the api-key is not valid.")
        found = _PATH.match(request.path)
        if found is None:
            raise _Refused(404, "The resource was not found.")
        name = found[1] or found[2]
        if name != self._name:
            raise _Refused(404, f"The index '{name}' was not found.")
        if request.method != ("GET" if found[4] else "POST"):
            raise _Refused(405, "The requested resource does not support this method.")
        if found[4]:
            return True
        if not request.headers.get("content-type", "").startswith("application/json"):
            raise _Refused(415, "The content type must be application/json.")
        return False

    def _ranking(self, asked: _SearchRequest) -> Ranking:
        rankings: list[Ranking] = []
        words = asked.search is not None and asked.search.strip() not in ("", "*")
        if words and asked.search is not None:
            rankings.append(self._index.by_words(asked.search, MOST_SKIPPED))
        rankings += [self._near(one) for one in asked.vectorQueries]
        if not rankings:
            return [(place, 1.0) for place in range(len(self._index.ids))]
        if len(rankings) > 1:
            return fused(rankings)
        if words:
            return rankings[0]
        return [(place, 1.0 / (2.0 - cosine)) for place, cosine in rankings[0]]

    def _near(self, asked: _VectorQuery) -> Ranking:
        if asked.vector is None:
            raise _Refused(400, f"A vector query of kind 'text' {_RECORDED_ONLY}.")
        if asked.weight != 1.0:
            raise _Refused(400, f"'weight' {_RECORDED_ONLY}.")
        rankings = []
        for name in asked.fields.split(","):
            if name not in list(VectorField) or VectorField(name) not in self._index.columns:
                raise _Refused(400, f"Unknown field '{name}' in vector field list.")
            column = self._index.columns[VectorField(name)]
            if len(asked.vector) != column.vectors.shape[1]:
                raise _Refused(
                    400,
                    f"The vector field '{name}' has dimension {column.vectors.shape[1]}, the "
                    f"provided vector has a length of {len(asked.vector)}.",
                )
            query = np.array(asked.vector, dtype=np.float32)
            rankings.append(self._index.by_vector(VectorField(name), query, asked.k))
        return rankings[0] if len(rankings) == 1 else fused(rankings)


def _parsed(body: bytes) -> _SearchRequest:
    try:
        asked = _SearchRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        said = f"The request is invalid. Details: {where}: {first['msg']}"
        raise _Refused(400, said, "InvalidRequestParameter") from error
    for name in _NOT_RECORDED:
        if getattr(asked, name):
            raise _Refused(400, f"'{name}' {_RECORDED_ONLY}.")
    if asked.queryType == "semantic":
        raise _Refused(400, f"Semantic ranking {_RECORDED_ONLY}.")
    unknown = set((asked.select or KEY_FIELD).split(",")) - {KEY_FIELD}
    if unknown:
        raise _Refused(400, f"Could not find a property named '{sorted(unknown)[0]}'.")
    return asked


def _reply(status: int, said: Mapping[str, Any]) -> ContractReply:
    return ContractReply(
        status, json.dumps(said).encode(), {"content-type": "application/json; charset=utf-8"}
    )
