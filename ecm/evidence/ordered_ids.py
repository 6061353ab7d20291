"""Asset ids in order, and where some of them stand. Knows no table and no vector."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from ecm.evidence.allowed import Allowed

Places = npt.NDArray[np.intp]

ID_BYTES: Final = 121
"""What an id of 64 letters takes, with its place in a list."""
_FEW: Final = 16
"""Up to the 16th part of all, ids are sought one by one; more of them by looking at all."""


class OrderedIds:
    """Distinct asset ids in their order. Immutable and thread-safe.

    Where an `Allowed` stands is remembered as long as that lives: all axes of a request ask for it.
    """

    def __init__(self, asset_ids: Iterable[str]) -> None:
        self.asset_ids: list[str] = sorted(asset_ids)
        self._chosen: WeakKeyDictionary[Allowed, Places] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.asset_ids)

    @property
    def nbytes(self) -> int:
        return ID_BYTES * len(self.asset_ids)

    def place(self, asset_id: str) -> int:
        """The place of an id, -1 when it is not here."""
        ids = self.asset_ids
        place = bisect_left(ids, asset_id)
        return place if place < len(ids) and ids[place] == asset_id else -1

    def places(self, asset_ids: Iterable[str]) -> Places:
        """The places of those of some ids that are here, each once, in order: intp (k,)."""
        found = {self.place(asset_id) for asset_id in asset_ids}
        found.discard(-1)
        return np.array(sorted(found), dtype=np.intp)

    def chosen(self, allowed: Allowed) -> Places:
        """The places of what is allowed, in order: intp (k,)."""
        with self._lock:
            places = self._chosen.get(allowed)
            if places is None:
                if len(allowed) * _FEW <= len(self.asset_ids):
                    places = self.places(allowed.asset_ids)
                else:
                    places = np.flatnonzero(allowed.mask(self.asset_ids))
                places.flags.writeable = False
                self._chosen[allowed] = places
        return places
