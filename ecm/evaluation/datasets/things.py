"""Things that assets show, under all the names they go by. Knows no query."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ecm.evaluation.datasets.drafts import group_of
from ecm.evaluation.datasets.words import normalised


@dataclass(frozen=True, slots=True)
class Thing:
    """What several assets show. `names` as they were written, the first one first given."""

    names: tuple[str, ...]
    assets: frozenset[str]

    @property
    def group(self) -> str:
        """Its name as a group: the least of its names, whatever order they came in."""
        return group_of("class", min(normalised(name) for name in self.names))


def things_of(shown: Iterable[tuple[str, Iterable[str]]]) -> tuple[Thing, ...]:
    """Things from (asset, names of what it shows), in order of their groups.

    Names that hold of exactly the same assets are taken as names of one thing: synonyms do, and
    what always comes together cannot be told apart by any query.
    """
    assets: dict[str, set[str]] = defaultdict(set)
    written: dict[str, str] = {}
    for asset_id, names in shown:
        for name in names:
            key = normalised(name)
            assets[key].add(asset_id)
            written.setdefault(key, name)
    same: dict[frozenset[str], list[str]] = defaultdict(list)
    for key, those in assets.items():
        same[frozenset(those)].append(written[key])
    things = [Thing(tuple(names), those) for those, names in same.items()]
    return tuple(sorted(things, key=lambda thing: thing.group))


def shown_by(things: Iterable[Thing]) -> Mapping[str, tuple[Thing, ...]]:
    """The things that each asset shows."""
    found: dict[str, list[Thing]] = defaultdict(list)
    for thing in things:
        for asset_id in thing.assets:
            found[asset_id].append(thing)
    return {asset_id: tuple(those) for asset_id, those in found.items()}
