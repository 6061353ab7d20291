"""What a service tells of assets, snapshots and itself, as far as a client reads it.

The same shapes as the service's own; what a newer service says beside them is left out. No I/O.
"""

from __future__ import annotations

from pydantic import Field

from ecm.contracts.identity import Contract, Digest, TenantId
from ecm.contracts.result import Box, Written
from ecm.contracts.search import Axis, EvidenceRef, SearchResponse


class ProblemSaid(Contract):
    """A refusal or failure (RFC 9457)."""

    status: int
    code: str = ""
    detail: str = ""
    hint: str = ""
    request_id: str = ""


class Outcome(Contract):
    """What became of one question of several: one of the two."""

    response: SearchResponse | None = None
    problem: ProblemSaid | None = None


class Outcomes(Contract):
    """In the order of the questions."""

    answers: tuple[Outcome, ...]


class Snapshot(Contract):
    """The snapshot that answers, as one tenant sees it."""

    snapshot_id: str
    created_at: float = Field(description="Unix seconds (UTC)")
    assets: int = Field(description="of this tenant")
    transforms: dict[Axis, tuple[str, ...]]
    dims: dict[Axis, int]
    broken: dict[Axis, str] = Field(description="axes that cannot answer, and why")
    ranking_profile: str


class Health(Contract):
    """The service answers; on the axes in `degraded` it will not, and why."""

    status: str
    snapshot_id: str
    degraded: dict[Axis, str] = Field(default_factory=dict)
    trouble: str = ""


class Place(Contract):
    """A place where the bytes were seen: size in bytes, mtime or etag, when (Unix seconds, UTC)."""

    uri: str
    size: int
    mtime_ns: int | None = None
    etag: str | None = None
    observed_at: float


class Statement(EvidenceRef):
    """What a run said; `chosen` when the snapshot shows it."""

    chosen: bool = False
    box: Box | None = None


class Asset(Contract):
    """An asset: what decoding found, where it lies, and all that any run said about it."""

    snapshot_id: str
    tenant_id: TenantId
    asset_id: Digest
    uris: tuple[str, ...]
    width: int | None
    height: int | None
    format: str | None
    size: int | None = Field(description="bytes")
    caption: str | None
    caption_composed: bool
    tags: tuple[str, ...]
    written: tuple[Written, ...] = Field(default=(), description="what stands in the file itself")
    versions: tuple[Place, ...]
    evidence: tuple[Statement, ...]


class PlaceEvent(Contract):
    """One look at a place: what was found there, when (Unix seconds), by which run."""

    uri: str
    what: str
    at: float
    run_id: str
    asset_id: Digest
    size: int


class Said(Contract):
    """One statement in words; confidence in [0, 1], if there is one."""

    evidence_id: str
    kind: str
    text: str
    confidence: float | None


class Analysis(Contract):
    """What one run said by one transform. Times are Unix seconds (UTC)."""

    run_id: str
    task_type: str
    transform: Digest
    at: float
    model: str | None = None
    texts: tuple[Said, ...] = ()


class ShownBy(Contract):
    """A snapshot that shows the asset."""

    snapshot_id: str
    created_at: float
    published: bool


class GivenUp(Contract):
    """A dead letter about one of the places."""

    task_id: str
    uri: str
    task_type: str
    error_class: str
    code: str
    message: str
    at: float


class History(Contract):
    """Everything that is known of an asset, in time order; `dead_letters` is null when the ledger
    did not answer.
    """

    tenant_id: TenantId
    asset_id: Digest
    lies_at: tuple[str, ...]
    events: tuple[PlaceEvent, ...]
    analyses: tuple[Analysis, ...]
    snapshots: tuple[ShownBy, ...]
    dead_letters: tuple[GivenUp, ...] | None = None
    truncated: tuple[str, ...] = ()


class JobProgress(Contract):
    """A job of the queue, and how far it is. Times are Unix seconds (UTC)."""

    job_id: str
    source: str
    state: str
    created_at: float
    finished_at: float | None
    open_tasks: int
