"""Parts of a profile that no package has a config model of its own for.

Knows names, types and bounds of settings; layers and files are ecm.config's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ecm.access.limits import RateLimit
from ecm.access.scopes import Scope
from ecm.contracts.identity import Digest, TenantId


class Part(BaseModel):
    """Base of these config models: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelChoice(Part):
    """Manifest names (files of `models_folder`) by role; null switches a role off."""

    tier: str | None = Field(
        default=None,
        description="a tier of models (ecm models tiers), for roles not named beside it",
    )
    vision: str | None = "efficientnet-lite0"
    vv: str | None = "efficientnet-lite0"
    x: str | None = "structure"
    mv: str | None = "all-minilm-l6-v2"
    ocr: str | None = Field(
        default=None, description="reads text in pictures: rapidocr (pip install 'ecm[ocr]')"
    )

    def named(self) -> frozenset[str]:
        """The manifests that play a role."""
        return frozenset(filter(None, self.model_dump(exclude={"tier"}).values()))


class PipelineConfig(Part):
    """How a run is spread over the machine or cluster. CPUs and GPUs are Ray's logical ones."""

    block_images: int = Field(default=128, ge=1, le=4096, description="resources per lease block")
    window_blocks: int = Field(default=4, ge=1, le=4096, description="blocks ahead of commits")
    pass_blocks: int = Field(default=4000, ge=1, le=10_000, description="blocks per pass")
    decode_workers: int = Field(default=1, ge=1, le=4096)
    decode_cpus: float = Field(default=0.5, gt=0, le=64, description="per decode worker")
    model_actors: int = Field(default=1, ge=1, le=4096)
    model_cpus: float = Field(default=1.0, ge=0, le=64, description="per model actor")
    model_gpus: float = Field(default=0.0, ge=0, le=16, description="per model actor")
    caption_actors: int = Field(default=1, ge=1, le=4096, description="of a captioner")
    caption_cpus: float = Field(default=1.0, ge=0, le=64, description="per captioner")
    caption_gpus: float = Field(default=0.0, ge=0, le=64, description="per captioner")
    caption_blocks: int = Field(
        default=2, ge=1, le=64, description="blocks in one captioner at once, to keep it full"
    )
    text_actors: int = Field(
        default=1, ge=0, le=4096, description="0: the text model lives in the model actors"
    )
    text_cpus: float = Field(default=0.5, ge=0, le=64, description="per text actor")
    text_gpus: float = Field(default=0.0, ge=0, le=16, description="per text actor")
    threads: int = Field(default=1, ge=1, le=256, description="per model actor")
    batch_size: int = Field(default=32, ge=1, le=4096, description="images per model call")
    probe_images: int = Field(
        default=5000,
        ge=0,
        le=1_000_000,
        description="images between two golden probes of a model; 0: only when it is opened",
    )
    commit_envelopes: int = Field(default=800, ge=1, le=100_000, description="per batch")
    commit_seconds: float = Field(default=2.0, gt=0, le=600, description="longest wait of a batch")
    object_store_bytes: int | None = Field(
        default=None, ge=80 * 2**20, description="of a local Ray; null: Ray decides"
    )
    verify_threads: int = Field(
        default=4, ge=1, le=256, description="files read at once by ecm index --verify-content"
    )
    max_gone_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="of what is known below a source; when more is missing nothing is marked gone",
    )
    max_dead: int = Field(default=0, ge=0, description="dead letters before a run exits with 1")
    address: str | None = Field(default=None, description="Ray cluster; null: a local one")
    gpu_hour_price: float | None = Field(
        default=None, ge=0, description="of one GPU, in any currency; what ecm plan counts with"
    )


class DeploymentConfig(Part):
    """How much of one deployment there is; null: what `serve` says for all of them."""

    replicas: int | None = Field(default=None, ge=1, le=1000, description="at the least")
    max_replicas: int | None = Field(default=None, ge=1, le=1000)
    cpus: float | None = Field(default=None, ge=0, le=64, description="per replica")
    gpus: float = Field(default=0.0, ge=0, le=16, description="per replica")
    ongoing: int | None = Field(default=None, ge=1, le=10_000, description="per replica at once")
    queued: int | None = Field(default=None, ge=-1, le=100_000, description="-1: unbounded")


class IngressConfig(Part):
    """How much of the HTTP edge there is; null: what `serve` says for all deployments.

    What comes above `ongoing` is told to come again: the edge has no queue.
    """

    replicas: int | None = Field(default=None, ge=1, le=1000, description="at the least")
    max_replicas: int | None = Field(default=None, ge=1, le=1000)
    cpus: float | None = Field(default=None, ge=0, le=64, description="per replica")
    ongoing: int = Field(default=256, ge=1, le=10_000, description="requests per replica at once")


@dataclass(frozen=True)
class DeploymentSize:
    """Replicas and bounds of a deployment, nothing left open; `queued` -1: unbounded."""

    replicas: int
    max_replicas: int
    cpus: float
    gpus: float
    ongoing: int
    queued: int


Deployment = Literal["encoder", "candidates", "reranker", "ingress"]


class ServeConfig(Part):
    """The search service. Times in seconds."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    replicas: int = Field(default=1, ge=1, le=1000)
    max_replicas: int = Field(default=1, ge=1, le=1000)
    replica_cpus: float = Field(default=0.5, ge=0, le=64)
    max_ongoing_requests: int = Field(default=16, ge=1, le=10_000, description="per replica")
    max_queued_requests: int = Field(default=64, ge=-1, le=100_000, description="-1: unbounded")
    encoder: DeploymentConfig = Field(
        default_factory=DeploymentConfig, description="the deployment that holds the query models"
    )
    candidates: DeploymentConfig = Field(
        default_factory=DeploymentConfig, description="the deployment that holds the snapshot"
    )
    reranker: DeploymentConfig = Field(
        default_factory=DeploymentConfig, description="the deployment of the second stage"
    )
    ingress: IngressConfig = Field(
        default_factory=IngressConfig, description="the deployment that speaks HTTP"
    )
    request_timeout_seconds: float = Field(default=30.0, gt=0, le=3600)
    batch_at_once: int = Field(
        default=4, ge=1, le=32, description="questions of one batch that are asked at once"
    )
    embedding_cache_bytes: int = Field(
        default=32 * 2**20, ge=0, description="query vectors kept by each candidates replica"
    )
    embedding_cache_seconds: float = Field(default=900.0, gt=0, le=86_400)
    access_log: Path | None = Field(
        default=None, description="JSON lines are added to it; null: the log of the replica"
    )
    otlp_endpoint: str | None = Field(
        default=None, description="OTLP/HTTP collector for traces (ecm[trace]); null: none are made"
    )
    desk_idle_seconds: float = Field(
        default=20.0, gt=0, le=3600, description="the right to commit is kept so long without work"
    )
    desk_busy_seconds: float = Field(
        default=300.0, gt=0, le=86_400, description="and so long at most; then jobs are ended"
    )
    snapshot_poll_seconds: float = Field(default=0.5, gt=0, le=3600)
    api_keys: dict[Digest, TenantId] = Field(
        default_factory=dict, description="sha256 of a key: its tenant; empty: no keys"
    )
    operator_keys: tuple[Digest, ...] = Field(
        default=(), description="sha256 of keys that speak for the whole ledger"
    )

    keys_file: Path | None = Field(
        default=None,
        description="keys made by ecm keys; null: keys.json in the home, if it is there",
    )
    rate_limits: dict[Scope, RateLimit] = Field(
        default_factory=dict,
        description="of every key, in each ingress replica: requests a second by scope",
    )
    original_bytes: int = Field(
        default=128 * 2**20, ge=1, description="originals above this are not served"
    )
    originals_at_once: int = Field(
        default=4, ge=1, le=1000, description="read at once by each ingress replica"
    )
    feedback_days: int = Field(
        default=180, ge=1, le=3650, description="events of feedback are kept for so long"
    )
    log_impressions: bool = Field(
        default=False, description="each search stores by itself what it has shown, and its words"
    )
    experiments: bool = Field(
        default=False,
        description="searches are answered by the arms of experiments that ecm experiment starts",
    )

    def size_of(self, name: Deployment) -> DeploymentSize:
        """Replicas and bounds of a deployment, with what holds for all where it says nothing."""
        parts = {"encoder": self.encoder, "candidates": self.candidates, "reranker": self.reranker}
        own = parts.get(name)
        if own is None:
            edge = self.ingress
            return DeploymentSize(
                replicas=edge.replicas or self.replicas,
                max_replicas=edge.max_replicas or self.max_replicas,
                cpus=self.replica_cpus if edge.cpus is None else edge.cpus,
                gpus=0.0,
                ongoing=edge.ongoing,
                queued=-1,
            )
        return DeploymentSize(
            replicas=own.replicas or self.replicas,
            max_replicas=own.max_replicas or self.max_replicas,
            cpus=self.replica_cpus if own.cpus is None else own.cpus,
            gpus=own.gpus,
            ongoing=own.ongoing or self.max_ongoing_requests,
            queued=self.max_queued_requests if own.queued is None else own.queued,
        )

    @model_validator(mode="after")
    def _one_meaning_of_a_key(self) -> ServeConfig:
        if set(self.operator_keys) & set(self.api_keys):
            raise ValueError("a key is either a tenant's or an operator's")
        return self
