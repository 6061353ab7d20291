"""API keys: how they are made and what is kept of them. Knows no file and no clock.

A key is `ecm_ID_SECRET` in base62. What is kept is the sha256 of the whole text and never the text.
A slow hash (bcrypt, scrypt, Argon2) would protect nothing here: it makes guessing costly where a
person chose the words, and 256 random bits cannot be guessed at any price, while every request,
and every wrong key that anybody sends, would cost the service a tenth of a second.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from ecm.access.scopes import Scope
from ecm.contracts.identity import Contract, Digest, TenantId
from ecm.errors import ConfigError

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_BYTES, ID_CHARS = 7, 10
SECRET_BYTES, SECRET_CHARS = 32, 43

KeyId = Annotated[str, StringConstraints(pattern=rf"^[0-9A-Za-z]{{{ID_CHARS}}}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=128)]

_KEY: Final = re.compile(rf"ecm_([0-9A-Za-z]{{{ID_CHARS}}})_[0-9A-Za-z]{{{SECRET_CHARS}}}")


class KeyState(StrEnum):
    """Whether a key opens anything, and if not, why."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class ApiKey(Contract):
    """What is kept of a key. Times in Unix seconds (UTC)."""

    key_id: KeyId
    digest: Digest = Field(description="sha256 of the whole key")
    tenant_id: TenantId | None = Field(description="null: an operator's, of all tenants")
    scopes: tuple[Scope, ...] = Field(min_length=1)
    name: Name = ""
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    replaced_by: KeyId | None = None

    def state(self, now: float) -> KeyState:
        """Whether the key is good at `now`."""
        if self.revoked_at is not None:
            return KeyState.REVOKED
        if self.expires_at is not None and now >= self.expires_at:
            return KeyState.EXPIRED
        return KeyState.ACTIVE


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made: its text, which exists nowhere else, and what is kept of it."""

    text: str
    record: ApiKey

    def __repr__(self) -> str:
        return f"NewKey({self.record.key_id})"


def new_key(
    tenant_id: TenantId | None,
    scopes: Sequence[Scope],
    now: float,
    *,
    expires_at: float | None = None,
    name: str = "",
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> NewKey:
    """A key that nobody has had before. `random(n)` gives n bytes.

    Raises ConfigError for an operator's key without admin scope, or one that is over already.
    """
    if tenant_id is None and Scope.ADMIN not in scopes:
        raise ConfigError("an operator's key has the scope admin", "access.scope")
    if expires_at is not None and expires_at <= now:
        raise ConfigError("the key would have expired already", "access.expires")
    key_id = _base62(random(ID_BYTES), ID_CHARS)
    text = f"ecm_{key_id}_{_base62(random(SECRET_BYTES), SECRET_CHARS)}"
    record = ApiKey(
        key_id=key_id,
        digest=digest_of(text),
        tenant_id=tenant_id,
        scopes=tuple(sorted(set(scopes))),
        name=name,
        created_at=now,
        expires_at=expires_at,
    )
    return NewKey(text, record)


def revoked(keys: Sequence[ApiKey], key_id: str, now: float) -> tuple[ApiKey, ...]:
    """The keys with one of them revoked; one that is revoked stays as it is. Raises ConfigError."""
    found = _known(keys, key_id)
    if found.revoked_at is not None:
        return tuple(keys)
    return _with(keys, found.model_copy(update={"revoked_at": now}))


def rotated(
    keys: Sequence[ApiKey],
    key_id: str,
    now: float,
    *,
    grace: float,
    expires_at: float | None = None,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> tuple[tuple[ApiKey, ...], NewKey]:
    """The keys with a new one in place of one that goes on for `grace` seconds, and the new one.

    Without `expires_at` the new key lives as long as the old one was to live when it was made.
    Raises ConfigError for a key that is unknown, over, or replaced already.
    """
    old = _known(keys, key_id)
    if old.state(now) is not KeyState.ACTIVE or old.replaced_by is not None:
        said = "replaced" if old.replaced_by is not None else old.state(now).value
        raise ConfigError(f"key {key_id} is {said} already", "access.key_over", "create a new one")
    if expires_at is None and old.expires_at is not None:
        expires_at = now + (old.expires_at - old.created_at)
    made = new_key(
        old.tenant_id, old.scopes, now, expires_at=expires_at, name=old.name, random=random
    )
    over = now + grace
    over = over if old.expires_at is None else min(over, old.expires_at)
    ending = {"expires_at": over, "replaced_by": made.record.key_id}
    return (*_with(keys, old.model_copy(update=ending)), made.record), made


def digest_of(text: str) -> str:
    """Hex sha256 of a key as it was sent, whatever characters are in it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def id_in(text: str) -> str | None:
    """The id in the text of a key, or None where it is none of ours. Ids are no secrets."""
    found = _KEY.fullmatch(text)
    return found[1] if found else None


def is_of(key: ApiKey, text: str) -> bool:
    """Whether `text` is this key, in a time that does not depend on how much of it is right."""
    return hmac.compare_digest(key.digest, digest_of(text))


def _base62(raw: bytes, width: int) -> str:
    r"""`raw` as a number in `width` base62 digits.

    >>> _base62(bytes(7), 10), _base62(b"\xff" * 7, 10)
    ('0000000000', '5K1WLnfhB1')
    """
    number, digits = int.from_bytes(raw, "big"), ""
    for _ in range(width):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    assert number == 0, "the width holds every number of so many bytes"
    return digits


def _known(keys: Sequence[ApiKey], key_id: str) -> ApiKey:
    for key in keys:
        if key.key_id == key_id:
            return key
    raise ConfigError(f"no key {key_id[:100]!r}", "access.key_unknown", "see: ecm keys list")


def _with(keys: Sequence[ApiKey], changed: ApiKey) -> tuple[ApiKey, ...]:
    return tuple(changed if key.key_id == changed.key_id else key for key in keys)
