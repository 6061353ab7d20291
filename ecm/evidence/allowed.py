"""Some assets of one tenant which alone may be found: what a filter leaves of them.

Knows names of assets; knows no filter, no table and no tenant.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt


class Allowed:
    """A set of asset ids, in their order."""

    def __init__(self, asset_ids: Iterable[str]) -> None:
        self._members = frozenset(asset_ids)
        self.asset_ids: tuple[str, ...] = tuple(sorted(self._members))

    @classmethod
    def in_order(cls, asset_ids: Iterable[str]) -> Allowed:
        """From distinct ids that are in order already, as filters give them: for 50,000 in a tenth
        of the time.
        """
        made = cls(())
        made.asset_ids = tuple(asset_ids)
        made._members = frozenset(made.asset_ids)
        return made

    def __len__(self) -> int:
        return len(self.asset_ids)

    def __contains__(self, asset_id: object) -> bool:
        return asset_id in self._members

    def mask(self, asset_ids: Sequence[str]) -> npt.NDArray[np.bool_]:
        """For each of the ids whether it is one of these: bool (n,)."""
        members = self._members
        found = (asset_id in members for asset_id in asset_ids)
        return np.fromiter(found, np.bool_, len(asset_ids))
