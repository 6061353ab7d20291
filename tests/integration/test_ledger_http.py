"""The client of a remote ledger against servers that fail: sockets, statuses, broken answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ecm.errors import (
    ConfigError,
    ContractError,
    EcmError,
    Forbidden,
    LedgerUnavailable,
    Overloaded,
    StoreCorrupt,
)
from ecm.ledger import Ledger, LedgerConfig, open_ledger
from ecm.ledger.records import Lease
from tests.ledger_server import KEY, LedgerServer
from tests.ledger_tasks import START, claim, fences, ids, list_names

LEASE = Lease("w/1", "w", 1, START)
AWAY = '{"class": "LedgerUnavailable", "detail": "locked"}'

Step = Callable[[BaseHTTPRequestHandler], None]


def answer(body: str, status: int = 200, **headers: str) -> Step:
    def step(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body.encode())

    return step


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """The request was taken, and whoever took it is gone."""
    handler.close_connection = True


def break_off(handler: BaseHTTPRequestHandler) -> None:
    """The answer ends before its end."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b'["half')
    handler.close_connection = True


class Scripted(ThreadingHTTPServer):
    """Answers each operation by its script, step by step; the last step again and again."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scripts: dict[str, list[Step]] = {"now": [answer(str(START))]}
        self.seen: list[str] = []
        self.headers: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/behind/a/proxy/"

    def asked(self, operation: str) -> int:
        return self.seen.count(operation)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Scripted

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        prefix, _, name = self.path.rpartition("/")
        assert prefix == "/behind/a/proxy/v1/ledger"
        self.server.seen.append(name)
        self.server.headers.append(dict(self.headers))
        script = self.server.scripts[name]
        (script.pop(0) if len(script) > 1 else script[0])(self)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.02,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def remote(server: Scripted) -> Iterator[Ledger]:
    config = LedgerConfig(url=server.url, api_key="hush", busy_timeout=1.0)
    with open_ledger(config) as opened:
        yield opened


@pytest.mark.parametrize(
    "trouble",
    [
        hang_up,
        break_off,
        answer(AWAY, 503),
        answer("upstream is starting", 502),
        answer("slow down", 429),
        answer("Request timed out", 408),
    ],
    ids=["hung up", "broken off", "locked", "proxy", "rate limit", "timed out"],
)
def test_what_may_be_repeated_is_repeated_until_it_is_answered(
    server: Scripted, remote: Ledger, trouble: Step
) -> None:
    server.scripts["open_tasks"] = [trouble, trouble, answer("7")]
    assert remote.open_tasks("job") == 7
    assert server.asked("open_tasks") == 3


@pytest.mark.parametrize("trouble", [hang_up, break_off, answer(AWAY, 503)])
def test_a_claim_that_was_sent_is_never_sent_again(
    server: Scripted, remote: Ledger, trouble: Step
) -> None:
    """What it leased would stay leased twice until the lease runs out."""
    server.scripts |= {"claim": [trouble], "acquire_lease": [trouble]}
    with pytest.raises(LedgerUnavailable):
        remote.claim(LEASE, ["t"], None, None, 1, START)
    with pytest.raises(LedgerUnavailable):
        remote.acquire_lease("w", START, 60.0)
    assert (server.asked("claim"), server.asked("acquire_lease")) == (1, 1)


def test_patience_has_an_end_and_a_service_that_is_gone_says_so(
    server: Scripted, remote: Ledger
) -> None:
    server.scripts["open_tasks"] = [answer(AWAY, 503)]
    with pytest.raises(LedgerUnavailable, match="locked"):
        remote.open_tasks("job")
    assert 2 <= server.asked("open_tasks") <= 30


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (answer('{"class": "Overloaded", "detail": "full", "retry_after": 7.5}', 429), Overloaded),
        (answer('{"class": "StoreCorrupt", "code": "ledger.corrupt"}', 500), StoreCorrupt),
        (answer('{"code": "access.key", "detail": "needs a key"}', 401), Forbidden),
        (answer('{"code": "access.tenant", "detail": "not yours"}', 403), Forbidden),
        (answer('{"code": "input.too_large", "detail": "long"}', 413), ContractError),
        (answer("{}"), ContractError),
        (answer("hello"), ContractError),
    ],
)
def test_a_refusal_is_raised_at_once_as_what_it_is(
    server: Scripted, remote: Ledger, step: Step, kind: type[EcmError]
) -> None:
    server.scripts["open_tasks"] = [step]
    with pytest.raises(kind) as refused:
        remote.open_tasks("job")
    assert type(refused.value) is kind
    assert server.asked("open_tasks") == 1


def test_a_key_that_is_not_known_and_a_tenant_that_is_not_ours_are_told_apart(
    server: Scripted, remote: Ledger
) -> None:
    server.scripts["open_tasks"] = [
        answer('{"code": "access.key", "detail": "needs a key"}', 401),
        answer('{"code": "access.tenant", "detail": "not yours"}', 403),
    ]
    told = []
    for _ in range(2):
        with pytest.raises(Forbidden) as refused:
            remote.open_tasks("job")
        told.append((refused.value.code, str(refused.value)))
    assert told == [
        ("access.key", "needs a key (set ECM_LEDGER__API_KEY)"),
        ("access.tenant", "not yours"),
    ]


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ('["a"]\n', LedgerUnavailable),
        ('["a"]\n{"class": "StoreCorrupt", "detail": "damaged"}\n', StoreCorrupt),
        ('["a"]\n[1]\n{"end": true}\n', ContractError),
    ],
)
def test_an_answer_of_many_lines_that_does_not_end_well_is_no_answer(
    server: Scripted, remote: Ledger, lines: str, kind: type[EcmError]
) -> None:
    server.scripts["evidence_keys"] = [answer(lines)]
    keys = remote.evidence_keys("job")
    assert next(keys) == "a"
    with pytest.raises(kind):
        list(keys)


def test_a_key_goes_with_every_request_and_a_tenant_where_one_is_meant(
    server: Scripted, remote: Ledger
) -> None:
    server.scripts["open_tasks"] = [answer("1")]
    remote.open_tasks("job")
    remote.scoped("studio").open_tasks("job")
    plain, named = server.headers[-2:]
    assert plain["X-API-Key"] == named["X-API-Key"] == "hush"
    assert ("X-Tenant" in plain, named["X-Tenant"]) == (False, "studio")
    with pytest.raises(Forbidden):
        remote.scoped("studio").scoped("other")


def test_the_clock_is_the_services_and_is_read_once(server: Scripted, remote: Ledger) -> None:
    first, second = remote.now(), remote.now()
    assert START <= first <= second < START + 60
    assert server.asked("now") == 1


def test_a_service_that_was_killed_is_found_again_where_another_takes_over(tmp_path: Path) -> None:
    """What it had acknowledged is there, and a claim that could not be sent is sent after all."""
    first = LedgerServer()
    address = first.address(LedgerConfig(url=f"sqlite://{tmp_path}/ledger.db"))
    with open_ledger(LedgerConfig(url=address, api_key=KEY, busy_timeout=60.0)) as ledger:
        list_names(ledger, "job", ["a", "b"])
        lease = ledger.acquire_lease("w", START, 60.0)
        held = claim(ledger, lease, 1)
        first.kill()
        successor: list[LedgerServer] = []
        start = threading.Thread(target=lambda: successor.append(LedgerServer(first.port)))
        start.start()
        try:
            rest = claim(ledger, lease)
            assert len(ids(held) | ids(rest)) == len(held) + len(rest) == 4
            assert ledger.release(fences(held), START) == ids(held)
        finally:
            start.join()
            successor[0].stop()


def test_an_address_where_no_ledger_is_served_is_a_wrong_setting(server: Scripted) -> None:
    server.scripts["now"] = [answer("<html>not here</html>", 404)]
    with pytest.raises(ConfigError, match="no ledger is served there"):
        open_ledger(LedgerConfig(url=server.url))


def test_a_service_that_starts_again_is_waited_for_though_its_proxy_knows_no_routes_yet(
    server: Scripted, remote: Ledger
) -> None:
    server.scripts["last_job"] = [answer("no route", 404), answer("no route", 404), answer('"j"')]
    assert remote.last_job("t") == "j"
    server.scripts["claim"] = [answer("no route", 404)]
    with pytest.raises(LedgerUnavailable):
        remote.claim(LEASE, ["0" * 64], None, None, 1, START)
