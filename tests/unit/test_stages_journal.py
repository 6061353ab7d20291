"""The crash journal finds the row that kills its worker: real processes die here."""

import multiprocessing
import os
from pathlib import Path

import pytest

from ecm.stages.journal import CrashJournal

KEYS = [f"row-{number}" for number in range(20)]


def _attempt(folder: Path, killer: int, output: Path) -> None:
    """Work off KEYS in this process, dying by SIGKILL at the killer's row."""

    def work(start: int, stop: int) -> list[str]:
        if start <= killer < stop:
            os.kill(os.getpid(), 9)
        return [f"done-{i}" for i in range(start, stop)]

    outcomes = CrashJournal(folder, "decode").run(KEYS, work, lambda i: f"refused-{i}")
    output.write_text("\n".join(outcomes))


@pytest.mark.parametrize("killer", [0, 7, 19])
def test_the_killing_row_is_refused_alone_after_few_deaths(tmp_path: Path, killer: int) -> None:
    output = tmp_path / "outcomes"
    context = multiprocessing.get_context("spawn")
    deaths = 0
    while not output.exists():
        process = context.Process(target=_attempt, args=(tmp_path / "marks", killer, output))
        process.start()
        process.join()
        deaths += process.exitcode == -9
        assert deaths <= 7, "more deaths than halvings of 20 rows"
    expected = [f"refused-{i}" if i == killer else f"done-{i}" for i in range(20)]
    assert output.read_text().split("\n") == expected


def test_an_exception_is_not_a_death(tmp_path: Path) -> None:
    journal = CrashJournal(tmp_path, "decode")

    def fail(start: int, stop: int) -> list[str]:
        raise ValueError("an ordinary error")

    with pytest.raises(ValueError, match="ordinary"):
        journal.run(KEYS, fail, str)
    assert journal.run(KEYS, lambda a, b: KEYS[a:b], str) == KEYS
