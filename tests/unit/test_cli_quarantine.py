"""`ecm quarantine` of one tenant: listed, shown, released with a reason; another's is not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ecm.contracts.identity import evidence_key
from ecm.contracts.quarantine import Drift, QuarantineNotice
from ecm.contracts.task import TaskType
from ecm.evidence.quarantine import quarantine
from ecm.ledger.ledger import open_ledger
from jobs.cli import run
from tests.factories import FAKE_MODELS, Indexer, fake_profile, gallery


@pytest.fixture
def named(tmp_path: Path) -> str:
    """A store in which a tenant has a quarantine; its id."""
    made = Indexer(fake_profile(tmp_path))
    (asset, *_) = made.add(gallery(1))
    made.publish()
    with open_ledger(made.profile.ledger):
        pass
    mark = made.plan.by_type[TaskType.VISION].fingerprint
    notice = QuarantineNotice(
        tenant_id="t",
        manifest="fake-image",
        transforms=(mark,),
        run_id="run-1",
        worker_id="w",
        drift=Drift(probe="waves", measured=0.5, needed=0.999, said="probe waves: cosine 0.5"),
        since=1.0,
        until=2.0,
        keys=(evidence_key("t", asset, TaskType.VISION.value, mark),),
    )
    return quarantine(made.store, notice)


def test_a_quarantine_is_listed_shown_and_released(
    named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*words: str, code: int, tenant: str = "t") -> Any:
        options = ["--home", str(tmp_path), "--tenant", tenant]
        options += [f"--set={setting}" for setting in FAKE_MODELS]
        assert run([*words, "--json", *options]) == code
        out, err = capsys.readouterr()
        return json.loads(out) if out else err

    listed = said("quarantine", "list", code=1)
    assert [(i["id"], i["state"], i["keys"]) for i in listed["items"]] == [(named, "open", 1)]
    assert said("quarantine", "list", code=0, tenant="other")["items"] == []
    for words in (["show", named], ["redo", named], ["release", named, "--why", "x"]):
        assert "[quarantine.unknown]" in said("quarantine", *words, code=2, tenant="other")
    shown = said("quarantine", "show", named, code=0)
    assert shown["stored_rows"] > 0
    assert shown["drift"]["measured"] == 0.5
    assert said("status", code=0)["open_quarantines"] == 1

    assert "--why is empty" in said("quarantine", "release", named, "--why", " ", code=2)
    for why in ("the probe was wrong", "said twice"):
        item = said("quarantine", "release", named, "--why", why, code=0)["items"][0]
        assert item["state"] == "released"
    shown = said("quarantine", "show", named, code=0)
    assert shown["released"]["why"] == "the probe was wrong"
    assert shown["released"]["by"]
    assert said("quarantine", "list", code=0)["open"] == 0
    assert "[quarantine.released]" in said("quarantine", "redo", named, code=2)
    assert said("status", code=0)["open_quarantines"] == 0
