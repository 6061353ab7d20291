"""Listing a local source: sorted, resumable, complete, inside its root, whatever lies there."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ecm.contracts.identity import path_uri
from ecm.errors import SourceError
from ecm.images.admission import file_reason, folder_reason
from ecm.images.listing import Found, Skipped, list_source, source_root

JPEG_HEAD = b"\xff\xd8\xff\xe0" + bytes(60)


def outcome(entry: Found | Skipped) -> str:
    return "found" if isinstance(entry, Found) else entry.reason


def outcomes(root: Path) -> dict[str, str]:
    """Outcome by path relative to the root, as text with escapes."""
    base = source_root(str(root)) + "/"
    return {
        os.fsdecode(unquote_to_bytes(entry.uri.removeprefix(base))): outcome(entry)
        for entry in list_source(str(root))
    }


def put(path: Path, data: bytes = JPEG_HEAD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


_NAMES = st.sampled_from(
    [
        "a",
        "a.jpg",
        "a b",
        "a-b.png",
        "a0",
        "a.",
        "A",
        "é",
        "%41",
        "b",
        ".h",
        "@eaDir",
        "~",
        "a,b",
        "a/",
    ]
).map(lambda name: name.rstrip("/"))
_PATHS = st.lists(_NAMES, min_size=1, max_size=4).map("/".join)


@given(paths=st.lists(_PATHS, max_size=25), data=st.data())
@example(paths=["a/b.jpg", "a.jpg", "a0.jpg", "a b/c.jpg", "a-b.jpg", "a"], data=None)
@settings(max_examples=60, deadline=None)
def test_order_is_strict_nothing_is_lost_and_any_place_resumes(
    paths: list[str], data: st.DataObject | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, made = Path(folder).resolve(), set()
        for path in paths:
            target = root / path
            if target.exists() or any(parent.is_file() for parent in target.parents):
                continue
            made.add(path_uri(put(target)))
        entries = [entry.uri for entry in list_source(folder)]
        assert all(one < other for one, other in pairwise(entries))
        assert set(entries) == made
        marks = entries + [uri + "/" for uri in entries] + [path_uri(root), "a", "z"]
        mark = data.draw(st.sampled_from(marks)) if data else marks[0]
        rest = [entry.uri for entry in list_source(folder, after=mark)]
        assert rest == [uri for uri in entries if uri > mark]


def test_listing_is_lazy_and_holds_one_folder_per_level(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        put(tmp_path / folder / "1.jpg")
    entries = list_source(str(tmp_path))
    assert next(entries).uri.endswith("/a/1.jpg")
    put(tmp_path / "b" / "2.jpg")
    assert [entry.uri[-8:] for entry in entries] == ["/b/1.jpg", "/b/2.jpg"]


def test_odd_things_are_skipped_with_their_reason(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(root / "photo.jpg")
    put(tmp_path / "outside.jpg")
    put(root / "IMG_0001")
    put(root / "notes", b"just text that has no signature at all, in no format")
    put(root / "empty", b"")
    for name in (".DS_Store", "Thumbs.db", "._photo.jpg", ".hidden.jpg", "photo.jpg~"):
        put(root / name)
    for name in ("photo.xmp", "photo.jpg.json", "photo.jpg.part", "photo.jpg.exe", "a.svg"):
        put(root / name)
    for folder in ("@eaDir/x", ".Trash-1000/files", "__MACOSX", ".git/objects", "dir.jpg"):
        put(root / folder / "1.jpg")
    os.mkfifo(root / "pipe.jpg")
    os.mkfifo(root / "pipe_without_extension")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket.jpg"))
    links = {
        "copy.jpg": "photo.jpg",
        "out.jpg": "../outside.jpg",
        "gone.jpg": "nowhere.jpg",
        "self.jpg": "self.jpg",
        "zero.jpg": "/dev/zero",
        "loop": ".",
        "up": "../..",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    assert outcomes(root) == {
        "photo.jpg": "found",
        "IMG_0001": "found",
        "dir.jpg/1.jpg": "found",
        "notes": "no_image_signature",
        "empty": "no_image_signature",
        ".DS_Store": "system_file",
        "Thumbs.db": "system_file",
        "._photo.jpg": "apple_double",
        ".hidden.jpg": "hidden",
        "photo.jpg~": "backup",
        "photo.xmp": "sidecar",
        "photo.jpg.json": "sidecar",
        "photo.jpg.part": "partial_download",
        "photo.jpg.exe": "not_an_image_name",
        "a.svg": "unsupported_format",
        "@eaDir/x/1.jpg": "thumbnail_folder",
        ".Trash-1000/files/1.jpg": "trash_folder",
        "__MACOSX/1.jpg": "archive_leftovers",
        ".git/objects/1.jpg": "hidden_folder",
        "pipe.jpg": "not_a_regular_file",
        "pipe_without_extension": "not_a_regular_file",
        "socket.jpg": "not_a_regular_file",
        "copy.jpg": "symlink_to_listed_file",
        "out.jpg": "symlink_out_of_root",
        "gone.jpg": "broken_symlink",
        "self.jpg": "broken_symlink",
        "zero.jpg": "symlink_out_of_root",
        "loop": "symlink_directory",
        "up": "symlink_out_of_root",
    }


@pytest.mark.parametrize(
    "name",
    [
        *(b"not-utf8-\xff\xfe.jpg", b"new\nline.jpg", b"bell\x07esc\x1b[31m.jpg"),
        *(b"%2e%2e%2fpasswd%00.jpg", b"#hash?query=1&x.jpg", b"-rf.jpg"),
        *("日本語.JPG".encode(), b"n" * 251 + b".jpg"),
    ],
)
def test_any_name_survives_and_leads_back_to_its_file(tmp_path: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(tmp_path), name)
    with open(path, "wb") as file:
        file.write(JPEG_HEAD)
    (entry,) = list_source(str(tmp_path))
    assert isinstance(entry, Found)
    assert entry.uri.isascii()
    assert unquote_to_bytes(entry.uri.removeprefix("file://")) == path
    assert entry.identity.size == len(JPEG_HEAD)
    (again,) = list_source(entry.uri)
    assert again == entry


def test_folders_deeper_than_a_path_may_be_long_are_named_not_fatal(tmp_path: Path) -> None:
    put(tmp_path / "z.jpg")
    before = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(25):
            os.mkdir("x" * 200)
            os.chdir("x" * 200)
        Path("beyond.jpg").write_bytes(JPEG_HEAD)
    finally:
        os.chdir(before)
    try:
        first, last = list_source(str(tmp_path))
        assert outcome(first) == "path_too_long"
        assert first.uri.endswith("x/")
        assert outcome(last) == "found"
        assert [entry.uri for entry in list_source(str(tmp_path), after=first.uri)] == [last.uri]
    finally:
        shutil.rmtree(tmp_path / ("x" * 200))


def test_depth_beyond_the_recursion_limit(tmp_path: Path) -> None:
    folders = [str(tmp_path)]
    while len(folders) < 1_500:
        folders.append(folders[-1] + "/d")
        os.mkdir(folders[-1])
    photo = folders[-1] + "/photo.jpg"
    with open(photo, "wb") as file:
        file.write(JPEG_HEAD)
    try:
        assert [outcome(entry) for entry in list_source(str(tmp_path))] == ["found"]
    finally:
        # pytest's own clean-up recurses
        os.remove(photo)
        for folder in reversed(folders[1:]):
            os.rmdir(folder)


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A folder that other users may enter; the test runs as one who is not root."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    root = os.geteuid() == 0
    yield folder
    if root:
        os.seteuid(0)
    for path in (folder / "locked", folder / "listable"):
        if path.exists():
            path.chmod(0o755)
    shutil.rmtree(folder)


def test_what_may_not_be_read_is_accounted_for(as_nobody: Path) -> None:
    put(as_nobody / "free.jpg")
    put(as_nobody / "secret.jpg").chmod(0)
    put(as_nobody / "locked" / "inside.jpg")
    put(as_nobody / "listable" / "inside.jpg")
    (as_nobody / "locked").chmod(0)
    (as_nobody / "listable").chmod(0o444)
    if os.geteuid() == 0:
        os.seteuid(65534)
    assert outcomes(as_nobody) == {
        "free.jpg": "found",
        "secret.jpg": "unreadable",
        "locked/": "unreadable",
        "listable/inside.jpg": "unreadable",
    }
    with pytest.raises(SourceError) as caught:
        list_source(str(as_nobody / "locked"))
    assert caught.value.code == "source.unreadable"


def test_times_before_1970_and_huge_sparse_files_are_listed_as_they_are(tmp_path: Path) -> None:
    os.utime(put(tmp_path / "old.jpg"), (-631152000, -631152000))
    os.truncate(put(tmp_path / "sparse.jpg"), 5 * 10**9)
    old, sparse = list_source(str(tmp_path))
    assert isinstance(old, Found)
    assert isinstance(sparse, Found)
    assert old.identity.mtime_ns == -631152000 * 10**9
    assert sparse.identity.size == 5 * 10**9


def test_a_source_may_be_a_file_a_link_or_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = put(tmp_path / "in" / "photo.jpg").resolve()
    (tmp_path / "link").symlink_to("in")
    monkeypatch.chdir(tmp_path)
    uri = path_uri(photo)
    for source in (
        "in",
        "link",
        "in/photo.jpg",
        "link/../in/",
        str(photo),
        uri,
        path_uri(photo.parent),
    ):
        assert [entry.uri for entry in list_source(source)] == [uri], source
    assert list(list_source(uri, after=uri)) == []
    assert source_root("link") == path_uri(photo.parent)
    assert source_root("/") == "file:///"


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("/nowhere/at/all", "source.missing"),
        ("", "source.missing"),
        ("a\0b", "source.missing"),
        ("file://relative/path", "source.missing"),
        ("https://example.org/photos", "source.scheme"),
        ("gs://bucket/photos", "source.scheme"),
        ("s3://", "source.missing"),
    ],
)
def test_sources_that_cannot_be_listed_say_so_at_once(source: str, code: str) -> None:
    with pytest.raises(SourceError) as caught:
        list_source(source)
    assert caught.value.code == code


def test_names_admit_images_in_any_case_only() -> None:
    admitted = ["a.jpg", "A.JPEG", "x.jfif", "x.jpe", "x.HEIC", "x.tiff", "a.b.png", "-.webp"]
    assert {file_reason(name) for name in admitted} == {None}
    assert file_reason("trailing dot.jpg.") == "no_extension"
    assert file_reason("trailing space.jpg ") == "not_an_image_name"
    assert folder_reason("$RECYCLE.BIN") == "trash_folder"
    assert folder_reason("Photos") is None
