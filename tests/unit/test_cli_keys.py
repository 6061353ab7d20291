"""`ecm keys` and `ecm admin-log`, as people and scripts see them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.cli import run

Said = Callable[..., Any]


@pytest.fixture
def said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    def call(*words: str, code: int = 0) -> Any:
        assert run([*words, "--json", "--home", str(tmp_path)]) == code
        out, err = capsys.readouterr()
        return json.loads(out) if out else err

    return call


def test_keys_are_made_listed_replaced_and_ended(said: Said, tmp_path: Path) -> None:
    first = said("keys", "create", "-t", "studio", "--scope", "search", "--expires", "30d")
    assert first["key"].startswith(f"ecm_{first['key_id']}_")
    assert (first["tenant_id"], first["scopes"], first["state"]) == ("studio", ["search"], "active")
    assert first["expires_at"] - first["created_at"] == pytest.approx(30 * 86_400)
    boss = said("keys", "create", "--operator", "--scope", "admin", "--name", "on call")
    assert (boss["tenant_id"], boss["name"]) == (None, "on call")
    second = said("keys", "rotate", first["key_id"], "--grace", "1h")
    assert second["old_key_id"] == first["key_id"]
    assert second["old_expires_at"] - second["created_at"] == pytest.approx(3600)
    assert said("keys", "revoke", boss["key_id"])["state"] == "revoked"
    listed = said("keys", "list")["items"]
    assert [(i["key_id"], i["state"], i["replaced_by"]) for i in listed] == [
        (first["key_id"], "active", second["key_id"]),
        (boss["key_id"], "revoked", None),
        (second["key_id"], "active", None),
    ]
    assert len(said("keys", "list", "--tenant", "studio")["items"]) == 2
    told = (tmp_path / "keys.json").read_text() + (tmp_path / "audit/admin.jsonl").read_text()
    for made in (first, boss, second):
        assert made["key"] not in told + json.dumps(listed)
    assert "digest" not in json.dumps(listed)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("create", "--operator", "--scope", "search"), "access.scope"),
        (("create", "--operator", "-t", "a", "--scope", "admin"), "access.tenant"),
        (("create", "--scope", "search", "--expires", "soon"), "span"),
        (("create", "--scope", "search", "--expires", "0s"), "access.expires"),
        (("revoke", "0123456789"), "access.key_unknown"),
        (("rotate", "0123456789"), "access.key_unknown"),
    ],
)
def test_what_makes_no_key_says_why(said: Said, words: tuple[str, ...], code: str) -> None:
    assert f"[{code}]" in said("keys", *words, code=2)
    assert said("keys", "list") == {"items": []}


def test_the_log_of_administrators_tells_who_did_what(said: Said, tmp_path: Path) -> None:
    made = said("keys", "create", "-t", "studio", "--scope", "ingest")
    said("keys", "revoke", made["key_id"])
    log = said("admin-log", "--since", "1h")
    assert [(i["action"], i["target"], i["outcome"]) for i in log["items"]] == [
        ("keys.create", made["key_id"], "begun"),
        ("keys.create", made["key_id"], "done"),
        ("keys.revoke", made["key_id"], "begun"),
        ("keys.revoke", made["key_id"], "done"),
    ]
    assert {i["tenant_id"] for i in log["items"]} == {"studio"}
    assert all(i["who"].startswith("local:") for i in log["items"])
    assert said("admin-log", "--tenant", "other") == {"items": [], "damaged_lines": []}
    with (tmp_path / "audit/admin.jsonl").open("a") as stream:
        stream.write("{cut off")
    assert said("admin-log", code=1)["damaged_lines"] == [5]
