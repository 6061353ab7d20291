"""What a service loads before it says that it is ready, so that no first search waits for it.

Knows which matrices are worth it and how much memory they may take; loads through the reader.
"""

from __future__ import annotations

import logging
from typing import Final

from ecm.evidence.config import EvidenceConfig
from ecm.search.engine import SearchEngine

log = logging.getLogger(__name__)

TENANTS: Final = 16
"""Looked at, the largest first: of small ones the first search takes no time either."""


def warm(engine: SearchEngine, config: EvidenceConfig) -> None:
    """Load vectors and facts of the largest tenants that are searched from memory, as far as they
    fit. Vectors that do not are read from disk by every search: that is said in the log.

    Raises StoreCorrupt where they cannot be read.
    """
    reader = engine.reader
    left = config.matrix_cache_bytes
    sizes = sorted(reader.tenants().items(), key=lambda item: (-item[1], item[0]))
    for tenant_id, assets in sizes[:TENANTS]:
        if assets > config.exact_search_rows or not reader.is_exact(tenant_id):
            continue
        for axis, dim in reader.ref.dims.items():
            size = assets * dim * 4
            if axis in reader.broken:
                continue
            if size > left:
                log.warning(
                    "%s vectors of %s (%.1f MiB) do not fit into evidence.matrix_cache_bytes "
                    "beside the others: its searches may read them from disk each time",
                    axis.value,
                    tenant_id,
                    size / 2**20,
                )
                continue
            reader.tenant_matrix(tenant_id, axis).lengths()
            left -= size
        engine.facts.warm(tenant_id)
