"""Batches are in the store once, whatever is repeated, torn or killed."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import lance
import pyarrow as pa
import pytest

from ecm.contracts.result import Space
from ecm.errors import ContractError, StoreCorrupt, StoreUnavailable
from ecm.evidence.codec import key_of
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.schema import is_evidence_table
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from tests.evidence_envelopes import JPEG, START, X, embedded, envelope, everything, failed, vision

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(evidence_config: Callable[..., EvidenceConfig]) -> EvidenceStore:
    return EvidenceStore.create(evidence_config(), START)


def _rows(store: EvidenceStore) -> dict[str, list[str]]:
    """Every row of every table but for batches and versions, in an order of its own."""
    return {
        name: sorted(
            str({k: v for k, v in row.items() if k != "batch_id"})
            for row in store.dataset(name).to_table().to_pylist()
        )
        for name in store.tables()
    }


def test_appending_again_changes_nothing(store: EvidenceStore) -> None:
    batch = [*everything("a", "dog"), *everything("b", "cat"), failed("c")]
    committer = EvidenceCommitter(store)
    versions = committer.append("b1", batch)
    assert versions == store.versions()
    counts = store.counts()

    assert committer.append("b1", batch) == versions
    assert EvidenceCommitter(store).append("b1", batch) == versions
    assert store.versions() == versions
    assert store.counts() == counts
    committer.append("b2", everything("d", "dog"))
    counts, later = store.counts(), store.versions()
    for writer in (committer, EvidenceCommitter(store)):
        said = writer.append("b1", batch)
        assert said == {name: later[name] for name in versions}, "it can be read in the newest"
    assert (store.versions(), store.counts()) == (later, counts)


@pytest.mark.parametrize("evidence_config", ["disk"], indirect=True)
def test_rows_that_a_table_has_lost_come_back_with_their_batch(store: EvidenceStore) -> None:
    committer = EvidenceCommitter(store)
    batch = [*everything("a", "dog"), *everything("b", "cat")]
    committer.append("b1", batch)
    whole = _rows(store)
    for name in filter(is_evidence_table, store.tables()):
        store.dataset(name).delete(f"asset_id = '{batch[0].resource_fingerprint.content_hash}'")
    assert _rows(store) != whole
    for _ in range(2):
        committer.append("b1", batch)
        assert _rows(store) == whole


def test_what_is_there_already_is_not_doubled_by_another_batch(store: EvidenceStore) -> None:
    committer = EvidenceCommitter(store)
    committer.append("b1", [vision("a", "a dog", ("dog",), thumbnail=JPEG), embedded("a")])
    before = store.counts()
    moved = envelope("a", linked=True, uri="file:///copy.jpg")
    again = vision("a", "something else", ("cat",), thumbnail=JPEG)
    for number, writer in enumerate([committer, EvidenceCommitter(store)]):
        writer.append(f"more-{number}", [again, embedded("a"), moved])
    assert store.counts() == before | {"asset_versions": 2}
    said = store.texts_of("t", [again.resource_fingerprint.content_hash or ""], again.transform)
    assert [t.caption.text for t in said.values() if t.caption] == ["a dog"]


@pytest.mark.parametrize("evidence_config", ["disk"], indirect=True)
def test_two_tenants_with_the_same_bytes_both_get_their_rows(store: EvidenceStore) -> None:
    committer = EvidenceCommitter(store)
    committer.append("b1", everything("a", "dog"))
    committer.append("b2", everything("a", "dog", tenant="u"))
    assert store.counts()["assets"] == 2
    assert store.counts()["evidence_text"] % 2 == 0


_CHILD = """
    import os, signal, sys
    from pathlib import Path
    from lance.fragment import write_fragments
    from ecm.evidence.codec import tables_of
    from ecm.evidence.committer import EvidenceCommitter
    from ecm.evidence.config import EvidenceConfig
    from ecm.evidence.spool import Spool
    from ecm.evidence.store import EvidenceStore
    from tests.evidence_envelopes import START, everything

    store = EvidenceStore.create(EvidenceConfig(uri=sys.argv[1]), START)
    committer, spool = EvidenceCommitter(store), Spool(Path(sys.argv[2]))
    for number in range(3):
        batch = [e for n in range(4) for e in everything((number, n), "dog", "sea")]
        spool.write(f"b{number}", batch, START)
        if number < 2:
            committer.append(f"b{number}", batch)
            continue
        tables = list(tables_of(batch, f"b{number}").items())
        for name, table in tables[:3]:
            committer.append_rows(name, table, f"b{number}")
        name, table = tables[3]
        write_fragments(table, store.dataset(name).uri, schema=table.schema)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_commit_is_finished_from_the_spool_as_if_nothing_had_happened(
    tmp_path: Path,
) -> None:
    killed = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(_CHILD),
            str(tmp_path / "store"),
            str(tmp_path / "spool"),
        ],
        env=os.environ | {"PYTHONPATH": str(REPO)},
        cwd=tmp_path,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL

    store = EvidenceStore.open(EvidenceConfig(uri=str(tmp_path / "store")))
    committer, spool = EvidenceCommitter(store), Spool(tmp_path / "spool")
    torn = spool.read("b2")
    assert torn is not None
    has_it = [n for n in store.tables() if store.dataset(n).count_rows("batch_id = 'b2'")]
    assert len(has_it) == 3 < len(store.tables())
    for batch_id in spool.list():
        batch = spool.read(batch_id)
        assert batch is not None
        committer.append(batch_id, batch.envelopes)

    clean = EvidenceStore.create(EvidenceConfig(uri=str(tmp_path / "clean")), START)
    straight = EvidenceCommitter(clean)
    for number in range(3):
        batch_of = [e for n in range(4) for e in everything((number, n), "dog", "sea")]
        straight.append(f"b{number}", batch_of)
    assert _rows(store) == _rows(clean)


def test_a_batch_is_recognised_by_its_rows_when_cleanup_took_its_transaction(
    store: EvidenceStore,
) -> None:
    committer = EvidenceCommitter(store)
    committer.append("b1", everything("a", "dog"))
    committer.append("b2", everything("b", "cat"))
    for name in store.tables():
        store.dataset(name).cleanup_old_versions(timedelta(0), delete_unverified=True)
    counts = store.counts()
    EvidenceCommitter(store).append("b1", everything("a", "dog"))
    assert store.counts() == counts


def test_deleting_a_batch_takes_back_its_statements_and_lets_them_be_made_again(
    store: EvidenceStore,
) -> None:
    committer = EvidenceCommitter(store)
    committer.append("b1", everything("a", "dog"))
    whole = _rows(store)
    batch = everything("b", "cat")
    committer.append("b2", batch)
    assert store.evidence_keys_present(map(key_of, batch)) == {key_of(e) for e in batch}
    deleted = committer.delete_batch("b2")
    assert set(deleted) == set(filter(is_evidence_table, store.tables()))
    assert store.evidence_keys_present(map(key_of, batch)) == frozenset()
    assert {n: r for n, r in _rows(store).items() if is_evidence_table(n)} == {
        n: r for n, r in whole.items() if is_evidence_table(n)
    }
    committer.append("b3", batch)
    assert store.evidence_keys_present(map(key_of, batch)) == {key_of(e) for e in batch}
    assert store.counts()["assets"] == 2


def test_a_reader_sees_whole_batches_while_others_are_appended(store: EvidenceStore) -> None:
    batch_rows = len(everything(0, "dog", "sea")[:1]) and 4 * 5
    committer = EvidenceCommitter(store)
    committer.append("b0", [vision((0, n), "x", ("dog", "sea", "sky")) for n in range(4)])
    done, seen = threading.Event(), []

    def read() -> None:
        while not done.is_set():
            seen.append(store.counts()["evidence_text"])

    thread = threading.Thread(target=read)
    thread.start()
    for b in range(1, 12):
        committer.append(f"b{b}", [vision((b, n), "x", ("dog", "sea", "sky")) for n in range(4)])
    done.set()
    thread.join()
    assert batch_rows == 20
    assert seen == sorted(seen)
    assert all(count % batch_rows == 0 for count in seen)


def test_a_table_of_another_dimension_is_refused_and_nothing_is_written(
    store: EvidenceStore,
) -> None:
    committer = EvidenceCommitter(store)
    committer.append("b1", [embedded("a")])
    other = embedded("b", vector=embedded("b", Space.MV).outputs.vectors[0].to_numpy())
    before = store.counts()
    with pytest.raises(StoreCorrupt, match="other columns"):
        committer.append("b2", [other])
    assert {n: c for n, c in store.counts().items() if is_evidence_table(n)} == {
        n: c for n, c in before.items() if is_evidence_table(n)
    }


@pytest.mark.parametrize("evidence_config", ["disk"], indirect=True)
def test_a_store_that_comes_back_is_waited_for(store: EvidenceStore) -> None:
    waited: list[float] = []
    root = Path(store.storage.root)

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            root.with_name("away").rename(root)

    committer = EvidenceCommitter(store, sleep=wait)
    committer.append("b1", everything("a", "dog"))
    root.rename(root.with_name("away"))
    committer.append("b2", [*everything("b", "cat"), embedded("b", Space.VV, X)])
    assert waited == sorted(waited)
    assert len(waited) == 3
    assert store.counts()["assets"] == 2


@pytest.mark.parametrize("evidence_config", ["disk"], indirect=True)
def test_a_store_that_stays_away_is_reported_and_not_made_anew(store: EvidenceStore) -> None:
    root = Path(store.storage.root)
    root.rename(root.with_name("away"))
    with pytest.raises(StoreUnavailable, match="has gone"):
        EvidenceCommitter(store, sleep=lambda _: None).append("b1", everything("a"))
    assert not root.exists()


def test_a_malformed_batch_id_is_refused(store: EvidenceStore, tmp_path: Path) -> None:
    for wrong in ("", "../x", "a b", "x" * 200):
        with pytest.raises(ContractError, match="batch id"):
            EvidenceCommitter(store).append(wrong, [])
        with pytest.raises(ContractError, match="batch id"):
            Spool(tmp_path / "spool").write(wrong, [], START)


def test_the_spool_gives_back_what_was_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "deep" / "spool")
    assert spool.list() == ()
    assert spool.read("b1") is None
    batch = (*everything("é \x00", "dog"), failed("c", content=None))
    spool.write("b1", batch, START)
    spool.write("b2", (), START)
    read = spool.read("b1")
    assert read is not None
    assert (read.envelopes, read.created_at) == (batch, START)
    spool.write("b1", batch[:1], START + 1)
    read = spool.read("b1")
    assert read is not None
    assert (read.envelopes, read.created_at) == (batch[:1], START + 1)
    assert spool.list() == ("b1", "b2")
    spool.drop("b1")
    spool.drop("b1")
    assert spool.list() == ("b2",)


@pytest.mark.parametrize("damage", ["cut", "flip", "forge", "empty"])
def test_a_damaged_spool_file_is_named_as_such(tmp_path: Path, damage: str) -> None:
    spool = Spool(tmp_path)
    path = spool.write("b1", everything("a", "dog"), START)
    data = bytearray(path.read_bytes())
    forged = data.replace(b"1790000000.0", b"1790000001.0")
    assert forged != data
    if damage == "flip":
        data[len(data) // 2] ^= 1
    path.write_bytes({"cut": data[:-100], "flip": data, "forge": forged, "empty": b""}[damage])
    with pytest.raises(StoreCorrupt, match="b1 is damaged") as caught:
        spool.read("b1")
    assert caught.value.code == "store.spool"
    assert spool.list() == ("b1",)


def test_a_spool_file_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    """Those also told the versions that the tables had."""
    spool = Spool(tmp_path)
    batch = everything("a", "dog")
    path = spool.write("b1", batch, START)
    with pa.ipc.open_file(path) as file:
        table = file.read_all()
    marks = {**(table.schema.metadata or {}), b"ecm.base_versions": b'{"assets":7}'}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema.with_metadata(marks)) as writer:
        writer.write_table(table)
    data = sink.getvalue().to_pybytes()
    spool.drop("b1")
    (tmp_path / f"b1.{hashlib.sha256(data).hexdigest()}.arrow").write_bytes(data)
    read = spool.read("b1")
    assert read is not None
    assert (read.envelopes, read.created_at) == (tuple(batch), START)


def test_a_half_written_spool_file_does_not_count(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    (tmp_path / ".writing-1234").write_bytes(b"half")
    (tmp_path / "notes.txt").write_bytes(b"mine")
    assert spool.list() == ()


@pytest.mark.parametrize("evidence_config", ["disk"], indirect=True)
def test_the_stored_tables_are_plain_lance_that_any_reader_opens(store: EvidenceStore) -> None:
    EvidenceCommitter(store).append("b1", everything("a", "dog"))
    uri = Path(store.storage.root) / "tables" / "assets.lance"
    assert lance.dataset(str(uri)).count_rows() == 1
