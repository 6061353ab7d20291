"""Settings of the evidence store. Knows no path rules, no Arrow and no Lance."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator


class MaintenanceConfig(BaseModel):
    """When the tables are put in order, and what may be removed from them.

    Old versions go after `versions_seconds`: longer than the longest read, whose version may be
    gone afterwards. What nothing refers to goes after `orphans_seconds`: longer than the longest
    write. `step_bytes` is what one step between two commits writes anew.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    every_commits: int = Field(
        default=64, ge=0, description="commits between two steps; 0: only by ecm maintain"
    )
    versions_seconds: float = Field(default=3600.0, ge=0, description="age of versions removed")
    orphans_seconds: float = Field(default=86_400.0, ge=0, description="age of files swept")
    step_bytes: int = Field(default=32 << 20, ge=1 << 16, description="merged between commits")
    fragment_bytes: int = Field(default=256 << 20, ge=1 << 16, description="merged up to this")


class EvidenceConfig(BaseModel):
    """Where the store lies and when searches change from exact to approximate.

    `uri` is `s3://bucket/prefix`, an absolute path or a `file://` URI of a folder;
    `storage_options` (access_key_id, secret_access_key, session_token, region, endpoint,
    virtual_hosted_style_request) are for object storage and kept secret; what they leave out comes
    from the environment or the AWS profile. Searchers of such a store read from copies of its
    snapshots in `cache_folder`, up to `cache_bytes` of them; 0: from the object storage.

    A snapshot column gets a vector index from `vector_index_rows` rows on; tenants with up to
    `exact_search_rows` rows are searched exactly, from memory, when the vectors of all axes of one
    (4 bytes a number, 220 an asset) fit into `matrix_cache_bytes`. The others are searched through
    the index, which is slower, may miss a few, and lets the time of an answer tell how many of its
    rows lie beside those of others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str = Field(min_length=1, max_length=4096)
    storage_options: dict[str, SecretStr] = Field(default_factory=dict)
    object_attempts: int = Field(default=5, ge=1, le=20, description="per request, with back-off")
    object_timeout_seconds: float = Field(default=20.0, gt=0, le=600, description="for an answer")
    cache_folder: Path | None = Field(default=None, description="null: no copies are kept")
    cache_bytes: int = Field(default=20 << 30, ge=0, description="of copied snapshots")
    vector_index_rows: int = Field(default=200_000, ge=256)
    exact_search_rows: int = Field(default=1_000_000, ge=1)
    matrix_cache_bytes: int = Field(default=1 << 30, ge=1 << 20, description="bytes, all tenants")
    rows_cache_bytes: int = Field(
        default=512 << 20, ge=0, description="memory for the rows behind hits; others are read"
    )
    maintenance: MaintenanceConfig = MaintenanceConfig()
    commit_attempts: int = Field(default=8, ge=1, le=100)
    commit_backoff_seconds: float = Field(default=0.05, gt=0, le=60)

    @model_validator(mode="after")
    def _index_before_approximation(self) -> Self:
        if self.exact_search_rows < self.vector_index_rows:
            raise ValueError("exact_search_rows must not be below vector_index_rows")
        return self
