"""The story of an asset as frozen values: what runs said, what shows it, what failed. No I/O."""

from __future__ import annotations

from ecm.contracts.identity import Contract, Digest, TenantId
from ecm.contracts.result import Box, Space
from ecm.evidence.asset_words import WordsInFile
from ecm.evidence.runs import RunState
from ecm.evidence.timeline import PlaceEvent


class Said(Contract):
    """One statement in words; confidence in [0, 1], if there is one; `box` is where in the picture
    the words stand, if that is known.
    """

    evidence_id: str
    kind: str
    ordinal: int
    text: str
    confidence: float | None
    scheme: str = ""
    composed: bool = False
    box: Box | None = None


class Measured(Contract):
    evidence_id: str
    name: str
    value: float


class VectorSaid(Contract):
    """One vector without its values: `norm` before normalisation, sha256 of its bytes."""

    evidence_id: str
    space: Space
    dim: int
    norm: float
    quantization: str
    checksum: Digest


class Analysis(Contract):
    """What one run said about the asset by one transform. Times are Unix seconds (UTC).

    `model` is null for a transform that no manifest of the profile makes; what is known of the run
    itself is null when it left no row.
    """

    run_id: str
    task_type: str
    transform: Digest
    at: float
    model: str | None = None
    state: RunState | None = None
    job_id: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    code_version: str | None = None
    config_digest: Digest | None = None
    texts: tuple[Said, ...] = ()
    measures: tuple[Measured, ...] = ()
    vectors: tuple[VectorSaid, ...] = ()


class Shown(Contract):
    """A snapshot that shows the asset, and the places it names."""

    snapshot_id: str
    created_at: float
    published: bool
    uris: tuple[str, ...]


class GivenUp(Contract):
    """A dead letter about one of the places: no evidence came of it."""

    task_id: str
    uri: str
    task_type: str
    transform: str
    error_class: str
    code: str
    stage: str
    message: str
    attempts: int
    at: float


class Facts(Contract):
    """What decoding found, when first (Unix seconds); size in bytes, sides in pixels."""

    size: int
    width: int
    height: int
    format: str
    orientation: int
    frames: int
    observed_at: float


class AssetHistory(Contract):
    """Everything that is known of an asset, in time order.

    `written` is what stands in the file itself, as far as a run has read it there. `lies_at` are
    the places that hold it by the last look; `events` tell of all places at which it was ever seen,
    and so of other contents that lay there before or after. `truncated` names parts of which there
    is more. `dead_letters` is null when the ledger was not asked.
    """

    tenant_id: TenantId
    asset_id: Digest
    facts: Facts | None
    written: tuple[WordsInFile, ...] = ()
    lies_at: tuple[str, ...]
    events: tuple[PlaceEvent, ...]
    analyses: tuple[Analysis, ...]
    snapshots: tuple[Shown, ...]
    dead_letters: tuple[GivenUp, ...] | None = None
    truncated: tuple[str, ...] = ()
