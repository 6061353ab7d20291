"""Queries that people have searched for, without anything of anybody in them.

A query is taken only when at least `least` different units asked for it (k-anonymity), in words
that hold no address, no link, no long number and no long token. Units are keyed hashes already;
nothing of them, of sessions or of times is kept. What is left out is counted, by why.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ecm.contracts.evaluation import QueryKind, QuerySource
from ecm.contracts.feedback import FeedbackKind, StoredEvent
from ecm.evaluation.datasets.drafts import Draft, group_of
from ecm.evaluation.datasets.from_files import type_of
from ecm.evaluation.datasets.words import normalised

LEAST_UNITS: Final = 3
_DIGITS: Final = 5
_TOKEN_CHARS: Final = 32
_MOST_CHARS: Final = 200
_ADDRESS: Final = re.compile(r"\S@\S|\bat\b.+\bdot\b", re.IGNORECASE)
_LINK: Final = re.compile(r"://|\bwww\.|\b[\w-]+\.(?:com|org|net|io|de|uk|eu)\b", re.IGNORECASE)


@dataclass(frozen=True)
class LogWords:
    """Texts that may be used, sorted, and how many distinct ones were left out, by why."""

    texts: tuple[str, ...]
    left: Counter[str]


def anonymous(events: Iterable[StoredEvent], least: int = LEAST_UNITS) -> LogWords:
    """The words of searches that may be known.

    Each text is given as `normalised` has it: how somebody wrote it may tell who it was. Raises
    ValueError for `least` below 2: what one alone asked for is theirs.
    """
    if least < 2:
        raise ValueError("words that fewer than two units asked for are not anonymous")
    left: Counter[str] = Counter()
    asked: dict[str, set[str]] = defaultdict(set)
    barred: dict[str, str] = {}
    for event in events:
        if event.kind is not FeedbackKind.IMPRESSION or not (event.query or "").strip():
            continue
        words = normalised(event.query or "")
        if why := _telling(event.query or ""):
            barred[words] = why
        elif event.unit is None:
            left["searches without a unit"] += 1
            asked[words]  # known to have been asked, by nobody who can be counted
        else:
            asked[words].add(event.unit)
    left.update(barred.values())
    kept = []
    for words, units in asked.items():
        if words in barred:
            continue
        if len(units) < least:
            left[f"asked by fewer than {least} units"] += 1
        else:
            kept.append(words)
    return LogWords(tuple(sorted(kept)), left)


def log_drafts(words: LogWords, locale: str) -> Iterator[Draft]:
    """A query for each text, without any answer: those are labelled from clicks or by people."""
    for text in words.texts:
        yield Draft(
            text=text,
            kind=QueryKind.LOG,
            query_type=type_of(QueryKind.LOG, text),
            source=QuerySource.LOG,
            group=group_of("words", text),
            answers=(),
            locale=locale,
            about=text,
        )


def _telling(text: str) -> str:
    """Why a text may tell who asked, "" if it does not."""
    if len(text) > _MOST_CHARS:
        return "a long text"
    if _ADDRESS.search(text):
        return "an address"
    if _LINK.search(text):
        return "a link"
    if sum(character.isdigit() for character in text) >= _DIGITS:
        return "a long number"
    if any(len(token) > _TOKEN_CHARS for token in text.split()):
        return "a long token"
    return ""
