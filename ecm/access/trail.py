"""The trail: a file of one line for each thing an administrator did or was refused.

Lines are appended and never changed; each is on disk before it is answered. Knows the file's form;
what is worth a line is known to those who write it. No key and no digest of one is ever in a line.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal, TypeVar

from pydantic import Field, ValidationError

from ecm.contracts.identity import Contract, TenantId
from ecm.errors import EcmError, StoreUnavailable

MODE: Final = 0o600
MAX_TARGET: Final = 2000
MAX_DETAIL: Final = 500
CODE: Final = "access.trail"

Made = TypeVar("Made")


class Outcome(StrEnum):
    """How it ended. What was begun and has no later line broke off, or is under way."""

    BEGUN = "begun"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"


class TrailEntry(Contract):
    """Who did what to what, when, and how it ended. `at` in Unix seconds (UTC).

    `who` is the id of a key; `local:NAME` is a person at this machine's command line. `tenant_id`
    is the one tenant it was about, null for all.
    """

    schema_version: Literal[1] = 1
    at: float
    who: str = Field(max_length=200)
    tenant_id: TenantId | None
    action: str = Field(max_length=100)
    target: str = Field(default="", max_length=MAX_TARGET)
    outcome: Outcome
    detail: str = Field(
        default="", max_length=MAX_DETAIL, description="a code or a count, no secret"
    )
    request_id: str = Field(default="", max_length=200)


@dataclass(frozen=True, slots=True)
class DamagedLine:
    """A line that is no entry: cut off by a crash, or changed. Counted from 1."""

    number: int


class Trail:
    """The file of entries. Any number of processes of one machine may append to it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, entry: TrailEntry) -> None:
        """Raises StoreUnavailable when it is not sure to be on disk."""
        line = entry.model_dump_json().encode() + b"\n"
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self._path, flags, MODE)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                _write_whole_line(handle, line)
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise StoreUnavailable(
                f"cannot write to the trail of administrators: {error.strerror}",
                CODE,
                f"make room or rights at {self._path.parent} of the service's machine",
            ) from error

    def entries(self, since: float = 0.0) -> Iterator[TrailEntry | DamagedLine]:
        """Entries from `since` on, oldest first, and every line that is none.

        Raises StoreUnavailable.
        """
        try:
            with self._path.open("rb") as stream:
                for number, line in enumerate(stream, 1):
                    entry = _parsed(number, line)
                    if isinstance(entry, DamagedLine) or entry.at >= since:
                        yield entry
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreUnavailable(f"cannot read {self._path}: {error.strerror}", CODE) from error


def recorded(
    trail: Trail, begun: TrailEntry, work: Callable[[], Made], clock: Callable[[], float]
) -> Made:
    """What `work` makes, between a line that says it is begun and one that says how it ended.

    Raises as `work` does, and StoreUnavailable: what cannot be written down is not done.
    """
    trail.append(begun)

    def ended(outcome: Outcome, detail: str = "") -> None:
        said = {"at": clock(), "outcome": outcome, "detail": detail[:MAX_DETAIL]}
        trail.append(begun.model_copy(update=said))

    try:
        made = work()
    except BaseException as error:
        ended(Outcome.FAILED, error.code if isinstance(error, EcmError) else type(error).__name__)
        raise
    ended(Outcome.DONE)
    return made


def _parsed(number: int, line: bytes) -> TrailEntry | DamagedLine:
    try:
        return TrailEntry.model_validate_json(line)
    except ValidationError:
        return DamagedLine(number)


def _write_whole_line(handle: int, line: bytes) -> None:
    """A line that was cut off by a full disk or a crash is ended first: it spoils only itself."""
    end = os.lseek(handle, 0, os.SEEK_END)
    if end and os.pread(handle, 1, end - 1) != b"\n":
        line = b"\n" + line
    while line:
        line = line[os.write(handle, line) :]
