"""Names for things: canonical JSON, digests, and the keys built from them.

Knows how to turn values into stable identifiers. Knows no file system, clock or database.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from typing import Annotated, Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    StringConstraints,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
TenantId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]

_FILE = "file://"
_MODULUS = 1 << 256
_PLAIN = re.compile(r"[A-Za-z0-9_.-]*")
_JSON = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)  # json.dumps would make one for every call


class Contract(BaseModel):
    """Base of every contract: frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def canonical_json(value: Any) -> bytes:
    r"""UTF-8 JSON with sorted keys and no spaces; NaN and infinities are refused.

    >>> canonical_json({"b": 1, "a": "é"})
    b'{"a":"\xc3\xa9","b":1}'
    """
    return _JSON.encode(value).encode("utf-8", "surrogatepass")


def digest(value: Any) -> str:
    """Hex sha256 of the canonical JSON of `value`; the order of keys does not matter."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def asset_id_of(data: bytes) -> str:
    """Hex sha256 of image bytes: the identity of an asset inside its tenant."""
    return hashlib.sha256(data).hexdigest()


def path_uri(path: str | os.PathLike[str] | bytes) -> str:
    r"""`file://` URI of an absolute path; any bytes a file system allows survive the round trip.

    >>> path_uri(b"/a b/caf\xe9.jpg")
    'file:///a%20b/caf%E9.jpg'
    """
    return _FILE + quote_from_bytes(os.fsencode(path), safe="/!$&'()*+,;=:@-._~")


def uri_path(uri: str) -> str:
    """The local path (surrogate-escaped) of a `file://` URI; ValueError for other schemes."""
    if not uri.startswith(_FILE):
        raise ValueError(f"not a file URI: {uri}")
    return os.fsdecode(unquote_to_bytes(uri[len(_FILE) :]))


class ContentIdentity(Contract):
    """What is known of a resource before its bytes are read: size in bytes, mtime_ns or etag."""

    uri: str = Field(min_length=1, max_length=8192)
    size: int = Field(ge=0)
    mtime_ns: int | None = None
    etag: str | None = Field(default=None, max_length=256)

    @model_validator(mode="after")
    def _one_version_mark(self) -> ContentIdentity:
        if self.mtime_ns is None and self.etag is None:
            raise ValueError("a content identity needs mtime_ns or etag")
        return self

    def key(self) -> str:
        """Digest of (uri, size, mtime_ns | etag)."""
        return digest([self.uri, self.size, self.mtime_ns, self.etag])


def dedupe_key(tenant_id: str, identity_key: str, transform: str, task_type: str) -> str:
    """The key under which the same work is enqueued only once.

    `identity_key` is `ContentIdentity.key()` until the bytes are read, then the content hash.
    """
    return digest(["task", tenant_id, identity_key, transform, task_type])


def evidence_key(tenant_id: str, asset_id: str, task_type: str, transform: str) -> str:
    """What one transform says about one asset: equal for every path that holds the same bytes."""
    return _digest_of_words("evidence", tenant_id, asset_id, task_type, transform)


def evidence_id(key: str, kind: str, ordinal: int) -> str:
    """Deterministic id of one evidence row: evidence key, kind and place among its kind."""
    if _PLAIN.fullmatch(key + kind):
        return hashlib.sha256(f'["row","{key}","{kind}",{ordinal}]'.encode()).hexdigest()[:32]
    return digest(["row", key, kind, ordinal])[:32]


def _digest_of_words(*words: str) -> str:
    """`digest` of a list of words. A batch has thousands, so plain ones are put together by hand:
    JSON would write them no differently.
    """
    if _PLAIN.fullmatch("".join(words)):
        listed = '","'.join(words)
        return hashlib.sha256(f'["{listed}"]'.encode()).hexdigest()
    return digest(list(words))


class KeyDigest:
    """Order-free digest of a multiset of hex keys: their count and their sum modulo 2**256.

    >>> a, b = KeyDigest(["00" * 31 + "01", "00" * 31 + "02"]), KeyDigest()
    >>> b.add("00" * 31 + "02"); b.add("00" * 31 + "01")
    >>> a == b, str(a)[:8]
    (True, '00000000')
    """

    __slots__ = ("count", "total")

    def __init__(self, keys: Iterable[str] = (), *, count: int = 0, total: int = 0) -> None:
        self.count = count
        self.total = total
        for key in keys:
            self.add(key)

    @classmethod
    def parse(cls, text: str, count: int) -> KeyDigest:
        """The digest whose `str` is `text` over `count` keys."""
        return cls(count=count, total=int(text, 16))

    def add(self, key: str) -> None:
        self.count += 1
        self.total = (self.total + int(key, 16)) % _MODULUS

    def __add__(self, other: KeyDigest) -> KeyDigest:
        return KeyDigest(
            count=self.count + other.count, total=(self.total + other.total) % _MODULUS
        )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, KeyDigest) and self.count == other.count and self.total == other.total
        )

    def __hash__(self) -> int:
        return hash((self.count, self.total))

    def __str__(self) -> str:
        return f"{self.total:064x}"

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        """In JSON: the count, a colon, and the sum in 64 hex digits."""
        text = core_schema.str_schema(pattern=r"^[0-9]{1,18}:[0-9a-f]{64}$")
        return core_schema.json_or_python_schema(
            json_schema=core_schema.no_info_after_validator_function(cls._of_json, text),
            python_schema=core_schema.is_instance_schema(cls),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda keys: f"{keys.count}:{keys}"
            ),
        )

    @classmethod
    def _of_json(cls, text: str) -> KeyDigest:
        count, _, total = text.partition(":")
        return cls.parse(total, int(count))
