"""Opening, reading and querying a store, whole or damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import lance
import pyarrow as pa
import pytest

from ecm.contracts.identity import digest
from ecm.contracts.result import Space
from ecm.errors import ConfigError, ContractError, EcmError, QueryError, StoreCorrupt
from ecm.evidence.codec import tables_of
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.runs import RunRecord, RunState, record_run, runs_of
from ecm.evidence.schema import SCHEMA_VERSION, fixed_schema
from ecm.evidence.store import TABLE_MARK, EvidenceStore
from tests.evidence_envelopes import (
    JPEG,
    OCR,
    START,
    VISION,
    VV,
    content_of,
    embedded,
    everything,
    ocr,
    vision,
)


@pytest.fixture
def store(evidence_config: Callable[..., EvidenceConfig]) -> EvidenceStore:
    return EvidenceStore.create(evidence_config(), START)


def _one_line(error: EcmError) -> bool:
    return "\n" not in str(error) and len(str(error)) < 400


def test_creating_again_opens_the_same_store(store: EvidenceStore) -> None:
    again = EvidenceStore.create(store.config, START + 9)
    assert again.header == store.header
    assert EvidenceStore.open(store.config).header == store.header
    assert store.counts() == {}


def test_of_many_that_create_a_store_all_open_the_same_one(
    evidence_config: Callable[..., EvidenceConfig],
) -> None:
    config, start = evidence_config(), threading.Barrier(6)
    made: list[str] = []

    def create(number: int) -> None:
        start.wait()
        store = EvidenceStore.create(config, START + number)
        store.ensure_table("assets", fixed_schema("assets"))
        made.append(store.header.store_id)

    threads = [threading.Thread(target=create, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6
    assert set(made) == {EvidenceStore.open(config).header.store_id}


def test_a_folder_may_be_named_by_its_uri(tmp_path: Path) -> None:
    store = EvidenceStore.create(EvidenceConfig(uri=str(tmp_path / "st ore #1 é")), START)
    by_uri = EvidenceConfig(uri=Path(store.storage.root).as_uri())
    assert EvidenceStore.open(by_uri).header == store.header


def test_what_is_no_store_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(JPEG)
    (tmp_path / "file").write_bytes(b"")
    for uri, said in [
        ("photos", "relative"),
        ("ftp://bucket/x", "not supported"),
        (str(tmp_path / "nowhere"), "no evidence store"),
        (str(tmp_path / "photos"), "not an evidence store"),
        (str(tmp_path / "file"), "file"),
    ]:
        with pytest.raises(ConfigError, match=said) as caught:
            EvidenceStore.open(EvidenceConfig(uri=uri))
        assert _one_line(caught.value)
        assert caught.value.hint
    with pytest.raises(ConfigError, match="not an evidence store"):
        EvidenceStore.create(EvidenceConfig(uri=str(tmp_path / "photos")), START)
    assert os.listdir(tmp_path / "photos") == ["a.jpg"]


@pytest.mark.parametrize("evidence_config", ["disk"], indirect=True)
@pytest.mark.parametrize(
    "header",
    [
        b"",
        b'{"format": "ecm-evi',
        b'{"format":"other","format_version":1}',
        json.dumps(
            {"format": "ecm-evidence", "format_version": 2, "store_id": "x", "created_at": 1}
        ).encode(),
    ],
)
def test_a_damaged_or_later_header_is_corrupt(store: EvidenceStore, header: bytes) -> None:
    (Path(store.storage.root) / "store.json").write_bytes(header)
    for attempt in (EvidenceStore.open, lambda c: EvidenceStore.create(c, START)):
        with pytest.raises(StoreCorrupt) as caught:
            attempt(store.config)
        assert _one_line(caught.value)
        assert caught.value.hint


def test_tables_give_back_what_the_envelopes_said(store: EvidenceStore) -> None:
    batch = [
        *everything("a", "dog", "sea"),
        vision("b", "b", ("cat",), thumbnail=JPEG, tenant="u"),
        ocr("c", "STOP", "stop"),
    ]
    EvidenceCommitter(store).append("b1", batch)
    for name, table in tables_of(batch, "b1").items():
        stored = store.dataset(name).to_table()
        marks = dict(stored.schema.metadata)
        assert marks.pop(TABLE_MARK)
        assert stored.schema.with_metadata(marks).equals(table.schema, check_metadata=True)
        assert stored.to_pylist() == table.to_pylist()

    said = store.texts_of("t", [content_of("a"), content_of("b"), content_of("c")], VISION)
    assert set(said) == {content_of("a")}
    outputs = batch[0].outputs
    texts = said[content_of("a")]
    assert (texts.caption, texts.tags) == (outputs.caption, outputs.tags)
    assert texts.classification == outputs.classification
    lines = store.texts_of("t", [content_of("a"), content_of("c")], OCR)
    assert [line.text for line in lines[content_of("c")].ocr] == ["STOP", "stop"]
    assert lines[content_of("a")].ocr == ()
    assert store.thumbnail("u", content_of("b")) == JPEG
    assert store.thumbnail("t", content_of("b")) is None


@pytest.mark.parametrize("evidence_config", ["disk"], indirect=True)
def test_lookups_are_the_same_with_and_without_their_indices(store: EvidenceStore) -> None:
    committer = EvidenceCommitter(store)
    ids = [content_of(n) for n in range(30)]

    def answers() -> list[object]:
        return [store.texts_of("t", ids, VISION), [store.thumbnail("t", a) for a in ids]]

    store.index_lookups()
    committer.append("b1", [vision(n, str(n), ("dog",), thumbnail=JPEG) for n in range(15)])
    before = answers()
    store.index_lookups()
    versions = store.versions()
    store.index_lookups()
    assert store.versions() == versions
    assert answers() == before
    committer.append("b2", [vision(n, str(n), ("dog",), thumbnail=JPEG) for n in range(15, 30)])
    unindexed = answers()
    store.index_lookups()
    assert answers() == unindexed
    assert len(store.texts_of("t", ids, VISION)) == 30


@pytest.mark.parametrize("evidence_config", ["disk"], indirect=True)
@pytest.mark.parametrize("tenant", ["", "a b", "t' OR 1=1 --", "../x", "é"])
def test_malformed_ids_never_reach_a_filter(store: EvidenceStore, tenant: str) -> None:
    EvidenceCommitter(store).append("b1", everything("a", "dog"))
    with pytest.raises(ContractError, match="malformed"):
        store.texts_of(tenant, [content_of("a")], VISION)
    with pytest.raises(ContractError, match="malformed"):
        store.texts_of("t", ["' OR 1=1 --"], VISION)
    with pytest.raises(ContractError, match="malformed"):
        store.texts_of("t", [content_of("a")], "' OR 1=1 --")


@pytest.mark.parametrize("evidence_config", ["disk"], indirect=True)
def test_damaged_tables_are_corrupt_wherever_they_are_asked(store: EvidenceStore) -> None:
    EvidenceCommitter(store).append("b1", everything("a", "dog"))
    table = Path(store.storage.root) / "tables" / "evidence_text.lance"
    for data in (table / "data").iterdir():
        data.write_bytes(data.read_bytes()[:20])
    for ask in (
        lambda: store.texts_of("t", [content_of("a")], VISION),
        lambda: store.evidence_keys_present([digest("x")]),
        lambda: EvidenceCommitter(store).append("b2", [vision("b", "b")]),
    ):
        with pytest.raises(StoreCorrupt, match="evidence_text") as caught:
            ask()
        assert _one_line(caught.value)
    for manifest in (table / "_versions").iterdir():
        manifest.write_bytes(b"not a manifest")
    with pytest.raises(StoreCorrupt, match="evidence_text"):
        EvidenceStore.open(store.config).counts()


@pytest.mark.parametrize("evidence_config", ["disk"], indirect=True)
def test_a_table_without_a_manifest_but_with_data_is_damage_not_absence(
    store: EvidenceStore,
) -> None:
    EvidenceCommitter(store).append("b1", everything("a", "dog"))
    versions = Path(store.storage.root) / "tables" / "assets.lance" / "_versions"
    for manifest in versions.iterdir():
        manifest.unlink()
    fresh = EvidenceStore.open(store.config)
    with pytest.raises(StoreCorrupt, match="assets"):
        EvidenceCommitter(fresh).append("b2", everything("b", "cat"))


@pytest.mark.parametrize("evidence_config", ["disk"], indirect=True)
def test_a_table_of_a_later_schema_version_is_refused(store: EvidenceStore) -> None:
    schema = fixed_schema("assets").with_metadata({"ecm.schema_version": str(SCHEMA_VERSION + 1)})
    lance.write_dataset(schema.empty_table(), store.storage.location("tables/assets.lance"))
    with pytest.raises(StoreCorrupt, match="schema version 2"):
        store.counts()


def test_threads_that_create_one_table_lose_no_rows(store: EvidenceStore) -> None:
    start, failures = threading.Barrier(6), []

    def write(number: int) -> None:
        own = EvidenceStore.open(store.config)
        start.wait()
        try:
            EvidenceCommitter(own).append(f"b{number}", [vision(number, "x", ("dog",))])
        except EcmError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.counts() == {"assets": 6, "asset_versions": 6, "evidence_text": 18}


@pytest.mark.parametrize("evidence_config", ["disk"], indirect=True)
def test_sql_answers_over_tables_and_all_vectors(store: EvidenceStore) -> None:
    EvidenceCommitter(store).append("b1", [*everything("a", "dog"), *everything("b", "dog")])
    counted = store.sql("SELECT kind, count(*) AS n FROM evidence_text GROUP BY kind ORDER BY kind")
    assert counted.to_pylist() == [
        {"kind": "caption", "n": 2},
        {"kind": "classification", "n": 2},
        {"kind": "ocr", "n": 2},
        {"kind": "tag", "n": 2},
    ]
    joined = store.sql(
        "WITH v AS (SELECT * FROM evidence_vectors) "
        "SELECT count(*) AS n, count(DISTINCT table_name) AS tables "
        "FROM v JOIN assets USING (asset_id)"
    )
    assert joined.to_pylist() == [{"n": 6, "tables": 3}]
    named = store.sql("SHOW TABLES")["name"].to_pylist()
    assert {"assets", "evidence_vectors", f"evidence_vectors_vv_{VV[:12]}"} <= set(named)
    assert EvidenceStore.open(store.config).sql("SELECT 1 AS one").to_pylist() == [{"one": 1}]


@pytest.mark.parametrize("evidence_config", ["disk"], indirect=True)
@pytest.mark.parametrize(
    "query",
    [
        "",
        "   ;  ",
        "SELECT",
        "SELECT nonsense FROM assets",
        "SELECT 1; SELECT 2",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM os",
        "SELECT * FROM store",
        "COPY assets TO '/tmp/ecm-stolen.csv'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "ATTACH '/tmp/ecm-stolen.db'",
        "SET enable_external_access = true",
        "CREATE TABLE x AS SELECT 1",
        "DROP VIEW assets",
        "DELETE FROM assets",
        "EXPORT DATABASE '/tmp/ecm-stolen'",
        "PRAGMA database_list",
        "SELECT 1 " + "+ 1" * 60_000,
    ],
)
def test_sql_that_is_not_one_readable_select_is_a_query_error(
    store: EvidenceStore, query: str
) -> None:
    EvidenceCommitter(store).append("b1", [embedded("a", Space.VV)])
    with pytest.raises(QueryError) as caught:
        store.sql(query)
    assert "\n" not in str(caught.value)
    assert not Path("/tmp/ecm-stolen.csv").exists()


def test_a_run_is_on_record_from_beginning_to_end(store: EvidenceStore) -> None:
    run = RunRecord(
        run_id="r1",
        tenant_id="t",
        job_id="j1",
        transforms=(VISION, VV),
        config_digest=digest("config"),
        code_version="0.1.0",
        started_at=START,
    )
    record_run(store, run)
    record_run(store, run)
    assert runs_of(store) == (run,)
    ended = run.finished(START + 5, {"listed": 3, "seconds": 4.5, "snapshot_id": "s", "ok": True})
    assert (ended.state, ended.counts) == (RunState.FINISHED, {"listed": 3})
    assert ended.telemetry == {"seconds": 4.5}
    record_run(store, ended)
    later = run.model_copy(update={"run_id": "r2", "started_at": START + 9})
    record_run(store, later)
    assert runs_of(EvidenceStore.open(store.config)) == (later, ended)
    assert store.counts()["analysis_runs"] == 3


def test_importing_schema_and_codec_loads_no_lance() -> None:
    code = textwrap.dedent(
        """
        import sys
        import ecm.evidence.codec, ecm.evidence.config, ecm.evidence.schema, ecm.evidence.spool
        print(sorted({"lance", "lancedb", "duckdb", "torch", "ray"} & set(sys.modules)))
        """
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("evidence_config", ["disk"], indirect=True)
def test_a_table_of_ours_is_arrow_all_the_way(store: EvidenceStore) -> None:
    EvidenceCommitter(store).append("b1", everything("a", "dog"))
    assert isinstance(store.sql("SELECT * FROM assets"), pa.Table)


def test_a_table_of_another_transform_whose_name_begins_alike_is_refused(
    store: EvidenceStore,
) -> None:
    EvidenceCommitter(store).append("b1", [embedded("a", Space.VV)])
    twin = embedded("b", Space.VV, VV[:12] + "f" * 52)
    with pytest.raises(StoreCorrupt, match="another transform"):
        EvidenceCommitter(store).append("b2", [twin])
    assert store.counts()[f"evidence_vectors_vv_{VV[:12]}"] == 1
