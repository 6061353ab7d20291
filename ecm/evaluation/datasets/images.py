"""Queries that show an asset: others that show the same thing answer (2). Knows things only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ecm.contracts.evaluation import QueryKind, QuerySource
from ecm.contracts.search import QueryType
from ecm.evaluation.datasets.chance import drawn
from ecm.evaluation.datasets.drafts import Answer, Draft
from ecm.evaluation.datasets.from_files import MOST_ANSWERS
from ecm.evaluation.datasets.things import Thing, shown_by

PER_THING: Final = 4
"""Assets of a thing that are shown: more would ask the same again."""


def image_drafts(
    things: Sequence[Thing], answer: Mapping[str, Answer], seed: int, locale: str
) -> Iterator[Draft]:
    """Queries that show an asset of one thing alone, so that it is clear what it is shown for."""
    alone = {asset_id for asset_id, those in shown_by(things).items() if len(those) == 1}
    for thing in things:
        if not 2 <= len(thing.assets) <= MOST_ANSWERS:
            continue
        clear = sorted(thing.assets & alone, key=lambda one: drawn(seed, "shown", one))
        for shown in clear[:PER_THING]:
            others = sorted(thing.assets - {shown})
            yield Draft(
                text=None,
                kind=QueryKind.IMAGE,
                query_type=QueryType.VISUAL,
                source=QuerySource.LABELS,
                group=thing.group,
                answers=tuple(answer[asset_id] for asset_id in others),
                shown=shown,
                locale=locale,
                about=thing.names[0],
                among=thing.assets,
            )
