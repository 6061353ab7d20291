"""Queries from what people know of images: classes, pairs of things, captions, written queries.

Knows how lines become drafts. A class query is answered (2) by every asset that has its label; of
the others nothing is known. A caption is answered (2) by the asset that it describes; others may
fit it as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final

from ecm.contracts.evaluation import LabelSource, QueryKind, QuerySource, Relevance
from ecm.contracts.search import QueryType
from ecm.evaluation.datasets.drafts import ABOUT_ASSET, FILE, Answer, Draft, group_of
from ecm.evaluation.datasets.files import Asked, Described
from ecm.evaluation.datasets.resolving import Resolver
from ecm.evaluation.datasets.things import Thing, shown_by, things_of
from ecm.evaluation.datasets.words import normalised

KEYWORDS: Final = 3
"""A name of more words than these asks like a sentence."""
MOST_ANSWERS: Final = 1_000
"""What more assets show is no query: whatever is found is right."""
_PAIR_SHARE: Final = 0.1
"""Of all assets; what more of them show says little beside another thing."""
_TYPE_OF: Final = {
    QueryKind.CAPTION: QueryType.SEMANTIC,
    QueryKind.IMAGE: QueryType.VISUAL,
    QueryKind.LAYOUT: QueryType.VISUAL,
    QueryKind.MIXED: QueryType.MIXED,
}


@dataclass
class FileKnowledge:
    """What files say of the assets of a snapshot.

    `labels` and `captions` are by asset, `asked` are queries with their answers resolved. `locales`
    are those of normalised labels, `left` counts what could not be used, by why.
    """

    labels: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    captions: list[tuple[str, str, str]] = field(default_factory=list)
    asked: list[tuple[Asked, str | None, Mapping[str, Relevance]]] = field(default_factory=list)
    locales: dict[str, str] = field(default_factory=dict)
    left: Counter[str] = field(default_factory=Counter)


def read_knowledge(
    described: Sequence[Described], asked: Sequence[Asked], resolver: Resolver, locale: str
) -> FileKnowledge:
    """What lines say of assets; `locale` is that of lines that name none."""
    found = FileKnowledge()
    for line in described:
        asset_id = resolver.asset(line.place)
        if asset_id is None:
            found.left["described images that are no asset of the snapshot"] += 1
            continue
        said = line.locale or locale
        if line.labels:
            found.labels.append((asset_id, line.labels))
        for label in line.labels:
            found.locales.setdefault(normalised(label), said)
        found.captions += [(asset_id, caption, said) for caption in line.captions]
    for query in asked:
        _read_asked(query, resolver, found)
    return found


def _read_asked(query: Asked, resolver: Resolver, found: FileKnowledge) -> None:
    shown = None if query.shown is None else resolver.asset(query.shown)
    if query.shown is not None and shown is None:
        found.left["written queries whose shown image is no asset"] += 1
        return
    graded: dict[str, Relevance] = {}
    for name, relevance in query.graded().items():
        asset_id = resolver.asset(name)
        if asset_id is None:
            found.left["answers of written queries that are no asset"] += 1
        elif asset_id != shown:
            graded[asset_id] = max(relevance, graded.get(asset_id, 0))
    if any(graded.values()):
        found.asked.append((query, shown, graded))
    else:
        found.left["written queries without an answer in the snapshot"] += 1


def things_in(knowledge: FileKnowledge) -> tuple[Thing, ...]:
    """Everything that assets are said to show, by labels and by written class queries."""
    written = (
        (asset_id, [query.text])
        for query, shown, graded in knowledge.asked
        if query.query_kind is QueryKind.CLASS and query.text and shown is None
        for asset_id, relevance in graded.items()
        if relevance == 2
    )
    return things_of([*knowledge.labels, *written])


def labelled_of(things: Iterable[Thing], knowledge: FileKnowledge) -> tuple[Thing, ...]:
    """Those of things that labels name: what an image shows, not also what that is a kind of."""
    labels = {normalised(label) for _, names in knowledge.labels for label in names}
    return tuple(
        thing for thing in things if any(normalised(name) in labels for name in thing.names)
    )


def class_drafts(
    things: Iterable[Thing],
    answer: Mapping[str, Answer],
    locales: Mapping[str, str],
    locale: str,
) -> Iterator[Draft]:
    """A query for every name of every thing; `answer` has what each asset answers with.

    `locale` is that of names that `locales` (by normalised name) does not have.
    """
    for thing in things:
        if len(thing.assets) > MOST_ANSWERS:
            continue
        for name in thing.names:
            yield Draft(
                text=name,
                kind=QueryKind.CLASS,
                query_type=type_of(QueryKind.CLASS, name),
                source=QuerySource.LABELS,
                group=thing.group,
                answers=tuple(answer[asset_id] for asset_id in sorted(thing.assets)),
                locale=locales.get(normalised(name), locale),
                about=name,
            )


def pair_drafts(
    things: Iterable[Thing], answer: Mapping[str, Answer], assets: int, locale: str
) -> Iterator[Draft]:
    """Queries for two things together, answered by assets that show both.

    `things` are those of labels: what one names and what it is a kind of is no pair.
    """
    few = [thing for thing in things if len(thing.assets) <= max(2.0, _PAIR_SHARE * assets)]
    pairs: dict[tuple[str, str], tuple[Thing, Thing]] = {}
    for those in shown_by(few).values():
        for one, other in combinations(those, 2):
            pairs[one.group, other.group] = (one, other)
    for one, other in (pairs[key] for key in sorted(pairs)):
        both = one.assets & other.assets
        if both in (one.assets, other.assets):
            continue  # the one alone would find it
        text = f"photo showing {one.names[0]} and {other.names[0]}"
        yield Draft(
            text=text,
            kind=QueryKind.CLASS,
            query_type=QueryType.SEMANTIC,
            source=QuerySource.TEMPLATE,
            group=group_of("pair", f"{one.group} {other.group}"),
            answers=tuple(answer[asset_id] for asset_id in sorted(both)),
            locale=locale,
            about=f"{one.names[0]} {other.names[0]}",
        )


def caption_drafts(knowledge: FileKnowledge) -> Iterator[Draft]:
    """A query for every caption."""
    for asset_id, caption, locale in knowledge.captions:
        yield caption_draft(caption, person(asset_id), locale)


def caption_draft(caption: str, answer: Answer, locale: str) -> Draft:
    """What a caption asks for: the asset that it describes."""
    return Draft(
        text=caption,
        kind=QueryKind.CAPTION,
        query_type=QueryType.SEMANTIC,
        source=QuerySource.CAPTIONS,
        group=group_of(ABOUT_ASSET, answer.asset_id),
        answers=(answer,),
        locale=locale,
        about=caption,
    )


def written_drafts(
    knowledge: FileKnowledge, things: Iterable[Thing], locale: str
) -> Iterator[Draft]:
    """The queries that were written down."""
    by_assets = {thing.assets: thing.group for thing in things}
    for query, shown, graded in knowledge.asked:
        kind = query.query_kind
        full = frozenset(asset_id for asset_id, relevance in graded.items() if relevance == 2)
        if kind in (QueryKind.CAPTION, QueryKind.KNOWN_ITEM) and len(full) == 1:
            group = group_of(ABOUT_ASSET, *full)
        else:
            group = by_assets.get(full) or group_of("words", query.text or shown or "")
        yield Draft(
            text=query.text,
            kind=kind,
            query_type=query.type or type_of(kind, query.text or ""),
            source=QuerySource.WRITTEN,
            group=group,
            answers=tuple(person(asset_id, graded[asset_id]) for asset_id in sorted(graded)),
            shown=shown,
            complete=query.complete and len(graded) == len(query.relevant),
            locale=query.locale or locale,
            given_id=query.qid,
            about=query.text or "",
        )


def person(asset_id: str, relevance: Relevance = 2) -> Answer:
    """An answer that a person knows of."""
    return Answer(asset_id, relevance, LabelSource.HUMAN, FILE)


def type_of(kind: QueryKind, text: str) -> QueryType:
    """The stratum of a query that names none: by its kind, and by how many words it has."""
    if kind in _TYPE_OF:
        return _TYPE_OF[kind]
    return QueryType.KEYWORD if len(text.split()) <= KEYWORDS else QueryType.SEMANTIC
