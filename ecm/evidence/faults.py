"""The seam where errors of Lance, Arrow and the file system become errors of ecm.

Lance raises only OSError, ValueError and RuntimeError, so this one file reads its words; a
panic of its Rust code arrives as a BaseException that nothing else should ever catch.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote

import pyarrow as pa

from ecm.errors import ConfigError, EcmError, ResourceExhausted, StoreCorrupt, StoreUnavailable

_SECRETS: Final[set[str]] = set()
_SHORTEST_SECRET: Final = 8
"""Shorter ones are words of other messages too."""

_PANIC: Final = "PanicException"
_CONFLICT: Final = (
    "commit conflict",
    "retryable commit",
    "too much write contention",
    "dataset already exists",
)
_BUSY: Final = (
    "timed out",
    "timeout",
    "connection",
    "dns",
    "service unavailable",
    "slow down",
    "slowdown",
    "http error",
    "error sending request",
    "error decoding response body",
    "request or response body error",
    "status code: 5",
    "status code: 429",
    "max_retries",
)
_FULL: Final = ("no space left", "os error 28", "quota exceeded")
_DENIED: Final = ("permission denied", "os error 13", "read-only file system")
_NO_ENTRY: Final = (
    "accessdenied",
    "expiredtoken",
    "failed to get aws credentials",
    "invalidaccesskeyid",
    "invalidtoken",
    "requesttimetooskewed",
    "signaturedoesnotmatch",
    "status code: 401",
    "status code: 403",
)
_ELSEWHERE: Final = (
    "status code: 301",
    "permanentredirect",
    "authorizationheadermalformed",
    "illegallocationconstraint",
)
_NO_BUCKET: Final = ("nosuchbucket", "invalidbucketname")


@contextmanager
def lance_errors(what: str) -> Iterator[None]:
    """Translate whatever Lance raises inside; `what` names the table and the act, for a person.

    Raises StoreUnavailable (code `store.conflict` for a lost race), ResourceExhausted, ConfigError
    (no permission) or StoreCorrupt.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, pa.ArrowException) as error:
        raise from_words(what, error) from shown(error)
    except EcmError:
        raise
    except BaseException as error:
        if type(error).__name__ != _PANIC:
            raise
        told = StoreCorrupt(f"{what}: {_line(error)}", hint="the files are damaged")
        raise told from shown(error)


@contextmanager
def file_errors(what: str) -> Iterator[None]:
    """Translate OSError of a plain file operation inside."""
    try:
        yield
    except OSError as error:
        line = f"{what}: {error.strerror or error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceExhausted(line, hint="free some disk space") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            raise ConfigError(line, hint="check the path and its permissions") from error
        raise StoreUnavailable(line) from error


def conceal(secrets: Iterable[str]) -> None:
    """From now on no message of this module shows these, in this process."""
    plain = (secret.strip() for secret in secrets)
    _SECRETS.update(secret for secret in plain if len(secret) >= _SHORTEST_SECRET)


def without_secrets(text: str) -> str:
    """The text with everything that was given to `conceal` replaced by ``***``."""
    for secret in _SECRETS:
        text = text.replace(secret, "***").replace(quote(secret, safe=""), "***")
    return text


def shown(error: BaseException) -> BaseException | None:
    """The error as the cause of another, or None when its words would tell a secret."""
    text = repr(error)
    return error if without_secrets(text) == text else None


def from_words(what: str, error: BaseException) -> EcmError:
    """The error of ecm for one of Lance, wherever it surfaced. See `lance_errors`."""
    line = f"{what}: {_line(error)}"
    words = str(error).lower()
    if any(mark in words for mark in _CONFLICT):
        return StoreUnavailable(line, code="store.conflict")
    if any(mark in words for mark in _FULL):
        return ResourceExhausted(line, hint="free some disk space")
    if any(mark in words for mark in _DENIED):
        return ConfigError(line, hint="check the path and its permissions")
    if any(mark in words for mark in _NO_BUCKET):
        return ConfigError(line, code="config.bucket", hint="check evidence.uri and the endpoint")
    if any(mark in words for mark in _ELSEWHERE):
        return ConfigError(line, code="config.object_storage", hint="check the bucket's region")
    if any(mark in words for mark in _NO_ENTRY):
        return ConfigError(
            line, code="config.credentials", hint="check the AWS_ variables and the key's rights"
        )
    if any(mark in words for mark in _BUSY):
        return StoreUnavailable(line)
    return StoreCorrupt(
        line, hint="`ecm audit --deep` names what is damaged, `ecm repair` mends it"
    )


def _line(error: BaseException) -> str:
    """The first line, without the places in Rust sources that Lance appends."""
    text = (str(error) or type(error).__name__).strip().splitlines()[0]
    for place in (", /home/", ", /rustc/", ", /root/.cargo", ", rust/"):
        text = text.split(place)[0]
    return without_secrets(text)[:400]
