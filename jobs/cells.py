"""Cells of tables as JSON and CSV can hold them. Knows no command."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence


def plain(cell: object) -> object:
    r"""The cell without what JSON has not: bytes become hex, times text, NaN and infinities null.

    >>> plain({"a": [b"\\x01", float("nan"), None]})
    {'a': ['01', None, None]}
    """
    if isinstance(cell, float):
        return cell if cell == cell and abs(cell) != float("inf") else None
    if cell is None or isinstance(cell, str | int | bool):
        return cell
    if isinstance(cell, bytes):
        return cell.hex()
    if isinstance(cell, list | tuple):
        return [plain(item) for item in cell]
    if isinstance(cell, dict):
        return {str(key): plain(item) for key, item in cell.items()}
    return str(cell)


def write_csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a header and plain rows to stdout; lists and structs as JSON, null as nothing."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(
            json.dumps(cell, ensure_ascii=False) if isinstance(cell, list | dict) else cell
            for cell in row
        )
