"""The trail of administrators: appended to, on disk, damage told, nothing done without it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ecm.access.trail import DamagedLine, Outcome, Trail, TrailEntry, recorded
from ecm.errors import ConfigError, StoreUnavailable


def entry(at: float, action: str = "keys.create", target: str = "k") -> TrailEntry:
    return TrailEntry(
        at=at, who="local:me", tenant_id="t", action=action, target=target, outcome=Outcome.BEGUN
    )


def test_entries_come_back_in_order_from_a_moment_on(tmp_path: Path) -> None:
    trail = Trail(tmp_path / "audit" / "admin.jsonl")
    assert list(trail.entries()) == []
    said = [entry(1.0), entry(2.0, target='a\nb"}'), entry(3.0)]
    for each in said:
        trail.append(each)
    assert list(trail.entries()) == said
    assert list(trail.entries(since=2.0)) == said[1:]
    assert (tmp_path / "audit" / "admin.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_line_cut_off_spoils_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "admin.jsonl"
    trail = Trail(path)
    trail.append(entry(1.0))
    path.write_bytes(path.read_bytes() + path.read_bytes()[:40])
    trail.append(entry(2.0))
    assert list(trail.entries()) == [entry(1.0), DamagedLine(2), entry(2.0)]


def test_what_is_recorded_has_a_beginning_and_an_end(tmp_path: Path) -> None:
    trail = Trail(tmp_path / "admin.jsonl")
    assert recorded(trail, entry(1.0), lambda: 42, lambda: 5.0) == 42

    def refuse() -> None:
        raise ConfigError("no such thing", "access.key_unknown")

    with pytest.raises(ConfigError):
        recorded(trail, entry(6.0), refuse, lambda: 7.0)
    told = [e for e in trail.entries() if isinstance(e, TrailEntry)]
    assert [(e.at, e.outcome, e.detail) for e in told] == [
        (1.0, Outcome.BEGUN, ""),
        (5.0, Outcome.DONE, ""),
        (6.0, Outcome.BEGUN, ""),
        (7.0, Outcome.FAILED, "access.key_unknown"),
    ]


def test_what_cannot_be_written_down_is_not_done(tmp_path: Path) -> None:
    (tmp_path / "admin.jsonl").symlink_to(tmp_path / "elsewhere")
    done: list[int] = []
    with pytest.raises(StoreUnavailable) as refused:
        recorded(Trail(tmp_path / "admin.jsonl"), entry(1.0), lambda: done.append(1), lambda: 2.0)
    assert refused.value.code == "access.trail"
    assert done == []
    assert not (tmp_path / "elsewhere").exists()


def test_writers_at_once_write_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "admin.jsonl"

    def write(number: int) -> None:
        trail = Trail(path)
        for each in range(20):
            trail.append(entry(float(each), target=f"{number} " + "x" * 1500))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(5)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = list(Trail(path).entries())
    assert len(found) == 100
    assert not [each for each in found if isinstance(each, DamagedLine)]
