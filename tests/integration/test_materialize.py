"""`ecm materialize`: builds on what there is, says how, and publishes nothing beyond a limit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ecm.contracts.task import TaskType
from ecm.delivery.tenure import commit_tenure
from ecm.evidence.snapshot import SnapshotStore
from jobs.cli import run
from tests.factories import FAKE_MODELS, Indexer, fake_profile, gallery

Materialize = Callable[..., dict[str, Any]]


@pytest.fixture
def indexed(tmp_path: Path) -> Indexer:
    made = Indexer(fake_profile(tmp_path))
    made.add(gallery())
    return made


def _options(made: Indexer, *settings: str) -> list[str]:
    home = ["--home", str(made.profile.home)]
    return [*home, *(f"--set={setting}" for setting in (*FAKE_MODELS, *settings))]


def test_it_builds_on_the_one_before_and_anew_when_asked(
    indexed: Indexer, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []
    for words in ([], [], ["--anew"]):
        assert run(["materialize", "--json", *words, *_options(indexed)]) == 0
        told.append(json.loads(capsys.readouterr().out))
        if not words and len(told) == 1:
            indexed.add({"new": gallery(4)["red-3.png"]})
    first, second, third = told
    assert (first["base"], second["base"], third["base"]) == (None, first["snapshot_id"], None)
    assert second["assets"] == third["assets"] == first["assets"] + 1
    published = SnapshotStore(indexed.store).published()
    assert published is not None
    assert published.snapshot_id == third["snapshot_id"]


def test_what_is_beyond_a_limit_is_kept_and_not_published(
    indexed: Indexer, capsys: pytest.CaptureFixture[str]
) -> None:
    first = indexed.publish()
    more = {f"more-{name}": data for name, data in gallery(6).items() if name not in gallery(3)}
    indexed.add(more, without=[TaskType.VV_EMBED])
    limit = 'snapshots.limits.min_coverage={"vv": 0.9}'
    assert run(["materialize", "--json", *_options(indexed, limit)]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "does not measure up: vv covers 50.0% of the assets, the limit is 90.0%" in error
    assert "--despite-measurements" in error
    snapshots = SnapshotStore(indexed.store)
    assert snapshots.published() == first
    kept = snapshots.list()[0]
    assert [short.measurement for short in kept.measurements.shortfalls] == ["coverage.vv"]
    assert run(["materialize", *_options(indexed)]) == 0
    assert "built on" in capsys.readouterr().out


def test_it_waits_for_nobody_who_commits(
    indexed: Indexer, capsys: pytest.CaptureFixture[str]
) -> None:
    with commit_tenure(indexed.profile.ledger, indexed.store):
        assert run(["materialize", *_options(indexed)]) == 75
    assert "another run is committing to this store" in capsys.readouterr().err
    assert SnapshotStore(indexed.store).list() == ()
