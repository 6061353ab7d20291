"""Bytes that rot in files of words: seen by their seals, and never merged into other files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ecm.config import Profile
from ecm.errors import StoreCorrupt
from ecm.evidence.damage import DamageKind as Kind
from ecm.evidence.maintenance import TableUpkeep
from ecm.evidence.sealing import check_seals, seal_store
from ecm.evidence.seals import seals_of
from ecm.evidence.store import EvidenceStore
from tests.damaged import examined, flipped, fragment_file, mended
from tests.factories import fake_profile
from tests.maintained import made

TEXT = "evidence_text"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "home"
    made(path)
    return path


@pytest.fixture
def profile(home: Path, tmp_path: Path) -> Profile:
    shutil.copytree(home, tmp_path / "home")
    return fake_profile(tmp_path / "home")


def flip_a_letter(profile: Profile) -> Path:
    """One letter of a caption is another: nothing but a seal can tell."""
    path = fragment_file(profile, TEXT, 0)
    at = path.read_bytes().index(b"picture")
    flipped(at)(path)
    return path


def test_the_end_of_a_run_seals_all_it_wrote(profile: Profile) -> None:
    store = EvidenceStore.open(profile.evidence)
    files = {
        file for ref in examined(profile).tables.tables[TEXT].head.fragments for file in ref.files
    }
    assert files <= seals_of(store, TEXT).keys()
    assert seal_store(store) == 0


def test_a_letter_that_rotted_is_seen_by_its_seal(profile: Profile) -> None:
    flip_a_letter(profile)
    assert [d.kind for d in examined(profile).tables.damages] == [Kind.ALTERED]
    mended(profile)
    assert examined(profile).sound


def test_without_a_seal_a_letter_is_as_good_as_another(profile: Profile) -> None:
    """What `ecm audit --deep` says it cannot see."""
    shutil.rmtree(profile.home / "store" / "seals")
    flip_a_letter(profile)
    assert examined(profile).sound


def test_what_rotted_is_not_merged_into_a_file_with_a_seal_of_its_own(profile: Profile) -> None:
    flip_a_letter(profile)
    store = EvidenceStore.open(profile.evidence)
    upkeep = TableUpkeep(store, TEXT, lambda: None)
    before = store.versions()
    with pytest.raises(StoreCorrupt, match="sealed"):
        upkeep.compact_run(upkeep.runs()[0])
    assert store.versions() == before


def test_merged_files_are_sealed_and_the_old_ones_forgotten(profile: Profile) -> None:
    store = EvidenceStore.open(profile.evidence)
    old = set(seals_of(store, TEXT))
    upkeep = TableUpkeep(store, TEXT, lambda: None)
    for run in upkeep.runs():
        upkeep.compact_run(run)
    upkeep.seal()
    new = set(seals_of(store, TEXT))
    assert not {name for name in old & new if "/data/" in name}
    assert any("/data/" in name for name in new)
    assert examined(profile).sound


def test_seals_that_are_lost_or_damaged_are_made_anew(profile: Profile) -> None:
    path = profile.home / "store" / "seals" / f"{TEXT}.json"
    path.write_bytes(b"{}")
    assert examined(profile).sound
    store = EvidenceStore.open(profile.evidence)
    assert len(seals_of(store, TEXT)) > 2
    check_seals(store, TEXT, {0, 1})
