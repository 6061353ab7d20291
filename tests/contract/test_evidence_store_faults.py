"""A throttled, failing or broken S3: every row is there once, or the error says that it is away."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecm.errors import LeaseLost, StoreUnavailable
from ecm.evidence.codec import tables_of
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.schema import key_column
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from tests.evidence_envelopes import START, embedded, vision
from tests.object_server import ACCESS_KEY, REGION, SECRET_KEY, ObjectServer
from tests.object_trouble import Request, Trouble, TroubledServer

REPO = Path(__file__).resolve().parents[2]
BATCHES = 4
KINDS = (
    Trouble.SLOW_DOWN,
    Trouble.SERVER_ERROR,
    Trouble.CUT,
    Trouble.HALF_ANSWER,
    Trouble.LOST_ANSWER,
    Trouble.FAILED_ANSWER,
)


@pytest.fixture
def trouble(object_server: ObjectServer) -> Iterator[TroubledServer]:
    with TroubledServer(object_server.endpoint) as server:
        yield server


def _batch(number: int) -> list:
    seeds = [(number, n) for n in range(3)]
    return [e for seed in seeds for e in (vision(seed, "a dog", ("dog", "sea")), embedded(seed))]


def _assert_whole(store: EvidenceStore, batches: int) -> None:
    """Every row of so many batches is there, once, and as it was said."""
    expected: dict[str, dict[str, dict]] = {}
    for number in range(batches):
        for name, table in tables_of(_batch(number), f"b{number}").items():
            column = "evidence_id" if "evidence_id" in table.schema.names else key_column(name)
            expected.setdefault(name, {}).update({row[column]: row for row in table.to_pylist()})
    assert set(store.tables()) == set(expected)
    for name, rows in expected.items():
        stored = store.dataset(name).to_table().to_pylist()
        column = "evidence_id" if "evidence_id" in stored[0] else key_column(name)
        assert len(stored) == len(rows), name
        assert {row[column]: row for row in stored} == rows


def test_batches_go_through_every_kind_of_trouble_once(
    object_server: ObjectServer, trouble: TroubledServer
) -> None:
    kinds = itertools.cycle(KINDS)

    def plan(request: Request) -> Trouble | None:
        return next(kinds) if request.number % 6 == 0 else None

    trouble.plan = plan
    uri = f"s3://{object_server.bucket()}/store"
    config = object_server.config(uri, trouble.endpoint, commit_backoff_seconds=0.01)
    store = EvidenceStore.create(config, START)
    committer = EvidenceCommitter(store)
    for number in range(BATCHES):
        committer.append(f"b{number}", _batch(number))
    assert all(trouble.met[kind] for kind in KINDS), trouble.met
    _assert_whole(EvidenceStore.open(object_server.config(uri)), BATCHES)


def test_a_commit_whose_answer_is_lost_is_not_made_twice(
    object_server: ObjectServer, trouble: TroubledServer
) -> None:
    kinds = itertools.cycle((Trouble.LOST_ANSWER, Trouble.FAILED_ANSWER))
    uri = f"s3://{object_server.bucket()}/store"
    store = EvidenceStore.create(object_server.config(uri, trouble.endpoint), START)
    committer = EvidenceCommitter(store)
    committer.append("b0", _batch(0))
    lost: set[str] = set()

    def plan(request: Request) -> Trouble | None:
        first = request.if_none_match and request.path not in lost
        lost.add(request.path)
        return next(kinds) if first else None

    trouble.plan = plan
    committer.append("b1", _batch(1))
    assert sum(trouble.met.values()) == len(store.tables())
    _assert_whole(store, 2)
    name = "fresh/object.json"
    assert store.storage.put_new(name, b"x"), "its own put, answered late, is not another's"
    assert not store.storage.put_new(name, b"x")


@pytest.mark.parametrize("kind", [Trouble.SLOW_DOWN, Trouble.SILENCE])
def test_a_storage_that_stays_away_is_reported_and_then_gone_on_with(
    object_server: ObjectServer, trouble: TroubledServer, kind: Trouble
) -> None:
    uri = f"s3://{object_server.bucket()}/store"
    config = object_server.config(
        uri,
        trouble.endpoint,
        object_attempts=2,
        object_timeout_seconds=0.5,
        commit_attempts=1,
        commit_backoff_seconds=0.01,
    )
    store = EvidenceStore.create(config, START)
    committer = EvidenceCommitter(store)
    committer.append("b0", _batch(0))
    trouble.plan = lambda request: kind
    with pytest.raises(StoreUnavailable) as caught:
        committer.append("b1", _batch(1))
    assert "\n" not in str(caught.value)
    with pytest.raises(StoreUnavailable):
        EvidenceStore.open(config)
    trouble.plan = lambda request: None
    committer.append("b1", _batch(1))
    _assert_whole(store, 2)


_CHILD = """
    import sys
    from pathlib import Path
    from ecm.crashpoints import arm
    from ecm.evidence.committer import EvidenceCommitter
    from ecm.evidence.config import EvidenceConfig
    from ecm.evidence.spool import Spool
    from ecm.evidence.store import EvidenceStore
    from tests.contract.test_evidence_store_faults import _batch
    from tests.evidence_envelopes import START

    store = EvidenceStore.create(EvidenceConfig(uri=sys.argv[1]), START)
    committer, spool = EvidenceCommitter(store), Spool(Path(sys.argv[2]))
    for number in range(2):
        if number:
            arm({"ECM_CRASH": "table.fragments:2"})
        spool.write(f"b{number}", _batch(number), START)
        committer.append(f"b{number}", _batch(number))
"""


def test_a_committer_that_is_killed_between_files_and_commit_is_gone_on_with(
    object_server: ObjectServer, tmp_path: Path
) -> None:
    uri = f"s3://{object_server.bucket()}/store"
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_CHILD), uri, str(tmp_path)],
        env=os.environ
        | {
            "PYTHONPATH": str(REPO),
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": object_server.endpoint,
        },
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    store, spool = EvidenceStore.open(object_server.config(uri)), Spool(tmp_path)
    for name in store.tables():
        assert set(store.read(name, ["batch_id"])["batch_id"].to_pylist()) == {"b0"}, "not yet"
    for batch_id in spool.list():
        batch = spool.read(batch_id)
        assert batch is not None
        EvidenceCommitter(store).append(batch_id, batch.envelopes)
    _assert_whole(store, 2)


def test_who_sleeps_through_the_loss_of_its_right_commits_nothing(
    object_server: ObjectServer,
) -> None:
    store = EvidenceStore.create(object_server.config(), START)
    committer = EvidenceCommitter(store, sleep=lambda seconds: None)
    committer.append("b0", _batch(0))
    asked: list[int] = []

    def still_mine() -> None:
        asked.append(1)
        if len(asked) > 1:
            raise LeaseLost("another committer took over")
        EvidenceCommitter(EvidenceStore.open(store.config)).fence()

    with pytest.raises(LeaseLost):
        committer.append("b1", _batch(1), still_mine)
    _assert_whole(store, 1)
