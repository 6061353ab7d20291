"""Versions of tables held for whoever reads them for longer than clean-up waits.

A version that is held has a Lance tag, which clean-up leaves alone. The tag says until when it is
meant: one that a killed reader has left is taken away by the next, and by maintenance. Knows tags;
reads no rows.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Final

from ecm.evidence.faults import lance_errors
from ecm.evidence.store import EvidenceStore

HELD_SECONDS: Final = 86_400.0

_TAG: Final = re.compile(r"^held-(?P<until>[0-9]{1,12})-[0-9a-f]{8}$")


@contextmanager
def held(store: EvidenceStore, versions: Mapping[str, int], now: float) -> Iterator[None]:
    """Keep these versions of tables from `now` (Unix seconds) until the block ends, a day at most.

    Raises StoreCorrupt when a version has gone already, StoreUnavailable.
    """
    tag = f"held-{int(now + HELD_SECONDS)}-{uuid.uuid4().hex[:8]}"
    with ExitStack() as stack:
        for name, version in versions.items():
            forget_expired(store, name, now)
            with lance_errors(f"cannot hold version {version} of table {name}"):
                store.dataset(name).tags.create(tag, version)
            stack.callback(_forget, store, name, tag)
        yield


def forget_expired(store: EvidenceStore, name: str, now: float) -> None:
    """Let go of what killed readers have held of a table for too long. Raises StoreCorrupt."""
    with lance_errors(f"cannot list what is held of table {name}"):
        tags = list(store.dataset(name).tags.list())
    for tag in tags:
        known = _TAG.match(tag)
        if known and int(known["until"]) < now:
            _forget(store, name, tag)


def _forget(store: EvidenceStore, name: str, tag: str) -> None:
    with lance_errors(f"cannot let go of table {name}"):
        store.dataset(name).tags.delete(tag)
