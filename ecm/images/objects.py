"""Objects on S3 and what speaks its protocol: listing by pages and reading, through s3fs.

Credentials, region and endpoint come from the environment alone (`AWS_…`, `FSSPEC_S3_…`), as
botocore and fsspec read it. URIs hold keys as they are (`s3://bucket/key`), so their order is the
order in which S3 lists (UTF-8 bytes), and a listing resumes inside the service, by StartAfter.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ecm.contracts.identity import ContentIdentity
from ecm.errors import BackendMissing, NetworkError, SourceError
from ecm.images.admission import file_reason, folder_reason
from ecm.images.checks import check_bytes
from ecm.images.entries import Found, Skipped, identity_or_skip
from ecm.images.limits import ImageLimits
from ecm.images.signature import SNIFF_BYTES, identify

_SCHEMES = ("s3://", "s3a://")
_MAX_PAGE = 1000
_PIECE = 2**20
_ARCHIVED = {"GLACIER", "DEEP_ARCHIVE"}


@dataclass(frozen=True, slots=True)
class ObjectBytes:
    """An object's bytes and the identity of the version they are."""

    data: bytes
    identity: ContentIdentity


def is_object_uri(source: str) -> bool:
    """Whether `source` names something on an object store."""
    return source.startswith(_SCHEMES)


def root_uri(source: str) -> str:
    """`s3://bucket/prefix` without a slash at its end. Raises SourceError without a bucket."""
    bucket, key = _split(source)
    return f"s3://{bucket}/{key.rstrip('/')}".rstrip("/")


def list_objects(source: str, after: str, page_size: int = _MAX_PAGE) -> Iterator[Found | Skipped]:
    """Objects below `source` in the order of their URIs, strictly after `after`; a page at a time.

    `source` is one object, a bucket, or a prefix that ends at a slash. Raises SourceError
    `source.missing` or `source.denied` and NetworkError, all from the first `next` on, but for a
    bucket or key that is not there, at once.
    """
    bucket, key = _split(source)
    key = key.rstrip("/")
    with _translated(source):
        exact = _page(bucket, key, "", 1)[0] if key else []
    if exact and exact[0]["Key"] == key and not source.endswith("/"):
        return iter(_entries(bucket, "", exact) if _uri(bucket, key) > after else [])
    prefix = key + "/" if key else ""
    with _translated(source):
        if not _page(bucket, prefix, "", 1)[0] and prefix:
            raise SourceError(f"no objects below {source}", "source.missing", "check the prefix")
    return _walk(source, _Prefix(bucket, prefix, page_size), after)


def read_object(identity: ContentIdentity, limits: ImageLimits) -> ObjectBytes:
    """One GET: its size is checked against the limits before its body is read.

    Raises SourceError `source.gone`, `source.denied` or `source.changed` (fewer bytes came than
    announced), ImageError `input.too_large`, NetworkError.
    """
    from fsspec.asyn import sync

    bucket, key = _split(identity.uri)
    with _translated(identity.uri, missing="source.gone"):
        filesystem = _filesystem()
        response = filesystem.call_s3("get_object", Bucket=bucket, Key=key)
        body, size = response["Body"], int(response["ContentLength"])
        try:
            check_bytes(size, limits)
            data: bytes = sync(filesystem.loop, body.read)
        finally:
            body.close()
    if len(data) != size:
        raise SourceError(f"{identity.uri} changed while it was read", "source.changed")
    return ObjectBytes(
        data, ContentIdentity(uri=identity.uri, size=size, etag=_etag(response["ETag"]))
    )


def stream_object(identity: ContentIdentity, take: Callable[[bytes], object]) -> ContentIdentity:
    """One GET whose body is handed on a piece at a time; the identity of what was read.

    Raises as `read_object` does, but for the size, which is not limited.
    """
    from fsspec.asyn import sync

    bucket, key = _split(identity.uri)
    with _translated(identity.uri, missing="source.gone"):
        filesystem = _filesystem()
        response = filesystem.call_s3("get_object", Bucket=bucket, Key=key)
        body, size, got = response["Body"], int(response["ContentLength"]), 0
        try:
            while part := sync(filesystem.loop, body.read, _PIECE):
                take(part)
                got += len(part)
        finally:
            body.close()
    if got != size:
        raise SourceError(f"{identity.uri} changed while it was read", "source.changed")
    return ContentIdentity(uri=identity.uri, size=size, etag=_etag(response["ETag"]))


@dataclass(frozen=True, slots=True)
class _Prefix:
    bucket: str
    key: str
    page_size: int


def _walk(source: str, place: _Prefix, after: str) -> Iterator[Found | Skipped]:
    bucket, base = place.bucket, _uri(place.bucket, "")
    start = after[len(base) :] if after.startswith(base) else ""
    more = True
    while more:
        with _translated(source):
            page, more = _page(bucket, place.key, start, place.page_size)
            entries = _entries(bucket, place.key, page)
        for entry in entries:
            if entry.uri <= _uri(bucket, start):
                raise SourceError(
                    f"{source} does not list in the order of its keys", "source.unsorted"
                )
            start = entry.uri[len(base) :]
            if entry.uri > after:
                yield entry


def _page(bucket: str, prefix: str, start: str, size: int) -> tuple[list[dict[str, Any]], bool]:
    """The next objects after the key `start`, and whether there are more."""
    response = _filesystem().call_s3(
        "list_objects_v2", Bucket=bucket, Prefix=prefix, StartAfter=start, MaxKeys=size
    )
    return response.get("Contents", []), bool(response.get("IsTruncated"))


def _entries(bucket: str, prefix: str, page: Sequence[dict[str, Any]]) -> Sequence[Found | Skipped]:
    """Found or Skipped for each object of a page; those without extension are sniffed together."""
    reasons = [_reason(item, prefix) for item in page]
    unknown = [index for index, reason in enumerate(reasons) if reason == "no_extension"]
    if unknown:
        paths = [f"{bucket}/{page[index]['Key']}" for index in unknown]
        heads = _filesystem().cat_ranges(
            paths, [0] * len(paths), [SNIFF_BYTES] * len(paths), on_error="return"
        )
        for index, head in zip(unknown, heads, strict=True):
            known = isinstance(head, bytes) and identify(head) is not None
            reasons[index] = None if known else "no_image_signature"
    return [
        _entry(_uri(bucket, item["Key"]), item, reason)
        for item, reason in zip(page, reasons, strict=True)
    ]


def _entry(uri: str, item: dict[str, Any], reason: str | None) -> Found | Skipped:
    if reason is not None:
        return Skipped(uri, reason)
    return identity_or_skip(
        uri,
        lambda: ContentIdentity(uri=uri, size=int(item["Size"]), etag=_etag(item["ETag"])),
    )


def _reason(item: dict[str, Any], prefix: str) -> str | None:
    *folders, name = str(item["Key"])[len(prefix) :].split("/")
    if not name:
        return "directory_marker"
    if item.get("StorageClass") in _ARCHIVED:
        return "archived"
    return next((reason for reason in map(folder_reason, folders) if reason), file_reason(name))


def _split(uri: str) -> tuple[str, str]:
    """Bucket and key; the key is taken as it is, with any question marks and hashes in it."""
    bucket, _, key = uri.split("://", 1)[1].partition("/")
    if not bucket:
        raise SourceError(f"no bucket in {uri}", "source.missing", "use s3://bucket/prefix")
    return bucket, key


def _uri(bucket: str, key: str) -> str:
    return f"s3://{bucket}/{key}"


def _etag(value: str) -> str:
    return value.strip('"')


def _filesystem() -> Any:
    """s3fs for the environment as it is now; the same one as long as that does not change."""
    marks = ("AWS_", "FSSPEC_S3")
    return _open_filesystem(
        tuple(sorted(pair for pair in os.environ.items() if pair[0].startswith(marks)))
    )


@functools.lru_cache(maxsize=4)
def _open_filesystem(environment: tuple[tuple[str, str], ...]) -> Any:
    try:
        import s3fs
    except ImportError as error:
        raise BackendMissing(f"S3 cannot be read: {error}", hint="pip install s3fs") from error
    return s3fs.S3FileSystem(skip_instance_cache=True)


@contextmanager
def _translated(uri: str, missing: str = "source.missing") -> Iterator[None]:
    """Turns what s3fs, botocore and the network raise into our errors, once, here."""
    from aiohttp import ClientError as BodyError
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
    )

    try:
        yield
    except FileNotFoundError as error:
        raise SourceError(f"no such object: {uri}", missing) from error
    except (PermissionError, NoCredentialsError) as error:
        raise SourceError(
            f"not allowed to read {uri}: {error}", "source.denied", "check the AWS_ variables"
        ) from error
    except (OSError, BodyError, BotoCoreError, ClientError) as error:
        raise NetworkError(f"cannot read {uri}: {type(error).__name__} {error}") from error
