"""What a listing yields. Knows no file system and no object store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import ValidationError

from ecm.contracts.identity import ContentIdentity


@dataclass(frozen=True, slots=True)
class Found:
    """A file taken for an image, and what identifies this version of it."""

    identity: ContentIdentity

    @property
    def uri(self) -> str:
        return self.identity.uri


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder (its URI ends in a slash) passed over; `reason` is a short stable code."""

    uri: str
    reason: str


def identity_or_skip(uri: str, make: Callable[[], ContentIdentity]) -> Found | Skipped:
    """The identity as Found, or Skipped when the URI is longer than an identity may hold."""
    try:
        return Found(make())
    except ValidationError:
        return Skipped(uri, "path_too_long")
