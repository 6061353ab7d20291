"""What a deep audit found, as a person reads it; and how reading a store is shown meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console

from jobs.edge import printable, table_of
from jobs.progress import LiveCount, stderr_console

if TYPE_CHECKING:
    from ecm.delivery.deep_audit import DeepAudit
    from ecm.evidence.store import EvidenceStore
    from ecm.ledger.ledger import Ledger


def read_whole(ledger: Ledger, store: EvidenceStore) -> DeepAudit:
    """The deep audit of a store, with progress on stderr.

    As many processes read as there are processors, four at most: each takes memory.
    """
    from ecm.delivery.deep_audit import deep_audit
    from ecm.evidence.examiners import Examiners

    readers = max(1, min(4, os.cpu_count() or 1))
    with Examiners(store.config, readers) as examiners, _reading_shown() as shown:
        return deep_audit(ledger, store, examiners, shown)


@contextmanager
def _reading_shown() -> Iterator[Callable[[str, int, int], None]]:
    """What is being read, rows read and rows in all, as a bar or as lines on stderr."""
    with LiveCount(stderr_console(), "reading") as live:
        yield lambda what, done, of: live.show(done, of, what)


def show_damage(console: Console, found: dict[str, Any]) -> None:
    """Draw the JSON of a deep audit."""
    tables = [[name, *table.values()] for name, table in found["tables"].items()]
    columns = ["table", "version", "fragments", "rows", "sound keys"]
    console.print(table_of("", columns, tables))
    _show_damages(console, found["damages"])
    _show_snapshots(console, found["snapshots"])
    affected = found["affected"]
    if affected["evidence_keys"]:
        console.print(
            f"to be derived again: {affected['evidence_keys']:,} evidence keys of "
            f"{affected['assets']:,} images"
        )
        for place in affected["examples"]:
            console.print(f"    {printable(place)}", markup=False)
    for line in found["beyond_repair"]:
        console.print(f"lost for good: {line}", markup=False)


def _show_damages(console: Console, damages: list[dict[str, Any]]) -> None:
    if not damages:
        return
    fields = ("table", "kind", "fragment", "rows", "keys", "file", "detail")
    rows: list[list[object]] = [
        ["" if damage[name] is None else damage[name] for name in fields] for damage in damages
    ]
    columns = ["table", "damage", "fragment", "rows", "keys", "file", "what"]
    console.print(table_of("damaged tables", columns, rows))


def _show_snapshots(console: Console, snapshots: list[dict[str, Any]]) -> None:
    if not snapshots:
        return
    rows: list[list[object]] = [
        [each["snapshot_id"], "published" if each["published"] else "", problem]
        for each in snapshots
        for problem in each["problems"]
    ]
    console.print(table_of("damaged snapshots", ["snapshot", "", "what"], rows))
