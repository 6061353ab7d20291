"""The exception tree of ecm. Knows no library: each seam translates foreign errors into these.

EcmError                    base; picklable, carries a stable `code` and what to do about it
├── TerminalError           the same call fails again
│   ├── ConfigError         a profile, flag or variable is wrong
│   ├── ContractError       a value breaks its contract
│   │   └── SnapshotRejected  a snapshot is beyond a limit, so that it is not published
│   ├── ImageError          bytes that are not an image we accept (class `input`)
│   ├── SourceError         a path or URI that cannot be listed or read, or leaves its root
│   ├── ManifestError       a manifest is wrong or names a file that is not there
│   │   ├── ManifestMismatch  a weight or tokenizer file is not the declared one
│   │   └── ModelDrifted    a model does not say any more what its golden probes want
│   ├── BackendMissing      a library or back end is not installed; says what to install
│   ├── StoreCorrupt        store, spool or ledger is damaged or of an unknown version
│   ├── SnapshotNotFound    no such published snapshot
│   ├── Forbidden           this caller may not do that: another tenant's, or an operator's business
│   └── QueryError          a search request that cannot be answered (empty, too large, wrong type)
├── TransientError          may succeed later
│   ├── LedgerUnavailable   the database is locked, gone or overloaded
│   ├── StoreUnavailable    the evidence store cannot be reached
│   ├── NetworkError        object storage or a remote host failed (class `network`)
│   ├── ResourceExhausted   memory, disk or device (class `resource`)
│   ├── EngineDied          the process of an inference engine is gone, with all it was working on
│   └── Overloaded          back-pressure: come again after `retry_after` seconds
├── LeaseLost               another holder has the right or the task; drop the result
└── AxisUnavailable         a required search axis is missing, stale or broken
"""

from __future__ import annotations

from typing import Any


class EcmError(Exception):
    """Base of every error that leaves ecm.

    Args:
        message: one line for a person.
        code: short stable identifier for programs and SQL, such as ``decode.truncated``.
        hint: what to do about it, one line, or empty.
    """

    default_code = "ecm"

    def __init__(self, message: str, code: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.code, self.hint)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class TerminalError(EcmError):
    """The same call fails again."""


class ConfigError(TerminalError):
    default_code = "config"


class ContractError(TerminalError):
    default_code = "contract"


class SnapshotRejected(ContractError):
    default_code = "snapshot.measurements"


class ImageError(TerminalError):
    default_code = "image"


class SourceError(TerminalError):
    default_code = "source"


class ManifestError(TerminalError):
    default_code = "manifest"


class ManifestMismatch(ManifestError):
    default_code = "manifest.mismatch"


class ModelDrifted(ManifestError):
    default_code = "model.mismatch"


class BackendMissing(TerminalError):
    default_code = "backend.missing"


class StoreCorrupt(TerminalError):
    default_code = "store.corrupt"


class SnapshotNotFound(TerminalError):
    default_code = "snapshot.not_found"


class Forbidden(TerminalError):
    default_code = "access.forbidden"


class QueryError(TerminalError):
    default_code = "query"


class TransientError(EcmError):
    """May succeed later."""


class LedgerUnavailable(TransientError):
    default_code = "ledger.unavailable"


class StoreUnavailable(TransientError):
    default_code = "store.unavailable"


class NetworkError(TransientError):
    default_code = "network"


class ResourceExhausted(TransientError):
    default_code = "resource"


class EngineDied(TransientError):
    default_code = "model.engine_died"


class Overloaded(TransientError):
    """Back-pressure. `retry_after` is in seconds."""

    default_code = "overloaded"

    def __init__(
        self, message: str, code: str = "", hint: str = "", retry_after: float = 5.0
    ) -> None:
        super().__init__(message, code, hint)
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.code, self.hint, self.retry_after)


class LeaseLost(EcmError):
    default_code = "lease.lost"


class AxisUnavailable(EcmError):
    default_code = "axis.unavailable"
