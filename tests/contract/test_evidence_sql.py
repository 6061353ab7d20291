"""SQL over a store: what one tenant sees, what cannot be asked, and where a query ends."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.contracts.identity import digest
from ecm.contracts.result import Space
from ecm.contracts.search import Axis
from ecm.errors import ContractError, QueryError, StoreCorrupt
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.refs import SnapshotPolicy
from ecm.evidence.relations import Rows
from ecm.evidence.runs import RunRecord, record_run
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.sql import ALL_TENANTS, Limits, answer, described
from ecm.evidence.store import EvidenceStore, of_tenant
from tests.evidence_envelopes import MV, START, VISION, VV, X, embedded, everything

VECTORS = f"evidence_vectors_vv_{VV[:12]}"


def _run(tenant: str, run_id: str = "run-1") -> RunRecord:
    return RunRecord(
        run_id=run_id,
        tenant_id=tenant,
        job_id="job",
        transforms=(VISION,),
        config_digest=digest("config"),
        code_version="0.1.0",
        started_at=START,
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EvidenceStore:
    """Two tenants with the same pictures and words of their own, and a published snapshot."""
    folder = tmp_path_factory.mktemp("sql") / "store"
    store = EvidenceStore.create(EvidenceConfig(uri=str(folder)), START)
    mine = [e for seed in range(5) for e in everything(seed, "dog", "cat", tenant="mine")]
    others = [
        e for seed in range(3) for e in everything(seed, "secret", tenant="other", run_id="hidden")
    ]
    EvidenceCommitter(store).append("b1", [*mine, *others])
    record_run(store, _run("mine"))
    record_run(store, _run("mine").finished(START + 5, {"committed": 25, "seconds": 5.0}))
    record_run(store, _run("other", "hidden"))
    snapshots = SnapshotStore(store)
    transforms = {Axis.FTS: (VISION,), Axis.VV: (VV,), Axis.X: (X,), Axis.MV: (MV,)}
    ref = snapshots.build(SnapshotPolicy(transforms=transforms), START)
    snapshots.publish(ref.snapshot_id, START)
    return store


def test_every_table_shows_the_rows_of_one_tenant(store: EvidenceStore) -> None:
    tables = {each.relation.name: each for each in described(store, "mine")}
    assert {"assets", "asset_sightings", "evidence_vectors", "runs", "search_materialized"} <= set(
        tables
    )
    assert VECTORS in tables
    for name in tables:
        seen = answer(store, f"SELECT DISTINCT tenant_id FROM {name}", "mine").table
        assert seen["tenant_id"].to_pylist() in (["mine"], []), name
        both = answer(store, f"SELECT count(*) AS n FROM {name}", ALL_TENANTS).table["n"][0].as_py()
        own = answer(store, f"SELECT count(*) AS n FROM {name}", "mine").table["n"][0].as_py()
        foreign = answer(store, f"SELECT count(*) AS n FROM {name}", "other").table["n"][0].as_py()
        assert own + foreign == both, name
    assert answer(store, "SELECT * FROM assets", "nobody").table.num_rows == 0
    with pytest.raises(ContractError):
        answer(store, "SELECT 1", "no tenant'; --")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM assets WHERE tenant_id = 'other'",
        "SELECT * FROM assets WHERE true OR tenant_id = 'other'",
        'SELECT * FROM "ASSETS" UNION ALL FROM assets',
        "WITH assets AS (SELECT * FROM assets) SELECT * FROM assets",
        "SELECT (SELECT max(run_id) FROM evidence_text) AS run_id",
        "SELECT b.* FROM assets AS a, LATERAL (FROM evidence_text AS b) AS b",
        "SELECT t FROM evidence_text AS t",
        f"SELECT * FROM {VECTORS} POSITIONAL JOIN assets",
        "SUMMARIZE evidence_text",
        "SELECT min(tenant_id), max(tenant_id), list(DISTINCT run_id) FROM evidence_vectors",
        "SELECT * FROM (TABLE evidence_text)",
        "SELECT * FROM evidence_text PIVOT (count(*) FOR kind IN ('tag', 'caption'))",
        "SHOW ALL TABLES",
        "SELECT statements, vv_evidence FROM search_materialized",
        "SELECT * FROM search_materialized WHERE vv_evidence.run_id = 'hidden'",
        "WITH RECURSIVE r AS (SELECT run_id FROM runs UNION SELECT run_id FROM runs) FROM r",
    ],
)
def test_no_query_brings_out_a_row_of_another_tenant(store: EvidenceStore, query: str) -> None:
    told = str(answer(store, query, "mine").table.to_pylist())
    assert "other" not in told
    assert "secret" not in told
    assert "hidden" not in told


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM main.assets",
        "SELECT * FROM temp.main.assets",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM duckdb_views",
        "SELECT * FROM duckdb_views()",
        "SELECT sql FROM sqlite_master",
        "WITH sqlite_master AS (SELECT 1) SELECT * FROM sqlite_master",
        'WITH "/etc/passwd" AS (SELECT 1) SELECT * FROM "/etc/passwd"',
        "SELECT * FROM (WITH pg_views AS (SELECT 1) SELECT * FROM pg_views), pg_views",
        "SELECT * FROM query('SELECT * FROM assets')",
        "SELECT * FROM query_table('assets')",
        "SELECT * FROM python_arrow_scan()",
        "SELECT * FROM arrow_scan(1, 2, 3)",
        "SELECT * FROM histogram('assets', 'tenant_id')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM duckdb_settings()",
        "SELECT getenv('HOME')",
        "SELECT current_setting('temp_directory')",
        "SELECT \"current_setting\"('temp_directory')",
        "SELECT system.main.current_setting('temp_directory')",
        "SELECT 'temp_directory'.current_setting()",
        "SELECT list_transform(['temp_directory'], lambda x: current_setting(x))",
        "SELECT json_serialize_plan('SELECT * FROM assets')",
        "SELECT pg_get_viewdef(1)",
        "SELECT sleep_ms(1)",
        "SELECT write_log('x')",
        "SHOW DATABASES",
        "SHOW VARIABLES",
        "SHOW nonsense",
        "DESCRIBE SELECT * FROM read_csv('/etc/passwd')",
        "PREPARE x AS SELECT 1",
        "EXECUTE x",
        "SELECT * FROM assets WHERE asset_id = $1",
        "SELECT 1; DROP VIEW assets",
        "CREATE MACRO assets() AS TABLE SELECT 1",
        "CALL pragma_version()",
        "RESET memory_limit",
        "EXPLAIN SELECT 1",
        "WITH x AS (DELETE FROM assets RETURNING *) SELECT * FROM x",
        "WITH x AS (INSERT INTO assets SELECT 1 RETURNING *) SELECT * FROM x",
        "SELECT * FROM assets AT (VERSION => 1)",
        "SELECT " + "[" * 900 + "1" + "]" * 900,
        "SELECT * FROM " + "(SELECT * FROM " * 900 + "range(3)" + ")" * 900,
    ],
)
def test_what_is_not_a_computation_over_the_tables_is_refused(
    store: EvidenceStore, query: str
) -> None:
    with pytest.raises(QueryError) as caught:
        answer(store, query, "mine")
    assert "\n" not in str(caught.value)


@settings(max_examples=25, deadline=None)
@given(
    table=st.sampled_from(["evidence_text", "evidence_vectors", "asset_versions"]),
    conditions=st.lists(
        st.sampled_from(
            [
                "ordinal = 0 OR ordinal IS NULL",
                "NOT tenant_id = 'mine'",
                "tenant_id IN ('mine', 'other')",
                "run_id <> 'hidden' OR true",
                "observed_at > 0",
                "asset_id LIKE '%a%'",
                "batch_id IS NOT NULL",
            ]
        ),
        max_size=3,
    ),
    joint=st.sampled_from([" AND ", " OR "]),
)
def test_a_tenants_answer_is_its_part_of_everybodys(
    store: EvidenceStore, table: str, conditions: list[str], joint: str
) -> None:
    names = "evidence_id, tenant_id" if table != "asset_versions" else "version_id, tenant_id"
    conditions = [c for c in conditions if table != "asset_versions" or "ordinal" not in c]
    where = joint.join(f"({c})" for c in conditions) or "true"
    query = f"SELECT {names} FROM {table} WHERE {where} ORDER BY 1"
    everybody = answer(store, query, ALL_TENANTS).table.to_pylist()
    mine = answer(store, query, "mine").table.to_pylist()
    assert mine == [row for row in everybody if row["tenant_id"] == "mine"]


def test_runs_are_shown_once_with_what_they_did(store: EvidenceStore) -> None:
    query = "SELECT run_id, state, seconds, transforms, counts['committed'] AS n FROM runs"
    assert answer(store, query, "mine").table.to_pylist() == [
        {"run_id": "run-1", "state": "finished", "seconds": 5.0, "transforms": [VISION], "n": 25}
    ]


def test_an_answer_says_that_it_was_cut(store: EvidenceStore) -> None:
    query = "SELECT evidence_id FROM evidence_text ORDER BY 1"
    whole = answer(store, query, "mine").table
    cut = answer(store, query, "mine", Limits(rows=3))
    assert (cut.truncated, cut.table) == (True, whole[:3])
    exact = answer(store, query, "mine", Limits(rows=whole.num_rows))
    assert (exact.truncated, exact.table) == (False, whole)
    many = answer(store, "SELECT * FROM range(10001)", "mine")
    assert (many.truncated, many.table.num_rows) == (True, 10_000)


def test_a_query_without_end_is_stopped(store: EvidenceStore) -> None:
    endless = "SELECT count(*) FROM range(100000000000) AS a, range(1000) AS b"
    with pytest.raises(QueryError) as caught:
        answer(store, endless, "mine", Limits(seconds=0.2))
    assert caught.value.code == "query.timeout"
    greedy = "SELECT list(i) FROM range(10000000000) AS t(i)"
    with pytest.raises(QueryError) as caught:
        answer(store, greedy, "mine", Limits(memory=64 << 20, spill=1 << 20))
    assert caught.value.code == "query.memory"
    assert threading.active_count() < 50


class _Asked(Rows):
    """Rows that remember what DuckDB asked of them."""

    def __init__(self, store: EvidenceStore, name: str) -> None:
        super().__init__(store.dataset(name), of_tenant("mine"))
        self.asked: list[tuple[list[str] | None, str]] = []

    def read(self, columns: list[str] | None, wanted: pc.Expression | None) -> pa.RecordBatchReader:
        self.asked.append((columns, str(wanted)))
        return super().read(columns, wanted)


def test_columns_and_filters_reach_lance(store: EvidenceStore) -> None:
    rows = _Asked(store, "evidence_text")
    with duckdb.connect(":memory:") as connection:
        connection.register("evidence_text", rows)
        found = connection.sql("SELECT max(text) FROM evidence_text WHERE kind = 'tag'").fetchall()
    assert found == [("dog",)]
    assert rows.asked == [(["text"], '(kind == "tag")')]
    vectors = Rows(store.dataset(VECTORS), of_tenant("other"))
    assert vectors.read(["asset_id"], pc.field("tenant_id") == "mine").read_all().num_rows == 0
    assert vectors.read(["asset_id"], None).schema.names == ["asset_id"]


def test_a_store_without_anything_has_every_table_empty(tmp_path: Path) -> None:
    store = EvidenceStore.create(EvidenceConfig(uri=str(tmp_path / "store")), START)
    for each in described(store, "mine"):
        assert answer(store, f"FROM {each.relation.name}", "mine").table.num_rows == 0
    with pytest.raises(QueryError, match="search_materialized"):
        answer(store, "FROM search_materialized", "mine")


def test_a_damaged_table_is_damage_and_not_a_wrong_query(tmp_path: Path) -> None:
    store = EvidenceStore.create(EvidenceConfig(uri=str(tmp_path / "store")), START)
    EvidenceCommitter(store).append("b1", [embedded("a", Space.VV)])
    for file in (tmp_path / "store" / "tables" / "assets.lance" / "data").iterdir():
        file.write_bytes(b"")
    with pytest.raises(StoreCorrupt, match="assets"):
        answer(store, "SELECT * FROM assets", ALL_TENANTS)
    shutil.rmtree(tmp_path / "store" / "tables" / f"{VECTORS}.lance" / "_versions")
    with pytest.raises(StoreCorrupt, match=VECTORS):
        answer(store, "SELECT * FROM evidence_vectors", ALL_TENANTS)
    versions = answer(store, "SELECT * FROM asset_versions", ALL_TENANTS)
    assert versions.table.num_rows == 1, "damage of other tables is no hindrance"
