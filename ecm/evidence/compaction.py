"""Merging small fragments of a Lance table: which ones, and how, in pieces of bounded size.

Two rules. Between commits (`next_run`) few bytes may be written again and again, so a fragment is
merged only with as much as itself that came after it: each row is rewritten a logarithmic number of
times. At leisure (`full_runs`) everything below the wanted size is merged. Adds and drops no rows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any, Final

from lance.optimize import Compaction

from ecm.crashpoints import crash_point
from ecm.evidence.faults import lance_errors

FEWEST: Final = 8
"""Fragments that are worth a version of their own."""
MANY_DELETED: Final = 0.1
_SCAN_ROWS: Final = 1024


@dataclass(frozen=True, slots=True)
class Fragment:
    """One fragment of a table: its number, live and deleted rows, bytes of its files."""

    number: int
    rows: int
    deleted: int
    bytes: int

    @property
    def holed(self) -> bool:
        """Whether so many of its rows are deleted that it is worth writing it anew."""
        return self.deleted > MANY_DELETED * (self.rows + self.deleted)


@dataclass(frozen=True, slots=True)
class Compacted:
    """What one compaction did: fragments before and after, bytes that were written anew."""

    removed: int = 0
    added: int = 0
    bytes: int = 0


def fragments_of(dataset: Any) -> list[Fragment]:
    """The fragments of the version that `dataset` shows, oldest first."""
    found = []
    for fragment in dataset.get_fragments():
        told = fragment.metadata
        deleted = told.deletion_file.num_deleted_rows if told.deletion_file else 0
        size = sum(file.file_size_bytes or 0 for file in told.files)
        rows = (told.physical_rows or 0) - (deleted or 0)
        found.append(Fragment(fragment.fragment_id, rows, deleted or 0, size))
    return found


def next_run(fragments: Sequence[Fragment], most_bytes: int) -> list[Fragment]:
    """The neighbours to merge between two commits; empty when that is not worth it yet.

    What is over half of `most_bytes` is finished here, and parts what lies before from what comes
    after it: Lance puts a merged fragment last.

    Args:
        fragments: in the table's order; those that indices cover left out.
        most_bytes: of what may be written anew.
    """
    for small, group in groupby(fragments, lambda f: f.bytes <= most_bytes // 2):
        if small and (run := _worth_it(list(group), most_bytes)):
            return run
    return []


def _worth_it(young: list[Fragment], most_bytes: int) -> list[Fragment]:
    """The oldest of some small neighbours, without those that are bigger than all that follows."""
    after = sum(fragment.bytes for fragment in young)
    while young and young[0].bytes > (after := after - young[0].bytes):
        young.pop(0)
    sizes = list(accumulate(fragment.bytes for fragment in young))
    fitting = bisect_right(sizes, most_bytes)
    if 0 < len(young) - fitting < FEWEST <= len(young) - FEWEST:
        fitting = len(young) - FEWEST  # or too few would be left to be merged ever
    run = young[:fitting]
    full = len(run) > 1 and sizes[len(run) - 1] > most_bytes // 2
    return run if full or len(run) >= FEWEST else []


def full_runs(fragments: Sequence[Fragment], wanted_bytes: int) -> list[list[Fragment]]:
    """Neighbours below the wanted size, in runs of about that size; and fragments full of holes."""
    runs: list[list[Fragment]] = []
    for small, group in groupby(fragments, lambda f: f.bytes < wanted_bytes or f.holed):
        if small:
            runs += _cut(list(group), wanted_bytes)
    return [run for run in runs if len(run) > 1 or run[0].holed]


def compact(
    name: str, dataset: Any, run: Sequence[Fragment], still_mine: Callable[[], None]
) -> Compacted:
    """Write a run of neighbours anew as one fragment, or as many as indices tell apart.

    One version per run; readers of the old one are not disturbed. `dataset` shows the new version
    afterwards. Raises what `still_mine` does before anything is committed, and as `lance_errors`.
    """
    chosen = {fragment.number for fragment in run}
    rest = [f.fragment_id for f in dataset.get_fragments() if f.fragment_id not in chosen]
    options = {
        "target_rows_per_fragment": sum(f.rows + f.deleted for f in run) + 1,
        "excluded_fragment_ids": rest,
        "batch_size": _SCAN_ROWS,
    }
    with lance_errors(f"cannot compact table {name}"):
        plan = Compaction.plan(dataset, options)
        results = [task.execute(dataset) for task in plan.tasks]
        if not results:
            return Compacted()
        crash_point("maintain.rewritten")
        still_mine()
        done = Compaction.commit(dataset, results, options)
    crash_point("maintain.compacted")
    size = sum(fragment.bytes for fragment in run)
    return Compacted(done.fragments_removed, done.fragments_added, size)


def _cut(fragments: list[Fragment], wanted_bytes: int) -> list[list[Fragment]]:
    runs: list[list[Fragment]] = [[]]
    size = 0
    for fragment in fragments:
        if runs[-1] and size + fragment.bytes > wanted_bytes:
            runs.append([])
            size = 0
        runs[-1].append(fragment)
        size += fragment.bytes
    return runs
