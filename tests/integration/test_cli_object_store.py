"""The commands on a store on S3: the same answers, exit codes that tell why, and no secret."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.cli import run as ecm
from tests.factories import Indexer, fake_profile, gallery
from tests.object_server import ACCESS_KEY, SECRET_KEY, ObjectServer

Said = Callable[..., tuple[int, str, str]]
PICTURES = gallery(1)


@pytest.fixture
def said(
    object_server: ObjectServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Said:
    """Runs a command on an indexed store on S3; exit code, stdout, stderr."""
    config = object_server.config()
    options = {name: value.get_secret_value() for name, value in config.storage_options.items()}
    settings = (f"evidence.uri={config.uri}", f"evidence.storage_options={json.dumps(options)}")
    Indexer(fake_profile(tmp_path, *settings)).add(PICTURES)
    monkeypatch.setenv("ECM_EVIDENCE__URI", config.uri)
    monkeypatch.setenv("ECM_EVIDENCE__STORAGE_OPTIONS", json.dumps(options))

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = ecm([*words, "--home", str(tmp_path)])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def _document(answer: tuple[int, str, str]) -> Any:
    code, out, err = answer
    assert code == 0, err
    return json.loads(out)


def test_commands_answer_on_s3_as_on_a_disk(said: Said) -> None:
    counted = _document(said("sql", "SELECT count(*) AS n FROM assets", "--json", "--all-tenants"))
    assert counted["rows"] == [[len(PICTURES)]]
    assert _document(said("ledger", "rebuild", "--json"))
    audit = _document(said("audit", "--all", "--tenant", "t", "--json"))
    assert (audit["balanced"], audit["problems"]) == (True, [])
    for words in (["materialize"], ["audit", "--deep"], ["maintain"], ["snapshots", "gc"]):
        assert _document(said(*words, "--json"))
    listed = _document(said("snapshots", "list", "--json"))
    assert listed["published"] in [item["snapshot_id"] for item in listed["items"]]


def test_what_goes_wrong_is_one_line_without_a_secret(
    said: Said, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def options(**changes: str) -> str:
        options = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY}
        return json.dumps({**options, "endpoint": object_server.endpoint, **changes})

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("ECM_EVIDENCE__OBJECT_ATTEMPTS", "1")
        for code, mark, name, value in [
            (75, "store.unavailable", "STORAGE_OPTIONS", options(endpoint=nowhere)),
            (2, "config.object_storage", "STORAGE_OPTIONS", options(endpoint=SECRET_KEY)),
            (2, "config.unknown_key", "STORAGE_OPTIONS", options(secret=SECRET_KEY)),
            (2, "config.override", "STORAGE_OPTIONS", options()[:-1] + "]"),
            (2, "config.bucket", "URI", "s3://ecm-no-such-bucket/store"),
            (2, "config.no_store", "URI", f"s3://{object_server.bucket()}/store"),
        ]:
            with monkeypatch.context() as environment:
                environment.setenv(f"ECM_EVIDENCE__{name}", value)
                for words in (["sql", "SELECT 1"], ["snapshots", "list", "--json"]):
                    found, out, err = said(*words)
                    assert (found, f"[{mark}]" in err) == (code, True), err
                    assert len(err.strip().splitlines()) == 1
                    assert SECRET_KEY not in out + err
