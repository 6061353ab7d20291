"""Runs on the Shelf: begun, gone on with, finished, listed, forgotten.

    plan.json            what is to be asked; there first
    parts/000001.jsonl   answers, batch by batch; gone once they are all in answers.jsonl
    answers.jsonl, queries.jsonl, summary.json, report.md, …
    run.json             there last: with it the run is finished
    accepted.json        who lets it pass though the gates do not

A run without run.json was stopped or is under way: its answers can be read, and it can go on. Knows
no engine, no measure and no clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from pydantic import ValidationError

from ecm.contracts.identity import Contract
from ecm.contracts.measured import (
    Acceptance,
    Answered,
    QueryMeasured,
    RunHead,
    RunPlan,
    Summary,
)
from ecm.errors import ConfigError, LeaseLost, StoreCorrupt
from ecm.evaluation.shelf import Shelf, lines_of, read_lines

PLAN: Final = "plan.json"
PARTS: Final = "parts"
ANSWERS: Final = "answers.jsonl"
QUERIES: Final = "queries.jsonl"
SUMMARY: Final = "summary.json"
REPORT: Final = "report.md"
HEAD: Final = "run.json"
ACCEPTED: Final = "accepted.json"
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
Document = TypeVar("Document", bound=Contract)


@dataclass(frozen=True)
class Kept:
    """What is known of a run without its answers. `head` and `summary` None: not finished."""

    plan: RunPlan
    head: RunHead | None
    summary: Summary | None
    accepted: Acceptance | None


class Runs:
    """The runs of one tenant. Raises StoreUnavailable where the storage cannot be reached."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def begin(self, plan: RunPlan) -> None:
        """Put a plan on record. Raises ConfigError where there is a run of its id."""
        if not self._shelf.put(plan.run_id, PLAN, _json(plan)):
            raise ConfigError(
                f"there is a run {plan.run_id} already",
                "evaluation.run_exists",
                f"go on with it: --resume {plan.run_id}",
            )

    def plan(self, run_id: str) -> RunPlan:
        """What a run asks. Raises ConfigError (no such run), StoreCorrupt."""
        plan = self._read(RunPlan, run_id, PLAN) if _ID.fullmatch(run_id) else None
        if plan is None:
            raise self._unknown(run_id)
        return plan

    def kept(self, run_id: str) -> Kept:
        """All but the answers. Raises ConfigError (no such run), StoreCorrupt."""
        plan = self.plan(run_id)
        head = self._read(RunHead, run_id, HEAD)
        summary = self._read(Summary, run_id, SUMMARY) if head is not None else None
        if head is not None and summary is None:
            raise StoreCorrupt(f"run {run_id} is finished, and its {SUMMARY} is not there")
        return Kept(plan, head, summary, self._read(Acceptance, run_id, ACCEPTED))

    def all(self) -> Iterator[Kept]:
        """Every run, the one begun last first. Raises StoreCorrupt."""
        there = [self.kept(run_id) for run_id in self._ids() if self._planned(run_id)]
        yield from sorted(there, key=_begun, reverse=True)

    def answers(self, run_id: str) -> tuple[Answered, ...]:
        """All answers that are kept, each once; of a run under way those so far, as they came.

        Raises StoreCorrupt.
        """
        whole = self._shelf.read(run_id, ANSWERS)
        if whole is not None:
            return read_lines(Answered, whole, f"{ANSWERS} of run {run_id}")
        found: dict[tuple[int, str, str], Answered] = {}
        for name in self._shelf.files(run_id, PARTS):
            part = f"{PARTS}/{name}"
            data = self._shelf.read(run_id, part) or b""
            for one in read_lines(Answered, data, f"{part} of run {run_id}"):
                found.setdefault((one.round, one.query_id, one.engine_id), one)
        return tuple(found.values())

    def queries(self, run_id: str) -> tuple[QueryMeasured, ...]:
        """What was measured of each query. Raises StoreCorrupt."""
        data = self._shelf.read(run_id, QUERIES)
        return read_lines(QueryMeasured, data or b"", f"{QUERIES} of run {run_id}")

    def file(self, run_id: str, name: str) -> bytes | None:
        """A file of a run's report, None when there is none."""
        return self._shelf.read(run_id, name)

    def appender(self, run_id: str) -> Appender:
        """What adds answers to a run that is not finished."""
        return Appender(self._shelf, run_id, len(self._shelf.files(run_id, PARTS)))

    def finish(
        self,
        summary: Summary,
        answers: Sequence[Answered],
        queries: Sequence[QueryMeasured],
        report: Mapping[str, bytes],
    ) -> Summary:
        """Keep what came of a run; what is kept, which is another's where that one was first.

        Killed on the way, it can be repeated: what is there stays, and the head is put last.
        """
        run_id = summary.head.run_id
        self._shelf.put(run_id, ANSWERS, lines_of(answers))
        self._shelf.put(run_id, QUERIES, lines_of(queries))
        for name, data in report.items():
            self._shelf.put(run_id, name, data)
        self._shelf.put(run_id, SUMMARY, _json(summary))
        kept = self._read(Summary, run_id, SUMMARY)
        if kept is None:
            raise StoreCorrupt(f"run {run_id}: its {SUMMARY} is gone as soon as it is written")
        self._shelf.put(run_id, HEAD, _json(kept.head))
        self._shelf.drop(run_id, PARTS)
        return kept

    def accept(self, acceptance: Acceptance) -> None:
        """Put on record who lets a run pass. Raises ConfigError where somebody has already."""
        if not self._shelf.put(acceptance.run_id, ACCEPTED, _json(acceptance)):
            earlier = self._read(Acceptance, acceptance.run_id, ACCEPTED)
            by = earlier.by if earlier is not None else "somebody"
            raise ConfigError(
                f"run {acceptance.run_id} was accepted by {by} already", "evaluation.accepted"
            )

    def remove(self, run_ids: Sequence[str]) -> tuple[str, ...]:
        """Remove runs by name, whatever state they are in. Raises ConfigError where one is not
        there; then none is removed.
        """
        there = frozenset(self._ids())
        for run_id in run_ids:
            if run_id not in there:
                raise self._unknown(run_id)
        for run_id in run_ids:
            self._shelf.forget(run_id)
        return tuple(run_ids)

    def forget(self, before: float) -> tuple[str, ...]:
        """Remove runs that were begun before then (Unix seconds), and what is left of runs whose
        removal was stopped on the way; their ids.
        """
        old = [run_id for run_id in self._ids() if not self._planned(run_id)]
        old += [one.plan.run_id for one in self.all() if one.plan.started_at < before]
        for run_id in old:
            self._shelf.forget(run_id)
        return tuple(old)

    def _unknown(self, run_id: str) -> ConfigError:
        return ConfigError(
            f"no run {run_id} of tenant {self._shelf.tenant_id}",
            "evaluation.no_run",
            "see: ecm evaluate list",
        )

    def _ids(self) -> tuple[str, ...]:
        return self._shelf.names("runs")

    def _planned(self, run_id: str) -> bool:
        """Whether there is a run, and not only what its removal has left."""
        return self._shelf.read(run_id, PLAN) is not None

    def _read(self, kind: type[Document], run_id: str, name: str) -> Document | None:
        data = self._shelf.read(run_id, name)
        if data is None:
            return None
        try:
            return kind.model_validate_json(data)
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            raise StoreCorrupt(
                f"{name} of run {run_id}: {said}",
                hint=f"remove it: ecm evaluate forget {run_id}",
            ) from error


class Appender:
    """Adds parts to a run, numbered from where it is; one process at a time."""

    def __init__(self, shelf: Shelf, run_id: str, there: int) -> None:
        self._shelf, self._run_id, self._there = shelf, run_id, there

    def keep(self, answers: Sequence[Answered]) -> None:
        """Keep a batch. Raises LeaseLost where another process goes on with the same run."""
        name = f"{PARTS}/{self._there + 1:06d}.jsonl"
        if not self._shelf.put(self._run_id, name, lines_of(answers)):
            raise LeaseLost(
                f"another process goes on with run {self._run_id}", "evaluation.two_runners"
            )
        self._there += 1


def _json(document: Contract) -> bytes:
    return document.model_dump_json().encode() + b"\n"


def _begun(kept: Kept) -> tuple[float, str]:
    return kept.plan.started_at, kept.plan.run_id
