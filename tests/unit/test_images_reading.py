"""Reading one local resource: whole, unchanged, in bounds, never through a link, never waiting."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ecm.contracts.identity import ContentIdentity, path_uri
from ecm.errors import ImageError, SourceError
from ecm.images.limits import ImageLimits
from ecm.images.listing import Found, list_source
from ecm.images.reading import ResourceHash, hash_resource, read_resource

LIMITS = ImageLimits()


def identity(path: Path | str, size: int = 3) -> ContentIdentity:
    return ContentIdentity(uri=path_uri(path), size=size, mtime_ns=0)


def code_of(path: Path | str, limits: ImageLimits = LIMITS) -> str:
    with pytest.raises((SourceError, ImageError)) as caught:
        read_resource(identity(path), limits)
    return caught.value.code


def test_bytes_hash_and_the_identity_of_now(tmp_path: Path) -> None:
    photo = tmp_path.resolve() / "photo.jpg"
    photo.write_bytes(b"first")
    (listed,) = list_source(str(tmp_path))
    assert isinstance(listed, Found)
    assert read_resource(listed.identity, LIMITS).identity == listed.identity
    photo.write_bytes(b"second and longer")
    read = read_resource(listed.identity, LIMITS)
    assert read.data == b"second and longer"
    assert read.content_hash == hashlib.sha256(read.data).hexdigest()
    assert read.identity.size == len(read.data)
    assert read.identity.key() != listed.identity.key()


def test_names_that_are_not_text(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path.resolve()), b"caf\xe9 %41?#.jpg")
    with open(path, "wb") as file:
        file.write(b"bytes")
    assert read_resource(identity(os.fsdecode(path)), LIMITS).data == b"bytes"


def _bind_socket(path: Path) -> None:
    os.mknod(path, 0o600 | 0o140000)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: None, "source.gone"),
        (os.mkfifo, "source.not_regular"),
        (os.mkdir, "source.not_regular"),
        (_bind_socket, "source.not_regular"),
        (lambda path: path.symlink_to("/etc/passwd"), "source.symlink"),
        (lambda path: path.symlink_to("/dev/zero"), "source.symlink"),
        (lambda path: path.symlink_to(path.name), "source.symlink"),
    ],
)
@pytest.mark.timeout(20)
def test_what_is_no_file_is_refused_at_once(
    tmp_path: Path, make: Callable[[Path], None], code: str
) -> None:
    path = tmp_path.resolve() / "photo.jpg"
    make(path)
    assert code_of(path) == code


def test_a_folder_that_became_a_link_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "photo.jpg").write_bytes(b"secret")
    (tmp_path / "shared").symlink_to("private")
    assert code_of(tmp_path.resolve() / "shared" / "photo.jpg") == "source.symlink"
    assert (
        code_of(tmp_path.resolve() / "shared" / ".." / "private" / "photo.jpg") == "source.symlink"
    )


def test_five_sparse_gigabytes_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path.resolve() / "sparse.jpg"
    path.write_bytes(b"\xff\xd8\xff")
    os.truncate(path, 5 * 10**9)
    assert code_of(path) == "input.too_large"
    path.write_bytes(b"1234")
    assert code_of(path, ImageLimits(max_bytes=3)) == "input.too_large"
    assert read_resource(identity(path), ImageLimits(max_bytes=4)).data == b"1234"


def test_a_file_with_more_bytes_than_it_announced_has_changed() -> None:
    """Files of /proc announce no bytes and have some, like one that grows while it is read."""
    assert code_of(f"/proc/{os.getpid()}/status") == "source.changed"


def test_a_file_of_any_size_is_hashed_as_it_would_be_read(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    path.write_bytes(bytes(range(256)) * 12_000)
    small = ImageLimits(max_bytes=10)
    read = read_resource(identity(path), LIMITS)
    assert hash_resource(identity(path)) == ResourceHash(read.content_hash, read.identity)
    assert code_of(path, small) == "input.too_large"


def test_what_is_not_read_is_not_hashed(tmp_path: Path) -> None:
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nothing.jpg")
    for name, code in (("gone.jpg", "source.gone"), ("link.jpg", "source.symlink")):
        with pytest.raises(SourceError) as refused:
            hash_resource(identity(tmp_path / name))
        assert refused.value.code == code
    with pytest.raises(SourceError) as changed:
        hash_resource(identity(f"/proc/{os.getpid()}/status"))
    assert changed.value.code == "source.changed"


@pytest.mark.parametrize("uri", ["https://example.org/a.jpg", "file://host/a.jpg", "sha256:00"])
def test_other_places_are_refused(uri: str) -> None:
    with pytest.raises(SourceError) as caught:
        read_resource(ContentIdentity(uri=uri, size=1, mtime_ns=0), LIMITS)
    assert caught.value.code == "source.scheme"
