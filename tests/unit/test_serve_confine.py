"""What callers of the service may name, on a real file system with links."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecm.contracts.identity import path_uri
from ecm.errors import SourceError
from serve.confine import Roots


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """photos/a.jpg, secret/b.jpg, and links between them."""
    for name in ("photos/a.jpg", "secret/b.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "photos" / "way out").symlink_to(tmp_path / "secret")
    (tmp_path / "photos" / "self").symlink_to(tmp_path / "photos")
    (tmp_path / "door").symlink_to(tmp_path / "photos")
    return tmp_path


def test_links_are_followed_before_it_is_decided(shelf: Path) -> None:
    roots = Roots([str(shelf / "photos")], trusting=lambda: False)
    image = path_uri(shelf / "photos" / "a.jpg")
    for name in ("photos/a.jpg", "photos/self/a.jpg", "door/a.jpg", "secret/../photos/a.jpg"):
        assert roots.confine([path_uri(shelf / name), str(shelf / name)]) == [image, image]
    assert roots.confine([path_uri(shelf / "photos/not yet there.jpg")])
    for name in ("secret/b.jpg", "photos/way out/b.jpg", "photos/self/../secret/b.jpg", "photos"):
        with pytest.raises(SourceError) as refused:
            roots.confine([image, path_uri(shelf / name)])
        assert refused.value.code == "source.root"


def test_what_is_stored_as_it_is_sent_must_be_canonical(shelf: Path) -> None:
    """Otherwise a link could lead elsewhere when it is read, and one image have two names."""
    roots = Roots([str(shelf / "photos")], trusting=lambda: False)
    roots.check([path_uri(shelf / "photos" / "a.jpg")])
    for name in ("photos/self/a.jpg", "door/a.jpg", "secret/../photos/a.jpg"):
        with pytest.raises(SourceError) as refused:
            roots.check([path_uri(shelf / name)])
        assert refused.value.code == "source.form"
    with pytest.raises(SourceError) as refused:
        roots.check([path_uri(shelf / "secret" / "b.jpg")])
    assert refused.value.code == "source.root"
    Roots([], trusting=lambda: True).check([path_uri(shelf / "door" / "a.jpg")])


def test_a_root_that_is_a_link_is_where_it_leads(shelf: Path) -> None:
    roots = Roots([str(shelf / "door")], trusting=lambda: False)
    assert roots.confine([path_uri(shelf / "photos" / "a.jpg")])


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("s3://bucket/photos/../secret.jpg", "source.root"),
        ("s3://bucket/photo", "source.root"),
        ("s3://bucket/photos2/a.jpg", "source.root"),
        ("s3://other/photos/a.jpg", "source.root"),
        ("https://host/a.jpg", "source.scheme"),
        ("sha256:00", "source.scheme"),
        ("photos/a.jpg", "source.scheme"),
        ("file://photos/a.jpg", "source.scheme"),
    ],
)
def test_objects_lie_below_a_prefix_and_nothing_else_is_a_resource(uri: str, code: str) -> None:
    roots = Roots(["s3://bucket/photos", "/photos"], trusting=lambda: True)
    assert roots.confine(["s3://bucket/photos/a.jpg"]) == ["s3://bucket/photos/a.jpg"]
    with pytest.raises(SourceError) as refused:
        roots.confine([uri])
    assert refused.value.code == code


def test_without_roots_only_the_one_who_started_the_service_may_name_anything() -> None:
    assert Roots([], trusting=lambda: True).confine(["/a.jpg"])
    with pytest.raises(SourceError, match="roots"):
        Roots([], trusting=lambda: False).confine(["/a.jpg"])


def test_a_service_that_gets_keys_trusts_its_callers_no_more() -> None:
    keyless = [True]
    roots = Roots([], trusting=lambda: keyless[-1])
    assert roots.confine(["/a.jpg"])
    keyless.append(False)
    with pytest.raises(SourceError, match="roots"):
        roots.confine(["/a.jpg"])
