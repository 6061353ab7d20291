"""All drafts that the sources of one tenant give. Knows which source says what; chooses nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from ecm.contracts.evaluation import MAX_QUERIES, QueryKind
from ecm.evaluation.datasets.chance import drawn
from ecm.evaluation.datasets.drafts import Answer, Draft, merged
from ecm.evaluation.datasets.files import Asked, Described, Written
from ecm.evaluation.datasets.from_files import (
    caption_drafts,
    class_drafts,
    labelled_of,
    pair_drafts,
    person,
    read_knowledge,
    things_in,
    written_drafts,
)
from ecm.evaluation.datasets.images import image_drafts
from ecm.evaluation.datasets.known import KnownAssets
from ecm.evaluation.datasets.layouts import Looked, layout_drafts, mixed_drafts
from ecm.evaluation.datasets.log_words import LogWords, log_drafts
from ecm.evaluation.datasets.own_words import (
    evident_answers,
    evident_captions,
    evident_things,
    known_items,
)
from ecm.evaluation.datasets.resolving import Resolver
from ecm.evaluation.datasets.things import Thing
from ecm.evaluation.datasets.words import normalised

MOST_DRAFTS: Final = MAX_QUERIES


@dataclass(frozen=True)
class Sources:
    """What queries are drawn from. Without files, classes and captions are the evidence's own.

    `locale` is that of what names none. Templates are English: things with names of another
    language are in none, and looks are not asked for where `locale` is another language's.
    """

    known: KnownAssets
    described: Written[Described] | None = None
    asked: Written[Asked] | None = None
    log: LogWords | None = None
    looked: Looked | None = None
    locale: str = "en"

    @property
    def files(self) -> bool:
        return self.described is not None or self.asked is not None


@dataclass(frozen=True)
class Drawn:
    """All drafts, each question once, sorted by id; `left` counts what was left out, by why."""

    drafts: tuple[Draft, ...]
    left: Mapping[str, int] = field(default_factory=dict)


def draw(sources: Sources, seed: int) -> Drawn:
    """Everything that could be asked of the assets that are known."""
    resolver = Resolver(sources.known)
    knowledge = read_knowledge(
        sources.described.lines if sources.described else (),
        sources.asked.lines if sources.asked else (),
        resolver,
        sources.locale,
    )
    left: Counter[str] = Counter(knowledge.left)
    left.update({f"names that are {why.value}": n for why, n in resolver.missed.items()})
    if sources.log is not None:
        left.update({f"searches left out: {why}": n for why, n in sources.log.left.items()})
    answer: Mapping[str, Answer]
    if sources.files:
        things = things_in(knowledge)
        labelled = labelled_of(things, knowledge) or things
        answer = {asset_id: person(asset_id) for asset_id in sources.known.by_id}
        said: Iterable[Draft] = chain(
            caption_drafts(knowledge), written_drafts(knowledge, things, sources.locale)
        )
    else:
        things = labelled = evident_things(sources.known)
        answer = evident_answers(sources.known)
        said = evident_captions(sources.known, sources.locale)
    drafts = chain(
        said,
        class_drafts(things, answer, knowledge.locales, sources.locale),
        image_drafts(labelled, answer, seed, sources.locale),
        known_items(sources.known, sources.locale),
        log_drafts(sources.log, sources.locale) if sources.log is not None else (),
        _templates(sources, _english(labelled, knowledge.locales, sources.locale), answer),
    )
    pool = merged(drafts)
    some = _some(pool, seed)
    if len(some) < len(pool):
        left[f"drafts beyond {MOST_DRAFTS} of a kind, by chance"] = len(pool) - len(some)
    return Drawn(some, dict(sorted(left.items())))


def _some(drafts: tuple[Draft, ...], seed: int) -> tuple[Draft, ...]:
    """Not more than MOST_DRAFTS of a kind."""
    kinds: dict[QueryKind, list[Draft]] = defaultdict(list)
    for draft in drafts:
        kinds[draft.kind].append(draft)
    found: list[Draft] = []
    for those in kinds.values():
        if len(those) > MOST_DRAFTS:
            those.sort(key=lambda one: drawn(seed, "pool", one.query_id))
        found += those[:MOST_DRAFTS]
    return tuple(sorted(found, key=lambda one: one.query_id))


def _english(things: Iterable[Thing], locales: Mapping[str, str], locale: str) -> tuple[Thing, ...]:
    """Things whose names stand in English sentences."""
    return tuple(
        thing for thing in things if _is_english(locales.get(normalised(thing.names[0]), locale))
    )


def _is_english(locale: str) -> bool:
    return locale.casefold().replace("_", "-").partition("-")[0] == "en"


def _templates(
    sources: Sources, things: tuple[Thing, ...], answer: Mapping[str, Answer]
) -> Iterator[Draft]:
    yield from pair_drafts(things, answer, len(sources.known), "en")
    if sources.looked is None:
        return
    yield from mixed_drafts(sources.looked, things, answer)
    if _is_english(sources.locale):
        yield from layout_drafts(sources.looked)
