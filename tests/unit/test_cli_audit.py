"""`ecm audit` and its exit code, on a store of two tenants whose ledger was rebuilt."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ecm.evidence.store import EvidenceStore
from ecm.ledger import open_ledger
from jobs.cli import run as ecm
from tests.factories import FAKE_MODELS, Indexer, fake_profile, gallery

Said = Callable[..., tuple[int, Any]]
PICTURES = gallery(1)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    indexer = Indexer(fake_profile(tmp_path))
    indexer.add(PICTURES)
    indexer.add(dict(list(PICTURES.items())[:2]), tenant="other")
    assert ecm(["ledger", "rebuild", "--json", "--home", str(tmp_path)]) == 0
    return tmp_path


@pytest.fixture
def said(home: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    def run(*words: str, tenant: str = "t") -> tuple[int, Any]:
        capsys.readouterr()
        code = ecm(["audit", *words, "--home", str(home), "--tenant", tenant, "--json"])
        captured = capsys.readouterr()
        return code, json.loads(captured.out) if captured.out else captured.err

    return run


def test_a_whole_store_balances_for_each_tenant_and_for_all(said: Said) -> None:
    code, last = said()
    assert (code, last["balanced"], last["committed"]) == (0, True, len(PICTURES))
    code, mine = said("--all")
    assert (code, mine["problems"], mine["evidence_keys"]) == (0, [], 4 * len(PICTURES))
    code, theirs = said("--all", tenant="other")
    assert (code, theirs["problems"], theirs["evidence_keys"]) == (0, [], 4 * 2)
    code, whole = said("--all-tenants")
    assert (code, whole["evidence_keys"]) == (0, 4 * (len(PICTURES) + 2))


def test_damage_is_told_by_name_to_its_tenant_alone(said: Said, home: Path) -> None:
    store = EvidenceStore.open(fake_profile(home).evidence)
    (name,) = (name for name in store.tables() if name.startswith("evidence_vectors_mv"))
    store.dataset(name).delete("tenant_id = 't'")
    code, mine = said()
    (problem,) = mine["problems"]
    assert (code, mine["balanced"]) == (1, False)
    assert problem.startswith(f"{len(PICTURES)} evidence keys are done but not stored")
    assert "file:///photos/" in problem
    assert said("--all")[0] == 1
    assert said("--all", tenant="other")[0] == 0
    assert said("--all-tenants")[0] == 1


def test_a_job_of_another_tenant_is_not_there(said: Said, home: Path) -> None:
    with open_ledger(fake_profile(home).ledger) as ledger:
        (theirs,) = ledger.jobs(9, "other")
    code, error = said(theirs.record.job_id)
    assert code == 2
    assert "tenant t has no job" in error
    assert said(tenant="nobody")[0] == 2
    assert said(theirs.record.job_id, "--all")[0] == 2


def test_a_deep_audit_names_damage_and_a_repair_mends_it(
    home: Path, said: Said, capsys: pytest.CaptureFixture[str]
) -> None:
    def repair(*words: str) -> tuple[int, Any]:
        capsys.readouterr()
        settings = [f"--set={setting}" for setting in FAKE_MODELS]
        code = ecm(["repair", *words, "--home", str(home), "--json", *settings])
        captured = capsys.readouterr()
        return code, json.loads(captured.out) if captured.out else captured.err

    (table,) = (home / "store" / "tables").glob("evidence_vectors_x_*")
    file = max((table / "data").glob("*.lance"), key=lambda path: path.stat().st_size)
    file.unlink()
    code, found = said("--deep")
    assert (code, found["sound"], found["mend"]) == (1, False, "ecm repair")
    (damage,) = found["damages"]
    assert (damage["kind"], damage["rows"]) == ("missing_file", len(PICTURES))
    assert damage["file"].endswith(file.name)
    assert len(found["affected"]["examples"]) == 5
    code, plan = repair("--dry-run")
    assert (code, plan["affected"]["evidence_keys"], plan["repair"]) == (1, len(PICTURES), None)
    code, refused = repair()
    assert (code, "repair.unasked" in refused) == (2, True)
    code, done = repair("--yes")
    assert (code, done["repair"]["reopened"]) == (0, len(PICTURES))
    code, again = repair("--yes")
    assert (code, again["sound"], again["repair"]) == (0, True, None)
