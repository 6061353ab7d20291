"""A cross-encoder without weights, for trials and tests: it counts the words that a text shares."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ecm.models.manifest import ModelManifest, VerifiedFiles


class FakeCrossEncoder:
    """`PairScorer` whose score is the share of the query's words that a text has."""

    def __init__(self, manifest: ModelManifest, files: VerifiedFiles, *, threads: int) -> None:
        self.manifest = manifest

    def score_pairs(self, query: str, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """See `PairScorer.score_pairs`."""
        asked = _words(query)
        shares = [len(asked & _words(text)) / max(len(asked), 1) for text in texts]
        return np.array(shares, dtype=np.float64)


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))
