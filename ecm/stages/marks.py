"""Files that tell the next process what the engine of this one was looking at when it died.

A request that was among several is then let in alone; one that was alone is refused, and so is one
that has been found to kill engines. Knows files in one local folder; no engine and no row.
"""

from __future__ import annotations

import hashlib
from pathlib import Path


class Marks:
    """Those of one request, by its key. Without a folder nothing is remembered.

    The folder must survive the process, not the run: whoever kills the whole run has not shown that
    a picture is at fault. A process may die of other things, too: one death is not enough for a
    refusal, two are when the second met the request alone.
    """

    def __init__(self, folder: Path | None, stage: str, key: str) -> None:
        self._folder = folder
        name = f"{stage}-{hashlib.sha256(key.encode()).hexdigest()[:32]}"
        self._among = folder / f"{name}.among" if folder else None
        self._alone = folder / f"{name}.alone" if folder else None

    def suspected(self) -> bool:
        """A process died while its engine was looking at this picture, and maybe at others."""
        return self._among is not None and self._among.exists()

    def refused(self) -> bool:
        """A process died while its engine was looking at this picture alone, or the engine did."""
        return self._alone is not None and self._alone.exists()

    def enter(self, *, alone: bool) -> None:
        """The engine is about to look at it."""
        self._touch(self._alone if alone else self._among)

    def leave(self) -> None:
        """The engine has got through it, or has refused it, or died of another."""
        for chosen in (self._alone, self._among):
            if chosen is not None:
                chosen.unlink(missing_ok=True)

    def convict(self) -> None:
        """It killed the engine: nobody is to ask about it again, whoever takes its block next."""
        self._touch(self._alone)

    def _touch(self, chosen: Path | None) -> None:
        if self._folder is not None and chosen is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            chosen.touch()
