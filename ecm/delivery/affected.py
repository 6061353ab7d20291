"""Which tasks have to be done again for a store to hold once more what it has lost.

Every committed task of the ledger is asked whether the tables still hold what it said. Names the
fewest tasks that bring it all back: rows about an asset come with any task on its bytes. Changes
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from ecm.contracts.task import TaskType
from ecm.evidence.codec import asset_key, version_key
from ecm.evidence.examination import Examination, TableExam
from ecm.evidence.schema import (
    ANALYSIS_RUNS,
    ASSET_SIGHTINGS,
    ASSET_VERSIONS,
    ASSET_WORDS,
    ASSETS,
    EVIDENCE_MEASURES,
    EVIDENCE_REGIONS,
    EVIDENCE_TEXT,
    THUMBNAILS,
    is_evidence_table,
    is_vector_table,
)
from ecm.ledger.ledger import Ledger
from ecm.ledger.records import Committed

_CHUNK: Final = 10_000
_NAMED: Final = 5
_WORDS: Final = frozenset({TaskType.VISION.value, TaskType.OCR.value})
_ABOUT_ASSETS: Final = (ASSETS, THUMBNAILS, ASSET_VERSIONS)
_CHEAPEST: Final = (
    TaskType.X_EMBED,
    TaskType.VISION,
    TaskType.VV_EMBED,
    TaskType.OCR,
    TaskType.MV_EMBED,
)
"""What is done again for the sake of an asset's rows: whatever takes least; the last decodes
nothing."""

BEYOND: Final = (ASSET_SIGHTINGS, ASSET_WORDS, ANALYSIS_RUNS)
"""Tables whose rows no task is asked to bring back: those of words in files are there again when a
file is read again, but which files had any cannot be told."""


@dataclass(slots=True)
class Affected:
    """What has to be derived again: evidence keys by tenant; how many tasks lack rows in which
    table, and of how many assets; some places with their tenants, for a person. `unstored` are
    tasks of which no table has anything.
    """

    keys: dict[str, set[str]] = field(default_factory=dict)
    by_table: dict[str, int] = field(default_factory=dict)
    assets: set[tuple[str, str]] = field(default_factory=set)
    named: list[tuple[str, str]] = field(default_factory=list)
    unstored: int = 0

    @property
    def count(self) -> int:
        """Evidence keys in all."""
        return sum(map(len, self.keys.values()))


def affected_by(ledger: Ledger, exam: Examination, since: float) -> Affected:
    """Ask every task of every tenant that was committed before the examination began (`since`).

    Memory: what is affected, and a task for each asset or place of which a table has lost a row.
    Raises as the ledger does.
    """
    return _Assessment(exam).run(ledger, since)


class _Assessment:
    """One pass over the committed tasks."""

    def __init__(self, exam: Examination) -> None:
        evidence = [t for name, t in exam.tables.items() if is_evidence_table(name)]
        self._evidence = evidence
        self._broken = [table for table in evidence if table.lacks_rows]
        self._about = [
            exam.tables[name]
            for name in _ABOUT_ASSETS
            if name in exam.tables and exam.tables[name].lacks_rows
        ]
        self._best: dict[tuple[str, str, str], Committed] = {}
        self._done = Affected()

    def run(self, ledger: Ledger, since: float) -> Affected:
        tasks = (task for task in ledger.committed() if task.persisted_at < since)
        while chunk := list(islice(tasks, _CHUNK)):
            self._ask(chunk)
        for (table, tenant_id, _), task in self._best.items():
            if task.evidence_key not in self._done.keys.get(tenant_id, ()):
                self._add(task, table)
            else:
                self._done.by_table[table] = self._done.by_table.get(table, 0) + 1
        return self._done

    def _ask(self, chunk: list[Committed]) -> None:
        keys = [task.evidence_key for task in chunk]
        held = {table.name: table.holds(keys) for table in self._evidence}
        for place, task in enumerate(chunk):
            lacking = [
                table.name
                for table in self._broken
                if _belongs(task, table) and not held[table.name][place]
            ]
            if not lacking and not any(each[place] for each in held.values()):
                self._done.unstored += 1
                lacking = [""]
            for table in lacking:
                self._add(task, table)
        for about in self._about:
            self._ask_about(about, chunk)

    def _ask_about(self, table: TableExam, chunk: list[Committed]) -> None:
        """Remember the cheapest task for each asset or place of which the table has no row."""
        held = table.holds([_row_key(table.name, task) for task in chunk])
        for place, task in enumerate(chunk):
            if held[place]:
                continue
            if table.name != ASSET_VERSIONS and task.task_type == TaskType.MV_EMBED:
                continue
            which = (table.name, task.tenant_id, _row_key(table.name, task))
            best = self._best.get(which)
            if best is None or _cost(task) < _cost(best):
                self._best[which] = task

    def _add(self, task: Committed, table: str) -> None:
        done = self._done
        known = done.keys.setdefault(task.tenant_id, set())
        if task.evidence_key not in known and len(done.named) < _NAMED:
            done.named.append((task.tenant_id, f"{task.identity.uri} ({task.task_type})"))
        known.add(task.evidence_key)
        done.assets.add((task.tenant_id, task.asset_id))
        if table:
            done.by_table[table] = done.by_table.get(table, 0) + 1


def _belongs(task: Committed, table: TableExam) -> bool:
    """Whether what the task said should have rows in an evidence table.

    Numbers beside other statements cannot be told from the task: a key is looked for among them
    when it is nowhere else. Lines of text that were read stand somewhere; that an OCR task found
    none cannot be told either, so that of these some are done again in vain.
    """
    if is_vector_table(table.name):
        return table.name.endswith(f"_{task.transform[:12]}")
    if table.name == EVIDENCE_REGIONS:
        return task.task_type == TaskType.OCR
    return table.name == EVIDENCE_TEXT and task.task_type in _WORDS


def _row_key(table: str, task: Committed) -> str:
    if table == ASSET_VERSIONS:
        place = task.identity
        return version_key(
            task.tenant_id, task.asset_id, place.uri, place.size, place.mtime_ns, place.etag
        )
    return asset_key(task.tenant_id, task.asset_id)


def _cost(task: Committed) -> int:
    return _CHEAPEST.index(TaskType(task.task_type))


def beyond_repair(exam: Examination) -> Iterator[str]:
    """What is lost for good, one line each."""
    for name in (*BEYOND, EVIDENCE_MEASURES):
        table = exam.tables.get(name)
        if table is not None and table.lacks_rows:
            rows = table.lost_rows + len(table.spoilt)
            yield f"{rows} rows of {name}{_UNLESS.get(name, '')}"


_UNLESS: Final = {
    ASSET_WORDS: ", until their files are read again",
    EVIDENCE_MEASURES: ", unless their tasks said nothing else",
}
