"""The SQLite connector: files it must refuse, locks it must report, transactions it must undo."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from ecm.errors import ConfigError, ContractError, EcmError, LedgerUnavailable, StoreCorrupt
from ecm.ledger import Ledger, LedgerConfig, open_ledger
from ecm.ledger.sqlite import SqliteConnector
from tests.ledger_tasks import START, TTL, VISION, chunk, claim, list_names, open_job, resource


def _config(path: Path, **settings: float) -> LedgerConfig:
    return LedgerConfig.model_validate({"url": f"sqlite://{path}", **settings})


def _filled(path: Path) -> LedgerConfig:
    config = _config(path)
    with open_ledger(config) as ledger:
        list_names(ledger, "job", [f"r{n}" for n in range(200)])
    return config


def _refused(config: LedgerConfig) -> EcmError:
    with pytest.raises(EcmError) as refused:
        open_ledger(config)
    assert "\n" not in str(refused.value)
    return refused.value


def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    config = _filled(path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 3 * 4096] = b"\xa5" * 3 * 4096
    path.write_bytes(data)
    error = _refused(config)
    assert isinstance(error, StoreCorrupt)
    assert str(path) in error.message


@pytest.mark.parametrize("kept", [10, 1000, 8192])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "ledger.db"
    config = _filled(path)
    path.write_bytes(path.read_bytes()[:kept])
    assert isinstance(_refused(config), StoreCorrupt)


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0" * 500)
    before = path.read_bytes()
    assert isinstance(_refused(_config(path)), StoreCorrupt)
    assert path.read_bytes() == before


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE jobs (name TEXT)")
    other.close()
    before = path.read_bytes()
    error = _refused(_config(path))
    assert (type(error), error.code) == (StoreCorrupt, "ledger.foreign")
    assert path.read_bytes() == before


def test_a_ledger_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    config = _filled(path)
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 999")
    newer.close()
    error = _refused(config)
    assert (type(error), error.code) == (StoreCorrupt, "ledger.version")
    assert "999" in error.message


def test_damage_found_only_later_is_reported_as_damage(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    config = _filled(path).model_copy(update={"check_at_open_bytes": 0})
    data = bytearray(path.read_bytes())
    kept = len(data) // 2 // 4096 * 4096  # the schema lies in the first half
    data[kept:] = b"\xa5" * (len(data) - kept)
    path.write_bytes(data)
    with open_ledger(config) as ledger:
        with pytest.raises(StoreCorrupt):
            ledger.verify()
        with pytest.raises(StoreCorrupt):
            ledger.job_counts("job")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://relative.db", "not an absolute path"),
        ("sqlite:///", "folder"),
        ("mysql://host/db", "no ledger for mysql://"),
        ("ledger.db", "no ledger for"),
    ],
)
def test_a_wrong_url_is_a_configuration_error(url: str, said: str) -> None:
    error = _refused(LedgerConfig(url=url))
    assert isinstance(error, ConfigError)
    assert said in error.message


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    error = _refused(_config(tmp_path / "file" / "ledger.db"))
    assert isinstance(error, LedgerUnavailable)
    assert str(tmp_path / "file") in error.message


def test_a_writer_that_blocks_too_long_makes_the_ledger_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with open_ledger(_config(path, busy_timeout=0.05)) as ledger:
        open_job(ledger, "job")
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailable, match="locked"):
            ledger.acquire_lease("w", START, TTL)
        assert ledger.job("job") is not None  # readers are not blocked
        ledger.tune()  # nor is it an error that others keep the file busy
        blocker.execute("ROLLBACK")
        blocker.close()
        assert ledger.acquire_lease("w", START, TTL).holder == "w"


def test_a_transaction_that_fails_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    with open_ledger(_config(tmp_path / "ledger.db")) as ledger:
        open_job(ledger, "job")
        twice = resource("job", "b", transforms=(VISION, VISION))
        with pytest.raises(ContractError):
            ledger.record_listing("job", chunk([resource("job", "a"), twice]), START)
        assert ledger.job_counts("job").listed == 0
        assert sum(ledger.status(START).states.values()) == 0


def test_a_deep_queue_does_not_make_claims_slower_to_plan(tmp_path: Path) -> None:
    """Claims take from the front of an index, so that their work follows what they take."""
    path = tmp_path / "ledger.db"
    with open_ledger(_config(path)) as ledger:
        costs = []
        for job, names in (("one", 20), ("two", 4000)):
            list_names(ledger, job, [f"{job}{n}" for n in range(names)])
            costs.append(_steps_of_a_claim(ledger))
        assert costs[1] < 3 * costs[0]


def _steps_of_a_claim(ledger: Ledger) -> int:
    """Virtual machine steps, in hundreds, that SQLite needs to claim ten resources."""
    connector = ledger._db
    assert isinstance(connector, SqliteConnector)
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    lease = ledger.acquire_lease("w", START, TTL)
    connector._writer.set_progress_handler(count, 100)
    assert len(claim(ledger, lease, 10)) == 20
    connector._writer.set_progress_handler(None, 0)
    return steps
