"""The file of keys: read as a whole, written as a whole, by one writer at a time.

Knows the file's form and the file system; knows no service. It holds digests only: who reads it
can use none of the keys, who writes it can make some.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from ecm.access.keys import ApiKey
from ecm.contracts.identity import Contract
from ecm.errors import ConfigError, StoreCorrupt
from ecm.whole_files import write_whole

MODE: Final = 0o600
MAX_BYTES: Final = 32 * 2**20
CODE: Final = "access.keys_file"

Made = TypeVar("Made")


class KeyFile(Contract):
    """The content of the file."""

    schema_version: Literal[1] = 1
    keys: tuple[ApiKey, ...] = Field(default=())

    @model_validator(mode="after")
    def _names_each_once(self) -> KeyFile:
        if len({key.key_id for key in self.keys}) < len(self.keys):
            raise ValueError("two keys have one id")
        return self


def read_keys(path: Path) -> tuple[ApiKey, ...] | None:
    """The keys of a file, or None where there is none.

    Raises StoreCorrupt `access.keys_file` for what cannot be read, is no such file, or may be
    written by anybody. No word of its content is told.
    """
    try:
        raw = _read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreCorrupt(f"cannot read keys from {path}: {error.strerror}", CODE) from error
    if len(raw) > MAX_BYTES:
        raise StoreCorrupt(f"{path} has more than {MAX_BYTES} bytes", CODE)
    try:
        return KeyFile.model_validate_json(raw).keys
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        said = f"{path} is damaged at {where}: {first['type']}"
        raise StoreCorrupt(said, CODE, "restore it, or make it anew with ecm keys create") from None


def _read(path: Path) -> bytes:
    """Up to one byte more than there may be. Never waits for a pipe."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            raise StoreCorrupt(f"{path} is no file of keys", CODE)
        if mode & stat.S_IWOTH:
            raise StoreCorrupt(f"anybody may write {path}", CODE, "chmod o-w it, look into it")
        with open(handle, "rb", closefd=False) as stream:
            return stream.read(MAX_BYTES + 1)
    finally:
        os.close(handle)


def change_keys(
    path: Path, change: Callable[[tuple[ApiKey, ...]], tuple[tuple[ApiKey, ...], Made]]
) -> Made:
    """Write the keys that `change` makes of the present ones; what else it made.

    One at a time, whoever else changes them; readers see the file before or after. What `change`
    raises leaves the file as it was. Raises StoreCorrupt as `read_keys` does, ConfigError when the
    file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            keys, made = change(read_keys(path) or ())
            raw = KeyFile(keys=keys).model_dump_json(indent=1).encode() + b"\n"
            if len(raw) > MAX_BYTES:
                raise ConfigError(f"{path} would have more than {MAX_BYTES} bytes", CODE)
            write_whole(path, raw, MODE)
            return made
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", CODE) from error


def lock_of(path: Path) -> Path:
    """The file that is locked while keys are changed. It stays: where it lies there were keys."""
    return path.with_name(path.name + ".lock")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """The right to change the file, until it is left or this process ends."""
    handle = os.open(lock_of(path), os.O_RDWR | os.O_CREAT, MODE)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
