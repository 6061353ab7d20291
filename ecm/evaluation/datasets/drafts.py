"""Queries in the making: what is asked, what answers it and who says so, before it is chosen.

Knows how the same question from two sources becomes one. Knows no source.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from ecm.contracts.evaluation import (
    Difficulty,
    Label,
    LabelSource,
    QueryKind,
    QuerySource,
    Relevance,
)
from ecm.contracts.identity import digest
from ecm.contracts.search import QueryType
from ecm.evaluation.datasets.words import normalised

FILE, EVIDENCE, PIXELS = "file", "evidence", "pixels"
"""Who says so: a file that somebody wrote, the stored evidence itself, what is told from pixels."""
SOURCES: Final = frozenset({FILE, EVIDENCE, PIXELS})
ABOUT_ASSET: Final = "asset"
"""Groups of this kind are named by the asset that they are about."""
_ID_HEX: Final = 16
_GROUP_CHARS: Final = 200
_FIRST: Final = (
    QuerySource.WRITTEN,
    QuerySource.CAPTIONS,
    QuerySource.LABELS,
    QuerySource.TEMPLATE,
    QuerySource.LOG,
)
"""Of the same question from several sources the first of these gives it its kind and id."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How well an asset answers, who says so (`labeler`) and how surely (`weight`, 0-1]."""

    asset_id: str
    relevance: Relevance
    source: LabelSource
    labeler: str
    weight: float = 1.0

    def label(self, query_id: str) -> Label:
        return Label(
            query_id=query_id,
            asset_id=self.asset_id,
            relevance=self.relevance,
            label_source=self.source,
            labeler=self.labeler,
            weight=self.weight,
        )


@dataclass(frozen=True, slots=True)
class Draft:
    """A query that may be chosen.

    `group` names what it is about. `about` are the words that its difficulty is told by, `demands`
    how many conditions of look it has, `among` the assets of the thing that has to meet them.
    `complete`: what is not among the answers does not answer.
    """

    text: str | None
    kind: QueryKind
    query_type: QueryType
    source: QuerySource
    group: str
    answers: tuple[Answer, ...]
    shown: str | None = None
    complete: bool = False
    locale: str = "en"
    given_id: str | None = None
    about: str = ""
    demands: int = 0
    among: frozenset[str] = frozenset()

    @property
    def asks(self) -> tuple[str, str]:
        """What makes two drafts the same question."""
        return normalised(self.text or ""), self.shown or ""

    @property
    def query_id(self) -> str:
        """The id it was given, else one that follows from what it asks."""
        return self.given_id or f"q-{digest(['query', *self.asks])[:_ID_HEX]}"

    @property
    def answered_by(self) -> frozenset[str]:
        """Assets that answer it at least in part."""
        return frozenset(one.asset_id for one in self.answers if one.relevance)


@dataclass(frozen=True, slots=True)
class Graded:
    """A draft and how hard it is."""

    draft: Draft
    difficulty: Difficulty


def group_of(kind: str, name: str) -> str:
    """A name for what queries are about; long ones are cut, and stay apart from each other."""
    plain = f"{kind}:{normalised(name)}"
    if len(plain) <= _GROUP_CHARS:
        return plain
    return f"{plain[:_GROUP_CHARS]}~{digest(plain)[:_ID_HEX]}"


def merged(drafts: Iterable[Draft]) -> tuple[Draft, ...]:
    """Each question once, sorted by id.

    Of several who ask the same, the answers of all count, the most relevant judgement of an asset
    first. It is complete when one of them was and no other knows more.
    """
    ordered = sorted(drafts, key=_rank)
    found: dict[tuple[str, str], Draft] = {}
    for draft in ordered:
        there = found.get(draft.asks)
        found[draft.asks] = draft if there is None else _both(there, draft)
    return tuple(sorted(found.values(), key=lambda one: one.query_id))


def _both(first: Draft, second: Draft) -> Draft:
    answers = {one.asset_id: one for one in first.answers}
    for one in second.answers:
        there = answers.get(one.asset_id)
        if there is None or (one.relevance, one.weight) > (there.relevance, there.weight):
            answers[one.asset_id] = one
    return replace(
        first,
        answers=tuple(answers[asset_id] for asset_id in sorted(answers)),
        complete=_complete(first, second) or _complete(second, first),
    )


def _complete(one: Draft, other: Draft) -> bool:
    """Whether one knows all answers, and the other has no other ones or knows all as well."""
    return one.complete and (other.complete or other.answered_by <= one.answered_by)


def _rank(draft: Draft) -> tuple[int, str, str, str, str]:
    place = _FIRST.index(draft.source)
    return place, draft.group, draft.text or "", draft.shown or "", draft.given_id or ""
