"""Settings of the ledger. Knows names, defaults and ranges; opens nothing."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class LedgerConfig(BaseModel):
    """The ledger's part of a profile. Times are seconds, depths are tasks waiting to be claimed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(min_length=1, description="sqlite:///absolute/path")
    lease_seconds: float = Field(default=60.0, gt=0)
    max_expiries: int = Field(
        default=5, ge=1, description="a task whose lease expired this often is a dead letter"
    )
    throttle_at: int = Field(default=50_000, ge=1)
    refuse_at: int = Field(default=100_000, ge=1)
    low_priority_below: int = Field(default=0, description="what is refused above refuse_at")
    retry_after: float = Field(default=5.0, gt=0, description="told to those who must wait")
    busy_timeout: float = Field(default=15.0, gt=0, le=600)
    slice_tasks: int = Field(
        default=4000, ge=1, description="tasks one transaction of a bulk operation touches"
    )
    metrics_window: float = Field(default=300.0, gt=0)
    wal_checkpoint_pages: int = Field(default=4000, ge=1, description="SQLite only; 4 KiB each")
    check_at_open_bytes: int = Field(
        default=512 * 1024**2,
        ge=0,
        description="SQLite only; files up to this size are checked whole whenever they are opened",
    )

    @model_validator(mode="after")
    def _throttle_before_refusing(self) -> LedgerConfig:
        if self.refuse_at < self.throttle_at:
            raise ValueError("refuse_at must not be below throttle_at")
        return self
