"""A pool of connections: shared, bounded, and never handing out one that is no longer good."""

from __future__ import annotations

import threading

import pytest

from ecm.errors import LedgerUnavailable
from ecm.ledger.pool import Pool


class Line:
    """A connection that can break."""

    def __init__(self) -> None:
        self.good = True
        self.closed = False

    def close(self) -> None:
        self.closed = True


def _pool(lines: list[Line], size: int = 2, patience: float = 5.0) -> Pool[Line]:
    def connect() -> Line:
        lines.append(Line())
        return lines[-1]

    return Pool(connect, lambda line: line.good, size, patience)


def test_one_at_a_time_needs_one_connection() -> None:
    lines: list[Line] = []
    pool = _pool(lines)
    for _ in range(3):
        with pool.connection() as line:
            assert line is lines[0]
    pool.close()
    assert [line.closed for line in lines] == [True]


def test_a_connection_that_broke_while_used_or_idle_is_replaced() -> None:
    lines: list[Line] = []
    pool = _pool(lines)
    with pool.connection() as line:
        line.good = False
    assert lines[0].closed
    with pool.connection():
        assert len(lines) == 2
    lines[1].good = False
    with pool.connection() as line:
        assert line is lines[2]
    assert lines[1].closed
    pool.close()


def test_whoever_finds_none_free_waits_and_then_hears_of_it() -> None:
    lines: list[Line] = []
    pool = _pool(lines, size=1, patience=0.05)
    with pool.connection(), pytest.raises(LedgerUnavailable, match="in use"), pool.connection():
        pass
    with pool.connection():
        assert len(lines) == 1
    pool.close()


def test_what_comes_back_after_closing_is_closed() -> None:
    lines: list[Line] = []
    pool = _pool(lines)
    with pool.connection():
        pool.close()
        assert not lines[0].closed
    assert lines[0].closed


def test_a_failed_connection_gives_its_place_back() -> None:
    def refuse() -> Line:
        raise OSError("refused")

    pool: Pool[Line] = Pool(refuse, lambda line: line.good, 1, 0.05)
    for _ in range(3):
        with pytest.raises(OSError, match="refused"), pool.connection():
            pass


def test_threads_never_hold_the_same_connection() -> None:
    lines: list[Line] = []
    pool = _pool(lines, size=3)
    held: set[int] = set()
    lock = threading.Lock()
    clashes: list[int] = []

    def work() -> None:
        for _ in range(200):
            with pool.connection() as line:
                with lock:
                    clashes.extend([id(line)] if id(line) in held else [])
                    held.add(id(line))
                with lock:
                    held.discard(id(line))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clashes == []
    assert len(lines) <= 3
    pool.close()
