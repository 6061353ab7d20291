"""Listing and reading S3, against a real server of its protocol on this machine (moto)."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from ecm.contracts.identity import ContentIdentity
from ecm.errors import EcmError, ImageError, NetworkError, SourceError
from ecm.images.limits import ImageLimits
from ecm.images.listing import Found, Skipped, list_source, source_root
from ecm.images.objects import list_objects
from ecm.images.reading import hash_resource, read_resource

JPEG = b"\xff\xd8\xff\xe0" + bytes(60)
BUCKET = "photos"
LIMITS = ImageLimits()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def environment(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def client(endpoint: str) -> Any:
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=BUCKET)
    for key in ("a.jpg", "a/b.jpg", "a0.jpg", "a b.jpg", "ä/#1?x=%41.png", "IMG_1", "a/LICENSE"):
        client.put_object(Bucket=BUCKET, Key=f"odd/{key}", Body=JPEG if "LIC" not in key else b"x")
    for key in ("sub/", ".trash/c.jpg", "a.jpg.part", "a/@eaDir/t.jpg", "movie.mp4"):
        client.put_object(Bucket=BUCKET, Key=f"odd/{key}", Body=b"")
    client.put_object(Bucket=BUCKET, Key="odd/cold.jpg", Body=JPEG, StorageClass="GLACIER")
    client.put_object(Bucket=BUCKET, Key="odd.jpg", Body=JPEG)
    for number in range(93):
        client.put_object(Bucket=BUCKET, Key=f"many/{number:05d}.jpg", Body=b"")
    return client


def code_of(error: type[EcmError], source: str) -> str:
    with pytest.raises(error) as caught:
        list(list_source(source))
    return caught.value.code


def test_objects_come_sorted_with_their_identity_or_reason(client: Any) -> None:
    entries = list(list_source(f"s3://{BUCKET}/odd"))
    assert all(one.uri < other.uri for one, other in pairwise(entries))
    found = {
        entry.uri.removeprefix(f"s3://{BUCKET}/odd/"): entry.identity
        for entry in entries
        if isinstance(entry, Found)
    }
    assert set(found) == {"a.jpg", "a/b.jpg", "a0.jpg", "a b.jpg", "ä/#1?x=%41.png", "IMG_1"}
    etag = hashlib.md5(JPEG).hexdigest()
    assert {(one.size, one.etag, one.mtime_ns) for one in found.values()} == {(64, etag, None)}
    skipped = {
        entry.uri.removeprefix(f"s3://{BUCKET}/odd/"): entry.reason
        for entry in entries
        if isinstance(entry, Skipped)
    }
    assert skipped == {
        "sub/": "directory_marker",
        ".trash/c.jpg": "trash_folder",
        "a.jpg.part": "partial_download",
        "a/@eaDir/t.jpg": "thumbnail_folder",
        "movie.mp4": "not_an_image_name",
        "a/LICENSE": "no_image_signature",
        "cold.jpg": "archived",
    }


def test_more_than_a_page_is_listed_and_resumed(client: Any) -> None:
    source = f"s3://{BUCKET}/many/"
    uris = [entry.uri for entry in list_objects(source, "", page_size=30)]
    assert uris == [f"s3://{BUCKET}/many/{number:05d}.jpg" for number in range(93)]
    for place in (0, 28, 29, 30, 92):
        rest = [entry.uri for entry in list_objects(source, uris[place], page_size=30)]
        assert rest == [entry.uri for entry in list_source(source, after=uris[place])]
        assert rest == uris[place + 1 :]
    assert next(list_source(source, after="s3://aaa")).uri == uris[0]
    assert list(list_source(source, after="s3://zzz")) == []


def test_a_source_may_be_one_object(client: Any) -> None:
    uri = f"s3://{BUCKET}/odd.jpg"
    assert [entry.uri for entry in list_source(uri)] == [uri]
    assert list(list_source(uri, after=uri)) == []
    assert source_root("s3a://photos/odd/") == "s3://photos/odd"
    assert source_root("s3://photos") == "s3://photos"


def test_any_key_is_read_back_with_the_identity_of_now(client: Any) -> None:
    listed = [entry for entry in list_source(f"s3://{BUCKET}/odd") if isinstance(entry, Found)]
    for entry in listed:
        read = read_resource(entry.identity, LIMITS)
        assert read.identity == entry.identity
        assert read.content_hash == hashlib.sha256(JPEG).hexdigest()
    client.put_object(Bucket=BUCKET, Key="new.jpg", Body=b"changed")
    old = listed[0].identity.model_copy(update={"uri": f"s3://{BUCKET}/new.jpg"})
    now = read_resource(old, LIMITS)
    assert now.data == b"changed"
    assert (now.identity.size, now.identity.etag) == (7, hashlib.md5(b"changed").hexdigest())


def test_an_object_is_hashed_a_piece_at_a_time(client: Any) -> None:
    large = bytes(range(256)) * 12_000  # three pieces
    client.put_object(Bucket=BUCKET, Key="large.jpg", Body=large)
    here = ContentIdentity(uri=f"s3://{BUCKET}/large.jpg", size=1, etag="x")
    found = hash_resource(here)
    assert found.content_hash == hashlib.sha256(large).hexdigest()
    assert (found.identity.size, found.identity.etag) == (
        len(large),
        hashlib.md5(large).hexdigest(),
    )
    with pytest.raises(SourceError) as gone:
        hash_resource(here.model_copy(update={"uri": f"s3://{BUCKET}/gone.jpg"}))
    assert gone.value.code == "source.gone"


def test_reading_refuses_what_is_too_large_or_gone(client: Any) -> None:
    here = ContentIdentity(uri=f"s3://{BUCKET}/odd.jpg", size=1, etag="x")
    with pytest.raises(ImageError) as large:
        read_resource(here, ImageLimits(max_bytes=63))
    assert large.value.code == "input.too_large"
    with pytest.raises(SourceError) as gone:
        read_resource(here.model_copy(update={"uri": f"s3://{BUCKET}/gone.jpg"}), LIMITS)
    assert gone.value.code == "source.gone"


@pytest.mark.parametrize("source", ["s3://no-such-bucket/x", f"s3://{BUCKET}/no/such/prefix"])
def test_what_is_not_there_is_missing(client: Any, source: str) -> None:
    assert code_of(SourceError, source) == "source.missing"


def test_a_server_that_does_not_answer_is_a_network_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert code_of(NetworkError, f"s3://{BUCKET}/odd") == "network"
