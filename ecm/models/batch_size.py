"""How many rows an encoder takes at once on a device: measured once, remembered in a small file.

Knows how to measure a function of a batch size and how to keep the answer. Knows no torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydantic import Field, ValidationError

from ecm.contracts.identity import Contract, digest
from ecm.errors import ResourceExhausted
from ecm.models.manifest import ModelManifest
from ecm.whole_files import write_whole

LARGEST = 1024
FILE = "batch_sizes.json"
ROUNDS = 3
GAIN = 1.05
"""Twice the rows must bring at least this much more per second, or the smaller number stays."""


class BatchSizes(Contract):
    """Rows at a time by the digest of a model and a kind of device."""

    sizes: dict[str, int] = Field(default_factory=dict)


def best_batch_size(seconds: Callable[[int], float], smallest: int = 1) -> int:
    """The number of rows from which on twice as many bring less than GAIN, or memory ends.

    `seconds(n)` is how long n rows take and may raise ResourceExhausted; for `smallest` that is
    raised further. The largest is LARGEST.

    >>> best_batch_size(lambda n: 1.0 + n / 16)
    256
    """
    size, rate = smallest, smallest / seconds(smallest)
    while 2 * size <= LARGEST:
        try:
            faster = 2 * size / seconds(2 * size)
        except ResourceExhausted:
            break
        if faster < rate * GAIN:
            break
        size, rate = 2 * size, faster
    return size


def median_seconds(run: Callable[[], object]) -> float:
    """How long `run` takes, in seconds: the median of ROUNDS, after one that is not counted."""
    took = []
    for _ in range(1 + ROUNDS):
        started = time.perf_counter()
        run()
        took.append(time.perf_counter() - started)
    return sorted(took[1:])[ROUNDS // 2]


def remembered_batch_size(
    memory: Path | None, manifest: ModelManifest, device: str, measure: Callable[[], int]
) -> int:
    """What is remembered for a model on a kind of device, else what `measure` finds.

    That is then noted in the profile's cache, beside the folder `memory` in it where digests of
    files are kept. A file that is damaged is as good as none. Nothing is remembered with None, or
    where nothing can be written: then it is measured again the next time.
    """
    if memory is None:
        return measure()
    path, key = memory.parent / FILE, _key(manifest, device)
    known = _read(path).sizes.get(key, 0)
    if 1 <= known <= LARGEST:
        return known
    found = measure()
    # Read again: another process may have noted its own meanwhile; of two at once one is lost,
    # which costs a measurement.
    noted = BatchSizes(sizes={**_read(path).sizes, key: found})
    with suppress(OSError):
        write_whole(path, noted.model_dump_json().encode())
    return found


def _key(manifest: ModelManifest, device: str) -> str:
    prints = [manifest.fingerprint(kind) for kind in manifest.provides]
    return digest([*prints, device])[:32]


def _read(path: Path) -> BatchSizes:
    try:
        return BatchSizes.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return BatchSizes()  # never written, or damaged: measured again
