"""A Ray Data source that leases from the ledger: one read task, one lease block, one Ray Data
block.

Knows how blocks are asked for; the feeder knows which. See the prototype's findings in
ARCHITECTURE.md: small yielded blocks would be merged, and leases would run ahead of commits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import ray
from ray.data import Datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask


class LedgerSource(Datasource):
    """`blocks` read tasks, each of which takes one block of claimed resources from the feeder.

    Args:
        feeder: handle of a `jobs.feeder.Feeder` actor.
        blocks: read tasks of this pass; those that find nothing to claim yield an empty block.
        first: number of the first block, so that numbers never repeat within a run.
    """

    def __init__(self, feeder: Any, blocks: int, first: int) -> None:
        self._feeder = feeder
        self._blocks = blocks
        self._first = first

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, *_: Any, **__: Any
    ) -> list[ReadTask]:
        metadata = BlockMetadata(num_rows=None, size_bytes=None, exec_stats=None, input_files=None)
        return [
            ReadTask(_take(self._feeder, self._first + number), metadata)
            for number in range(self._blocks)
        ]


def _take(feeder: Any, number: int) -> Any:
    def read() -> Iterator[pa.Table]:
        yield ray.get(feeder.take.remote(number))

    return read
