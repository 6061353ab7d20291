"""Reading again what a listing takes for unchanged: what is compared, named, counted and queued."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ecm.contracts.identity import ContentIdentity, path_uri
from ecm.contracts.result import ResourceFingerprint
from ecm.delivery.listed import ListedPlaces, listing_on_disk
from ecm.delivery.rescan import Look, rescan
from ecm.delivery.verifying import NAMED, ContentCheck, altered_identity
from ecm.evidence.committer import EvidenceCommitter, unquestioned
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.history import asset_at
from ecm.evidence.store import EvidenceStore
from ecm.images.entries import Found
from tests.evidence_envelopes import START, vision

LOOK = Look("t", "scan", START + 1000.0)


class Shelf:
    """Real files whose contents are on record."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "photos"
        self.folder.mkdir()
        self.work = root / "work"
        self.store = EvidenceStore.create(EvidenceConfig(uri=str(root / "store")), START)
        self.committer = EvidenceCommitter(self.store)

    def put(self, count: int) -> list[Path]:
        """So many files, all of them on record with one batch."""
        paths = [self.folder / f"{number:03d}.jpg" for number in range(count)]
        said = []
        for path in paths:
            path.write_bytes(path.name.encode())
            seen = ResourceFingerprint(
                uri=path_uri(path),
                content_hash=hashlib.sha256(path.read_bytes()).hexdigest(),
                size=path.stat().st_size,
                mtime_ns=path.stat().st_mtime_ns,
            )
            said.append(vision(path.name, resource_fingerprint=seen, observed_at=START))
        self.committer.append("put", said)
        return paths

    @contextmanager
    def listed(self) -> Iterator[ListedPlaces]:
        """The folder as it lists now."""
        with listing_on_disk(self.work, "scan", (str(self.folder),)) as listed:
            listed.add(Found(identity_of(path)) for path in sorted(self.folder.iterdir()))
            listed.complete()
            yield listed


def identity_of(path: Path) -> ContentIdentity:
    status = path.stat()
    return ContentIdentity(uri=path_uri(path), size=status.st_size, mtime_ns=status.st_mtime_ns)


def alter(path: Path, data: bytes) -> None:
    """Write other bytes under the old date."""
    status = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def run(check: ContentCheck) -> list[ContentIdentity]:
    return [identity for chunk in check.run(threading.Event()) for identity in chunk]


def test_what_is_on_record_agrees_and_what_is_new_is_not_read(shelf: Shelf) -> None:
    paths = shelf.put(40)
    (shelf.folder / "new.jpg").write_bytes(b"never seen before")
    with shelf.listed() as listed:
        check = ContentCheck(shelf.store, listed, LOOK, threads=3)
        assert run(check) == []
        assert list(check.altered()) == []
    assert (check.totals.files, check.totals.altered) == (40, 0)
    assert check.totals.bytes_read == sum(path.stat().st_size for path in paths)
    assert check.totals.problems() == ()


def test_other_bytes_are_named_queued_and_put_on_record(shelf: Shelf) -> None:
    altered = shelf.put(9)[4]
    alter(altered, b"xxx.jpg")
    found = hashlib.sha256(b"xxx.jpg").hexdigest()
    with shelf.listed() as listed:
        check = ContentCheck(shelf.store, listed, LOOK, threads=2)
        assert run(check) == [altered_identity(identity_of(altered), found)]
        assert "004.jpg" in check.totals.problems()[0]
        rescan(shelf.store, listed, LOOK, 1.0, unquestioned, check.altered())
    assert asset_at(shelf.store, "t", path_uri(altered)) == found
    later = Look("t", "scan-2", LOOK.at + 1e9)
    with shelf.listed() as listed:
        check = ContentCheck(shelf.store, listed, later, threads=2)
        assert run(check) == []  # what lies there is on record now
        assert check.totals.files == 9


def test_what_changed_since_the_listing_is_left_to_the_next(shelf: Shelf) -> None:
    path = shelf.put(3)[1]
    with shelf.listed() as listed:
        path.write_bytes(b"quite another size")
        check = ContentCheck(shelf.store, listed, LOOK, threads=1)
        assert run(check) == []
    assert (check.totals.changed, check.totals.problems()) == (1, ())


def test_what_cannot_be_read_is_named_as_far_as_names_go(shelf: Shelf) -> None:
    paths = shelf.put(NAMED + 5)
    with shelf.listed() as listed:
        for path in paths:
            path.unlink()
        check = ContentCheck(shelf.store, listed, LOOK, threads=4)
        assert run(check) == []
    problems = check.totals.problems()
    assert len(problems) == NAMED + 1
    assert problems[-1] == "5 more files disagree or cannot be read"
    assert check.totals.unreadable == len(paths)


def test_a_check_that_is_stopped_reads_no_more(shelf: Shelf) -> None:
    shelf.put(30)
    stopped = threading.Event()
    stopped.set()
    with shelf.listed() as listed:
        check = ContentCheck(shelf.store, listed, LOOK, threads=2)
        assert list(check.run(stopped)) == []
    assert check.totals.files == 0


def test_altered_bytes_are_a_resource_of_their_own() -> None:
    local = ContentIdentity(uri="file:///a.jpg", size=3, mtime_ns=5)
    remote = ContentIdentity(uri="s3://b/a.jpg", size=3, etag="e")
    one, other = "1" * 64, "2" * 64
    keys = {i.key() for i in (local, altered_identity(local, one), altered_identity(local, other))}
    assert len(keys) == 3
    assert altered_identity(remote, one).etag == "e+sha256:" + "1" * 32
    assert altered_identity(local, one) == altered_identity(local, one)
