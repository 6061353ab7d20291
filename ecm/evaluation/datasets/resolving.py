"""Which asset of a snapshot is meant by a path, a URI or a sha256. Guesses nothing."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from enum import StrEnum
from typing import Final
from urllib.parse import unquote

from ecm.evaluation.datasets.known import KnownAssets

_DIGEST: Final = re.compile(r"^[0-9a-f]{64}$")


class Unresolved(StrEnum):
    """Why a name is no asset."""

    UNKNOWN = "not in the snapshot"
    AMBIGUOUS = "the end of several paths"


class Resolver:
    """Names of the assets of one tenant. `missed` counts what it could not tell, by reason."""

    def __init__(self, known: KnownAssets) -> None:
        self._known = known
        self._ends: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for asset in known.by_id.values():
            for uri in asset.uris:
                path = unquote(uri)
                self._ends[path.rsplit("/", 1)[-1]].append((path, asset.asset_id))
        self.missed: Counter[Unresolved] = Counter()

    def asset(self, name: str) -> str | None:
        """The asset that a sha256, a URI or the end of a path names; None, counted, if none or
        several.

        The end of a path begins at a folder: `b.jpg` is not the end of `/a/bb.jpg`.
        """
        found = self._found(name)
        if isinstance(found, Unresolved):
            self.missed[found] += 1
            return None
        return found

    def _found(self, name: str) -> str | Unresolved:
        if _DIGEST.match(name):
            return name if name in self._known.by_id else Unresolved.UNKNOWN
        there = "://" in name
        wanted = unquote(name) if there else name.replace("\\", "/").removeprefix("./").lstrip("/")
        places = self._ends.get(wanted.rsplit("/", 1)[-1], ())
        fits = {
            asset_id
            for path, asset_id in places
            if path == wanted or (not there and path.endswith(f"/{wanted}"))
        }
        if len(fits) > 1:
            return Unresolved.AMBIGUOUS
        return fits.pop() if fits else Unresolved.UNKNOWN
