"""What is said when a golden probe fails: which evidence is doubtful since one last passed.

Names evidence by key and run, never by row, so that rows still on their way are named as well and
rows that a later run derives anew are not. Knows no store, model or stage.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from ecm.contracts.identity import Contract, Digest, TenantId, digest

MAX_KEYS = 50_000
"""Keys in one notice: what more is said goes into a second one. About 3.4 MB as JSON."""

QuarantineId = Annotated[str, StringConstraints(pattern=r"^q-[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$")]
Moment = Annotated[float, Field(allow_inf_nan=False)]
"""Unix seconds (UTC)."""


class Drift(Contract):
    """A probe that failed: what was measured and what would have passed, null where a probe has no
    number, and one line for a person.
    """

    probe: str = Field(max_length=256)
    measured: float | None = None
    needed: float | None = None
    said: str = Field(max_length=1000)


class QuarantineNotice(Contract):
    """Evidence of one tenant that a model said, in one run, between two probes.

    `since` is when a probe last passed (or the model was opened), `until` when the next one failed.
    """

    format_version: Literal[1] = 1
    tenant_id: TenantId
    manifest: str = Field(min_length=1, max_length=128)
    transforms: tuple[Digest, ...] = Field(max_length=64)
    run_id: str = Field(min_length=1, max_length=128)
    worker_id: str = Field(min_length=1, max_length=256)
    drift: Drift
    since: Moment
    until: Moment = Field(ge=0, lt=253_402_300_800)
    keys: tuple[Digest, ...] = Field(max_length=MAX_KEYS)

    def quarantine_id(self) -> str:
        """The same for the same notice, so that saying it twice makes one quarantine."""
        at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self.until))
        return f"q-{at}-{digest(self.model_dump(mode='json'))[:8]}"

    def line(self) -> str:
        """One line for a person: which model, which probe, what was measured."""
        return f"model {self.manifest}: {self.drift.said}"


def in_parts(keys: Collection[str]) -> Iterator[tuple[str, ...]]:
    """Keys in order, at most MAX_KEYS at a time; once nothing when there are none."""
    ordered = sorted(keys)
    for start in range(0, max(1, len(ordered)), MAX_KEYS):
        yield tuple(ordered[start : start + MAX_KEYS])
