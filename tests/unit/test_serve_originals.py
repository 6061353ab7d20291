"""Originals over the route, on a real file system: the caller's own, as they were analysed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from ecm.access.keys import digest_of
from ecm.contracts.identity import ContentIdentity, path_uri
from ecm.errors import QueryError
from ecm.images.limits import ImageLimits
from ecm.images.reading import ResourceBytes, read_resource
from ecm.ledger.config import LedgerConfig
from tests.object_server import ACCESS_KEY, REGION, SECRET_KEY, ObjectServer

with warnings.catch_warnings():  # Ray 2.60 gives pydantic arguments that pydantic deprecates
    warnings.simplefilter("ignore")
    from serve.access import Access
    from serve.api import Failed, new_api
    from serve.confine import Roots
    from serve.door import Door
    from serve.originals import Originals, Reader, original_routes
    from serve.problem import problem_of

RED = bytes.fromhex("89504e470d0a1a0a") + bytes(range(256)) * 8
"""What is a PNG to whoever looks at its signature, and is never decoded here."""
OWN = {"x-api-key": "mine", "x-request-id": "r"}
RED_ID = hashlib.sha256(RED).hexdigest()


class Shelf:
    """A folder of photos below a root, a snapshot of who has which, and the route over them."""

    def __init__(
        self,
        folder: Path,
        max_bytes: int = 10**6,
        at_once: int = 4,
        *more_roots: str,
        read: Reader = read_resource,
    ) -> None:
        self.photos = folder / "photos"
        self.photos.mkdir(exist_ok=True)
        self.owned: dict[tuple[str, str], list[str]] = {}
        access = Access({digest_of("mine"): "mine", digest_of("theirs"): "theirs"}, "mine")
        roots = Roots([str(self.photos), *more_roots], lambda: access.open)
        door = Door(LedgerConfig(url=f"sqlite://{folder}/none.db"), access, roots)
        self.originals = Originals(
            self._places, roots, ImageLimits(), max_bytes, at_once, read=read
        )
        api = new_api()
        api.include_router(original_routes(lambda _: door, lambda _: self.originals))
        self.client = TestClient(api, base_url="http://localhost", headers=OWN)

    def add(self, name: str, data: bytes, tenant: str = "mine") -> str:
        path = self.photos / name
        path.write_bytes(data)
        asset = hashlib.sha256(data).hexdigest()
        self.owned.setdefault((tenant, asset), []).append(path_uri(path))
        return asset

    async def _places(self, tenant_id: str, asset_id: str) -> Sequence[str]:
        found = self.owned.get((tenant_id, asset_id))
        if found is None:
            raise Failed(problem_of(QueryError("no such asset", "query.asset_unknown")))
        return found


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path)
    with made.client:
        yield made


def test_the_bytes_are_those_that_were_analysed_and_run_nowhere(shelf: Shelf) -> None:
    asset = shelf.add('ré "d".png', RED)
    answer = shelf.client.get(f"/v1/assets/{asset}/original")
    assert (answer.status_code, answer.content) == (200, RED)
    told = answer.headers
    assert told["content-type"] == "image/png"
    assert told["content-length"] == str(len(RED))
    assert told["x-content-type-options"] == "nosniff"
    assert "sandbox" in told["content-security-policy"]
    assert "default-src 'none'" in told["content-security-policy"]
    assert told["content-disposition"] == (
        "inline; filename=\"r_ _d_.png\"; filename*=UTF-8''r%C3%A9%20%22d%22.png"
    )
    assert told["cache-control"] == "private, no-cache"
    known = {"If-None-Match": told["etag"]}
    assert shelf.client.get(f"/v1/assets/{asset}/original", headers=known).status_code == 304


def test_what_no_browser_shows_is_saved_as_bytes(shelf: Shelf) -> None:
    asset = shelf.add("page.html", b"<script>alert(1)</script>")
    told = shelf.client.get(f"/v1/assets/{asset}/original").headers
    assert told["content-type"] == "application/octet-stream"
    assert told["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("asked", "status", "part", "said"),
    [
        ("bytes=0-3", 206, slice(0, 4), "bytes 0-3/{size}"),
        ("bytes=10-", 206, slice(10, None), "bytes 10-{last}/{size}"),
        ("bytes=-5", 206, slice(-5, None), "bytes {tail}-{last}/{size}"),
        ("bytes=5-999999999", 206, slice(5, None), "bytes 5-{last}/{size}"),
        ("bytes=0-1,5-6", 200, slice(None), None),
        ("bytes=7-3", 200, slice(None), None),
        ("bytes=-", 200, slice(None), None),
        ("words=1-2", 200, slice(None), None),
        ("bytes=99999999-", 416, None, "bytes */{size}"),
        ("bytes=-0", 416, None, "bytes */{size}"),
    ],
)
def test_one_range_may_be_asked_for(
    shelf: Shelf, asked: str, status: int, part: slice | None, said: str | None
) -> None:
    asset = shelf.add("red.png", RED)
    answer = shelf.client.get(f"/v1/assets/{asset}/original", headers={"Range": asked})
    assert answer.status_code == status
    if part is not None:
        assert answer.content == RED[part]
    size = len(RED)
    expected = said and said.format(size=size, last=size - 1, tail=size - 5)
    assert answer.headers.get("content-range") == expected
    stale = {"Range": asked, "If-Range": '"another"'}
    assert shelf.client.get(f"/v1/assets/{asset}/original", headers=stale).status_code == 200


def test_an_asset_of_another_tenant_is_not_there(shelf: Shelf) -> None:
    theirs = shelf.add("theirs.png", RED, "theirs")
    unknown = "0" * 64
    answers = [shelf.client.get(f"/v1/assets/{each}/original") for each in (theirs, unknown)]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json() == answers[1].json()
    nobody = shelf.client.get(f"/v1/assets/{theirs}/original", headers={"x-api-key": "guess"})
    assert nobody.status_code == 401


def test_other_bytes_at_its_place_are_never_sent(shelf: Shelf) -> None:
    asset = shelf.add("red.png", RED)
    (shelf.photos / "red.png").write_bytes(b"something secret")
    answer = shelf.client.get(f"/v1/assets/{asset}/original")
    assert (answer.status_code, answer.json()["code"]) == (409, "original.changed")
    assert "secret" not in answer.text
    shelf.add("copy of red.png", RED)
    again = shelf.client.get(f"/v1/assets/{asset}/original")
    assert again.content == RED, "the next place has it still"
    assert "copy%20of%20red.png" in again.headers["content-disposition"]


def test_gone_too_large_outside_and_unreadable_are_told_apart(shelf: Shelf, tmp_path: Path) -> None:
    asset = shelf.add("red.png", RED)
    path = shelf.photos / "red.png"

    def refused() -> tuple[int, str]:
        answer = shelf.client.get(f"/v1/assets/{asset}/original")
        assert answer.headers["content-type"] == "application/problem+json"
        assert str(tmp_path) not in answer.text, "no path of the machine is told"
        return answer.status_code, answer.json()["code"]

    path.unlink()
    assert refused() == (410, "original.gone")
    secret = tmp_path / "secret.png"
    secret.write_bytes(RED)
    path.symlink_to(secret)
    assert refused() == (403, "original.root")
    path.unlink()
    os.mkfifo(path)
    assert refused() == (409, "original.unreadable")
    shelf.owned["mine", asset] = [path_uri(secret)]
    assert refused() == (403, "original.root")
    shelf.owned["mine", asset] = ["http://127.0.0.1:9/red.png"]
    assert refused() == (403, "original.root")
    big = Shelf(tmp_path, max_bytes=len(RED) - 1)
    large = big.add("large.png", RED)
    answer = big.client.get(f"/v1/assets/{large}/original")
    assert (answer.status_code, answer.json()["code"]) == (422, "original.too_large")


def test_a_tenant_takes_half_of_the_places_and_gives_them_back(tmp_path: Path) -> None:
    small = Shelf(tmp_path, at_once=2)
    asset = small.add("red.png", RED)
    small.add("red.png", RED, "theirs")
    path = f"/v1/assets/{asset}/original"
    with small.originals.streams.taken("mine"):
        busy = small.client.get(path)
        assert (busy.status_code, busy.json()["code"]) == (503, "original.busy")
        assert busy.headers["retry-after"] == "1"
        assert small.client.get(path, headers={"x-api-key": "theirs"}).status_code == 200
    for headers in ({}, {"Range": "bytes=999999999-"}, {"If-None-Match": "*"}):
        for _ in range(5):
            assert small.client.get(path, headers=headers).status_code in (200, 304, 416)
    (small.photos / "red.png").unlink()
    assert {small.client.get(path).status_code for _ in range(5)} == {410}


def test_objects_are_read_below_their_prefix(
    tmp_path: Path, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("AWS_ENDPOINT_URL", object_server.endpoint),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_DEFAULT_REGION", REGION),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(name, value)
    bucket = object_server.bucket()
    for key in ("photos/é %41.png", "secret/b.png"):
        object_server.client.put_object(Bucket=bucket, Key=key, Body=RED)
    shelf = Shelf(tmp_path, 10**6, 4, f"s3://{bucket}/photos")
    path = f"/v1/assets/{RED_ID}/original"
    shelf.owned["mine", RED_ID] = [f"s3://{bucket}/photos/é %41.png"]
    found = shelf.client.get(path)
    assert found.content == RED
    assert found.headers["content-disposition"].endswith("%C3%A9%20%2541.png")
    for outside in ("secret/b.png", "photos/../secret/b.png"):
        shelf.owned["mine", RED_ID] = [f"s3://{bucket}/{outside}"]
        assert shelf.client.get(path).json()["code"] == "original.root"
    shelf.owned["mine", RED_ID] = [f"s3://{bucket}/photos/gone.png"]
    assert shelf.client.get(path).status_code == 410


def test_storage_that_hangs_keeps_its_places_until_it_answers(tmp_path: Path) -> None:
    """A caller who has waited long enough goes away; what is read for it goes on."""
    answers, hangs = threading.Event(), threading.Event()

    def hanging(identity: ContentIdentity, limits: ImageLimits) -> ResourceBytes:
        hangs.set()
        assert answers.wait(30)
        return read_resource(identity, limits)

    shelf = Shelf(tmp_path, 10**6, 2, read=hanging)
    asset = shelf.add("red.png", RED)
    transport = httpx.ASGITransport(app=shelf.client.app)
    path = f"/v1/assets/{asset}/original"

    async def scene() -> tuple[int, int]:
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost", headers=OWN
        ) as client:
            first = asyncio.create_task(client.get(path))
            await asyncio.to_thread(hangs.wait, 30)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            busy = (await client.get(path)).status_code
            answers.set()
            async with asyncio.timeout(30):
                while (free := (await client.get(path)).status_code) == 503:
                    await asyncio.sleep(0)
            return busy, free

    assert asyncio.run(scene()) == (503, 200)
