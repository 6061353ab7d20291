"""Readers of damaged files may die: that is a finding about what they read; the rest is read."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from ecm.errors import StoreUnavailable
from ecm.evidence.committer import EvidenceCommitter, unquestioned
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.damage import DamageKind, FragmentExam, HeadOf, TableHead
from ecm.evidence.examination import TableExam, examine
from ecm.evidence.examiners import Died, Examiners, Here
from ecm.evidence.mending import TableMending
from ecm.evidence.store import EvidenceStore
from ecm.evidence.table_heads import manifests_of
from tests.evidence_envelopes import START, everything
from tests.object_server import ObjectServer


@pytest.fixture
def store(quick_folder: Path) -> EvidenceStore:
    made = EvidenceStore.create(EvidenceConfig(uri=str(quick_folder / "store")), START)
    EvidenceCommitter(made).append("batch", [e for n in range(3) for e in everything(n, "cat")])
    return made


def test_one_that_dies_is_a_finding_and_the_next_takes_its_place(store: EvidenceStore) -> None:
    with Examiners(store.config, 1) as examiners:
        (head,) = examiners.ask([HeadOf("evidence_text")])
        assert isinstance(head, TableHead)
        (reader,) = multiprocessing.active_children()
        assert reader.pid is not None
        os.kill(reader.pid, signal.SIGABRT)
        reader.join()
        answers = list(examiners.ask([*head.fragments, *head.fragments]))
    assert isinstance(answers[0], Died)
    assert "SIGABRT" in answers[0].how
    assert isinstance(answers[1], FragmentExam)
    assert (answers[1].lost, answers[1].damages) == (False, ())
    assert multiprocessing.active_children() == []


def test_processes_find_what_is_found_here(store: EvidenceStore) -> None:
    here = examine(store, Here(store), lambda *_: None)
    with Examiners(store.config, 2) as examiners:
        there = examine(store, examiners, lambda *_: None)
    assert {n: t.keys.tobytes() for n, t in here.tables.items()} == {
        n: t.keys.tobytes() for n, t in there.tables.items()
    }
    assert here.damages == there.damages == ()


def test_a_store_that_is_away_is_no_damage(store: EvidenceStore) -> None:
    Path(store.storage.root).rename(Path(store.storage.root).with_name("away"))
    with pytest.raises(StoreUnavailable):
        list(Here(store).ask([HeadOf("evidence_text")]))


def test_damage_in_objects_is_found_and_mended_alike(object_server: ObjectServer) -> None:
    config = object_server.config()
    committer = EvidenceCommitter(EvidenceStore.create(config, START))
    for batch in range(2):
        committer.append(f"b{batch}", [e for n in range(2) for e in everything((batch, n), "sea")])
    store = EvidenceStore.open(config)
    heads = {name: table.head for name, table in _examined(store).items()}
    (cut,) = heads["evidence_text"].fragments[0].files
    store.storage.put(cut, (store.storage.read(cut) or b"")[:100])
    store.storage.put(next(iter(manifests_of(store, "assets").values())), b"nothing")

    found = _examined(store)
    kinds = {d.table: d.kind for table in found.values() for d in table.damages}
    assert kinds == {"evidence_text": DamageKind.TRUNCATED, "assets": DamageKind.MANIFEST}
    for name in kinds:
        list(TableMending(store, found[name], "repair", unquestioned).mend())
    assert not any(table.damages for table in _examined(store).values())


def _examined(store: EvidenceStore) -> Mapping[str, TableExam]:
    return examine(store, Here(store), lambda *_: None).tables
