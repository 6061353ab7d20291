"""The evidence store of a replica, opened when it is first asked for. Knows no route."""

import threading

from ecm.evidence.config import EvidenceConfig
from ecm.evidence.store import EvidenceStore


class KeptStore:
    """One store for all threads. A failure to open it is tried again by whoever asks next."""

    def __init__(self, config: EvidenceConfig) -> None:
        self._config = config
        self._opening = threading.Lock()
        self._store: EvidenceStore | None = None

    def opened(self) -> EvidenceStore:
        """The store; blocks. Raises as `EvidenceStore.open`."""
        with self._opening:
            if self._store is None:
                self._store = EvidenceStore.open(self._config)
            return self._store
