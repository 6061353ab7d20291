"""What a complete listing marks as gone, back or moved, and what it must never mark."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.contracts.identity import ContentIdentity, path_uri
from ecm.contracts.result import ResourceFingerprint
from ecm.delivery.listed import listing_on_disk
from ecm.delivery.rescan import Look, Rescanned, rescan
from ecm.errors import ContractError, LeaseLost
from ecm.evidence.committer import EvidenceCommitter, unquestioned
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.store import EvidenceStore
from ecm.images.entries import Found, Skipped
from tests.evidence_envelopes import START, content_of, vision

LATER = START + 1000.0


class Place:
    """A folder of photos as the store knows it; `scan` lists what the test says lies there."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "photos"
        self.folder.mkdir()
        self.store = EvidenceStore.create(EvidenceConfig(uri=str(tmp_path / "store")), START)
        self.committer = EvidenceCommitter(self.store)
        self.work = tmp_path / "work"
        self.runs = 0

    def uri(self, name: str) -> str:
        return path_uri(self.folder / name)

    def seen(
        self, name: str, content: str, mtime: int = 1, at: float = START, tenant: str = "t"
    ) -> None:
        """A run has read these bytes there."""
        self.runs += 1
        where = ResourceFingerprint(
            uri=self.uri(name), content_hash=content_of(content), size=9, mtime_ns=mtime
        )
        said = vision(content, tenant=tenant, resource_fingerprint=where, observed_at=at)
        self.committer.append(f"batch-{self.runs}", [said])

    def file(self, name: str, mtime: int = 1) -> Found:
        return Found(ContentIdentity(uri=self.uri(name), size=9, mtime_ns=mtime))

    def scan(
        self,
        entries: Iterable[Found | Skipped],
        run: str = "scan-1",
        at: float = LATER,
        share: float = 1.0,
        sources: tuple[str, ...] = (),
        tenant: str = "t",
    ) -> Rescanned:
        with listing_on_disk(self.work, run, sources or (str(self.folder),)) as listed:
            listed.add(entries)
            listed.complete()
            look = Look(tenant, run, at)
            return rescan(self.store, listed, look, share, unquestioned)

    def sightings(self) -> list[tuple[str, str, str]]:
        if not self.store.has_table("asset_sightings"):
            return []
        rows = self.store.read("asset_sightings", ["uri", "state", "asset_id", "observed_at"])
        ordered = sorted(rows.to_pylist(), key=lambda row: (row["observed_at"], row["uri"]))
        return [(r["uri"].rsplit("/", 1)[1], r["state"], r["asset_id"]) for r in ordered]

    def lying(self) -> dict[str, str]:
        """What lies at each place by the last look."""
        columns = ["uri", "asset_id", "observed_at"]
        looks: list[dict[str, Any]] = []
        for name, more in (("asset_versions", []), ("asset_sightings", ["state"])):
            if self.store.has_table(name):
                looks += self.store.read(name, [*columns, *more]).to_pylist()
        last = {row["uri"]: row for row in sorted(looks, key=lambda row: row["observed_at"])}
        return {u: row["asset_id"] for u, row in last.items() if row.get("state") != "gone"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_what_is_not_listed_any_more_is_gone_once(place: Place) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        place.seen(name, name)
    listed = [place.file("a.jpg"), place.file("c.jpg")]
    assert place.scan(listed) == Rescanned(gone=1)
    assert place.sightings() == [("b.jpg", "gone", content_of("b.jpg"))]
    assert place.scan(listed, "scan-2", LATER + 10) == Rescanned()
    assert len(place.sightings()) == 1


def test_what_lies_there_again_returns(place: Place) -> None:
    place.seen("a.jpg", "old")
    place.seen("keep.jpg", "keep")
    place.scan([place.file("keep.jpg")])
    everything = [place.file("a.jpg"), place.file("keep.jpg")]
    assert place.scan(everything, "scan-2", LATER + 10) == Rescanned(returned=1)
    assert place.sightings()[-1] == ("a.jpg", "present", content_of("old"))
    assert place.scan(everything, "scan-3", LATER + 20) == Rescanned()


def test_a_path_that_goes_back_to_older_content_says_so(place: Place) -> None:
    place.seen("a.jpg", "old", mtime=1)
    place.seen("a.jpg", "new", mtime=2, at=START + 10)
    assert place.scan([place.file("a.jpg", mtime=1)]) == Rescanned(returned=1)
    assert place.sightings() == [("a.jpg", "present", content_of("old"))]
    assert place.scan([place.file("a.jpg", mtime=1)], "scan-2", LATER + 10) == Rescanned()


def test_a_moved_file_is_gone_here_and_new_there(place: Place) -> None:
    place.seen("a.jpg", "same")
    place.seen("b/a.jpg", "same", at=LATER + 1)  # by the run that listed
    assert place.scan([place.file("b/a.jpg")], share=0.1) == Rescanned(gone=1, moved=1)
    assert place.sightings() == [("a.jpg", "gone", content_of("same"))]


def test_a_copy_that_lay_elsewhere_before_is_no_move(place: Place) -> None:
    place.seen("a.jpg", "same")
    place.seen("b.jpg", "same")
    assert place.scan([place.file("b.jpg")]) == Rescanned(gone=1)


def test_what_was_seen_after_the_listing_began_is_not_lost(place: Place) -> None:
    place.seen("late.jpg", "late", at=LATER + 1)
    assert place.scan([place.file("other.jpg")]) == Rescanned()


def test_skipped_files_and_unreadable_folders_keep_what_is_known(place: Place) -> None:
    for name in ("locked/a.jpg", "locked/deep/b.jpg", "locked2.jpg", "c.jpg"):
        place.seen(name, name)
    skipped = [
        Skipped(place.uri("c.jpg"), "unreadable"),
        Skipped(place.uri("locked") + "/", "unreadable"),
        place.file("x.jpg"),
    ]
    assert place.scan(skipped) == Rescanned(gone=1)
    assert place.sightings() == [("locked2.jpg", "gone", content_of("locked2.jpg"))]


def test_only_what_lies_below_the_source_and_is_the_tenants(place: Place, tmp_path: Path) -> None:
    place.seen("a.jpg", "a")
    place.seen("a.jpg", "a", tenant="other")
    uri = path_uri(tmp_path / "photos-too" / "b.jpg")
    where = ResourceFingerprint(uri=uri, content_hash=content_of("n"), size=9, mtime_ns=1)
    place.committer.append("neighbour", [vision("n", resource_fingerprint=where)])
    assert place.scan([]) == Rescanned(gone=1)
    rows = place.store.read("asset_sightings", ["tenant_id", "uri"]).to_pylist()
    assert rows == [{"tenant_id": "t", "uri": place.uri("a.jpg")}]


@pytest.mark.parametrize("left", [0, 4])
def test_a_source_that_lost_too_much_marks_nothing_and_is_named(place: Place, left: int) -> None:
    for number in range(10):
        place.seen(f"{number}.jpg", f"{number}")
    listed = [place.file(f"{number}.jpg") for number in range(left)]
    found = place.scan(listed, share=0.5)
    assert (found.gone, len(found.problems)) == (0, 1)
    assert str(place.folder) in found.problems[0]
    assert place.sightings() == []
    assert place.scan(listed, "scan-2", LATER + 1, share=1.0).gone == 10 - left


def test_a_folder_that_was_renamed_before_an_interrupted_run_is_no_loss(place: Place) -> None:
    """The new places are known already, the old ones are not compared yet."""
    for number in range(5):
        place.seen(f"old/{number}.jpg", f"{number}")
        place.seen(f"new/{number}.jpg", f"{number}", at=START + 10)
    listed = [place.file(f"new/{number}.jpg") for number in range(5)]
    assert place.scan(listed, share=0.1) == Rescanned(gone=5)


def test_one_that_lists_nothing_is_not_mounted_though_there_are_copies_elsewhere(
    place: Place,
) -> None:
    sources = tuple(str(place.folder / name) for name in ("nas", "copies"))
    for source in sources:
        Path(source).mkdir()
    for name in ("nas/1.jpg", "copies/1.jpg"):
        place.seen(name, "the same")
    found = place.scan([place.file("copies/1.jpg")], share=0.5, sources=sources)
    assert (found.gone, len(found.problems)) == (0, 1)


def test_one_source_that_lost_too_much_does_not_keep_others_from_being_compared(
    place: Place, tmp_path: Path
) -> None:
    gone, fine = place.folder / "nas", place.folder / "disk"
    gone.mkdir()
    fine.mkdir()
    for name in ("nas/1.jpg", "nas/2.jpg", "disk/1.jpg", "disk/2.jpg", "disk/3.jpg"):
        place.seen(name, name)
    listed = [place.file("disk/1.jpg"), place.file("disk/2.jpg")]
    found = place.scan(listed, share=0.5, sources=(str(gone), str(fine)))
    assert found.gone == 1
    assert [str(gone) in problem for problem in found.problems] == [True]
    assert place.sightings() == [("3.jpg", "gone", content_of("disk/3.jpg"))]


def test_sources_within_others_are_parts_of_them(place: Place) -> None:
    (place.folder / "in").mkdir()
    for name in ("in/1.jpg", "2.jpg"):
        place.seen(name, name)
    listed = [place.file("2.jpg"), place.file("in/1.jpg"), place.file("in/1.jpg")]
    sources = (str(place.folder / "in"), str(place.folder))
    assert place.scan(listed, sources=sources) == Rescanned()
    assert place.scan(listed[:1], "scan-2", LATER + 1, sources=sources).gone == 1


def test_a_source_that_is_one_file_says_nothing_of_others(place: Place) -> None:
    (place.folder / "a.jpg").write_bytes(b"")
    place.seen("a.jpg", "a")
    place.seen("b.jpg", "b")
    source = (str(place.folder / "a.jpg"),)
    assert place.scan([place.file("a.jpg")], sources=source) == Rescanned()


def test_objects_are_compared_like_files_and_prefixes_end_at_slashes(place: Place) -> None:
    def put(key: str) -> Found:
        uri = f"s3://bucket/{key}"
        where = ResourceFingerprint(uri=uri, content_hash=content_of(key), size=9, etag="e")
        place.runs += 1
        place.committer.append(f"s3-{place.runs}", [vision(key, resource_fingerprint=where)])
        return Found(ContentIdentity(uri=uri, size=9, etag="e"))

    entries = [put("in/1.jpg"), put("in/2.jpg"), put("inside/3.jpg")]
    assert place.scan(entries[:1], sources=("s3://bucket/in",)) == Rescanned(gone=1)
    assert place.sightings() == [("2.jpg", "gone", content_of("in/2.jpg"))]


def test_a_listing_that_did_not_end_is_not_compared(place: Place) -> None:
    place.seen("a.jpg", "a")
    with listing_on_disk(place.work, "scan-1", (str(place.folder),)) as listed:
        listed.add([place.file("b.jpg")])
        with pytest.raises(ContractError, match="not complete"):
            rescan(place.store, listed, Look("t", "scan-1", LATER), 1.0, unquestioned)
    assert not list(place.work.iterdir())


def test_whoever_has_lost_the_right_to_commit_marks_nothing(place: Place) -> None:
    place.seen("a.jpg", "a")

    def lost() -> None:
        raise LeaseLost("another has taken it")

    with listing_on_disk(place.work, "scan-1", (str(place.folder),)) as listed:
        listed.complete()
        with pytest.raises(LeaseLost):
            rescan(place.store, listed, Look("t", "scan-1", LATER), 1.0, lost)
    assert place.sightings() == []


def test_a_run_that_died_halfway_and_its_successor_leave_each_row_once(place: Place) -> None:
    for number in range(4):
        place.seen(f"{number}.jpg", f"{number}")
    place.scan([place.file("0.jpg")])
    rows = place.sightings()
    again = Look("t", "scan-1", LATER)
    with listing_on_disk(place.work, "scan-1", (str(place.folder),)) as listed:
        listed.add([place.file("0.jpg")])
        listed.complete()
        assert rescan(place.store, listed, again, 1.0, unquestioned) == Rescanned()
    assert place.sightings() == rows


def test_a_run_that_died_between_gone_and_back_is_finished_by_the_next(place: Place) -> None:
    place.seen("a.jpg", "a")
    place.seen("b.jpg", "b")
    place.seen("c.jpg", "c")
    place.scan([place.file("b.jpg"), place.file("c.jpg")])  # a is gone
    asked = 0

    def dying() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise LeaseLost("the process is gone")

    entries = [place.file("a.jpg"), place.file("c.jpg")]
    with listing_on_disk(place.work, "scan-2", (str(place.folder),)) as listed:
        listed.add(entries)
        listed.complete()
        with pytest.raises(LeaseLost):
            rescan(place.store, listed, Look("t", "scan-2", LATER + 10), 1.0, dying)
    assert place.sightings()[1:] == [("b.jpg", "gone", content_of("b"))]
    assert place.scan(entries, "scan-3", LATER + 20) == Rescanned(returned=1)
    assert place.sightings()[2:] == [("a.jpg", "present", content_of("a"))]


NAMES = ("a.jpg", "b.jpg", "c/d.jpg")
FOLDER = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 3))
"""What lies at each name: a content, whose number is its date as well."""


@settings(max_examples=8, deadline=None)
@given(states=st.lists(FOLDER, min_size=1, max_size=4))
def test_after_any_changes_the_store_knows_what_lies_where(
    states: list[dict[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each run reads what it does not know by its date and compares; then all places are right."""
    place = Place(tmp_path_factory.mktemp("law"))
    read: set[tuple[str, int]] = set()
    for number, state in enumerate(states):
        began = LATER + 100 * number
        for name, content in state.items():
            if (name, content) not in read:
                read.add((name, content))
                place.seen(name, f"content {content}", mtime=content, at=began + 1)
        listed = [place.file(name, mtime=content) for name, content in sorted(state.items())]
        place.scan(listed, f"scan-{number}", began)
        assert place.lying() == {place.uri(n): content_of(f"content {c}") for n, c in state.items()}
        assert place.scan(listed, f"scan-{number}-again", began + 50) == Rescanned()
