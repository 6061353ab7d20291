"""Files that lie elsewhere are found by their content; what is not found is gone, and named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ecm.contracts.identity import asset_id_of, path_uri
from ecm.delivery.relinking import Findings, Move, Relinking, look, record
from ecm.errors import ConfigError, SourceError
from ecm.evidence.committer import EvidenceCommitter, unquestioned
from ecm.evidence.schema import ASSET_SIGHTINGS, ASSET_VERSIONS, Sighting
from ecm.evidence.sightings import Seen, sighting_rows
from ecm.evidence.store import EvidenceStore
from ecm.images.listing import list_source
from tests.bundles import store_at
from tests.evidence_envelopes import START, vision

SIZE = 123  # of every file that the factory of envelopes has seen
OLD = "file:///photos"


def content(seed: int) -> bytes:
    return f"{seed:>3}".encode() * (SIZE // 3)


@pytest.fixture
def store(tmp_path: Path) -> EvidenceStore:
    """Four images below /photos, one of them twice; another tenant has a fifth."""
    store = store_at(tmp_path / "store")
    said = [vision(seed, "x", content=asset_id_of(content(seed))) for seed in range(4)]
    copy = vision(0, "x", content=asset_id_of(content(0)), uri=f"{OLD}/copy.jpg")
    other = vision(9, "x", content=asset_id_of(content(9)), tenant="u")
    EvidenceCommitter(store).append("b1", [*said, copy, other])
    return store


@pytest.fixture
def new(tmp_path: Path) -> Path:
    folder = tmp_path / "new"
    folder.mkdir()
    return folder


def put(folder: Path, **files: bytes) -> None:
    folder.mkdir(exist_ok=True, parents=True)
    for name, data in files.items():
        (folder / f"{name}.jpg").write_bytes(data)


def wanted(new: Path, now: float = START + 100, old: str = OLD, tenant: str = "t") -> Relinking:
    moves = (Move.parse(f"{old}={new}"),)
    return Relinking(tenant, moves, f"relink-{now:.0f}", now)


def relinked(store: EvidenceStore, relinking: Relinking) -> Findings:
    found = look(store, relinking, lambda _: None)
    record(store, relinking, found, unquestioned)
    return found


def places(store: EvidenceStore, tenant: str = "t") -> dict[str, str]:
    """What lies where by the newest word of the store."""
    words = [
        (row["observed_at"], row["uri"], row["asset_id"], row.get("state", "present"))
        for name in (ASSET_VERSIONS, ASSET_SIGHTINGS)
        if store.has_table(name)
        for row in store.dataset(name).to_table().to_pylist()
        if row["tenant_id"] == tenant
    ]
    newest = {uri: (asset, state) for _, uri, asset, state in sorted(words)}
    return {uri: asset for uri, (asset, state) in newest.items() if state != "gone"}


def test_renamed_files_are_found_by_content_and_old_places_are_gone(
    store: EvidenceStore, new: Path
) -> None:
    put(new, a=content(0), b=content(1))
    put(new / "deep" / "er", c=content(2), d=content(3))
    found = relinked(store, wanted(new)).counts
    assert (found.attached, found.read, found.bytes_read) == (4, 4, 4 * SIZE)
    assert (found.old_places, found.gone, found.unmatched, found.strangers) == (5, 5, 0, 0)
    assert places(store) == {
        path_uri(path): asset_id_of(path.read_bytes()) for path in new.rglob("*.jpg")
    }
    assert len(places(store, "u")) == 1


def test_repeated_it_reads_and_writes_nothing(store: EvidenceStore, new: Path) -> None:
    put(new, a=content(0), b=content(1))
    relinked(store, wanted(new))
    before = store.counts()
    again = relinked(store, wanted(new, START + 200)).counts
    assert (again.known, again.attached, again.read, again.gone) == (2, 0, 0, 0)
    assert store.counts() == before


def test_what_is_nowhere_is_counted_and_named(store: EvidenceStore, new: Path) -> None:
    put(new, a=content(0), stranger=content(77), large=b"x" * 1000)
    found = relinked(store, wanted(new)).counts
    assert (found.attached, found.strangers, found.read) == (1, 2, 2)
    assert (found.gone, found.unmatched) == (5, 3)
    assert set(found.named) == {f"{OLD}/{seed}.jpg" for seed in (1, 2, 3)}


def test_another_tenants_content_is_a_stranger(store: EvidenceStore, new: Path) -> None:
    put(new, a=content(0), b=content(9))
    assert relinked(store, wanted(new)).counts.strangers == 1


def test_a_folder_of_strangers_changes_nothing(store: EvidenceStore, new: Path) -> None:
    put(new, a=content(77))
    with pytest.raises(SourceError, match="none of the 1 images") as caught:
        look(store, wanted(new), lambda _: None)
    assert caught.value.code == "relink.nothing"


def test_places_that_still_hold_something_are_not_gone(store: EvidenceStore, new: Path) -> None:
    """First to one folder, then on to another while the first is still there in part."""
    put(new, a=content(0), b=content(1))
    relinked(store, wanted(new))
    second = new.parent / "second"
    put(second, a=content(0), b=content(1))
    (new / "b.jpg").unlink()
    found = relinked(store, wanted(second, START + 200, old=path_uri(new))).counts
    assert (found.attached, found.gone, found.unmatched) == (2, 1, 0)
    assert {Path(uri).parent.name for uri in places(store)} == {"new", "second"}


def test_an_old_place_that_cannot_be_looked_at_is_left_alone_and_named(
    store: EvidenceStore, new: Path, tmp_path: Path
) -> None:
    """A loop of links cannot be listed, which is no proof that nothing is behind it."""
    put(new, a=content(0))
    relinked(store, wanted(new))
    second = tmp_path / "second"
    put(second, a=content(0))
    (new / "a.jpg").unlink()
    new.rmdir()
    new.symlink_to(new)
    found = relinked(store, wanted(second, START + 200, old=path_uri(new))).counts
    assert (found.attached, found.gone) == (1, 0)
    assert found.unreadable == [f"{path_uri(new)} (source.missing)"]


def test_back_again_is_a_sighting_and_no_second_version(store: EvidenceStore, new: Path) -> None:
    """There and back: the files keep their times, so they are known without being read."""
    second = new.parent / "second"
    put(new, a=content(0))
    relinked(store, wanted(new))
    os.rename(new, second)
    relinked(store, wanted(second, START + 200, old=path_uri(new)))
    os.rename(second, new)
    back = relinked(store, wanted(new, START + 300, old=path_uri(second))).counts
    assert (back.attached, back.read, back.gone) == (1, 0, 1)
    assert set(places(store)) == {path_uri(new / "a.jpg")}
    assert store.counts()[ASSET_VERSIONS] == 6 + 2


def test_bytes_that_were_found_altered_are_not_taken_for_what_lay_there_before(
    store: EvidenceStore, new: Path
) -> None:
    """The same size and time as on record, but a re-scan has read other bytes."""
    put(new, a=content(0))
    relinked(store, wanted(new))
    (place,) = places(store)
    identity = next(list_source(str(new))).identity
    altered = Seen("t", asset_id_of(content(77)), Sighting.ALTERED, identity, START + 150)
    EvidenceCommitter(store).append_rows(
        ASSET_SIGHTINGS, sighting_rows([altered], "run-9", "s9"), "s9"
    )
    (new / "a.jpg").write_bytes(content(3))
    os.utime(new / "a.jpg", ns=(identity.mtime_ns, identity.mtime_ns))
    found = relinked(store, wanted(new, START + 200)).counts
    assert (found.read, found.attached) == (1, 1)
    assert places(store) == {place: asset_id_of(content(3))}


@pytest.mark.parametrize(
    ("text", "old"),
    [
        ("/a=/", "file:///a"),
        ("/a/=/", "file:///a"),
        ("/day=2/x=/", "file:///day=2/x"),
        ("s3://bucket/day=1=/", "s3://bucket/day=1"),
        ("file:///a%20b=/", "file:///a%20b"),
        ("/a b=/", "file:///a%20b"),
        ("file:///a b/=/", "file:///a%20b"),
    ],
)
def test_old_and_new_are_told_apart(text: str, old: str) -> None:
    assert Move.parse(text) == Move(old, "file:///")


@pytest.mark.parametrize("text", ["/a", "=/a", "/a=", "a=b=c", "/a=/b=/c"])
def test_what_cannot_be_told_apart_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        Move.parse(text)


def test_a_new_place_that_is_not_there_is_refused_at_once() -> None:
    with pytest.raises(SourceError, match="no such file or folder"):
        Move.parse("/a=/nowhere/at/all")


def test_a_prefix_ends_at_a_slash() -> None:
    move = Move("file:///a", "file:///b")
    assert [move.held(f"file:///{path}") for path in ("a", "a/x", "ab/x")] == [True, True, False]
