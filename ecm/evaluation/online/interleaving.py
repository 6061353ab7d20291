"""Team-draft interleaving: two rankings take turns in one answer, and clicks tell them apart.

After Radlinski, Kurup and Joachims, "How does clickthrough data reflect retrieval quality?" (CIKM
2008), algorithm 2: in every round a coin says who chooses first, then each chooses the best it has
that is not there yet. Two things are ours: coins come from a hash of experiment, question and unit,
so that pages and repetitions agree; and places at the beginning where both rankings have the same
belong to nobody, since a click there says nothing.

What it cannot tell: how much better. A ranking that only shifts the other's results may come out
even though it is better (clicks are credited to whoever happened to choose a result), and a change
of what is not a ranking (facets, thresholds) is not seen at all. It compares two: drafts of more
share out first places unevenly. Knows no service and no feedback.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ecm.contracts.identity import canonical_json

Team = Literal["c", "t", "-"]
CONTROL: Final[Team] = "c"
TREATMENT: Final[Team] = "t"
NOBODY: Final[Team] = "-"


@dataclass(frozen=True, slots=True)
class Drafted:
    """An asset in the answer, and whose it is."""

    asset_id: str
    team: Team


def drafted(
    control: Sequence[str], treatment: Sequence[str], coins: Iterator[bool]
) -> list[Drafted]:
    """Both rankings (asset ids, best first, each once) as one: all assets of either, each once.

    `coins` say in each round whether treatment chooses first.

    >>> from itertools import cycle
    >>> [(one.asset_id, one.team) for one in drafted("abc", "acd", cycle([True, False]))]
    [('a', '-'), ('c', 't'), ('b', 'c'), ('d', 't')]
    """
    same = _common(control, treatment)
    shown = [Drafted(asset_id, NOBODY) for asset_id in control[:same]]
    taken = set(control[:same])
    sides = {CONTROL: _Side(control, same), TREATMENT: _Side(treatment, same)}
    while True:
        order = (TREATMENT, CONTROL) if next(coins) else (CONTROL, TREATMENT)
        before = len(shown)
        for team in order:
            asset_id = sides[team].best(taken)
            if asset_id is not None:
                taken.add(asset_id)
                shown.append(Drafted(asset_id, team))
        if len(shown) == before:
            return shown


def coins_of(salt: str, experiment_id: str, query_digest: str, unit: str) -> Iterator[bool]:
    """Endless fair coins, the same for the same question of the same unit."""
    said = canonical_json(["draft", salt, experiment_id, query_digest, unit])
    seed, block = hashlib.sha256(said).digest(), 0
    while True:
        for byte in hashlib.sha256(seed + block.to_bytes(8, "big")).digest():
            for bit in range(8):
                yield bool(byte >> bit & 1)
        block += 1


def teams_of(shown: Iterable[Drafted]) -> str:
    """A letter for each asset in order, as an Exposure keeps them."""
    return "".join(one.team for one in shown)


class _Side:
    """What one ranking would choose next."""

    def __init__(self, ranking: Sequence[str], place: int) -> None:
        self._ranking = ranking
        self._place = place

    def best(self, taken: set[str]) -> str | None:
        while self._place < len(self._ranking) and self._ranking[self._place] in taken:
            self._place += 1
        return self._ranking[self._place] if self._place < len(self._ranking) else None


def _common(control: Sequence[str], treatment: Sequence[str]) -> int:
    """How many places at the beginning are the same."""
    same = 0
    for one, other in zip(control, treatment, strict=False):
        if one != other:
            break
        same += 1
    return same
