"""TaskSpec: what is to be said about which image, by which transform. No I/O, no clock."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

from pydantic import Field, model_validator

from ecm.contracts.identity import (
    ContentIdentity,
    Contract,
    Digest,
    TenantId,
    dedupe_key,
    digest,
    path_uri,
    uri_path,
)
from ecm.contracts.result import ErrorClass

TASK_SCHEMA_VERSION: Final = 1


class TaskType(StrEnum):
    """What a task produces. One read and one decode serve all task types of a resource."""

    VISION = "vision"
    OCR = "ocr"
    VV_EMBED = "vv_embed"
    X_EMBED = "x_embed"
    MV_EMBED = "mv_embed"


class ResourceRef(Contract):
    """Where bytes lie: exactly one of a local path, an object URI or a content hash."""

    local_path: str | None = Field(default=None, max_length=8192)
    object_uri: str | None = Field(default=None, max_length=8192)
    content_hash: Digest | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> ResourceRef:
        given = [self.local_path, self.object_uri, self.content_hash]
        if sum(value is not None for value in given) != 1:
            raise ValueError("give exactly one of local_path, object_uri, content_hash")
        return self

    @classmethod
    def from_uri(cls, uri: str) -> ResourceRef:
        """A local path for `file://` URIs whose path is text, else an object URI.

        Paths that are not UTF-8 stay percent-encoded `file://` object URIs: JSON cannot hold them.
        """
        if uri.startswith("file://"):
            path = uri_path(uri)
            try:
                path.encode("utf-8")
            except UnicodeEncodeError:
                return cls(object_uri=uri)
            return cls(local_path=path)
        return cls(object_uri=uri)

    @property
    def uri(self) -> str:
        """The resource as one URI (`file://`, an object URI, or `sha256:` for a content hash)."""
        if self.local_path is not None:
            return path_uri(self.local_path)
        return self.object_uri if self.object_uri is not None else f"sha256:{self.content_hash}"


class ModelSpec(Contract):
    """Which model a worker must have verified before it may lease the task."""

    backend: str = Field(min_length=1, max_length=64)
    model_id: str = Field(min_length=1, max_length=256)
    revision: str = Field(min_length=1, max_length=128)
    dtype: str = Field(default="float32", max_length=32)
    quantization: str = Field(default="none", max_length=32)


class ClassPolicy(Contract):
    """Retries for one error class: attempts in all, and exponential back-off in seconds."""

    max_attempts: int = Field(ge=1, le=100)
    base_seconds: float = Field(default=1.0, gt=0, le=3600)
    max_seconds: float = Field(default=300.0, gt=0, le=86400)


class RetryPolicy(Contract):
    """Retries by error class; `max_attempts` counts the first try, `input` is never retried."""

    network: ClassPolicy = ClassPolicy(max_attempts=8, base_seconds=1.0, max_seconds=300.0)
    resource: ClassPolicy = ClassPolicy(max_attempts=3, base_seconds=2.0, max_seconds=60.0)
    model: ClassPolicy = ClassPolicy(max_attempts=2, base_seconds=1.0, max_seconds=60.0)
    input: ClassPolicy = ClassPolicy(max_attempts=1)
    internal: ClassPolicy = ClassPolicy(max_attempts=2, base_seconds=1.0, max_seconds=60.0)

    def of(self, error_class: ErrorClass) -> ClassPolicy:
        policy: ClassPolicy = getattr(self, error_class.value)
        return policy


def task_id_of(key: str) -> str:
    """The id of the task with this dedupe key."""
    return digest(["task_id", key])


class TaskSpec(Contract):
    """One unit of work: (tenant, resource, task type, transform)."""

    schema_version: Literal[1] = TASK_SCHEMA_VERSION
    tenant_id: TenantId
    task_id: Digest
    job_id: str = Field(min_length=1, max_length=128)
    resource_ref: ResourceRef
    identity: ContentIdentity
    task_type: TaskType
    model: ModelSpec = Field(alias="model_spec")
    transform: Digest
    dedupe_key: Digest
    priority: int = Field(default=0, ge=-100, le=100)
    deadline_at: float | None = Field(default=None, description="Unix seconds (UTC)")
    retry_policy: RetryPolicy = RetryPolicy()

    @classmethod
    def create(
        cls,
        *,
        tenant_id: str,
        job_id: str,
        identity: ContentIdentity,
        task_type: TaskType,
        model: ModelSpec,
        transform: str,
        priority: int = 0,
        deadline_at: float | None = None,
        retry_policy: RetryPolicy | None = None,
    ) -> TaskSpec:
        """A task with its derived ids: the same work always has the same `task_id`."""
        key = dedupe_key(tenant_id, identity.key(), transform, task_type.value)
        return cls(
            tenant_id=tenant_id,
            task_id=task_id_of(key),
            job_id=job_id,
            resource_ref=ResourceRef.from_uri(identity.uri),
            identity=identity,
            task_type=task_type,
            model_spec=model,
            transform=transform,
            dedupe_key=key,
            priority=priority,
            deadline_at=deadline_at,
            retry_policy=retry_policy or RetryPolicy(),
        )
