"""Label work on a disk and on S3: several people at once, from several processes' eyes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from ecm.contracts.evaluation import LabelSource
from ecm.contracts.labelling import Part
from ecm.errors import StoreCorrupt
from ecm.evaluation.labels.batches import Draw
from ecm.evaluation.labels.preparing import make_batch, make_pool
from ecm.evaluation.labels.publishing import publish_votes, queries_of
from ecm.evaluation.labels.sitting import Sitting
from ecm.evaluation.labels.work import LabelWork, work_names
from ecm.evaluation.shelf import Queries, Shelf
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.storage import Storage, open_storage
from tests.label_sets import NOW, TENANT, answered, asset, put_labels, put_queries, query

PEOPLE = {"ann": 1, "bob": 1, "carl": 2}


@pytest.fixture
def storage(evidence_config: Callable[..., EvidenceConfig]) -> Storage:
    """A store with a batch of four pairs for two labelers each."""
    made = open_storage(evidence_config())
    shelf, work = Shelf(made, TENANT), LabelWork(made, TENANT, "gold")
    queries = [query("q1"), query("q2")]
    head = put_queries(shelf, queries)
    put_labels(shelf, head, [])
    answers = [answered(one.query_id, [asset("a"), asset("b")]) for one in queries]
    chosen = Queries(head, tuple(queries))
    make_pool(shelf, work, chosen, answers, ["run-1"], 10, NOW)
    make_batch(shelf, work, chosen, Draw(4, 0, 1), 2, NOW)
    return made


def sitting(storage: Storage, labeler: str) -> Sitting:
    return Sitting(Shelf(storage, TENANT), LabelWork(storage, TENANT, "gold"), labeler)


def judge_all(storage: Storage, labeler: str) -> int:
    """Whatever waits is judged, always the same; how much that was."""
    mine = sitting(storage, labeler)
    given = 0
    while some := mine.look(Part.JUDGE, 1).waiting:
        pair = (some[0].query.query_id, some[0].asset_id)
        mine.say(pair, PEOPLE[labeler], Part.JUDGE, NOW + given)  # type: ignore[arg-type]
        given += 1
    return given


def test_people_judge_at_once_and_every_pair_gets_its_labelers(storage: Storage) -> None:
    with ThreadPoolExecutor(3) as threads:
        given = dict(
            zip(PEOPLE, threads.map(lambda one: judge_all(storage, one), PEOPLE), strict=True)
        )
    assert 8 <= sum(given.values()) <= 12
    assert len(LabelWork(storage, TENANT, "gold").votes()) == sum(given.values())
    dora = sitting(storage, "dora").look(Part.JUDGE, 9)
    assert (dora.waiting, dora.progress.to_judge) == ((), 0)


def test_a_version_comes_of_what_they_say(storage: Storage) -> None:
    assert judge_all(storage, "ann") == judge_all(storage, "bob") == 4
    shelf, work = Shelf(storage, TENANT), LabelWork(storage, TENANT, "gold")
    made = publish_votes(shelf, work, None, NOW)
    assert made.head is not None
    assert made.head.by_source == {LabelSource.ADJUDICATED: 4}
    assert [one.relevance for one in Shelf(storage, TENANT).labels("gold").labels] == [1] * 4
    assert queries_of(shelf, "gold", None).head.version == 1
    assert work_names(storage, TENANT) == ("gold",)
    assert work_names(storage, "other") == ()


def test_one_tenant_has_nothing_of_another(storage: Storage) -> None:
    judge_all(storage, "ann")
    other = LabelWork(storage, "other", "gold")
    assert (other.pools(), other.batches(), other.votes()) == ((), (), ())


def test_what_lies_in_the_wrong_place_is_refused(storage: Storage) -> None:
    judge_all(storage, "ann")
    folder = f"evaluation/{TENANT}/label_work/gold/votes"
    (month,) = storage.children(folder)
    name = storage.children(f"{folder}/{month}")[0]
    data = storage.read(f"{folder}/{month}/{name}")
    assert data is not None
    storage.put(f"evaluation/other/label_work/gold/votes/{month}/{name}", data)
    with pytest.raises(StoreCorrupt, match="another tenant"):
        LabelWork(storage, "other", "gold").votes()
    storage.put(f"{folder}/2001-01/{name}", data)
    with pytest.raises(StoreCorrupt, match="month"):
        LabelWork(storage, TENANT, "gold").votes()
