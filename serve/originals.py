"""An asset as it was analysed: `GET /v1/assets/{asset_id}/original`, from where it lies.

Knows roots, limits and how bytes are sent so that a browser runs nothing of them; where an asset of
a caller lies is told by the searcher. Nothing is sent before its hash is known to be the asset's
id: whatever lies at that place by now, and whoever put it there, only what was analysed goes out.
No annotation here is a string: Serve copies what it serves.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from ecm.access.scopes import Scope as KeyScope
from ecm.contracts.identity import ContentIdentity
from ecm.errors import EcmError, LedgerUnavailable, NetworkError
from ecm.images.limits import ImageLimits
from ecm.images.reading import ResourceBytes, read_resource
from serve.api import PROBLEMS, Failed
from serve.confine import Roots
from serve.door import Door
from serve.file_headers import BYTES, CACHING, headers_of, is_known, media_type_of, part_of
from serve.problem import Problem, problem_of
from serve.streams import StreamBounds, Streams

PIECE = 2**20
Reader = Callable[[ContentIdentity, ImageLimits], ResourceBytes]
Places = Callable[[str, str], Awaitable[Sequence[str]]]

ANSWERS: dict[int | str, dict[str, Any]] = {
    **PROBLEMS,
    200: {"description": "the bytes", "content": {"image/*": {}, BYTES: {}}},
    206: {"description": "a range of the bytes", "content": {"image/*": {}, BYTES: {}}},
    304: {"description": "the caller has these bytes"},
    410: {
        "description": "the bytes are not there any more",
        "content": {"application/problem+json": {}},
    },
    416: {
        "description": "a range outside the bytes",
        "content": {"application/problem+json": {}},
    },
}


@dataclass(frozen=True)
class Original:
    """Bytes whose sha256 is the asset's id, and the name of the file they lay in."""

    data: bytes
    name: str


class Originals:
    """Reads originals of a profile's roots, a few at a time.

    `places(tenant_id, asset_id)` gives the URIs of an asset in the snapshot; it raises Failed with
    404 for an asset that the tenant does not have there.
    """

    def __init__(
        self,
        places: Places,
        roots: Roots,
        limits: ImageLimits,
        max_bytes: int,
        at_once: int,
        stalled_seconds: float = 30.0,
        read: Reader = read_resource,
    ) -> None:
        self._places = places
        self._read = read
        self._roots = roots
        self._limits = limits.model_copy(update={"max_bytes": max_bytes})
        # Threads of their own: storage that hangs keeps these, and nothing else waits for them.
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="originals")
        own = max(1, at_once // 2)
        self.streams = Streams(StreamBounds(at_once, own, stalled_seconds))

    async def places(self, tenant_id: str, asset_id: str) -> Sequence[str]:
        """Where the asset of a tenant lies. Raises Failed."""
        return await self._places(tenant_id, asset_id)

    def begin(self, asset_id: str, uris: Sequence[str]) -> Future[Original]:
        """`read` in a thread."""
        return self._threads.submit(self.read, asset_id, uris)

    def read(self, asset_id: str, uris: Sequence[str]) -> Original:
        """The bytes from the first of the places where they still are; blocks.

        Raises Failed: 403 when no place is below the roots, 410 when they are gone from all, 409
        when something else lies there, 422 beyond the limit, 503 when storage does not answer.
        """
        worst = Problem(410, "original.gone", "the snapshot knows no place of this asset")
        for uri in uris:
            try:
                (place,) = self._roots.confine([uri])
                found = self._read(ContentIdentity(uri=place, size=0, mtime_ns=0), self._limits)
            except EcmError as error:
                worst = _worse(worst, _problem(error))
                continue
            if found.content_hash == asset_id:
                return Original(found.data, _name(uri))
            said = "other bytes lie there now than were analysed"
            worst = _worse(worst, Problem(409, "original.changed", said, "index it again"))
        raise Failed(worst)


def original_routes(
    door_of: Callable[[Request], Door], originals_of: Callable[[Request], Originals]
) -> APIRouter:
    """The route; the arguments find what belongs to the replica that is asked."""
    router = APIRouter(tags=["assets"])

    @router.get("/v1/assets/{asset_id}/original", response_class=Response, responses=ANSWERS)
    async def original(request: Request, asset_id: str) -> Response:
        """The file itself, as it was analysed: its sha256 is the asset's id. One range may be
        asked for.
        """
        caller = door_of(request).caller(request, KeyScope.SEARCH)
        originals = originals_of(request)
        uris = await originals.places(caller.tenant, asset_id)
        tag = f'"{asset_id}"'
        if is_known(request.headers, tag):
            return Response(status_code=304, headers={"ETag": tag, "Cache-Control": CACHING})
        sending = _Sending(originals, caller.tenant)
        reading = originals.begin(asset_id, uris)
        try:
            found = await asyncio.wrap_future(reading)
            return sending.of(found, tag, request.headers)
        except asyncio.CancelledError:
            # Nobody waits any more, but a thread may still read: the place is taken until it ends.
            reading.add_done_callback(lambda _: sending.close())
            raise
        except BaseException:
            sending.close()
            raise

    return router


class _Sending:
    """A place among the originals that are read at once, until its bytes are sent."""

    def __init__(self, originals: Originals, tenant_id: str) -> None:
        self._seconds = originals.streams.bounds.stalled_seconds
        self._taken = originals.streams.taken(tenant_id)
        try:
            self._taken.__enter__()
        except LedgerUnavailable as error:
            problem = Problem(
                503,
                "original.busy",
                "too many originals are being read",
                "",
                {"Retry-After": "1"},
            )
            raise Failed(problem) from error

    def close(self) -> None:
        self._taken.__exit__(None, None, None)

    def of(self, found: Original, tag: str, asked: Mapping[str, str]) -> Response:
        """The answer, whole or in part. Raises Failed with 416."""
        size = len(found.data)
        part = part_of(asked, tag, size)
        start, end = part if part is not None else (0, size)
        media_type = media_type_of(found.data)
        headers = headers_of(tag, found.name, media_type) | {"Content-Length": str(end - start)}
        if part is not None:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        whole = memoryview(found.data)[start:end]
        return _Pieces(self, whole, 200 if part is None else 206, headers, media_type)

    async def send(self, message: Message, send: Send) -> None:
        await asyncio.wait_for(send(message), self._seconds)


class _Pieces(StreamingResponse):
    """Bytes in pieces; a client that reads none of them for long is left."""

    def __init__(
        self,
        sending: _Sending,
        data: memoryview,
        status: int,
        headers: dict[str, str],
        media_type: str,
    ) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(data), PIECE):
                yield bytes(data[start : start + PIECE])

        super().__init__(pieces(), status, headers, media_type)
        self._sending = sending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def bounded(message: Message) -> None:
            await self._sending.send(message, send)

        try:
            await super().__call__(scope, receive, bounded)
        except (TimeoutError, ClientDisconnect):
            return  # shorter than its Content-Length: the client knows that it broke off
        finally:
            self._sending.close()


def _worse(before: Problem, now: Problem) -> Problem:
    """What is told of several places: that they are gone only if they all are."""
    return now if before.status == 410 else before


def _problem(error: EcmError) -> Problem:
    """No place is named: a message of the reader may hold paths of the machine."""
    match error.code:
        case "source.root" | "source.scheme":
            said = "this asset lies outside the roots of this service"
            return Problem(403, "original.root", said, "see roots in its profile")
        case "input.too_large":
            said = "the original is larger than this service sends"
            return Problem(422, "original.too_large", said, "see serve.original_bytes")
        case "source.gone":
            return Problem(410, "original.gone", "the original is not there any more")
        case _ if isinstance(error, NetworkError):
            return problem_of(NetworkError("the storage of the original does not answer"))
        case _:
            said = "the original cannot be read as it was"
            return Problem(409, "original.unreadable", said, f"the reason is {error.code}")


def _name(uri: str) -> str:
    """The last part of a URI; keys of objects are not escaped, and nothing else depends on it."""
    name = uri.rstrip("/").rpartition("/")[2]
    return unquote(name, errors="replace") if uri.startswith("file:") else name
