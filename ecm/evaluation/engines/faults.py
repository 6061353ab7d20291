"""What can go wrong with a service, on demand: for tests and drills of whatever asks one.

A contract is wrapped, and each request meets the next fault of a script. Knows no product.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, Protocol

from ecm.evaluation.engines.azure_contract import ContractReply, ContractRequest

SLOW_SECONDS: Final = 30.0
RETRY_AFTER: Final = "1"
_JSON: Final[Mapping[str, str]] = {"content-type": "application/json"}


class Contract(Protocol):
    """A recorded contract. Thread-safe."""

    def answer(self, request: ContractRequest) -> ContractReply: ...


class Fault(StrEnum):
    """One thing that goes wrong."""

    LIMITED = "limited"
    """429 with Retry-After."""
    BUSY = "busy"
    """503 without."""
    FAILED = "failed"
    """500, and the key in what it says."""
    SLOW = "slow"
    """The right answer, much too late."""
    GARBAGE = "garbage"
    """200 and no JSON."""
    NO_HITS = "no_hits"
    """200, JSON, and not the documented shape."""
    NO_NUMBER = "no_number"
    """A score that is none."""
    TWICE = "twice"
    """The same hit two times."""
    STRANGER = "stranger"
    """A hit that is named in no way of ours."""
    CUT = "cut"
    """The answer ends in the middle."""
    HUGE = "huge"
    """An answer without end."""
    PACKED = "packed"
    """Compressed, though nobody asked for it."""
    ELSEWHERE = "elsewhere"
    """A redirect to another host."""


class FaultyContract:
    """A contract that meets the faults of a script, one a request; None, and the end: none."""

    def __init__(self, contract: Contract, script: Iterable[Fault | None]) -> None:
        self._contract = contract
        self._script = iter(script)
        self._lock = threading.Lock()

    def answer(self, request: ContractRequest) -> ContractReply:
        with self._lock:
            fault = next(self._script, None)
        if fault is None:
            return self._contract.answer(request)
        if fault is Fault.SLOW:
            right = self._contract.answer(request)
            return ContractReply(right.status, right.body, right.headers, waits=SLOW_SECONDS)
        return _broken(fault, request)


def _broken(fault: Fault, request: ContractRequest) -> ContractReply:
    hit = {"@search.score": 1.0, "asset_id": "a" * 64}
    match fault:
        case Fault.LIMITED:
            return ContractReply(429, _said("too many"), {**_JSON, "retry-after": RETRY_AFTER})
        case Fault.BUSY:
            return ContractReply(503, _said("overloaded"), _JSON)
        case Fault.FAILED:
            key = request.headers.get("api-key", "")
            return ContractReply(500, _said(f"failed with key {key}"), _JSON)
        case Fault.NO_HITS:
            return ContractReply(200, b'{"results": []}', _JSON)
        case Fault.NO_NUMBER:
            return ContractReply(200, _hits([{**hit, "@search.score": "high"}]), _JSON)
        case Fault.TWICE:
            return ContractReply(200, _hits([hit, hit]), _JSON)
        case Fault.STRANGER:
            return ContractReply(200, _hits([{**hit, "asset_id": "42"}]), _JSON)
        case Fault.CUT:
            return ContractReply(200, _hits([hit]), _JSON, cut=True)
        case Fault.HUGE:
            return ContractReply(200, b'{"value": [' + b" " * (1 << 20), _JSON)
        case Fault.PACKED:
            packed = gzip.compress(_hits([hit]))
            return ContractReply(200, packed, {**_JSON, "content-encoding": "gzip"})
        case Fault.ELSEWHERE:
            return ContractReply(307, b"", {"location": "https://elsewhere.invalid/"})
        case _:
            return ContractReply(200, b"<html>hello</html>", {"content-type": "text/html"})


def _said(message: str) -> bytes:
    return json.dumps({"error": {"code": "", "message": message}}).encode()


def _hits(hits: list[dict[str, object]]) -> bytes:
    return json.dumps({"value": hits}).encode()
