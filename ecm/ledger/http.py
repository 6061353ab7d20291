"""A ledger behind HTTP: the same methods, done by the service that has it (see wire.py).

Knows addresses, keys, time-outs and when a request may be sent again; knows no task and no state.
The service's clock is the ledger's: it is asked for now and then and counted on between.
"""

from __future__ import annotations

import functools
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self

import httpx
from pydantic import TypeAdapter, ValidationError

from ecm.contracts.identity import TenantId
from ecm.errors import ConfigError, ContractError, EcmError, Forbidden, LedgerUnavailable
from ecm.ledger.config import LedgerConfig
from ecm.ledger.ledger import Ledger
from ecm.ledger.wire import OPERATIONS, PATH, Operation, error_of

CLOCK_SECONDS: Final = 30.0
"""How long a reading of the service's clock is counted on."""

IDLE_SECONDS: Final = 2.0
"""Connections idle for longer are not used again: servers close them after about five seconds."""

CONNECTIONS: Final = 32
TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0, pool=15.0)
FIRST_WAIT, LONGEST_WAIT = 0.05, 2.0
_TENANT: TypeAdapter[str] = TypeAdapter(TenantId)
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class RemoteLedger(Ledger):
    """The ledger of a service. Safe to share among threads; each process opens its own.

    Its methods are those of Ledger, by name, arguments and errors: they are set below, one for each
    operation, and a test compares them. Whose ledger it is, its key decides; an operator's key may
    name a tenant with `scoped`.
    """

    def __init__(
        self, service: Service, config: LedgerConfig, scope: TenantId | None = None
    ) -> None:
        # Not the base class's: there is no database, and nothing here may reach for one.
        self._service = service
        self._config = config
        self._scope = scope

    def now(self) -> float:
        """Unix seconds by the clock of the service's database."""
        return self._service.now()

    def scoped(self, tenant_id: TenantId) -> RemoteLedger:
        """The same ledger as one tenant may use it; Forbidden at the first call for another's.

        Raises ContractError for what is no name of a tenant.
        """
        try:
            _TENANT.validate_python(tenant_id)
        except ValidationError as error:
            raise ContractError(f"no tenant is named {tenant_id!r}", "ledger.tenant") from error
        return RemoteLedger(self._service, self._config, self._tenant(tenant_id))

    def close(self) -> None:
        self._service.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _do(self, operation: Operation, *given: Any, **named: Any) -> Any:
        said = operation.signature.bind(*given, **named)
        said.apply_defaults()
        body = operation.encode(said.arguments)
        if operation.streams:
            return self._service.stream(operation, body, self._scope)
        return operation.decode_answer(self._service.ask(operation, body, self._scope))


def _method(operation: Operation) -> Callable[..., Any]:
    @functools.wraps(getattr(Ledger, operation.name))
    def done_there(self: RemoteLedger, *given: Any, **named: Any) -> Any:
        return self._do(operation, *given, **named)

    return done_there


for _name, _operation in OPERATIONS.items():
    if _name not in vars(RemoteLedger):
        setattr(RemoteLedger, _name, _method(_operation))


class Service:
    """Connections to one service, and its clock.

    `patience` is for how many seconds a request is sent again while the service is away or says
    that it cannot now.
    """

    def __init__(self, url: str, key: str, patience: float) -> None:
        self._patience = patience
        self._clock = threading.Lock()
        self._offset = 0.0
        self._read_at = -CLOCK_SECONDS
        self._was_there = False
        self._client = httpx.Client(
            base_url=_checked(url) + PATH,
            headers=_headers(key),
            timeout=TIMEOUT,
            limits=httpx.Limits(max_connections=CONNECTIONS, keepalive_expiry=IDLE_SECONDS),
            trust_env=False,
        )

    def ask(self, operation: Operation, body: bytes, tenant: TenantId | None) -> bytes:
        """The answer. Raises the error that the service answers with, or LedgerUnavailable."""
        with self._answered(operation, body, tenant) as response:
            return response.content

    def stream(self, operation: Operation, body: bytes, tenant: TenantId | None) -> Iterator[Any]:
        """The answer's items as they come; an answer that breaks off raises LedgerUnavailable."""
        with self._answered(operation, body, tenant) as response:
            for line in _lines(response):
                if line.startswith(b"["):
                    yield from operation.decode_answer(line)
                    continue
                end = json.loads(line)
                if "class" in end:
                    raise error_of(end)
                return
        raise LedgerUnavailable(f"{operation.name}: the answer broke off", "ledger.http")

    def now(self) -> float:
        """The service's clock: read at most every CLOCK_SECONDS, advanced by our own steady one."""
        with self._clock:
            before = time.monotonic()
            if before - self._read_at >= CLOCK_SECONDS:
                there = json.loads(self.ask(OPERATIONS["now"], b"{}", None))
                after = time.monotonic()
                self._offset = float(there) - (before + after) / 2
                self._read_at = after
            return time.monotonic() + self._offset

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def _answered(
        self, operation: Operation, body: bytes, tenant: TenantId | None
    ) -> Iterator[httpx.Response]:
        """A response of success; the body of one that streams is still to be read."""
        headers = {"Content-Type": "application/json"}
        if tenant is not None:
            headers["X-Tenant"] = tenant
        request = self._client.build_request(
            "POST", f"/{operation.name}", content=body, headers=headers
        )
        response = self._sent(operation, request)
        try:
            yield response
        finally:
            response.close()

    def _sent(self, operation: Operation, request: httpx.Request) -> httpx.Response:
        """Send it until it is answered, refused, or patience is over."""
        give_up = time.monotonic() + self._patience
        wait = FIRST_WAIT
        while True:
            try:
                response = self._client.send(request, stream=operation.streams)
            except httpx.TransportError as error:
                again = operation.repeatable or isinstance(error, _NEVER_SENT)
                what = f"{request.url.host}: {error or type(error).__name__}"
                failed: EcmError = LedgerUnavailable(
                    f"the ledger's service does not answer: {what}", "ledger.http", "try again"
                )
                asked = 0.0
            else:
                if response.is_success:
                    self._was_there = True
                    return response
                failed = _refusal(response)
                if self._was_there and isinstance(failed, ConfigError):
                    # Whoever answers there does not know the ledger yet: the service is starting.
                    failed = LedgerUnavailable(failed.message, "ledger.http", "try again")
                again = operation.repeatable and isinstance(failed, LedgerUnavailable)
                asked = _retry_after(response)
            # Half of the wait is by chance, so that clients that failed together come one by one.
            pause = max(asked, wait * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            if not again or time.monotonic() + pause > give_up:
                raise failed
            time.sleep(pause)
            wait = min(LONGEST_WAIT, wait * 2)


def open_http(config: LedgerConfig) -> RemoteLedger:
    """The ledger behind `http(s)://host[:port][/prefix]`.

    Raises ConfigError for another kind of URL, LedgerUnavailable when nobody answers there within
    `busy_timeout`, Forbidden for a key that is not known there.
    """
    service = Service(config.url, config.api_key, config.busy_timeout)
    try:
        service.now()
    except EcmError:
        service.close()
        raise
    return RemoteLedger(service, config)


def _checked(url: str) -> str:
    """The address without a slash at its end. Raises ConfigError."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigError(f"not an address: {error}", "ledger.url") from error
    if not parsed.host or parsed.query or parsed.fragment or parsed.userinfo:
        raise ConfigError(
            "the ledger's address is http(s)://host[:port][/prefix] and nothing else",
            "ledger.url",
            "give a key as ECM_LEDGER__API_KEY",
        )
    return str(parsed).rstrip("/")


def _headers(key: str) -> dict[str, str]:
    if not key:
        return {}
    if not (key.isascii() and key.isprintable()):
        raise ConfigError("the ledger's API key has characters no header can hold", "ledger.key")
    return {"X-API-Key": key}


def _lines(response: httpx.Response) -> Iterator[bytes]:
    try:
        for line in response.iter_lines():
            yield line.encode()
    except httpx.TransportError as error:
        raise LedgerUnavailable(f"the answer broke off: {error}", "ledger.http") from error


def _refusal(response: httpx.Response) -> EcmError:
    """The error behind an answer that is no success."""
    try:
        said = json.loads(response.read())
    except (ValueError, httpx.TransportError):  # not our problem+json: the status has to do
        said = None
    finally:
        response.close()
    status, where = response.status_code, response.url.host
    if isinstance(said, dict) and "class" in said:
        return error_of(said)
    told = {k: str(v) for k, v in said.items()} if isinstance(said, dict) else {}
    detail = told.get("detail", "")
    if status in (401, 403):
        hint = "" if status == 403 else "set ECM_LEDGER__API_KEY"
        code = told.get("code") or "access.key"
        return Forbidden(detail or f"{where} refuses this key", code, hint)
    if status in (408, 429) or status >= 500:
        return LedgerUnavailable(detail or f"{where} answered {status}", "ledger.http", "try again")
    if status == 413:
        return ContractError(detail or f"too long for {where}", "input.too_large")
    return ConfigError(
        detail or f"{where} answered {status}: no ledger is served there", "ledger.url"
    )


def _retry_after(response: httpx.Response) -> float:
    """Seconds that the service asks to wait, 0 where it does not say."""
    said = response.headers.get("retry-after", "")
    return float(said) if said.isascii() and said.isdigit() else 0.0
