"""Two writers of the same keys at the same moment, on the installed Lance.

What ecm does holds; what one would do without thinking does not. Without the barrier neither shows.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lance
import pyarrow as pa

from ecm.doctor import Status, check_commits, judge_commits
from ecm.evidence.races import Trial, trial

ROUNDS = 30


def test_whoever_loses_the_right_doubles_nothing(tmp_path: Path) -> None:
    told = trial(tmp_path / "store", ROUNDS)
    assert (told.doubled, told.passed) == (0, 0)
    assert told.refused >= ROUNDS // 3, "those that were let go last"
    assert told.left_out >= ROUNDS // 3, "takers after those that were let go first"
    assert told.rounds == told.refused + told.left_out


def test_a_plain_merge_of_new_keys_doubles_them(tmp_path: Path) -> None:
    """The trap that the committer goes round: no error, and rows twice (design, section 12)."""
    uri, writers = str(tmp_path / "plain.lance"), 2
    lance.write_dataset(pa.table({"key": ["first"], "by": [0]}), uri)
    barrier = threading.Barrier(writers, timeout=30)

    def write(writer: int) -> None:
        for number in range(ROUNDS):
            rows = pa.table({"key": [f"{number}-{n}" for n in range(5)], "by": [writer] * 5})
            dataset = lance.dataset(uri)
            barrier.wait()
            dataset.merge_insert("key").when_not_matched_insert_all().execute(rows)

    with ThreadPoolExecutor(writers) as pool:
        assert list(pool.map(write, range(writers))) == [None] * writers
    keys = lance.dataset(uri).to_table(columns=["key"])["key"].to_pylist()
    assert len(set(keys)) == 1 + 5 * ROUNDS
    assert len(keys) > len(set(keys)), (
        f"Lance {lance.__version__} keeps racing merges apart: the trap is gone, and with it one "
        "reason for the fenced committer; see design.md, section 12, before relying on it"
    )


def test_the_doctor_tries_it() -> None:
    check = check_commits()
    assert (check.status, check.mend) == (Status.OK, "")
    assert "9 races of two committers, 0 rows doubled" in check.detail
    broken = Trial(rounds=9, refused=0, left_out=9, doubled=4, passed=0)
    check = judge_commits(broken, "99.0")
    assert check.status is Status.FAIL
    assert "4 rows doubled" in check.detail
    assert "constraints.txt" in check.mend
