"""The client against a service that is made up: what is sent again, and what refusals become."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.client import (
    AsyncClient,
    Busy,
    Client,
    ClientError,
    Failed,
    Garbled,
    NoAnswer,
    NotAllowed,
    NotThere,
    OutOfDate,
    Refused,
    Retries,
    asset_example,
    example,
    question,
    where,
)
from ecm.client.retrying import LONGEST_SECONDS
from ecm.contracts.feedback import Click
from ecm.contracts.filters import Filter
from ecm.contracts.identity import asset_id_of
from ecm.errors import ConfigError, EcmError, ImageError, QueryError, SourceError, TransientError

ONE = "1" * 64
KEY = "ecm_secret_of_somebody"
SNAPSHOT = {
    "snapshot_id": "s-1",
    "created_at": 1.0,
    "assets": 3,
    "transforms": {"vv": ["f" * 64]},
    "dims": {"vv": 8},
    "broken": {},
    "ranking_profile": "r",
}
Answer = Callable[[httpx.Request], httpx.Response]


class MadeUp:
    """A service that answers one thing after another, the last for ever."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []
        self.pauses: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, retries: int | Retries = 2) -> Client:
        return Client(
            "http://ecm.test:8000/under/",
            KEY,
            retries=retries,
            transport=httpx.MockTransport(self),
            sleep=self.pauses.append,
        )


def problem(status: int, code: str = "c", **headers: str) -> httpx.Response:
    said = {"type": "about:blank", "title": "T", "status": status, "code": code, "detail": "d"}
    body = json.dumps({**said, "hint": "h", "request_id": "r", "more": 1})
    kind = {"content-type": "application/problem+json"}
    return httpx.Response(status, content=body, headers={**kind, **headers})


def good(value: Any = SNAPSHOT) -> httpx.Response:
    return httpx.Response(200, json=value)


def test_what_cannot_be_answered_now_is_asked_again_after_as_long_as_is_said() -> None:
    service = MadeUp(problem(503, **{"Retry-After": "7"}), problem(429), good())
    with service.client() as client:
        assert client.snapshot().assets == 3
    assert len(service.asked) == 3
    assert service.pauses[0] >= 7
    assert 0 < service.pauses[1] <= LONGEST_SECONDS
    assert {request.headers["x-api-key"] for request in service.asked} == {KEY}
    assert len({request.headers["x-request-id"] for request in service.asked}) == 1
    assert str(service.asked[0].url) == "http://ecm.test:8000/under/v1/snapshot"


def test_it_is_not_asked_for_ever_nor_waited_for_too_long() -> None:
    service = MadeUp(problem(503, "overloaded"))
    with service.client() as client, pytest.raises(Busy) as busy:
        client.snapshot()
    assert (len(service.asked), busy.value.code) == (3, "overloaded")
    patient = MadeUp(problem(429, **{"Retry-After": "3600"}))
    with patient.client() as client, pytest.raises(Busy) as later:
        client.snapshot()
    assert (len(patient.asked), later.value.retry_after, patient.pauses) == (1, 3600.0, [])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413, 415, 422, 500, 502, 504])
def test_what_would_be_refused_again_is_asked_once(status: int) -> None:
    service = MadeUp(problem(status, "code.of", **{"Retry-After": "1"}))
    with service.client() as client, pytest.raises(ClientError) as refused:
        client.search("a dog")
    error = refused.value
    assert len(service.asked) == 1
    assert (error.status, error.code, error.detail, error.hint, error.request_id) == (
        status, "code.of", "d", "h", "r",
    )  # fmt: skip
    kinds = {400: Refused, 422: Refused, 401: NotAllowed, 404: NotThere, 409: OutOfDate}
    assert isinstance(error, kinds.get(status, ClientError))
    assert pickle.loads(pickle.dumps(error)).__dict__ == error.__dict__


def test_a_service_that_is_not_reached_is_tried_again_a_slow_one_is_not() -> None:
    away = MadeUp(httpx.ConnectError("refused"), httpx.RemoteProtocolError("gone"), good())
    with away.client() as client:
        assert client.snapshot().snapshot_id == "s-1"
    slow = MadeUp(httpx.ReadTimeout("late"))
    with slow.client() as client, pytest.raises(NoAnswer) as late:
        client.snapshot()
    assert (len(slow.asked), late.value.code) == (1, "client.timeout")
    assert isinstance(late.value, TransientError)


def test_health_is_asked_once() -> None:
    service = MadeUp(problem(503))
    with service.client() as client, pytest.raises(Busy):
        client.health()
    assert len(service.asked) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirection_is_followed_nowhere(status: int) -> None:
    service = MadeUp(httpx.Response(status, headers={"location": "http://evil.test/v1/snapshot"}))
    with service.client() as client, pytest.raises(Failed) as led:
        client.snapshot()
    assert led.value.code == "client.redirect"
    assert [request.url.host for request in service.asked] == ["ecm.test"]


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"{}", b'{"snapshot_id": 3}'])
def test_what_is_no_answer_of_a_service_is_told(content: bytes) -> None:
    service = MadeUp(httpx.Response(200, content=content))
    with service.client() as client, pytest.raises(Garbled):
        client.snapshot()


def test_what_a_newer_service_says_beside_is_left_out() -> None:
    with MadeUp(good({**SNAPSHOT, "moon": "full"})).client() as client:
        assert client.snapshot().assets == 3


def test_other_bytes_than_the_assets_are_not_its_original() -> None:
    data = b"picture"
    with MadeUp(httpx.Response(200, content=data)).client() as client:
        assert client.original(asset_id_of(data)) == data
        with pytest.raises(Garbled):
            client.original(ONE)


@given(name=st.text(max_size=20))
def test_law_no_name_of_an_asset_leads_to_another_path(name: str) -> None:
    service = MadeUp(problem(404))
    if not name.isprintable() or any("\ud800" <= c <= "\udfff" for c in name):
        return
    with service.client() as client, pytest.raises(NotThere):
        client.asset(name)
    path = service.asked[0].url.raw_path
    assert path.startswith(b"/under/v1/assets/")
    assert path.count(b"/") == 4
    assert b"?" not in path


@settings(max_examples=60)
@given(
    status=st.integers(200, 599),
    content=st.one_of(
        st.binary(max_size=40),
        st.recursive(
            st.one_of(st.none(), st.integers(), st.text(max_size=5)),
            lambda inner: st.dictionaries(
                st.sampled_from(["status", "code", "hits", "answers", "response", "assets"]), inner
            ),
            max_leaves=6,
        ).map(lambda value: json.dumps(value).encode()),
    ),
    kind=st.sampled_from(["application/problem+json", "application/json", "text/html", ""]),
    wait=st.sampled_from(["", "3", "-1", "soon", "9" * 30, "1e3", "Wed, 21 Oct 2026 07:28:00 GMT"]),
)
def test_law_whatever_comes_back_is_an_answer_or_an_error_of_the_client(
    status: int, content: bytes, kind: str, wait: str
) -> None:
    headers = {"content-type": kind, "retry-after": wait}
    service = MadeUp(httpx.Response(status, content=content, headers=headers))
    with service.client(retries=1) as client:
        asked: list[Callable[[], object]] = [
            lambda: client.search("a"),
            lambda: client.batch([question("a")]),
            lambda: client.asset(ONE),
            client.snapshot,
            client.health,
        ]
        for ask in asked:
            with contextlib.suppress(ClientError):
                ask()
    assert all(0 <= pause <= 60 for pause in service.pauses)


def test_events_of_feedback_bear_the_same_id_each_time_they_are_sent() -> None:
    service = MadeUp(problem(503), good({"stored": 1, "repeated": 0, "outside": 0}))
    click = Click(at=1.0, query_id="q", asset_id=ONE, rank=1)
    with service.client() as client:
        assert client.feedback([click]).stored == 1
    first, second = (json.loads(request.content) for request in service.asked)
    assert first == second
    assert first["events"][0]["event_id"]


def test_each_question_of_a_batch_has_its_own_outcome() -> None:
    refused = {"status": 422, "code": "query.empty", "detail": "d", "hint": "", "request_id": "r"}
    answer = {"answers": [{"response": None, "problem": {**refused, "type": "t", "title": "t"}}]}
    with MadeUp(good(answer)).client() as client:
        (one,) = client.batch([question("a dog")])
        assert isinstance(one, Refused)
        assert one.code == "query.empty"
        with pytest.raises(Garbled):
            client.batch([question("a dog"), question("a cat")])


def test_who_asks_travels_beside_the_question_and_may_be_said_each_time() -> None:
    service = MadeUp(problem(422))
    transport = httpx.MockTransport(service)
    with Client("http://ecm.test", KEY, unit="mary", session="one", transport=transport) as client:
        for who in ({}, {"session": "two"}, {"unit": "paul", "session": "three"}):
            with pytest.raises(Refused):
                client.search("a dog", **who)
            with pytest.raises(Refused):
                client.batch([question("a dog")], **who)
        with pytest.raises(ConfigError):
            client.search("a dog", unit="two\nlines")
    said = [(r.headers["x-ecm-unit"], r.headers["x-ecm-session"]) for r in service.asked]
    expected = [("mary", "one"), ("mary", "two"), ("paul", "three")]
    assert said == [one for one in expected for _ in (1, 2)]
    assert json.loads(service.asked[-2].content) == {"text": "a dog"}


def test_the_same_from_asyncio() -> None:
    service = MadeUp(problem(429, **{"Retry-After": "2"}), httpx.ConnectError("no"), good())
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def ask() -> int:
        transport = httpx.MockTransport(service)
        async with AsyncClient("http://ecm.test", KEY, transport=transport, sleep=sleep) as client:
            return (await client.snapshot()).assets

    assert asyncio.run(ask()) == 3
    assert len(pauses) == 2
    assert pauses[0] >= 2


def test_both_clients_have_the_same_methods() -> None:
    for name in (name for name in vars(Client) if not name.startswith("__")):
        assert hasattr(AsyncClient, name), name


@given(
    most=st.integers(0, 6),
    chance=st.floats(0, 1, exclude_max=True),
    said=st.lists(st.one_of(st.none(), st.floats(0, 120)), max_size=10),
)
def test_law_pauses_are_as_long_as_asked_and_bounded(
    most: int, chance: float, said: list[float | None]
) -> None:
    retries = Retries(most, 60.0, lambda: chance)
    for before, wait in enumerate(said):
        pause = retries.pause(before, Busy("busy", retry_after=wait))
        if before >= most or (wait or 0.0) > 60.0:
            assert pause is None
        else:
            assert pause is not None
            assert max(0.0, wait or 0.0) <= pause <= 60.0


@pytest.mark.parametrize(
    "url",
    [
        *("", "host:8000", "ftp://host", "http://", "http://me:secret@host", "http://host/?a=b"),
        *("http://[::1", "http://host:port", "http://host:99999", "http://host/\0"),
    ],
)
def test_what_is_no_address_of_a_service_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Client(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("key", ["", "a\nb", "é"])
def test_a_key_that_no_header_holds_is_refused(key: str) -> None:
    with pytest.raises(ConfigError):
        Client("http://host", key)


def test_a_key_is_shown_nowhere() -> None:
    client = MadeUp(problem(401)).client()
    with client, pytest.raises(NotAllowed) as refused:
        client.snapshot()
    assert KEY not in repr(client) + repr(refused.value) + str(refused.value)


def test_a_question_is_checked_before_it_is_sent(tmp_path: Path) -> None:
    bad: list[Callable[[], object]] = [
        lambda: question(""),
        lambda: question("a", limit=0),
        lambda: question(image=b"x", like=ONE),
        lambda: question(like="not an id"),
        lambda: where.width(),
        lambda: where.tags(),
        lambda: where.taken(since="1700000000"),
        lambda: where.colours("mauve"),
        lambda: asset_example(ONE, weight=0),
    ]
    for make in bad:
        with pytest.raises(QueryError):
            make()
    with pytest.raises(SourceError):
        question(image=tmp_path / "none.jpg")
    with pytest.raises(ImageError):
        question(image=bytes(32 * 2**20 + 1))


def test_filters_in_words_of_python_are_those_of_the_contract() -> None:
    made = where.every(
        where.tags("dog", all_of=["wet"], min_confidence=0.2),
        where.either(where.colours("red"), where.orientation("portrait")),
        where.size(at_most=10_000),
        where.taken(since="2024-01-01", before="2025-01-01T00:00:00Z"),
        where.neither(where.path("/photos/drafts/"), where.has("text")),
    )
    asked = json.loads(question(filter=made).model_dump_json())["filter"]
    assert Filter.model_validate(asked) == made
    alone = question("a", filter=where.formats("jpeg"))
    assert alone.filter == Filter(must=(where.formats("jpeg"),))


def test_an_image_is_read_from_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"picture")
    assert question(image=path).image == question(image=str(path)).image == b"picture"
    both = question(like=ONE, examples=[example(b"other", weight=-0.5)])
    assert [one.weight for one in both.shown()] == [1.0, -0.5]


def test_importing_the_client_loads_no_heavy_library() -> None:
    program = (
        "import sys, ecm.client\n"
        "heavy = {'ray', 'torch', 'lance', 'lancedb', 'pyarrow', 'transformers', 'duckdb'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_errors_of_the_client_are_errors_of_ecm() -> None:
    assert issubclass(ClientError, EcmError)
    assert issubclass(Busy, TransientError)
