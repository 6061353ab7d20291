"""Where an evaluation keeps its documents, on a disk and on S3: whole, once, one tenant's."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from ecm.contracts.evaluation import (
    Difficulty,
    EvaluationQuery,
    Label,
    LabelSet,
    LabelSource,
    QueryKind,
    QuerySet,
    QuerySource,
    Split,
)
from ecm.contracts.search import QueryType
from ecm.errors import ConfigError, ContractError, StoreCorrupt
from ecm.evaluation.shelf import Shelf, digest_of
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.storage import Storage, open_storage

AT = 1_790_000_000.0
WHERE = "evaluation/t/query_sets/gold/000001"


def asked(number: int) -> EvaluationQuery:
    return EvaluationQuery(
        query_id=f"q-{number}",
        query_text=f"dog, no {number} \u2028",  # a separator of lines to some, not to JSON lines
        query_type=QueryType.KEYWORD,
        kind=QueryKind.CLASS,
        source=QuerySource.WRITTEN,
        created_at=AT,
        difficulty=Difficulty.EASY,
        split=Split.LEARN,
        group=f"class:{number}",
    )


def judged(number: int, asset: str = "a") -> Label:
    return Label(
        query_id=f"q-{number}",
        asset_id=asset * 64,
        relevance=2,
        label_source=LabelSource.HUMAN,
    )


def query_head(
    queries: list[EvaluationQuery], name: str = "gold", version: int = 1, tenant: str = "t"
) -> QuerySet:
    return QuerySet(
        tenant_id=tenant,
        name=name,
        version=version,
        created_at=AT,
        digest=digest_of(queries),
        queries=len(queries),
        seed=0,
    )


def label_head(labels: list[Label], version: int = 1) -> LabelSet:
    return LabelSet(
        tenant_id="t",
        name="gold",
        label_version=version,
        created_at=AT,
        digest=digest_of(labels),
        labels=len(labels),
        query_set="gold",
        query_set_digest="d" * 64,
    )


@pytest.fixture
def storage(evidence_config: Callable[..., EvidenceConfig]) -> Storage:
    return open_storage(evidence_config())


@pytest.fixture
def shelf(storage: Storage) -> Shelf:
    return Shelf(storage, "t")


def test_versions_are_kept_side_by_side_and_the_newest_is_given(shelf: Shelf) -> None:
    first, second = [asked(1)], [asked(1), asked(2)]
    assert shelf.add_queries(query_head(first), first)
    assert shelf.add_queries(query_head(second, version=2), second)
    assert shelf.names("query_sets") == ("gold",)
    assert shelf.versions("query_sets", "gold") == (1, 2)
    assert shelf.queries("gold").queries == tuple(second)
    assert shelf.queries("gold", 1).queries == tuple(first)
    labels = [judged(1), judged(1, "b")]
    assert shelf.add_labels(label_head(labels), labels)
    assert shelf.labels("gold").labels == tuple(labels)


def test_a_version_is_made_once_whoever_is_first(shelf: Shelf, storage: Storage) -> None:
    def make(number: int) -> bool:
        queries = [asked(number)]
        return Shelf(storage, "t").add_queries(query_head(queries), queries)

    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(make, range(6)))
    assert made.count(True) == 1
    assert shelf.queries("gold").queries == (asked(made.index(True)),)


def test_a_writer_who_was_stopped_is_in_nobodys_way(shelf: Shelf, storage: Storage) -> None:
    storage.put_new(f"{WHERE}/{'0' * 64}.jsonl", b"half a li")
    assert shelf.versions("query_sets", "gold") == ()
    with pytest.raises(ConfigError, match="no query set gold of tenant t"):
        shelf.queries("gold")
    queries = [asked(1)]
    assert shelf.add_queries(query_head(queries), queries)
    assert shelf.queries("gold").queries == tuple(queries)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not those its head tells of"),
        (b'{"query_id": "q-1"}\n', "line 1: Field required"),
        (b"\xff\xfe\n", "line 1: Invalid JSON"),
    ],
)
def test_damaged_lines_are_told_by_their_place(
    shelf: Shelf, storage: Storage, data: bytes, said: str
) -> None:
    queries = [asked(1)]
    head = query_head(queries)
    shelf.add_queries(head, queries)
    storage.put(f"{WHERE}/{head.digest}.jsonl", data)
    with pytest.raises(StoreCorrupt, match=said):
        shelf.queries("gold")


def test_a_set_that_was_moved_or_is_anothers_is_refused(shelf: Shelf, storage: Storage) -> None:
    queries = [asked(1)]
    head = query_head(queries)
    shelf.add_queries(head, queries)
    for place in ("query_sets/gold/000002", "query_sets/copy/000001"):
        storage.put(f"evaluation/t/{place}/set.json", head.model_dump_json().encode())
        lines = storage.read(f"{WHERE}/{head.digest}.jsonl") or b""
        storage.put(f"evaluation/t/{place}/{head.digest}.jsonl", lines)
    with pytest.raises(StoreCorrupt, match="holds version 1 of gold"):
        shelf.queries("gold", 2)
    with pytest.raises(StoreCorrupt, match="holds version 1 of gold"):
        shelf.queries("copy")
    with pytest.raises(StoreCorrupt, match="tenant other, not t"):
        shelf.add_queries(query_head(queries, tenant="other"), queries)
    assert Shelf(storage, "u").names("query_sets") == ()


def test_what_is_twice_in_a_set_is_refused(shelf: Shelf) -> None:
    queries = [asked(1), asked(1)]
    with pytest.raises(StoreCorrupt, match="twice"):
        shelf.add_queries(query_head(queries), queries)
    labels = [judged(1), judged(1)]
    with pytest.raises(StoreCorrupt, match="twice"):
        shelf.add_labels(label_head(labels), labels)
    with pytest.raises(StoreCorrupt, match="not those its head tells of"):
        shelf.add_queries(query_head([asked(1)]), [asked(2)])


@pytest.mark.parametrize("name", ["../t", "", "Gold", "a/b", "x" * 65, "gold\n"])
def test_what_is_no_name_names_nothing(shelf: Shelf, name: str) -> None:
    assert shelf.versions("query_sets", name) == ()
    with pytest.raises(ConfigError):
        shelf.queries(name)


def test_files_of_a_run_are_written_once_and_forgotten_together(shelf: Shelf) -> None:
    assert shelf.put("run-1", "report.md", b"# good")
    assert not shelf.put("run-1", "report.md", b"# better")
    assert shelf.put("run-1", "plots/all.png", b"png")
    assert shelf.read("run-1", "report.md") == b"# good"
    assert shelf.files("run-1", "plots") == ("all.png",)
    assert shelf.names("runs") == ("run-1",)
    shelf.drop("run-1", "plots")
    assert shelf.read("run-1", "plots/all.png") is None
    shelf.forget("run-1")
    assert shelf.read("run-1", "report.md") is None
    assert shelf.names("runs") == ()


@pytest.mark.parametrize("run_id", ["", "..", "../query_sets", "/etc"])
def test_no_run_leads_out_of_its_folder(shelf: Shelf, run_id: str) -> None:
    queries = [asked(1)]
    shelf.add_queries(query_head(queries), queries)
    with pytest.raises(ContractError):
        shelf.forget(run_id)
    with pytest.raises(ContractError):
        shelf.put(run_id, "report.md", b"")
    assert shelf.queries("gold").queries == tuple(queries)
