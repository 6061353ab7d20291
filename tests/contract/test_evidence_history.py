"""The story of an asset: where it lay, what was said of it, and nothing of other tenants."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from ecm.contracts.identity import ContentIdentity
from ecm.contracts.result import ResourceFingerprint, Space
from ecm.errors import QueryError
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.history import asset_at, asset_history, find_asset
from ecm.evidence.runs import RunRecord, record_run
from ecm.evidence.schema import ASSET_SIGHTINGS, Sighting
from ecm.evidence.sightings import Seen, sighting_rows
from ecm.evidence.snapshot import SnapshotPolicy, SnapshotStore
from ecm.evidence.store import EvidenceStore
from ecm.evidence.story import AssetHistory
from ecm.evidence.timeline import What
from tests.evidence_envelopes import MV, START, VISION, content_of, embedded, everything, vision


class Told:
    """A store to which a test adds what runs saw and said."""

    def __init__(self, tmp_path: Path) -> None:
        self.store = EvidenceStore.create(EvidenceConfig(uri=str(tmp_path / "store")), START)
        self.committer = EvidenceCommitter(self.store)
        self.batches = 0

    def seen(self, uri: str, content: str, after: float, run: str, mtime: int = 1) -> None:
        self.batches += 1
        where = ResourceFingerprint(
            uri=uri, content_hash=content_of(content), size=9, mtime_ns=mtime
        )
        said = vision(
            content,
            f"a photo of {content}",
            (content,),
            resource_fingerprint=where,
            observed_at=START + after,
            run_id=run,
        )
        self.committer.append(f"b-{self.batches}", [said])

    def looked(self, uri: str, content: str, state: Sighting, after: float, run: str) -> None:
        identity = ContentIdentity(uri=uri, size=9, mtime_ns=1)
        seen = Seen("t", content_of(content), state, identity, START + after)
        rows: pa.Table = sighting_rows([seen], run, f"{run}-{state}")
        self.committer.append_rows(ASSET_SIGHTINGS, rows, f"{run}-{state}")

    def story(self, content: str, **models: str) -> AssetHistory:
        return asset_history(self.store, "t", content_of(content), models)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def events(story: AssetHistory) -> list[tuple[What, str]]:
    return [(event.what, event.uri.rsplit("/", 1)[1]) for event in story.events]


def test_a_path_whose_content_changed_tells_of_both(told: Told) -> None:
    told.seen("file:///p/a", "old", 0, "r1")
    told.seen("file:///p/a", "new", 10, "r2", mtime=2)
    old, new = told.story("old"), told.story("new")
    assert events(old) == events(new) == [(What.SEEN, "a"), (What.REPLACED, "a")]
    assert old.events[1].before == content_of("old")
    assert (old.lies_at, new.lies_at) == ((), ("file:///p/a",))
    assert asset_at(told.store, "t", "file:///p/a") == content_of("new")


def test_gone_returned_and_altered_in_their_order(told: Told) -> None:
    told.seen("file:///p/a", "x", 0, "r1")
    told.looked("file:///p/a", "x", Sighting.GONE, 10, "r2")
    assert told.story("x").lies_at == ()
    told.looked("file:///p/a", "x", Sighting.PRESENT, 20, "r3")
    told.looked("file:///p/a", "other", Sighting.ALTERED, 30, "r4")
    story = told.story("x")
    kinds = [What.SEEN, What.GONE, What.RETURNED, What.ALTERED]
    assert [event.what for event in story.events] == kinds
    assert (story.events[3].asset_id, story.events[3].before) == (
        content_of("other"),
        content_of("x"),
    )
    assert story.lies_at == ()


def test_a_move_names_both_ends_and_a_second_copy_is_none(told: Told) -> None:
    told.seen("file:///p/a", "x", 0, "r1")
    told.seen("file:///p/copy", "x", 1, "r1")
    told.looked("file:///p/a", "x", Sighting.GONE, 10, "r2")
    told.seen("file:///p/b", "x", 11, "r2")
    told.looked("file:///p/copy", "x", Sighting.GONE, 20, "r3")
    story = told.story("x")
    moved = next(event for event in story.events if event.what is What.MOVED)
    came = next(event for event in story.events if event.moved_from)
    assert (moved.uri, moved.moved_to) == ("file:///p/a", "file:///p/b")
    assert (came.uri, came.moved_from) == ("file:///p/b", "file:///p/a")
    assert events(story)[-1] == (What.GONE, "copy")
    assert story.lies_at == ("file:///p/b",)


def test_a_move_that_a_worker_saw_while_the_run_went_on(told: Told) -> None:
    told.seen("file:///p/a", "x", 0, "r1")
    told.looked("file:///p/a", "x", Sighting.GONE, 10, "r2")
    told.seen("file:///p/b", "x", 12, "worker-7")
    assert events(told.story("x"))[1] == (What.GONE, "a")
    run = RunRecord(
        run_id="r2", tenant_id="t", job_id="j", config_digest="0" * 64, code_version="1",
        started_at=START + 10,
    )  # fmt: skip
    record_run(told.store, run.finished(START + 15, {}))
    assert events(told.story("x"))[1] == (What.MOVED, "a")


def test_every_run_with_what_it_said(told: Told) -> None:
    record = RunRecord(
        run_id="r1", tenant_id="t", job_id="j1", config_digest="0" * 64, code_version="9.9",
        started_at=START,
    )  # fmt: skip
    record_run(told.store, record)
    record_run(told.store, record.finished(START + 5, {}))
    told.committer.append("b", everything("x", "dog", "beach", run_id="r1"))
    later = embedded("x", Space.MV, transform=content_of("model B"), run_id="r2")
    told.committer.append("c", [later.model_copy(update={"observed_at": START + 50})])
    story = told.story("x", **{VISION: "tagger@1", MV: "meaning@1"})
    first = next(each for each in story.analyses if each.transform == VISION)
    assert (first.model, first.code_version, first.finished_at) == ("tagger@1", "9.9", START + 5)
    assert {(said.kind, said.text) for said in first.texts} >= {
        ("caption", "a photo of dog and beach"),
        ("tag", "dog"),
        ("classification", "dog"),
    }
    last = story.analyses[-1]
    assert (last.run_id, last.model, last.state) == ("r2", None, None)
    vector = last.vectors[0]
    assert (vector.space, vector.dim, vector.norm) == (Space.MV, 6, 2.5)
    assert len(vector.checksum) == 64
    assert story.facts is not None
    assert (story.facts.width, story.facts.format) == (640, "JPEG")
    assert story.truncated == ()


def test_which_snapshots_show_it_and_which_is_published(told: Told) -> None:
    told.committer.append("b", everything("x", "dog"))
    snapshots = SnapshotStore(told.store)
    first = snapshots.build(SnapshotPolicy(transforms={}), START + 1)
    told.committer.append("c", everything("y", "cat"))
    second = snapshots.build(SnapshotPolicy(transforms={}), START + 2)
    snapshots.publish(second.snapshot_id, START + 3)
    shown = [(s.snapshot_id, s.published) for s in told.story("x").snapshots]
    assert shown == [(first.snapshot_id, False), (second.snapshot_id, True)]
    assert [s.snapshot_id for s in told.story("y").snapshots] == [second.snapshot_id]


def test_an_id_may_be_cut_where_it_stays_the_only_one(told: Told) -> None:
    told.committer.append("b", [vision("x"), vision("theirs", tenant="other")])
    asset = content_of("x")
    assert find_asset(told.store, "t", asset[:8].upper()) == asset
    twin = asset[:20] + "0" * 44
    told.committer.append("c", [vision("twin", content=twin)])
    with pytest.raises(QueryError, match="could be 2 assets") as ambiguous:
        find_asset(told.store, "t", asset[:20])
    assert ambiguous.value.code == "query.asset_ambiguous"
    assert find_asset(told.store, "t", asset) == asset


@pytest.mark.parametrize("name", ["", "abc", "g" * 64, "0" * 65, "0" * 64, "' OR 1=1 --"])
def test_what_is_no_asset_is_unknown(told: Told, name: str) -> None:
    with pytest.raises(QueryError) as unknown:
        find_asset(told.store, "t", name)
    assert unknown.value.code == "query.asset_unknown"


def test_assets_of_other_tenants_do_not_exist(told: Told) -> None:
    told.committer.append("b", [vision("theirs", tenant="other", uri="file:///p/theirs")])
    told.seen("file:///p/theirs", "mine", 5, "r1")
    asset = content_of("theirs")
    with pytest.raises(QueryError):
        find_asset(told.store, "t", asset[:16])
    with pytest.raises(QueryError):
        asset_history(told.store, "t", asset, {})
    assert asset not in told.story("mine").model_dump_json()
    assert asset_at(told.store, "t", "file:///p/theirs") == content_of("mine")
