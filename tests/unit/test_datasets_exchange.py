"""Sets that are handed on: what comes in is what went out, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ecm.contracts.evaluation import EvaluationQuery, Label, Split
from ecm.errors import ConfigError
from ecm.evaluation.datasets.building import Built, headed
from ecm.evaluation.datasets.exchange import FILES, exported, imported, of_side
from ecm.evaluation.datasets.sides import learning
from ecm.evaluation.shelf import Labels, Queries, Shelf
from ecm.evidence.storage import LocalStorage
from jobs.evaluate_sets import keep, labelled, past_of
from tests.query_sources import built, named


@pytest.fixture(scope="module")
def gold() -> Built:
    return built()


def test_what_is_handed_on_comes_in_as_it_was(gold: Built) -> None:
    files = exported(gold.queries, gold.labels)
    assert tuple(files) == FILES
    assert imported(files, "t") == (gold.queries, gold.labels)


def test_one_side_is_a_set_of_its_own(gold: Built) -> None:
    queries, labels = of_side(gold.queries, gold.labels, Split.LEARN)
    assert {one.split for one in queries.queries} == {Split.LEARN}
    ids = {one.query_id for one in queries.queries}
    assert set(labels.head.complete) <= ids
    out = {one.query_id for one in gold.queries.queries} - ids
    for data in exported(queries, labels).values():
        assert not any(query_id.encode() in data for query_id in out)
    assert imported(exported(queries, labels), "t") == (queries, labels)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("queries.jsonl", lambda data: data.replace(b"dog", b"cat", 1), "not what its head"),
        ("labels.jsonl", lambda data: b"", "not what its head"),
        ("labels.jsonl", lambda data: b"{}\n" + data, "line 1"),
        ("query_set.json", lambda data: b"[]", "query_set.json"),
        ("label_set.json", lambda data: data.replace(b'"t"', b'"other"'), "of tenant other"),
    ],
)
def test_what_was_changed_on_the_way_is_refused(
    gold: Built, name: str, change: Callable[[bytes], bytes], said: str
) -> None:
    files = exported(gold.queries, gold.labels)
    files[name] = change(files[name])
    with pytest.raises(ConfigError, match=said):
        imported(files, "t")
    del files[name]
    with pytest.raises(ConfigError, match=f"no file {name}"):
        imported(files, "t")


def handed_on(
    gold: Built,
    queries: tuple[EvaluationQuery, ...] | None = None,
    labels: tuple[Label, ...] | None = None,
) -> dict[str, bytes]:
    """Files with right heads, of lines that may be wrong."""
    lines = gold.queries.queries if queries is None else queries
    said = gold.labels.labels if labels is None else labels
    made: tuple[Queries, Labels] = headed(named(), lines, said, ())
    return exported(*made)


def test_lines_that_break_the_laws_of_a_set_are_refused(gold: Built) -> None:
    queries, labels = gold.queries.queries, gold.labels.labels
    with pytest.raises(ConfigError, match="a query is there twice"):
        imported(handed_on(gold, (*queries, queries[0])), "t")
    with pytest.raises(ConfigError, match="judged twice"):
        imported(handed_on(gold, labels=(*labels, labels[0])), "t")
    stray = labels[0].model_copy(update={"query_id": "q-nobody"})
    with pytest.raises(ConfigError, match="no query q-nobody"):
        imported(handed_on(gold, labels=(*labels, stray)), "t")


def test_a_set_that_leaks_is_refused(gold: Built) -> None:
    queries = gold.queries.queries
    groups = [one.group for one in queries]
    first = next(one for one in queries if groups.count(one.group) > 1)
    other = Split.LEARN if first.split is Split.HELD_OUT else Split.HELD_OUT
    moved = first.model_copy(update={"split": other})
    lines = tuple(moved if one == first else one for one in queries)
    with pytest.raises(ConfigError, match="about the same and on different sides"):
        imported(handed_on(gold, lines), "t")


def test_who_learns_is_given_nothing_that_is_held_out(gold: Built, tmp_path: Path) -> None:
    shelf = Shelf(LocalStorage(tmp_path), "t")
    keep(shelf, gold.queries, gold.labels)
    side = learning(shelf, "gold")
    assert {one.split for one in side.queries} == {Split.LEARN}
    assert {label.query_id for label in side.labels} <= {one.query_id for one in side.queries}
    changed = built(seed=5)
    head = changed.labels.head.model_copy(update={"label_version": 2})
    shelf.add_labels(head, changed.labels.labels)
    with pytest.raises(ConfigError, match="are of other queries"):
        learning(shelf, "gold")
    assert learning(shelf, "gold", label_version=1) == side


def test_who_was_stopped_before_the_labels_is_in_nobodys_way(gold: Built, tmp_path: Path) -> None:
    shelf = Shelf(LocalStorage(tmp_path), "t")
    shelf.add_queries(gold.queries.head, gold.queries.queries)
    with pytest.raises(ConfigError, match="no labels gold"):
        labelled(shelf, "gold")
    second = gold.queries.head.model_copy(update={"version": 2})
    shelf.add_labels(gold.labels.head, gold.labels.labels)  # somebody has judged meanwhile
    keep(shelf, Queries(second, gold.queries.queries), gold.labels)
    assert shelf.versions("label_sets", "gold") == (1, 2)
    past = past_of(shelf, "gold")
    assert (past.queries.head.version, past.labels.head.label_version) == (2, 2)
    assert [queries.head.version for queries, _ in past.versions] == [1, 2]
    with pytest.raises(ConfigError, match="somebody else has just made version 2"):
        keep(shelf, Queries(second, gold.queries.queries), gold.labels)
