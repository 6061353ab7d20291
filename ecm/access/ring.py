"""The keys of a service as they are now: the file, looked at again when it has changed.

A file that breaks leaves the keys as they were last, and is told as trouble; where there were none
nobody gets in. Knows no HTTP; the clock is its caller's.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from ecm.access.key_file import CODE, lock_of, read_keys
from ecm.access.keys import ApiKey, id_in, is_of
from ecm.errors import StoreCorrupt

POLL_SECONDS: Final = 1.0

Version = tuple[int, int, int]


class Absence(Enum):
    """What it means that there is no file of keys, and never was one."""

    NO_KEYS = "no keys are in use"
    TROUBLE = "a file that was named is missing"


@dataclass(frozen=True, slots=True)
class Held:
    """The keys in force by their ids; None where there is no file. `trouble` is why they are not
    those of the file, or empty.
    """

    keys: Mapping[str, ApiKey] | None = field(repr=False)
    trouble: str = ""


class KeyRing:
    """The keys of one file, for any number of threads."""

    def __init__(self, path: Path, absence: Absence, poll_seconds: float = POLL_SECONDS) -> None:
        self._path = path
        self._absence = absence
        self._poll = poll_seconds
        self._looking = threading.Lock()
        self._looked: float | None = None
        self._version: Version | None = None
        self._held = Held(None)

    def held(self, now: float) -> Held:
        """The keys at `now` (Unix seconds); looks at the file when that was `poll_seconds` ago."""
        with self._looking:
            if self._looked is None or not 0 <= now - self._looked < self._poll:
                self._look()
                self._looked = now
            return self._held

    def find(self, text: str, now: float) -> ApiKey | None:
        """The key whose text this is, expired or not. Raises StoreCorrupt where keys are in use
        and none could ever be read.
        """
        held = self.held(now)
        if held.keys is None:
            if held.trouble:
                raise StoreCorrupt(held.trouble, CODE)
            return None
        key = held.keys.get(id_in(text) or "")
        return key if key is not None and is_of(key, text) else None

    def _look(self) -> None:
        """A file is read once for every state it is in, good or bad."""
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            self._version = None
            had = self._held.keys is not None or lock_of(self._path).exists()
            if self._absence is Absence.TROUBLE or had:
                self._held = Held(self._held.keys, f"there is no file of keys at {self._path}")
            return
        except OSError as error:
            self._version = None
            trouble = f"cannot read keys from {self._path}: {error.strerror}"
            self._held = Held(self._held.keys, trouble)
            return
        version = status.st_mtime_ns, status.st_size, status.st_ino
        if version == self._version:
            return
        try:
            keys = read_keys(self._path)
        except StoreCorrupt as error:
            self._held = Held(self._held.keys, str(error))
        else:
            if keys is None:  # gone meanwhile: the next look says so
                return
            self._held = Held({key.key_id: key for key in keys})
        self._version = version
