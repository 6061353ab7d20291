"""Why a hit is where it is: the evidence rows behind it, and one sentence for a person.

Pure. Knows summands of scores and stored statements; knows no index, no model and no clock.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from ecm.contracts.search import Axis, AxisScore, Contribution, EvidenceRef
from ecm.evidence.reader import SnapshotRow
from ecm.evidence.statement import Statement
from ecm.search.stems import label_stems, stems

_KIND_NAMES = {"tag": "tag", "caption": "caption", "classification": "class", "ocr": "lettering"}
_QUOTE_CHARS = 60
_UNWANTED = "penalty.unwanted"
_DAYS = 4096
_LIKELY = 0.5
"""How much a hit is unwanted, from where on its sentence says so."""
_OF_LOOK = "style_match"
_OF_WORDS = ("bm25.", "ocr_hit", "tag_overlap", "label_match", "class_match", "name_match")


@dataclass(frozen=True)
class Asked:
    """What the sentence calls the question: its words, and whether an image or asset was shown."""

    text: str
    shown: bool

    @functools.cached_property
    def thing(self) -> str:
        """What is looked for."""
        return "the image shown" if self.shown else self.meant

    @functools.cached_property
    def meant(self) -> str:
        """The words, where there are any."""
        return f"“{_short(self.text)}”" if self.text else "the image shown"


def matching(statements: Iterable[Statement], wanted: frozenset[str]) -> tuple[Statement, ...]:
    """Statements that share a telling word with the query, most shared words first, then surest.

    `wanted` are the `stems` of the query.
    """
    found = [(len(wanted & label_stems(said.text)), said) for said in statements] if wanted else []
    chosen = [(shared, said) for shared, said in found if shared]
    chosen.sort(key=lambda pair: (-pair[0], -(pair[1].confidence or 0.0), pair[1].evidence_id))
    return tuple(said for _, said in chosen)


def evidence_of(
    row: SnapshotRow,
    axes: Mapping[Axis, AxisScore],
    matches: Sequence[Statement],
    limit: int,
) -> tuple[EvidenceRef, ...]:
    """Rows behind a hit, at most `limit`: statements that match, others as they were said, vectors
    of its axes.
    """
    vectors = [
        EvidenceRef(
            evidence_id=origin.evidence_id,
            kind=f"vector.{axis.value}",
            run_id=origin.run_id,
            transform=origin.transform,
            confidence=None,
        )
        for axis, origin in row.vectors.items()
        if axis in axes
    ]
    room = max(limit - len(vectors), 0)
    said = list(matches[:room])
    if len(said) < room:
        first = {statement.evidence_id for statement in matches}
        rest = (statement for statement in row.statements if statement.evidence_id not in first)
        said += islice(rest, room - len(said))
    return (*map(_reference, said), *vectors)[:limit]


def sentence(
    row: SnapshotRow,
    parts: Sequence[Contribution],
    axes: Mapping[Axis, AxisScore],
    asked: Asked,
    matches: Sequence[Statement],
    said_at: float | None,
) -> str:
    """One sentence for a person: what put the hit here, the strongest reason first.

    Reasons are the axes, each with all that it added to the score. `matches` are statements that
    share words with the query, `said_at` is when the asset was last described (Unix seconds, UTC).
    """
    sums: dict[Axis, float] = defaultdict(float)
    for part in parts:
        axis = _axis_of(part.feature)
        if axis is not None:
            sums[axis] += part.value
    order = sorted((a for a in sums if sums[a] > 0 and a in axes), key=lambda a: (-sums[a], a))
    reasons = [_reason(axis, axes[axis], row, asked, matches, said_at) for axis in order]
    if not reasons:
        return ""
    joined = reasons[0] if len(reasons) == 1 else f"{', '.join(reasons[:-1])} and {reasons[-1]}"
    if any(part.feature == _UNWANTED and (part.raw or 0.0) >= _LIKELY for part in parts):
        joined += ", though it seems to be what is not wanted"
    return joined[0].upper() + joined[1:] + "."


@functools.cache
def _axis_of(feature: str) -> Axis | None:
    """The axis that a summand belongs to; None for what says nothing of the query."""
    if feature == _OF_LOOK:
        return Axis.X
    if feature.startswith(_OF_WORDS):
        return Axis.FTS
    kind, _, name = feature.partition(".")
    return Axis(name) if kind in ("rrf", "dbsf", "sim") else None


def _reason(
    axis: Axis,
    place: AxisScore,
    row: SnapshotRow,
    asked: Asked,
    matches: Sequence[Statement],
    said_at: float | None,
) -> str:
    rank = ordinal(place.rank) if place.rank is not None else ""
    match axis:
        case Axis.VV:
            return _noted(f"it looks like {asked.thing}", rank)
        case Axis.X:
            return _noted(f"its layout and colours are close to {asked.thing}", rank)
        case Axis.MV:
            return _noted(f"what is said of it is close in meaning to {asked.meant}", rank)
        case Axis.FTS:
            day = _day(said_at) if matches else ""
            return _noted(_words_that_match(row, asked.text, matches), rank, day)


def _words_that_match(row: SnapshotRow, text: str, matches: Sequence[Statement]) -> str:
    if matches:
        said = matches[0]
        sure = f" with {said.confidence:.0%}" if said.confidence is not None else ""
        return f"its {_KIND_NAMES.get(said.kind, said.kind)} says “{_short(said.text)}”{sure}"
    if stems(text) & stems(row.name):
        return "its file name has the words"
    return "its words match"


def _noted(reason: str, *notes: str) -> str:
    told = ", ".join(note for note in notes if note)
    return f"{reason} ({told})" if told else reason


@functools.lru_cache(maxsize=_DAYS)
def _day(at: float | None) -> str:
    return "" if at is None else f"said {datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


def ordinal(number: int) -> str:
    """English ordinal.

    >>> [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 21, 112)]
    ['1st', '2nd', '3rd', '4th', '11th', '12th', '21st', '112th']
    """
    teen = 10 < number % 100 < 14
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def _reference(said: Statement) -> EvidenceRef:
    return EvidenceRef(
        evidence_id=said.evidence_id,
        kind=said.kind,
        run_id=said.run_id,
        transform=said.transform,
        confidence=said.confidence,
        text=said.text,
    )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _QUOTE_CHARS else line[: _QUOTE_CHARS - 1].rstrip() + "…"
