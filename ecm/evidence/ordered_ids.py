"""Asset ids in order, and where some of them stand. Knows no table and no vector."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from ecm.evidence.allowed import Allowed

Places = npt.NDArray[np.intp]

ID_BYTES: Final = 220
"""What an id of 64 letters takes, with its place in a list and in a dictionary."""


class OrderedIds:
    """Distinct asset ids in their order. Immutable and thread-safe.

    Where an `Allowed` stands is remembered as long as that lives: all axes of a request ask for it.
    """

    def __init__(self, asset_ids: Iterable[str]) -> None:
        self.asset_ids: list[str] = sorted(asset_ids)
        self._place = {asset_id: place for place, asset_id in enumerate(self.asset_ids)}
        self._chosen: WeakKeyDictionary[Allowed, Places] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.asset_ids)

    @property
    def nbytes(self) -> int:
        return ID_BYTES * len(self.asset_ids)

    def place(self, asset_id: str) -> int:
        """The place of an id, -1 when it is not here."""
        return self._place.get(asset_id, -1)

    def places(self, asset_ids: Iterable[str]) -> Places:
        """The places of those of some ids that are here, each once, in order: intp (k,)."""
        place = self._place
        found = {place[asset_id] for asset_id in asset_ids if asset_id in place}
        return np.sort(np.fromiter(found, np.intp, len(found)))

    def chosen(self, allowed: Allowed) -> Places:
        """The places of what is allowed, in order: intp (k,)."""
        with self._lock:
            places = self._chosen.get(allowed)
            if places is None:
                places = self.places(allowed.asset_ids)
                places.flags.writeable = False
                self._chosen[allowed] = places
        return places
