"""Photos and store both on S3: what is gone, what is read again, the story and the proof."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from ecm.contracts.result import ResourceFingerprint
from ecm.delivery.listed import listing_on_disk
from ecm.delivery.rescan import Look, Rescanned, rescan
from ecm.delivery.verifying import ContentCheck
from ecm.evidence.committer import EvidenceCommitter, unquestioned
from ecm.evidence.history import asset_at, asset_history
from ecm.evidence.provenance import provenance
from ecm.evidence.snapshot import SnapshotPolicy, SnapshotStore
from ecm.evidence.store import EvidenceStore
from ecm.images.listing import Found, list_source
from tests.evidence_envelopes import START, vision
from tests.object_server import ACCESS_KEY, REGION, SECRET_KEY, ObjectServer


@pytest.fixture
def photos(object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of three photos, one of them outside the prefix that is indexed."""
    for name, value in (
        ("AWS_ENDPOINT_URL", object_server.endpoint),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_DEFAULT_REGION", REGION),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(name, value)
    bucket = object_server.bucket()
    for key in ("in/a.jpg", "in/b.jpg", "inside.jpg"):
        object_server.client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    return bucket


def test_objects_and_a_store_of_objects(
    object_server: ObjectServer, photos: str, tmp_path: Path
) -> None:
    store = EvidenceStore.create(object_server.config(), START)
    source = f"s3://{photos}/in"
    said = []
    for entry in list_source(f"s3://{photos}"):
        assert isinstance(entry, Found)
        key = entry.uri.partition(f"{photos}/")[2]
        seen = ResourceFingerprint(
            uri=entry.uri,
            content_hash=hashlib.sha256(key.encode()).hexdigest(),
            size=entry.identity.size,
            etag=entry.identity.etag,
        )
        said.append(vision(key, f"a photo of {key}", resource_fingerprint=seen, observed_at=START))
    EvidenceCommitter(store).append("b", said)

    object_server.client.delete_object(Bucket=photos, Key="in/b.jpg")
    object_server.client.delete_object(Bucket=photos, Key="inside.jpg")
    with listing_on_disk(tmp_path / "runs", "scan", (source,)) as listed:
        listed.add(list_source(source))
        listed.complete()
        look = Look("t", "scan", START + 10)
        check = ContentCheck(store, listed, look, threads=2)
        assert list(check.run(threading.Event())) == []
        assert (check.totals.files, check.totals.problems()) == (1, ())
        found = rescan(store, listed, look, 0.6, unquestioned, check.altered())
        assert found == Rescanned(gone=1)

    snapshots = SnapshotStore(store)
    snapshots.publish(snapshots.build(SnapshotPolicy(transforms={}), START + 20).snapshot_id, START)
    gone = asset_at(store, "t", f"{source}/b.jpg")
    assert [e.what.value for e in asset_history(store, "t", gone, {}).events] == ["seen", "gone"]
    kept = asset_at(store, "t", f"{source}/a.jpg")
    assert len(asset_history(store, "t", kept, {}).snapshots) == 1
    assert provenance(store, "t", kept, {}).verified
    outside = asset_at(store, "t", f"s3://{photos}/inside.jpg")
    assert asset_history(store, "t", outside, {}).lies_at == (f"s3://{photos}/inside.jpg",)
