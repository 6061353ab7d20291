"""One result on its way to the store, and what became of it. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

from ecm.contracts.identity import evidence_key
from ecm.contracts.result import EnvelopeStatus, ResultEnvelope
from ecm.ledger.records import TaskFence


@dataclass(frozen=True)
class Entry:
    """An envelope with its evidence key (None when the bytes were never read).

    `images`, `bytes_read` and `modelled` are the columns of ENVELOPE_SCHEMA; a result that came
    from another machine has none of them.
    """

    envelope: ResultEnvelope
    key: str | None
    images: int = 0
    bytes_read: int = 0
    modelled: int = 0

    @classmethod
    def of(
        cls, envelope: ResultEnvelope, images: int = 0, bytes_read: int = 0, modelled: int = 0
    ) -> Entry:
        content = envelope.resource_fingerprint.content_hash
        key = content and evidence_key(
            envelope.tenant_id, content, envelope.task_type, envelope.transform
        )
        return cls(envelope, key, images, bytes_read, modelled)

    @property
    def failed(self) -> bool:
        return self.envelope.status is EnvelopeStatus.FAILED

    @property
    def linked(self) -> bool:
        return self.envelope.linked

    @property
    def attempt(self) -> TaskFence:
        return TaskFence(self.envelope.task_id, self.envelope.fence)


def entries_of(block: pa.Table) -> list[Entry]:
    """The rows of an ENVELOPE_SCHEMA block."""
    return [
        Entry.of(
            ResultEnvelope.model_validate_json(row["envelope"]),
            row["images"],
            row["bytes_read"],
            row["modelled"],
        )
        for row in block.to_pylist()
    ]


class Fate(StrEnum):
    """What became of a result that left the loop."""

    COMMITTED = "committed"
    LINKED = "linked"
    RETRIED = "retried"
    DEAD = "dead"
    STALE = "stale"
    RELEASED = "released"


@dataclass(frozen=True)
class Settled:
    """A result and its fate; its task's credit and its evidence key are free again."""

    entry: Entry
    fate: Fate

    @property
    def of_key(self) -> tuple[str, str]:
        """What `Admission.settled` wants to know: evidence key and task."""
        return self.entry.key or "", self.entry.envelope.task_id


OnSettled = Callable[[Sequence[Settled]], None]
