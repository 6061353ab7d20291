"""What workers and whoever takes their results say to each other. Frozen values for a wire.

Knows contracts; knows no HTTP, ledger or store.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from ecm.contracts.identity import Contract, Digest, TenantId
from ecm.contracts.task import TaskType
from ecm.stages.prepare import AdmitDecision, AdmitRequest

MAX_ADMIT = 4096
"""Resources in one question for admission."""

MAX_RESULTS = 16384
"""Envelopes in one delivery."""


Count = Annotated[int, Field(ge=0, lt=2**63)]


class Receipt(Contract):
    """Task ids of a delivery by what became of them.

    `linked` share evidence that was there, `stale` had another holder, `released` are queued again
    without costing an attempt, `waiting` are links whose evidence somebody is still making: deliver
    those again.
    """

    committed: tuple[Digest, ...] = ()
    linked: tuple[Digest, ...] = ()
    retried: tuple[Digest, ...] = ()
    dead: tuple[Digest, ...] = ()
    stale: tuple[Digest, ...] = ()
    released: tuple[Digest, ...] = ()
    waiting: tuple[Digest, ...] = ()


class WorkerRun(Contract):
    """One worker from its start to its end, as told at both. Times by the worker's own clock."""

    run_id: str = Field(min_length=1, max_length=128)
    transforms: tuple[Digest, ...] = Field(max_length=64)
    config_digest: Digest
    code_version: str = Field(min_length=1, max_length=64)
    started_at: float = Field(allow_inf_nan=False)
    finished_at: float | None = Field(default=None, allow_inf_nan=False)
    counts: dict[Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,64}$")], Count] = Field(
        default_factory=dict, max_length=64
    )


class WantedTask(Contract):
    """A task that wants bytes analysed."""

    task_id: Digest
    task_type: TaskType
    transform: Digest


class WantedBytes(Contract):
    """Bytes that a worker has read, by their hash, and the tasks that want them."""

    tenant_id: TenantId
    content_hash: Digest
    tasks: tuple[WantedTask, ...] = Field(min_length=1, max_length=64)

    @classmethod
    def of(cls, request: AdmitRequest) -> WantedBytes:
        return cls(
            tenant_id=request.tenant_id,
            content_hash=request.content_hash,
            tasks=tuple(
                WantedTask(task_id=task_id, task_type=kind, transform=transform)
                for task_id, kind, transform in request.tasks
            ),
        )

    def request(self) -> AdmitRequest:
        tasks = tuple((task.task_id, task.task_type, task.transform) for task in self.tasks)
        return AdmitRequest(self.tenant_id, self.content_hash, tasks)


class AdmitQuestion(Contract):
    """Which of these bytes are to be analysed? The transforms are those whose texts mv embeds."""

    vision_transform: Digest | None = None
    ocr_transform: Digest | None = None
    wanted: tuple[WantedBytes, ...] = Field(max_length=MAX_ADMIT)


class AdmittedBytes(Contract):
    """The answer for one of the wanted: tasks that are linked, and the texts known already."""

    linked: tuple[Digest, ...] = ()
    known_text: str | None = None
    known_read: str | None = ""

    @classmethod
    def of(cls, decision: AdmitDecision) -> AdmittedBytes:
        return cls(
            linked=tuple(sorted(decision.linked)),
            known_text=decision.known_text,
            known_read=decision.known_read,
        )

    def decision(self) -> AdmitDecision:
        return AdmitDecision(frozenset(self.linked), self.known_text, self.known_read)


class AdmitAnswer(Contract):
    """One answer for each of the wanted, in their order."""

    admitted: tuple[AdmittedBytes, ...]
