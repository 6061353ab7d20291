"""The workplace behind HTTP: a service that has ledger and store.

Knows addresses, bodies and what an answer means; knows no stage and no database.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

import httpx

from ecm.contracts.quarantine import QuarantineNotice
from ecm.contracts.result import ResultEnvelope
from ecm.delivery.receipts import (
    MAX_ADMIT,
    MAX_RESULTS,
    AdmitAnswer,
    AdmitQuestion,
    Receipt,
    WantedBytes,
    WorkerRun,
)
from ecm.delivery.workplace import LeasedWork, Terms
from ecm.errors import EcmError, Forbidden, NetworkError, TerminalError, TransientError
from ecm.ledger.ledger import Ledger
from ecm.ledger.wire import error_of
from ecm.stages.prepare import AdmitDecision, AdmitRequest

ADMIT_PATH: Final = "/v1/work/admit"
RESULTS_PATH: Final = "/v1/work/results"
RUNS_PATH: Final = "/v1/work/runs"
QUARANTINES_PATH: Final = "/v1/work/quarantines"
RESULTS_TYPE: Final = "application/x-ndjson"
ADMIT_BYTES: Final = 8 * 2**20
RESULTS_BYTES: Final = 64 * 2**20
"""The longest body of a delivery; a worker sends half of it at most."""

TIMEOUT: Final = httpx.Timeout(90.0, connect=5.0)


class RemoteWorkplace(LeasedWork):
    """Leases through the ledger of the service, admission and results through its desk."""

    def __init__(self, ledger: Ledger, client: httpx.Client, terms: Terms) -> None:
        super().__init__(ledger, terms)
        self._client = client

    def admit(self, requests: Sequence[AdmitRequest]) -> list[AdmitDecision]:
        decisions: list[AdmitDecision] = []
        for start in range(0, len(requests), MAX_ADMIT):
            question = AdmitQuestion(
                vision_transform=self._terms.vision_transform,
                ocr_transform=self._terms.ocr_transform,
                wanted=tuple(map(WantedBytes.of, requests[start : start + MAX_ADMIT])),
            )
            said = self._post(ADMIT_PATH, question.model_dump_json().encode(), "application/json")
            answer = AdmitAnswer.model_validate_json(said)
            decisions += [admitted.decision() for admitted in answer.admitted]
        return decisions

    def deliver(self, envelopes: Sequence[ResultEnvelope]) -> Receipt:
        receipts = [
            Receipt.model_validate_json(self._post(RESULTS_PATH, body, RESULTS_TYPE))
            for body in _bodies(envelopes)
        ]
        return Receipt(
            **{
                name: tuple(task_id for r in receipts for task_id in getattr(r, name))
                for name in Receipt.model_fields
            }
        )

    def record(self, run: WorkerRun) -> None:
        self._post(RUNS_PATH, run.model_dump_json().encode(), "application/json")

    def quarantine(self, notice: QuarantineNotice) -> None:
        self._post(QUARANTINES_PATH, notice.model_dump_json().encode(), "application/json")

    def _post(self, path: str, body: bytes, kind: str) -> bytes:
        try:
            response = self._client.post(path, content=body, headers={"Content-Type": kind})
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise NetworkError(f"the server does not answer: {reason}", "server.away") from error
        if response.is_success:
            return response.content
        raise _refusal(response)


def open_client(server: str, api_key: str) -> httpx.Client:
    """A client of the service; the key is sent with every request and shown nowhere."""
    headers = {"X-API-Key": api_key} if api_key else {}
    return httpx.Client(base_url=server, headers=headers, timeout=TIMEOUT, trust_env=False)


def _bodies(envelopes: Sequence[ResultEnvelope]) -> Iterator[bytes]:
    """Envelopes as JSON lines, in bodies that no server refuses for their length."""
    lines: list[bytes] = []
    length = 0
    for envelope in envelopes:
        line = envelope.model_dump_json(by_alias=True).encode() + b"\n"
        if lines and (length + len(line) > RESULTS_BYTES // 2 or len(lines) == MAX_RESULTS):
            yield b"".join(lines)
            lines, length = [], 0
        lines.append(line)
        length += len(line)
    if lines:
        yield b"".join(lines)


def _refusal(response: httpx.Response) -> EcmError:
    """The error that an answer other than success stands for."""
    try:
        problem = json.loads(response.content)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):  # a proxy's word, or that of a service that is starting
        return TransientError(f"the server answered {response.status_code}", "server.starting")
    if "class" in problem:
        return error_of(problem)
    said = str(problem.get("detail") or f"the server answered {response.status_code}")
    code, hint = str(problem.get("code") or ""), str(problem.get("hint") or "")
    if response.status_code in (401, 403):
        return Forbidden(said, code, hint)
    if response.status_code in (408, 429) or response.status_code >= 500:
        return TransientError(said, code, hint)
    return TerminalError(said, code or "server.refused", hint)
