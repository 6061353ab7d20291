"""What every request meets before its route: its name, bounds, compression, its line in the log."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

with warnings.catch_warnings():  # Ray 2.60 gives pydantic arguments that pydantic deprecates
    warnings.simplefilter("ignore")
    from serve.access import Caller
    from serve.access_log import AccessLog
    from serve.api import new_api
    from serve.bounds import Edge

LONG = {"words": "a dog on the beach " * 100}


class Service:
    """The edge of the application around some routes, asked in this process."""

    def __init__(self, log: Path | None = None, at_once: int = 8, seconds: float = 30.0) -> None:
        self.edge = Edge(at_once, seconds, AccessLog(log, wall=lambda: 1_790_000_000.5))
        self.release = asyncio.Event()
        self.entered = asyncio.Event()
        self.cancelled = False
        api = new_api(lambda: self.edge)
        for path, route in self._routes().items():
            api.add_api_route(path, route)
        self._api = api

    def client(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self._api, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://localhost")

    def _routes(self) -> dict[str, Callable[..., Any]]:
        async def long(request: Request) -> Response:
            request.state.caller = Caller("t", "t", key_id="k1")
            return JSONResponse(LONG)

        async def slow() -> Response:
            self.entered.set()
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
            return JSONResponse({})

        async def streamed() -> Response:
            async def lines() -> AsyncIterator[bytes]:
                yield b"x" * 4000
                await self.release.wait()
                yield b"y" * 4000

            return StreamingResponse(lines(), media_type="text/plain")

        async def broken() -> Response:
            raise ZeroDivisionError("a secret")

        async def thumbnail() -> Response:
            return Response(b"\xff\xd8" * 2000, media_type="image/jpeg")

        routes = (long, slow, streamed, broken, thumbnail)
        return {f"/v1/{route.__name__}": route for route in routes}


def test_a_request_keeps_a_sane_name_and_gets_one_else() -> None:
    async def ask() -> None:
        async with Service().client() as client:
            made = await client.get("/v1/nowhere")
            assert len(made.headers["x-request-id"]) == 32
            assert made.json()["request_id"] == made.headers["x-request-id"]
            own = await client.get("/v1/nowhere", headers={"X-Request-Id": "job-7/step.2"})
            assert own.json()["request_id"] == "job-7/step.2"
            for odd in ("", "a b", "x" * 129, "<script>", '"'):
                answer = await client.get("/v1/nowhere", headers={"X-Request-Id": odd})
                assert answer.json()["request_id"] == answer.headers["x-request-id"] != odd

    asyncio.run(ask())


def test_long_texts_are_compressed_for_who_reads_that_and_images_never() -> None:
    async def ask() -> None:
        async with Service().client() as client:
            packed = await client.get("/v1/long", headers={"Accept-Encoding": "br, gzip;q=0.5"})
            assert packed.headers["content-encoding"] == "gzip"
            assert "Accept-Encoding" in packed.headers["vary"]
            assert int(packed.headers["content-length"]) < 500
            assert packed.json() == LONG
            for accepted in ("identity", "gzip;q=0", "br"):
                plain = await client.get("/v1/long", headers={"Accept-Encoding": accepted})
                assert "content-encoding" not in plain.headers
                assert plain.json() == LONG
            for path in ("/v1/thumbnail", "/v1/nowhere"):
                assert "content-encoding" not in (await client.get(path)).headers

    asyncio.run(ask())


def test_a_stream_is_not_held_back_to_be_compressed_nor_cut_off_by_the_limit() -> None:
    async def ask() -> None:
        service = Service(seconds=0.05)
        started, messages = asyncio.Event(), list[Any]()

        async def receive() -> dict[str, Any]:
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Any) -> None:
            messages.append(message)
            if message.get("body"):
                started.set()

        scope = {
            "type": "http", "method": "GET", "path": "/v1/streamed", "raw_path": b"/v1/streamed",
            "query_string": b"", "headers": [(b"accept-encoding", b"gzip")],
            "asgi": {"version": "3.0"},
        }  # fmt: skip
        task = asyncio.create_task(service._api(scope, receive, send))
        await started.wait()
        # Past the limit for an answer to begin.
        asyncio.get_running_loop().call_later(0.1, service.release.set)
        await task
        assert b"".join(m.get("body", b"") for m in messages) == b"x" * 4000 + b"y" * 4000

    asyncio.run(ask())


def test_more_than_the_edge_does_at_once_is_told_to_come_again() -> None:
    async def ask() -> None:
        service = Service(at_once=1)
        async with service.client() as client:
            waiting = asyncio.create_task(client.get("/v1/slow"))
            await service.entered.wait()
            full = await client.get("/v1/long")
            assert (full.status_code, full.json()["code"]) == (503, "overloaded")
            assert int(full.headers["retry-after"]) >= 1
            assert full.headers["content-type"] == "application/problem+json"
            assert full.headers["x-content-type-options"] == "nosniff"
            service.release.set()
            assert (await waiting).status_code == 200
            assert (await client.get("/v1/long")).status_code == 200

    asyncio.run(ask())


def test_what_takes_too_long_ends_as_a_problem_and_is_given_up() -> None:
    async def ask() -> None:
        service = Service(seconds=0.02)
        async with service.client() as client:
            late = await client.get("/v1/slow")
            assert (late.status_code, late.json()["code"]) == (504, "timeout")
            assert service.cancelled
            assert service.edge.running == 0

    asyncio.run(ask())


def test_a_fault_of_ours_is_a_problem_that_keeps_its_words() -> None:
    async def ask() -> None:
        async with Service().client() as client:
            fault = await client.get("/v1/broken")
            assert (fault.status_code, fault.json()["code"]) == (500, "internal")
            assert "secret" not in fault.text
            assert fault.json()["request_id"] == fault.headers["x-request-id"]

    asyncio.run(ask())


def test_every_request_has_a_line_that_tells_no_query(tmp_path: Path) -> None:
    async def ask() -> None:
        service = Service(tmp_path / "logs" / "access.jsonl")
        async with service.client() as client:
            await client.get("/v1/long", params={"q": "private words"})
            await client.get("/v1/assets/0123/secret", headers={"X-Request-Id": "n-1"})

    asyncio.run(ask())
    text = (tmp_path / "logs" / "access.jsonl").read_text()
    first, second = map(json.loads, text.splitlines())
    assert (first["route"], first["status"], first["tenant"], first["key"]) == (
        "/v1/long", 200, "t", "k1",
    )  # fmt: skip
    assert (second["id"], second["route"], second["status"]) == ("n-1", "other", 404)
    assert second["key"] is None
    assert "private" not in text
    assert "secret" not in text


def test_a_caller_that_went_away_is_told_apart(tmp_path: Path) -> None:
    async def ask() -> None:
        service = Service(tmp_path / "access.jsonl")
        async with service.client() as client:
            waiting = asyncio.create_task(client.get("/v1/slow"))
            await service.entered.wait()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert service.cancelled
        assert service.edge.running == 0

    asyncio.run(ask())
    assert json.loads((tmp_path / "access.jsonl").read_text())["status"] == 499
