"""The spool: batches of envelopes on local disk, safe before the ledger hears of them.

One Arrow IPC file per batch, named `<batch id>.<sha256 of the file>.arrow`, so that a torn or
altered file is known by its name. Files of releases before 0.3 also carry the versions that tables
had: such marks are read over. Knows nothing of tables or the ledger.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
from pydantic import ValidationError

from ecm.contracts.result import ResultEnvelope
from ecm.crashpoints import crash_point
from ecm.errors import ContractError, StoreCorrupt
from ecm.evidence.faults import file_errors
from ecm.evidence.schema import SCHEMA_VERSION
from ecm.evidence.storage import put_in_place, written_beside

BATCH_ID: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$")

_FILE: Final = re.compile(
    r"^(?P<batch>[A-Za-z0-9][A-Za-z0-9_-]{0,127})\.(?P<sum>[0-9a-f]{64})\.arrow$"
)
_SCHEMA: Final = pa.schema(
    [
        pa.field("task_id", pa.string(), nullable=False),
        pa.field("fence", pa.int64(), nullable=False),
        pa.field("envelope", pa.binary(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class SpooledBatch:
    """A batch as it was spooled, at Unix seconds `created_at`."""

    batch_id: str
    envelopes: tuple[ResultEnvelope, ...]
    created_at: float


class Spool:
    """Batches in one local folder, which is made on first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(
        self,
        batch_id: str,
        envelopes: Sequence[ResultEnvelope],
        now: float,
    ) -> Path:
        """Put a batch safely on disk (file and folder synced) and return its file.

        Writing a batch id again replaces it. Raises ContractError for a malformed batch id,
        ResourceExhausted when the disk is full.
        """
        if not BATCH_ID.match(batch_id):
            raise ContractError(f"malformed batch id {batch_id!r}")
        data = _encoded(SpooledBatch(batch_id, tuple(envelopes), now))
        path = self._folder / f"{batch_id}.{hashlib.sha256(data).hexdigest()}.arrow"
        with file_errors(f"cannot spool batch {batch_id} to {self._folder}"):
            self._folder.mkdir(parents=True, exist_ok=True)
            older = [file for file in self._files(batch_id) if file != path]
            written = written_beside(path, data)
            crash_point("spool.written")
            put_in_place(written, path)
            for file in older:
                file.unlink(missing_ok=True)
        return path

    def read(self, batch_id: str) -> SpooledBatch | None:
        """The batch, or None when it is not spooled.

        Raises StoreCorrupt (code `store.spool`) when the file is torn, altered or of another
        version.
        """
        with file_errors(f"cannot read spooled batch {batch_id}"):
            files = self._files(batch_id)
            if not files:
                return None
            path = max(files, key=lambda file: file.stat().st_mtime_ns)
            data = path.read_bytes()
        expected = path.name.split(".")[1]
        if hashlib.sha256(data).hexdigest() != expected:
            raise _torn(batch_id, path, f"{len(data)} bytes do not have the checksum of its name")
        return _decoded(batch_id, path, data)

    def list(self) -> tuple[str, ...]:
        """Ids of the spooled batches, sorted; their files are not read."""
        with file_errors(f"cannot list the spool {self._folder}"):
            return tuple(sorted({file.name.split(".")[0] for file in self._files(None)}))

    def drop(self, batch_id: str) -> None:
        """Forget a batch; nothing happens when it is not there."""
        with file_errors(f"cannot drop spooled batch {batch_id}"):
            for file in self._files(batch_id):
                file.unlink(missing_ok=True)

    def _files(self, batch_id: str | None) -> tuple[Path, ...]:
        if not self._folder.is_dir():
            return ()
        named = ((file, _FILE.match(file.name)) for file in self._folder.iterdir())
        return tuple(f for f, name in named if name and batch_id in (None, name.group("batch")))


def _encoded(batch: SpooledBatch) -> bytes:
    metadata = {
        "ecm.batch": batch.batch_id,
        "ecm.schema_version": str(SCHEMA_VERSION),
        "ecm.created_at": repr(batch.created_at),
    }
    table = pa.table(
        {
            "task_id": [e.task_id for e in batch.envelopes],
            "fence": [e.fence for e in batch.envelopes],
            "envelope": [e.model_dump_json(by_alias=True).encode() for e in batch.envelopes],
        },
        schema=_SCHEMA.with_metadata(metadata),
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def _decoded(batch_id: str, path: Path, data: bytes) -> SpooledBatch:
    try:
        table = pa.ipc.open_file(pa.py_buffer(data)).read_all()
        marks = {k.decode(): v for k, v in (table.schema.metadata or {}).items()}
        version = marks["ecm.schema_version"].decode()
        if version != str(SCHEMA_VERSION):
            raise _torn(batch_id, path, f"schema version {version} is unknown")
        envelopes = tuple(
            ResultEnvelope.model_validate_json(raw) for raw in table["envelope"].to_pylist()
        )
        return SpooledBatch(marks["ecm.batch"].decode(), envelopes, float(marks["ecm.created_at"]))
    except (pa.ArrowException, KeyError, ValidationError, ValueError) as error:
        raise _torn(batch_id, path, "it is not a spool file of this release") from error


def _torn(batch_id: str, path: Path, why: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"spooled batch {batch_id} is damaged: {why}",
        code="store.spool",
        hint=f"its tasks can be requeued; the file is {path}",
    )
