"""A product behind a REST API, asked as its file maps it.

https only, but for this machine; no redirect is followed and no setting of the environment sends
anything elsewhere; an answer has at most so many bytes and arrives within the time given. The key
is sent in one header and shown nowhere. Knows HTTP; knows no product.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from ecm.contracts.evaluation import EvaluationQuery
from ecm.contracts.measured import EngineFacts, EngineProblem
from ecm.errors import ConfigError
from ecm.evaluation.engines.base import EngineTrouble, Reply, Scored
from ecm.evaluation.engines.config import CommercialConfig
from ecm.evaluation.engines.mapping import at, filled, has, path_of
from ecm.evaluation.engines.vectors import QueryVectors

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_MOST_SAID: Final = 300
_MOST_PAGES: Final = 20
_LARGEST: Final = 1e300
"""Scores beyond it are none: JSON may hold numbers that no float does."""
_SECRET: Final = "***"  # noqa: S105 - what is shown in place of one


@dataclass(frozen=True)
class Place:
    """Where a product is: `endpoint` as https://host, its key, and the names in its paths."""

    endpoint: str
    key: str
    names: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Place({self.endpoint!r})"

    def __post_init__(self) -> None:
        check_endpoint(self.endpoint)
        if not self.key or not self.key.isascii() or not self.key.isprintable():
            raise ConfigError("the key is empty or nothing that a header can hold", "engine.key")


@dataclass(frozen=True)
class _Page:
    hits: list[Scored]
    goes_on: bool
    degraded: tuple[str, ...]


def check_endpoint(endpoint: str) -> None:
    """Raises ConfigError for an address that is no https one, unless it is this machine's."""
    try:
        parts = urlsplit(endpoint)
        wrong = not parts.hostname or parts.port == 0 or not endpoint.isprintable()
    except ValueError:
        wrong = True
    if wrong or parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            "not the address of a service", "engine.endpoint", "write it as https://host"
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise ConfigError(
            f"{parts.scheme}://{parts.hostname} is not encrypted: no key is sent there",
            "engine.endpoint",
            "write https://…; http only for this machine",
        )


class RestEngine:
    """A `Backend` on a product's REST API. Safe to share among threads.

    Args:
        facts: name, description, price, and what stands for what.
        config: how it is asked and read.
        place: where it is.
        vectors: those of queries.
        transport: how it is sent, for tests; None: over the network.
        clock: seconds, monotonic.
        on_close: called once the connections are closed.
    """

    def __init__(
        self,
        facts: EngineFacts,
        config: CommercialConfig,
        place: Place,
        vectors: QueryVectors,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.facts = facts
        self._config = config
        self._key = place.key
        self._vectors = vectors
        self._clock = clock
        self._on_close = on_close
        self._names = dict(place.names)
        self._path = path_of(config.request.path, self._names)
        self._http = httpx.Client(
            base_url=place.endpoint.rstrip("/"),
            # As it is: a packed answer may be a thousand times as long as what is read of it.
            headers={
                config.key_header: place.key,
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            transport=transport,
            follow_redirects=False,
            trust_env=False,
        )

    def ask(self, query: EvaluationQuery, depth: int, seconds: float) -> Reply:
        until = self._clock() + seconds
        wanted = depth + (1 if query.shown_asset_id is not None else 0)
        values: dict[str, Any] = {"text": query.query_text, "candidates": self._candidates(wanted)}
        for field, vector in self._vectors(query).items():
            values[field.value] = vector.tolist()
        found: list[Scored] = []
        degraded: tuple[str, ...] = ()
        for _ in range(_MOST_PAGES):
            limit = min(wanted - len(found), self._config.request.page)
            page = self._page({**values, "limit": limit, "offset": len(found)}, until)
            found += page.hits
            degraded = degraded or page.degraded
            if len(found) >= wanted or not (page.goes_on or len(page.hits) == limit):
                break
        return Reply(tuple(found), degraded)

    def count(self, seconds: float) -> int | None:
        """How many assets the product has; None where its file says no way to ask.

        Raises EngineTrouble.
        """
        path = self._config.request.count_path
        if path is None:
            return None
        where = path_of(path, self._names)
        status, headers, data = self._sent("GET", where, None, self._clock() + seconds)
        if status != 200:
            raise self._refusal(status, headers, data)
        text = data.decode("utf-8-sig", errors="replace").strip()
        if not text.isascii() or not text.isdigit() or len(text) > 15:
            raise EngineTrouble("no number of assets", EngineProblem.GARBLED)
        return int(text)

    def close(self) -> None:
        self._http.close()
        self._on_close()

    def _candidates(self, wanted: int) -> int:
        return max(self._config.candidates, wanted)

    def _page(self, values: Mapping[str, Any], until: float) -> _Page:
        body = json.dumps(filled(self._config.request.body, values)).encode()
        status, headers, data = self._sent("POST", self._path, body, until)
        if status not in (200, 206):
            raise self._refusal(status, headers, data)
        answer, paths = _parsed(data), self._config.response
        hits = at(answer, paths.hits)
        if not isinstance(hits, list):
            raise EngineTrouble("the answer has no list of hits", EngineProblem.GARBLED)
        found = [self._hit(hit) for hit in hits]
        goes_on = bool(found) and paths.more is not None and has(answer, paths.more)
        return _Page(found, goes_on, ("partial",) if status == 206 else ())

    def _hit(self, hit: Any) -> Scored:
        paths = self._config.response
        name, score = at(hit, paths.id), at(hit, paths.score)
        numeric = isinstance(score, int | float) and not isinstance(score, bool)
        if not isinstance(name, str) or not numeric or abs(score) > _LARGEST:
            raise EngineTrouble("a hit without a name or score", EngineProblem.GARBLED)
        why = "" if paths.why is None else str(at(hit, paths.why))[:_MOST_SAID]
        return Scored(name, float(score), why)

    def _sent(
        self, method: str, path: str, body: bytes | None, until: float
    ) -> tuple[int, httpx.Headers, bytes]:
        left = until - self._clock()
        if left <= 0:
            raise EngineTrouble("no time left for another page", EngineProblem.TIMEOUT)
        try:
            with self._http.stream(
                method,
                path,
                params=self._config.request.params,
                content=body,
                headers={} if body is None else {"Content-Type": "application/json"},
                timeout=left,
            ) as response:
                return response.status_code, response.headers, self._read(response, until)
        except httpx.TimeoutException as error:
            raise EngineTrouble(
                f"no answer in time: {type(error).__name__}", EngineProblem.TIMEOUT
            ) from error
        except httpx.HTTPError as error:
            said = self._shown(str(error) or type(error).__name__)
            raise EngineTrouble(f"not reached: {said}", EngineProblem.UNREACHABLE) from error

    def _read(self, response: httpx.Response, until: float) -> bytes:
        """The body. A drop at a time is too late as well as nothing is."""
        if response.headers.get("content-encoding", "identity") != "identity":
            raise EngineTrouble("a packed answer, which was not asked for", EngineProblem.GARBLED)
        read = bytearray()
        for part in response.iter_raw():
            read += part
            if len(read) > self._config.most_bytes:
                raise EngineTrouble(
                    f"an answer of more than {self._config.most_bytes} bytes",
                    EngineProblem.GARBLED,
                )
            if self._clock() > until:
                raise EngineTrouble("the answer did not end in time", EngineProblem.TIMEOUT)
        return bytes(read)

    def _refusal(self, status: int, headers: httpx.Headers, data: bytes) -> EngineTrouble:
        if 300 <= status < 400:
            return EngineTrouble(
                f"it leads elsewhere ({status}), where no key is sent", EngineProblem.REFUSED
            )
        fallback = EngineProblem.FAILED if status >= 500 else EngineProblem.REFUSED
        problem = self._config.problems.get(status, fallback)
        said = self._shown(self._message(data))
        return EngineTrouble(
            f"it answered {status}{': ' if said else ''}{said}",
            problem,
            retry_seconds(headers.get("retry-after"), headers.get("date")),
        )

    def _message(self, data: bytes) -> str:
        """What an error says, where it says it as is documented."""
        try:
            found = at(_parsed(data), self._config.response.message)
        except EngineTrouble:
            return ""
        return found if isinstance(found, str) else ""

    def _shown(self, text: str) -> str:
        """One line for a person, without the key even where a server sends it back."""
        line = " ".join(text.replace(self._key, _SECRET).split())
        return "".join(one for one in line if one.isprintable())[:_MOST_SAID]


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise EngineTrouble("the answer is not JSON", EngineProblem.GARBLED) from error


def retry_seconds(said: str | None, date: str | None) -> float | None:
    """Of Retry-After (RFC 9110, 10.2.3): seconds, or a date less the `Date` of the answer.

    >>> retry_seconds("7", None)
    7.0
    >>> date = "Wed, 25 Nov 2026 10:00:{}0 GMT"
    >>> retry_seconds(date.format(3), date.format(1)), retry_seconds(date.format(3), None)
    (20.0, None)
    """
    text = (said or "").strip()
    if text.isascii() and text.isdigit():
        return float(text) if len(text) < 8 else None
    try:
        until, now = (parsedate_to_datetime(one or "") for one in (text, date))
        return max(0.0, (until - now).total_seconds())
    except (TypeError, ValueError):
        return None
