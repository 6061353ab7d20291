"""Which stretches of rows can be read where the whole cannot. Knows no files: reading is given.

An altered page costs the rows that lie in it, not those beside it. Pure but for what it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ecm.errors import StoreCorrupt

Stretch = tuple[int, int]
"""The first row and the number of rows."""

SMALLEST: Final = 64
"""Rows that are given up together."""
FAILURES: Final = 256
"""So many failed reads are tried; where there is more damage than that, all is given up."""


def legible(read: Callable[[int, int], None], rows: int) -> list[Stretch]:
    """The stretches of so many rows that `read(first, number)` does not raise StoreCorrupt for.

    In order, neighbours joined; empty when nothing or too little can be read.

    >>> def read(first: int, number: int) -> None:
    ...     if first <= 500 < first + number:
    ...         raise StoreCorrupt("row 500 cannot be read")
    >>> legible(read, 1000)
    [(0, 500), (562, 438)]
    """
    found: list[Stretch] = []
    ahead, failures = [(0, rows)], 0
    while ahead:
        first, number = ahead.pop()
        try:
            read(first, number)
        except StoreCorrupt:
            failures += 1
            if failures > FAILURES:
                return []
            half = number // 2
            if number > SMALLEST:
                ahead += [(first + half, number - half), (first, half)]
            continue
        if found and sum(found[-1]) == first:
            number += found[-1][1]
            first = found.pop()[0]
        found.append((first, number))
    return found
