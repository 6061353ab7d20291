"""A snapshot built on another one is the snapshot built anew, whatever happened in between."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecm.contracts.identity import ContentIdentity, digest
from ecm.contracts.result import (
    ImageFacts,
    ResourceFingerprint,
    ResultEnvelope,
    Space,
    Written,
    WrittenKind,
    WrittenSource,
)
from ecm.contracts.search import Axis
from ecm.evidence.committer import EvidenceCommitter, unquestioned
from ecm.evidence.compaction import compact, fragments_of, full_runs
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.policy import SnapshotPolicy, TenantPolicy
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import SnapshotRef
from ecm.evidence.schema import ASSET_SIGHTINGS, Sighting
from ecm.evidence.sightings import Seen, sighting_rows
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from tests.evidence_envelopes import (
    OCR,
    START,
    VISION,
    VV,
    content_of,
    embedded,
    everything,
    ocr,
    vector_of,
    vision,
)

OTHER = digest("other vision")
WORDS = ("dog", "sea", "castle", "red car")
EVEN = {"caption": 1.0, "tags": 1.0, "classification": 1.0, "ocr": 1.0, "name": 1.0}
POLICY = SnapshotPolicy(
    transforms={Axis.FTS: (VISION, OCR), Axis.VV: (VV,)},
    min_confidence=0.84,
    tenants={"u": TenantPolicy(transforms={Axis.FTS: (OTHER,)}, others="never", min_confidence=0)},
)


@pytest.fixture
def store(tmp_path: Path) -> EvidenceStore:
    return EvidenceStore.create(EvidenceConfig(uri=str(tmp_path / "store")), START)


def rows_of(store: EvidenceStore, ref: SnapshotRef) -> list[dict[str, Any]]:
    """Every column of every row, in an order of its own."""
    rows: list[dict[str, Any]] = store.open_lance(ref.table, ref.version).to_table().to_pylist()
    return sorted(rows, key=lambda row: (row["tenant_id"], row["asset_id"]))


def answers_of(store: EvidenceStore, ref: SnapshotRef) -> list[object]:
    """What searches find: vectors in order with scores, words as sets."""
    reader = SnapshotReader.open(store, ref)
    found: list[object] = [sorted(reader.broken)]
    for tenant in ("t", "u"):
        for word in WORDS:
            found.append({a for a, _ in reader.search_text(tenant, word, EVEN, 100)})
        if Axis.VV in ref.dims:
            found.append(reader.search_vectors(tenant, Axis.VV, vector_of(Space.VV, "q"), 100))
    return found


def seen(seed: int, place: str, state: Sighting, at: float, tenant: str = "t") -> Any:
    identity = ContentIdentity(uri=f"file:///photos/{place}.jpg", size=123, mtime_ns=77)
    look = Seen(tenant, content_of(seed), state, identity, at)
    return sighting_rows([look], "run-2", f"look{digest([seed, place, state, at, tenant])[:12]}")


_SEEDS = st.integers(0, 4)
_PLACES = st.sampled_from("vwxyz")
_TENANTS = st.sampled_from("tu")
_TIMES = st.integers(0, 9).map(lambda n: START + n)
_SAY = st.tuples(
    st.just("say"),
    _SEEDS,
    _PLACES,
    _TENANTS,
    _TIMES,
    st.sampled_from((VISION, OTHER)),
    st.lists(st.sampled_from(WORDS), max_size=3, unique=True).map(tuple),
)
_EMBED = st.tuples(st.just("embed"), _SEEDS, _PLACES, _TENANTS, _TIMES)
_LOOK = st.tuples(
    st.just("look"), _SEEDS, _PLACES, _TENANTS, _TIMES, st.sampled_from(list(Sighting))
)
_READ = st.tuples(st.just("read"), _SEEDS, _PLACES, _TENANTS, _TIMES)
_HISTORY = st.lists(
    st.one_of(_SAY, _EMBED, _LOOK, _READ, st.just(("compact",)), st.just(("build",))),
    min_size=2,
    max_size=14,
)


def read_in_file(seed: int, uri: str, observed_at: float, **where: Any) -> ResultEnvelope:
    """A look that finds words in the picture and in its file, whose time goes with the look's."""
    seen = ResourceFingerprint(
        uri=uri, content_hash=content_of(seed), size=123, mtime_ns=int(observed_at) * 10**9
    )
    words = [
        Written(kind=kind, source=source, text=f"{kind} {seed % 2}", taken_at=taken_at)
        for kind, source, taken_at in (
            (WrittenKind.KEYWORD, WrittenSource.XMP, None),
            (WrittenKind.TITLE, WrittenSource.IPTC, None),
            (WrittenKind.TAKEN, WrittenSource.EXIF, float(seed)),
        )[: seed % 4]
    ]
    image = ImageFacts(width=640, height=480, format="JPEG", written=tuple(words))
    where |= {"resource_fingerprint": seen, "image": image, "observed_at": observed_at}
    return ocr(seed, "STOP at the castle", **where)


def apply(store: EvidenceStore, number: int, step: tuple[Any, ...]) -> None:
    """One step of a history, as the commit loop, a re-scan or maintenance would do it."""
    committer = EvidenceCommitter(store)
    if step[0] == "compact":
        for name in store.tables():
            dataset = store.dataset(name)
            for run in full_runs(fragments_of(dataset), 1 << 30):
                compact(name, dataset, run, unquestioned)
            dataset.cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)
        committer.fence()
        return
    kind, seed, place, tenant, at, *rest = step
    where = {"uri": f"file:///photos/{place}.jpg", "tenant": tenant, "observed_at": at}
    if kind == "look":
        table = seen(seed, place, rest[0], at, tenant)
        committer.append_rows(ASSET_SIGHTINGS, table, table["batch_id"][0].as_py())
    elif kind == "say":
        said = vision(seed, " and ".join(rest[1]), rest[1], transform=rest[0], **where)
        committer.append(f"b{number}", [said])
    elif kind == "embed":
        committer.append(f"b{number}", [embedded(seed, **where)])
    else:
        committer.append(f"b{number}", [read_in_file(seed, **where)])


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(_HISTORY)
def test_step_by_step_is_anew(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[Any, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("law")
    store = EvidenceStore.create(EvidenceConfig(uri=str(folder / "store")), START)
    snapshots = SnapshotStore(store)
    apply(store, -1, ("say", 9, "v", "t", START, VISION, ("dog",)))
    apply(store, -2, ("embed", 9, "v", "t", START))
    built = [snapshots.build(POLICY, START)]
    for number, step in enumerate([*history, ("build",)]):
        if step[0] != "build":
            apply(store, number, step)
            continue
        ref = snapshots.build(POLICY, START + number)
        anew = snapshots.build_anew(POLICY, START + number)
        assert rows_of(store, ref) == rows_of(store, anew)
        assert answers_of(store, ref) == answers_of(store, anew)
        assert (ref.tenants, ref.assets) == (anew.tenants, anew.assets)
        assert ref.measurements.superseded == anew.measurements.superseded
        assert ref.measurements.coverage == anew.measurements.coverage
        store.storage.remove(f"snapshots/{anew.snapshot_id}")
        built.append(ref)
    for before in built:
        assert SnapshotReader.open(store, before).ref.assets == before.assets
    shutil.rmtree(folder)


def _grown(store: EvidenceStore, *batches: list[ResultEnvelope]) -> list[SnapshotRef]:
    """A snapshot after each batch, a second apart."""
    refs = []
    for batch in batches:
        now = START + len(SnapshotStore(store).list())
        EvidenceCommitter(store).append(f"b{now:.0f}", batch)
        refs.append(SnapshotStore(store).build(POLICY, now))
    return refs


def test_a_step_is_a_version_of_the_same_generation_with_a_tag(store: EvidenceStore) -> None:
    first, second = _grown(store, everything("a", "dog"), everything("b", "sea"))
    assert (first.lineage.base, first.lineage.reason) == (
        None,
        "there is no snapshot of this policy",
    )
    assert (second.table, second.lineage.base) == (first.table, first.snapshot_id)
    assert (second.lineage.steps, second.lineage.touched, second.lineage.added) == (1, 1, 1)
    tags = store.open_lance(first.table).tags.list()
    assert {name: tag["version"] for name, tag in tags.items()} == {
        ref.snapshot_id: ref.version for ref in (first, second)
    }
    dataset = store.open_lance(first.table)
    dataset.cleanup_old_versions(
        older_than=timedelta(0), delete_unverified=True, error_if_tagged_old_versions=False
    )
    assert [len(rows_of(store, ref)) for ref in (first, second)] == [1, 2]
    assert answers_of(store, first) != answers_of(store, second)


def test_maintenance_of_the_evidence_makes_no_new_snapshot(store: EvidenceStore) -> None:
    (ref,) = _grown(store, everything("a", "dog"))
    apply(store, 0, ("compact",))
    assert SnapshotStore(store).build(POLICY, START + 9) == ref


def test_what_lies_nowhere_disappears_and_comes_back(store: EvidenceStore) -> None:
    def uris(*looks: tuple[int, str, Sighting, float]) -> dict[str, list[str]]:
        for look in looks:
            table = seen(*look)
            EvidenceCommitter(store).append_rows(
                ASSET_SIGHTINGS, table, table["batch_id"][0].as_py()
            )
        now = START + len(SnapshotStore(store).list())
        ref = SnapshotStore(store).build(POLICY, now)
        names = {content_of(seed): str(seed) for seed in range(3)}
        return {names[row["asset_id"]]: row["uris"] for row in rows_of(store, ref)}

    place = {"uri": "file:///photos/p.jpg"}
    older = vision(1, "", ("dog",), **place)
    newer = vision(2, "", ("sea",), observed_at=START + 1, **place)
    EvidenceCommitter(store).append("b1", [older, vision(0, "", ("dog",))])
    EvidenceCommitter(store).append("b2", [newer])
    assert set(uris()) == {"0", "2"}
    back = (1, "p", Sighting.PRESENT, START + 2)
    assert uris(back) == {"0": ["file:///photos/0.jpg"], "1": ["file:///photos/p.jpg"]}
    gone = [(1, "p", Sighting.GONE, START + 3), (0, "0", Sighting.GONE, START + 3)]
    assert uris(*gone) == {}
    assert uris((1, "p", Sighting.PRESENT, START + 4)) == {"1": ["file:///photos/p.jpg"]}
    moved = (1, "elsewhere", Sighting.PRESENT, START + 5)
    assert uris(moved) == {"1": ["file:///photos/elsewhere.jpg", "file:///photos/p.jpg"]}
    assert [ref.lineage.steps for ref in SnapshotStore(store).list()[:3]] == [1, 0, 2]
