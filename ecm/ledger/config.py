"""Settings of the ledger. Knows names, defaults and ranges; opens nothing."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ecm.contracts.identity import TenantId


class QueueLimits(BaseModel):
    """Tasks waiting to be claimed above which listers wait, and above which they are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    throttle_at: int = Field(default=50_000, ge=1)
    refuse_at: int = Field(default=100_000, ge=1)

    @model_validator(mode="after")
    def _throttle_before_refusing(self) -> QueueLimits:
        if self.refuse_at < self.throttle_at:
            raise ValueError("refuse_at must not be below throttle_at")
        return self


class LedgerConfig(QueueLimits):
    """The ledger's part of a profile. Times are seconds; the limits are of all tenants together."""

    url: str = Field(
        min_length=1, description="sqlite:///absolute/path, postgresql://… or http(s)://…"
    )
    api_key: str = Field(
        default="",
        max_length=512,
        repr=False,
        description="http(s) only; give it as ECM_LEDGER__API_KEY, it is shown nowhere",
    )
    lease_seconds: float = Field(default=60.0, gt=0)
    max_expiries: int = Field(
        default=10, ge=1, description="a task whose lease expired this often is a dead letter"
    )
    tenants: dict[TenantId, QueueLimits] = Field(
        default_factory=dict, description="limits of single tenants, beside those of all together"
    )
    full_at: int = Field(
        default=1_000_000, ge=1, description="above it nothing is taken, whatever its priority"
    )
    low_priority_below: int = Field(default=0, description="what is refused above refuse_at")
    retry_after: float = Field(default=5.0, gt=0, description="told to those who must wait")
    busy_timeout: float = Field(default=15.0, gt=0, le=600)
    fold_tasks: int = Field(
        default=200_000, ge=1, description="tasks whose evidence keys are held in memory"
    )
    slice_tasks: int = Field(
        default=4000, ge=1, description="tasks one transaction of a bulk operation touches"
    )
    metrics_window: float = Field(default=300.0, gt=0)
    metrics_keep: float = Field(
        default=86_400.0, gt=0, description="how long ended attempts are counted by worker"
    )
    wal_checkpoint_pages: int = Field(default=4000, ge=1, description="SQLite only; 4 KiB each")
    check_at_open_bytes: int = Field(
        default=512 * 1024**2,
        ge=0,
        description="SQLite only; files up to this size are checked whole whenever they are opened",
    )
