"""`ecm snapshots`: what each command says and its exit code, on a store of two tenants."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ecm.evidence.pins import Pin, pin
from ecm.evidence.store import EvidenceStore
from jobs.cli import run as ecm
from tests.evidence_envelopes import VISION, VV
from tests.factories import fake_profile
from tests.snapshot_stores import LATER, copied, grown, ids_of, orphans, served

Said = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four snapshots of a growing store, the last one published."""
    folder = tmp_path_factory.mktemp("snapshots") / "store"
    grown(folder, 4)
    return folder


@pytest.fixture
def store(template: Path, tmp_path: Path) -> EvidenceStore:
    return copied(template, Path(fake_profile(tmp_path).evidence.uri))


@pytest.fixture
def said(store: EvidenceStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    def run(*words: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = ecm(["snapshots", *words, "--home", str(tmp_path), "--json"])
        captured = capsys.readouterr()
        return code, json.loads(captured.out) if captured.out else captured.err

    return run


def test_the_list_tells_what_is_published_and_who_reads(store: EvidenceStore, said: Said) -> None:
    made = ids_of(store)
    pin(store, made[1], "reader", Pin(expires_at=LATER, holder="a searcher"))
    code, told = said("list")
    assert (code, told["published"]) == (0, made[3])
    assert [item["snapshot_id"] for item in told["items"]] == made[::-1]
    assert [item["assets"] for item in told["items"]] == [4, 3, 2, 1]
    assert [item["pins"] for item in told["items"]] == [0, 0, 1, 0]
    assert [item["published"] for item in told["items"]] == [True, False, False, False]
    assert said("list", "--tenant", "nobody")[1]["items"][0]["assets"] == 0


def test_one_is_shown_with_all_that_is_on_record(store: EvidenceStore, said: Said) -> None:
    made = ids_of(store)
    said("publish", made[0])
    said("rollback")
    pin(store, made[0], "reader", Pin(expires_at=LATER, holder="a searcher"))
    code, told = said("show", made[0])
    assert (code, told["published"], told["assets"]) == (0, False, 1)
    assert [one["until"] is None for one in told["publications"]] == [False, False]
    assert (told["transforms"]["vv"], told["dims"]["vv"]) == ([VV], 8)
    assert told["policy"]["transforms"]["fts"][0] == VISION
    assert told["readers"][0]["holder"] == "a searcher"
    assert told["measurements"]["coverage"]["vv"] == 1.0
    code, now = said("show", "published", "--tenant", "other")
    assert (now["snapshot_id"], now["tenants"], now["assets"]) == (made[3], {"other": 0}, 0)
    assert now["publications"][-1]["until"] is None
    assert ecm(["snapshots", "show", made[0], "--home", str(Path(store.storage.root).parent)]) == 0
    code, told = said("show", "s-20200101T000000Z-00000000")
    assert (code, "no snapshot" in told) == (1, True)


def test_a_comparison_is_of_one_tenant_unless_all_are_asked_for(
    store: EvidenceStore, said: Said
) -> None:
    made = ids_of(store)
    code, told = said("diff", made[0], "published", "--tenant", "t", "--limit", "2")
    assert (code, told["tenants"]["t"]["added"], len(told["examples"])) == (0, 3, 2)
    assert said("diff", made[0], made[3])[1]["tenants"] == {}
    assert said("diff", made[0], made[3], "--all-tenants")[1]["tenants"]["t"]["added"] == 3
    assert said("diff", made[0], made[3], "--all-tenants", "--tenant", "t")[0] == 2
    assert store.storage.children(f"pins/{made[0]}") == ()


def test_going_back_and_forth(store: EvidenceStore, said: Said) -> None:
    made = ids_of(store)
    assert said("rollback") == (0, {"published": made[2]})
    assert said("rollback", "--to", made[0]) == (0, {"published": made[0]})
    assert said("rollback")[0] == 1
    assert said("publish", made[3], "--despite-measurements") == (0, {"published": made[3]})
    assert said("publish", "../../etc")[0] == 1


def test_collection_tells_before_and_after(store: EvidenceStore, said: Said) -> None:
    made = ids_of(store)
    rule = ("gc", "--keep", "1", "--grace", "0")
    code, told = said(*rule, "--dry-run")
    assert (code, told["snapshots"]) == (0, made[:2])
    assert told["kept"] == {made[2]: "rollback may need it", made[3]: "published"}
    assert ids_of(store) == made
    assert said(*rule, "--older-than", "36500")[1]["snapshots"] == []
    code, told = said(*rule)
    assert (code, told["snapshots"]) == (0, made[:2])
    assert told["bytes_freed"] > 0
    assert said(*rule)[1]["bytes_freed"] == 0


def test_a_damaged_one_is_told_and_can_be_discarded(store: EvidenceStore, said: Said) -> None:
    made = ids_of(store)
    store.storage.put(f"snapshots/{made[1]}/ref.json", b"{")
    code, told = said("list")
    assert (code, list(told["damaged"]), len(told["items"])) == (1, [made[1]], 3)
    assert said("gc")[0] == 1
    assert said("gc", "--discard", made[3])[0] == 1
    assert said("gc", "--discard", "s-20200101T000000Z-00000000")[0] == 1
    code, told = said("gc", "--discard", made[1])
    assert (code, told["discarded"], told["snapshots"]) == (0, made[1], [])
    code, told = said("list")
    assert (code, told["damaged"], told["published"]) == (0, {}, made[3])
    assert served(store) == made[3]
    assert said("gc", "--grace", "0")[0] == 0
    assert orphans(store) == []
