"""A store's files on S3: small objects through botocore, tables through Lance's own client.

Creating is a conditional put (If-None-Match), so of several only one succeeds; nothing is renamed.
Every request is tried again by botocore's standard mode: exponential back-off with jitter, as often
as the settings say. Knows objects, not what is in them.
"""

from __future__ import annotations

import functools
import itertools
import os
import random
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from ecm.errors import ConfigError, ContractError, StoreUnavailable
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.faults import without_secrets
from ecm.evidence.object_faults import ABSENT, RACED, REFUSED, error_code, object_errors
from ecm.evidence.object_settings import ObjectAccess, place_of
from ecm.evidence.storage import ASIDE, BLOCK_BYTES, Extent, check_name

_WRITER: Final = "ecm-writer"
_MANIFESTS: Final = "_versions/"
_DELETE_AT_ONCE: Final = 1000
_BACKOFF_SECONDS: Final = 0.1
_BLOCKS_AHEAD: Final = 3
_Answer = TypeVar("_Answer")


class _Torn(Exception):
    """The body of an answer broke off."""


class ObjectStorage:
    """A prefix of a bucket. Thread-safe; a process that was forked gets a client of its own."""

    def __init__(self, config: EvidenceConfig) -> None:
        self._bucket, prefix = place_of(config.uri)
        self._access = ObjectAccess.of(config)
        self._root = f"s3://{self._bucket}/{prefix}".rstrip("/")
        self._base = f"{prefix}/" if prefix else ""
        self._lance = self._access.lance_options(self._client)

    @property
    def root(self) -> str:
        return self._root

    @property
    def lance_options(self) -> Mapping[str, str] | None:
        return self._lance

    def location(self, name: str) -> str:
        return f"s3://{self._bucket}/{self._key(name)}"

    def read(self, name: str) -> bytes | None:
        def whole() -> bytes | None:
            found = self._get(name)
            if found is None:
                return None
            return _drained(found)

        return self._retrying(f"cannot read {self.location(name)}", whole)

    def blocks(self, name: str) -> Iterator[bytes]:
        """As the protocol says; some blocks ahead are on their way while one is worked on."""
        first = self._block(name, 0, "")
        if first is None:
            return
        data, etag, size = first
        if data:
            yield data
        places = iter(range(len(data), size, BLOCK_BYTES))
        with ThreadPoolExecutor(_BLOCKS_AHEAD, thread_name_prefix="s3-blocks") as pool:
            coming = deque(
                pool.submit(self._block, name, place, etag)
                for place in itertools.islice(places, _BLOCKS_AHEAD)
            )
            while coming:
                found = coming.popleft().result()
                if found is None:
                    raise StoreUnavailable(f"{self.location(name)} vanished while it was read")
                for place in itertools.islice(places, 1):
                    coming.append(pool.submit(self._block, name, place, etag))
                yield found[0]

    def put(self, name: str, data: bytes) -> None:
        with self._errors(f"cannot write {self.location(name)}"):
            self._client.put_object(Bucket=self._bucket, Key=self._key(name), Body=data)

    def put_new(self, name: str, data: bytes) -> bool:
        """As the protocol says; a put that was answered too late is recognised as our own."""
        writer = uuid.uuid4().hex
        what = f"cannot write {self.location(name)}"
        return self._retrying(what, lambda: self._put_once(name, data, writer))

    def move_new(self, source: str, target: str) -> bool:
        """Copies the folder of a Lance table, its one manifest last and by a conditional put.

        A table is what its manifest says, so that it appears whole or not at all. Raises
        ContractError for a folder without a manifest or with several.
        """
        names = [key[len(self._key(source)) + 1 :] for key in self._keys(source)]
        manifests = [name for name in names if name.startswith(_MANIFESTS)]
        if len(manifests) != 1:
            raise ContractError(f"{source} is not a new table: {len(manifests)} manifests")
        first = not self.children(f"{target}/{_MANIFESTS.rstrip('/')}")
        for name in (name for name in names if first and name not in manifests):
            with self._errors(f"cannot create {self.location(target)}"):
                self._client.copy_object(
                    Bucket=self._bucket,
                    Key=f"{self._key(target)}/{name}",
                    CopySource={
                        "Bucket": self._bucket,
                        "Key": f"{self._key(source)}/{name}",
                    },
                )
        manifest = self.read(f"{source}/{manifests[0]}")
        if manifest is None:
            raise StoreUnavailable(f"{self.location(source)} has vanished")
        moved = first and self.put_new(f"{target}/{manifests[0]}", manifest)
        self.remove(source)
        return moved

    def children(self, name: str) -> tuple[str, ...]:
        prefix = f"{self._key(name)}/" if name else self._base
        found: set[str] = set()
        for page in self._pages(prefix, delimiter="/"):
            keys = [item["Key"] for item in page.get("Contents", ())]
            folders = [item["Prefix"] for item in page.get("CommonPrefixes", ())]
            found.update(key[len(prefix) :].rstrip("/") for key in (*keys, *folders))
        return tuple(sorted(found - {""}))

    def remove(self, name: str) -> None:
        doomed: list[str] = []
        for key in (self._key(name), *self._keys(name)):
            doomed.append(key)
            if len(doomed) == _DELETE_AT_ONCE:
                self._delete(name, doomed)
                doomed = []
        if doomed:
            self._delete(name, doomed)

    def extent(self, name: str) -> Extent:
        key, size, modified = self._key(name), 0, 0.0
        for page in self._pages(key):
            for item in page.get("Contents", ()):
                if item["Key"] == key or item["Key"].startswith(f"{key}/"):
                    size += int(item["Size"])
                    modified = max(modified, item["LastModified"].timestamp())
        return Extent(size, modified)

    def check_promises(self) -> None:
        name = f"{ASIDE}/probe-{uuid.uuid4().hex}"
        self.put_new(name, b"first")
        try:
            if self.put_new(name, b"second"):
                raise ConfigError(
                    f"the object storage of {self.root} does not honour If-None-Match",
                    code="config.object_storage",
                    hint="two committers could overwrite one another there: use a storage with "
                    "conditional writes",
                )
        finally:
            self.remove(name)

    @property
    def _client(self) -> Any:
        return _client_of(self._access, _environment(), os.getpid())

    def _key(self, name: str) -> str:
        check_name(name)
        return f"{self._base}{name}"

    def _errors(self, what: str) -> Any:
        return object_errors(what, self._bucket)

    def _get(self, name: str, **condition: str) -> Any:
        from botocore.exceptions import ClientError

        try:
            return self._client.get_object(Bucket=self._bucket, Key=self._key(name), **condition)
        except ClientError as error:
            if error_code(error) in ABSENT:
                return None
            raise

    def _block(self, name: str, start: int, etag: str) -> tuple[bytes, str, int] | None:
        part = functools.partial(self._part, name, start, etag)
        return self._retrying(f"cannot read {self.location(name)}", part)

    def _part(self, name: str, start: int, etag: str) -> tuple[bytes, str, int] | None:
        """One block, the etag and size of the object it is of; None when there is no object."""
        from botocore.exceptions import ClientError

        ranged = {"Range": f"bytes={start}-{start + BLOCK_BYTES - 1}"}
        if etag:
            ranged["IfMatch"] = etag
        try:
            found = self._get(name, **ranged)
        except ClientError as error:
            if error_code(error) in ("InvalidRange", "416") and start == 0:
                return b"", etag, 0
            if error_code(error) in REFUSED:
                raise StoreUnavailable(f"{self.location(name)} changed while it was read") from None
            raise
        if found is None:
            return None
        data = _drained(found)
        size = int(str(found.get("ContentRange", f"/{len(data)}")).rpartition("/")[2])
        return data, str(found["ETag"]), size

    def _put_once(self, name: str, data: bytes, writer: str) -> bool:
        from botocore.exceptions import ClientError

        place = {"Bucket": self._bucket, "Key": self._key(name)}
        try:
            self._client.put_object(**place, Body=data, IfNoneMatch="*", Metadata={_WRITER: writer})
        except ClientError as error:
            if error_code(error) not in REFUSED:
                raise
            found = self._client.head_object(**place)
            return bool(found.get("Metadata", {}).get(_WRITER) == writer)
        return True

    def _retrying(self, what: str, request: Callable[[], _Answer]) -> _Answer:
        """Tries again what botocore does not: a body that broke off, a race for one object."""
        from botocore.exceptions import ClientError

        with object_errors(what, self._bucket):
            for attempt in range(self._access.attempts):
                if attempt:
                    pause = _BACKOFF_SECONDS * 2**attempt
                    time.sleep(random.uniform(0.5, 1) * pause)  # noqa: S311 - no secret
                try:
                    return request()
                except ClientError as error:
                    if error_code(error) not in RACED:
                        raise
                    failure = error_code(error)
                except _Torn as error:
                    failure = str(error)
        raise StoreUnavailable(f"{what}: {without_secrets(failure)}", hint="try again later")

    def _keys(self, name: str) -> Iterator[str]:
        """The keys of all objects below a name."""
        for page in self._pages(f"{self._key(name)}/"):
            yield from (item["Key"] for item in page.get("Contents", ()))

    def _pages(self, prefix: str, delimiter: str = "") -> Iterator[Mapping[str, Any]]:
        """Listings are never cached: another process may have written since."""
        what = f"cannot list s3://{self._bucket}/{prefix}"
        asked = {"Bucket": self._bucket, "Prefix": prefix, "Delimiter": delimiter}
        while True:
            with self._errors(what):
                page = self._client.list_objects_v2(**asked)
            yield page
            if not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def _delete(self, name: str, keys: list[str]) -> None:
        with self._errors(f"cannot remove {self.location(name)}"):
            answer = self._client.delete_objects(
                Bucket=self._bucket,
                Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
            )
        failed = answer.get("Errors", ())
        if failed:
            raise StoreUnavailable(
                f"cannot remove {len(failed)} objects of {self.location(name)}: "
                f"{failed[0].get('Code', '')}"
            )


def _environment() -> tuple[tuple[str, str], ...]:
    """What botocore reads besides its files; a client is made anew when it changes."""
    return tuple(sorted(pair for pair in os.environ.items() if pair[0].startswith("AWS_")))


@functools.lru_cache(maxsize=8)
def _client_of(access: ObjectAccess, environment: tuple[tuple[str, str], ...], process: int) -> Any:
    return access.client()


def _drained(found: Mapping[str, Any]) -> bytes:
    """The body of an answer. Raises _Torn when it broke off or is not what was stored."""
    from botocore.exceptions import BotoCoreError
    from urllib3.exceptions import HTTPError

    try:
        with found["Body"] as body:
            data: bytes = body.read()
    except (BotoCoreError, HTTPError, ConnectionError) as error:
        raise _Torn(" ".join(str(error).split())) from None
    return data
