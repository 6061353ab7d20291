"""Stores damaged in every way: it is seen and named, mended, and only what was lost is derived."""

from __future__ import annotations

import shutil
from pathlib import Path

import lance
import pyarrow as pa
import pytest

from ecm.config import Profile
from ecm.delivery.repair import REPORTS
from ecm.evidence.damage import DamageKind as Kind
from ecm.evidence.refs import all_refs, folder_of
from ecm.evidence.store import EvidenceStore
from ecm.ledger import open_ledger
from ecm.ledger.states import TaskState
from tests.damaged import (
    Damage,
    derived_again,
    examined,
    flipped,
    fragment_file,
    key_digest,
    manifests,
    mended,
    removed,
    table_of,
    truncated,
    vector_place,
)
from tests.factories import fake_profile
from tests.maintained import contents, is_well, made

IN_A_BATCH = 2
"""Pictures that one batch of `made` holds."""

VV = "evidence_vectors_vv"


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, dict[str, str]]:
    """A home, the digest of its keys, and what its tables say but for when."""
    home = tmp_path_factory.mktemp("made") / "home"
    profile = made(home)
    assert examined(profile).sound  # which seals the files
    return home, key_digest(profile), contents(profile)


@pytest.fixture
def profile(indexed: tuple[Path, str, dict[str, str]], tmp_path: Path) -> Profile:
    """A copy of the home; its pictures are named by where it lies, so the first one stays."""
    shutil.copytree(indexed[0] / "store", tmp_path / "store")
    shutil.copy(indexed[0] / "ledger.sqlite3", tmp_path / "ledger.sqlite3")
    (tmp_path / "photos").symlink_to(indexed[0] / "photos")
    return fake_profile(tmp_path)


def test_a_sound_store_is_left_as_it_is(profile: Profile) -> None:
    found = examined(profile)
    assert found.sound
    assert (found.tables.damages, found.affected.count) == ((), 0)
    before = EvidenceStore.open(profile.evidence).versions()
    assert mended(profile).reopened == 0
    with open_ledger(profile.ledger) as ledger:
        assert not ledger.status(ledger.now()).states[TaskState.QUEUED]
    fenced = {name: version + 1 for name, version in before.items()}
    assert EvidenceStore.open(profile.evidence).versions() == fenced


FRAGMENTS: list[tuple[str, Damage, set[Kind], int]] = [
    (VV, truncated, {Kind.TRUNCATED}, IN_A_BATCH),
    (VV, removed, {Kind.MISSING}, IN_A_BATCH),
    ("evidence_text", flipped(40), {Kind.ALTERED}, IN_A_BATCH),
    ("asset_versions", removed, {Kind.MISSING}, IN_A_BATCH),
    ("thumbnails", truncated, {Kind.TRUNCATED}, IN_A_BATCH),
]


def test_a_table_that_is_gone_is_missed(profile: Profile) -> None:
    shutil.rmtree(profile.home / "store" / "tables" / "asset_versions.lance")
    found = examined(profile)
    assert {(d.table, d.kind) for d in found.tables.damages} == {("asset_versions", Kind.MISSING)}
    assert found.affected.count == 24
    assert mended(profile).reopened == 24
    assert derived_again(profile) == 24
    assert examined(profile).sound


@pytest.mark.parametrize(("beginning", "damage", "kinds", "keys"), FRAGMENTS)
def test_a_damaged_fragment_is_named_and_only_its_tasks_are_done_again(
    profile: Profile,
    indexed: tuple[Path, str, dict[str, str]],
    beginning: str,
    damage: Damage,
    kinds: set[Kind],
    keys: int,
) -> None:
    table = table_of(profile, beginning)
    path = fragment_file(profile, table, 3)
    damage(path)

    found = examined(profile)
    assert {(d.table, d.kind, d.fragment) for d in found.tables.damages} == {
        (table, kind, 3) for kind in kinds
    }
    assert found.tables.damages[0].file == f"tables/{table}.lance/data/{path.name}"
    assert found.affected.count == keys
    assert found.affected.by_table == {table: keys}

    done = mended(profile)
    assert (done.reopened, done.problems) == (keys, [])
    report = EvidenceStore.open(profile.evidence).storage.read(done.report)
    assert report is not None
    assert done.report.startswith(REPORTS)
    assert examined(profile).sound

    assert derived_again(profile) == keys
    assert examined(profile).sound
    assert is_well(profile)
    assert key_digest(profile) == indexed[1]
    assert EvidenceStore.open(profile.evidence).counts()[table] == 24 * (
        5 if table == "evidence_text" else 1
    )


@pytest.mark.parametrize("seals", ["sealed", "without seals"])
def test_a_byte_flipped_in_a_vector_costs_that_vector(profile: Profile, seals: str) -> None:
    if seals != "sealed":
        shutil.rmtree(profile.home / "store" / "seals")
    table = table_of(profile, VV)
    path, at = vector_place(profile, table, 5)
    flipped(at + 2)(path)  # a bit of the mantissa: still finite, and nearly a unit vector
    found = examined(profile)
    assert {(d.kind, d.fragment, d.rows) for d in found.tables.damages} == {(Kind.CHECKSUM, 5, 1)}
    assert found.tables.damages[0].example in next(iter(found.affected.keys.values()))
    assert found.affected.count == 1
    assert mended(profile).reopened == 1
    assert derived_again(profile) == 1
    assert examined(profile).sound
    assert is_well(profile)


def test_a_newest_version_that_cannot_be_read_is_passed_over(
    profile: Profile, indexed: tuple[Path, str, dict[str, str]]
) -> None:
    table = table_of(profile, VV)
    newest = EvidenceStore.open(profile.evidence).versions()[table]
    truncated(manifests(profile, table)[0])
    found = examined(profile)
    (damage,) = found.tables.damages
    assert (damage.kind, damage.table) == (Kind.MANIFEST, table)
    assert f"version {newest - 1} is the newest of {newest}" in damage.detail
    assert found.affected.count == IN_A_BATCH
    mended(profile)
    assert EvidenceStore.open(profile.evidence).versions()[table] > newest
    assert list((profile.home / "store" / "damaged").rglob("*.manifest"))
    assert examined(profile).sound
    assert derived_again(profile) == IN_A_BATCH
    assert examined(profile).sound
    assert key_digest(profile) == indexed[1]


def test_a_table_of_which_nothing_can_be_read_begins_anew(
    profile: Profile, indexed: tuple[Path, str, dict[str, str]]
) -> None:
    table = table_of(profile, "evidence_vectors_x")
    for path in manifests(profile, table):
        path.write_bytes(b"nothing")
    found = examined(profile)
    assert found.affected.count == 24
    mended(profile)
    assert table not in EvidenceStore.open(profile.evidence).tables()
    assert derived_again(profile) == 24
    assert examined(profile).sound
    assert key_digest(profile) == indexed[1]
    assert is_well(profile)


def test_a_damaged_index_is_made_anew(profile: Profile) -> None:
    folder = profile.home / "store" / "tables" / "evidence_text.lance" / "_indices"
    (path,) = folder.glob("*/page_data.lance")
    flipped(20)(path)
    found = examined(profile)
    assert [d.kind for d in found.tables.damages] == [Kind.INDEX]
    assert found.affected.count == 0
    mended(profile)
    assert examined(profile).sound
    assert is_well(profile)


def test_rows_that_are_there_twice_are_derived_again(profile: Profile) -> None:
    store = EvidenceStore.open(profile.evidence)
    table = table_of(profile, "evidence_vectors_mv")
    dataset = store.dataset(table)
    lance.write_dataset(dataset.to_table(limit=3), dataset.uri, mode="append")
    found = examined(profile)
    assert {(d.kind, d.rows, d.keys) for d in found.tables.damages} == {(Kind.DOUBLE, 3, 3)}
    assert mended(profile).reopened == 3
    assert derived_again(profile) == 3
    assert examined(profile).sound


def test_what_is_done_but_nowhere_stored_is_derived_again(profile: Profile) -> None:
    store = EvidenceStore.open(profile.evidence)
    store.dataset(table_of(profile, "evidence_vectors_mv")).delete("ordinal = 0")
    found = examined(profile)
    assert found.tables.damages == ()
    assert (found.affected.count, found.affected.unstored, found.sound) == (24, 24, False)
    assert mended(profile).reopened == 24
    assert derived_again(profile) == 24
    assert examined(profile).sound


@pytest.mark.parametrize("what", ["_indices", "ref.json", "published.json"])
def test_a_damaged_snapshot_is_replaced(profile: Profile, what: str) -> None:
    store = EvidenceStore.open(profile.evidence)
    (ref,) = all_refs(store)
    if what == "published.json":
        path = profile.home / "store" / what
    elif what == "ref.json":
        path = Path(store.storage.location(f"{folder_of(ref.snapshot_id)}/{what}"))
    else:
        table = Path(store.storage.location(ref.table)) / what
        path = max((p for p in table.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    flipped(20)(path)
    found = examined(profile)
    assert [e.published for e in found.damaged_snapshots] in ([True], [True, True])
    assert not found.sound
    done = mended(profile)
    assert done.snapshot_built
    assert done.problems == []
    assert examined(profile).sound
    assert is_well(profile)


def test_rows_that_nobody_can_have_written_are_taken_out(profile: Profile) -> None:
    """Ids that are no digests, a confidence beyond 1."""
    store = EvidenceStore.open(profile.evidence)
    dataset = store.dataset("evidence_text")
    rows = dataset.to_table(limit=2).to_pylist()
    rows[0] |= {"evidence_id": "ab" * 16, "evidence_key": "not a digest", "tenant_id": "T"}
    rows[1] |= {"confidence": 1.5, "evidence_id": "cd" * 16}
    table = pa.Table.from_pylist(rows, schema=dataset.schema)
    lance.write_dataset(table, dataset.uri, mode="append")
    found = examined(profile)
    kinds = {d.kind for d in found.tables.damages}
    assert kinds == {Kind.KEY, Kind.CONFIDENCE}
    mended(profile)
    derived_again(profile)
    assert examined(profile).sound
    assert is_well(profile)
