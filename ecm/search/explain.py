"""Why a hit is where it is: summands of its score, the evidence rows behind them, one sentence.

Pure. Knows fused candidates and stored statements; knows no index, no model and no clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ecm.contracts.search import Axis, AxisScore, Contribution, EvidenceRef
from ecm.evidence.reader import SnapshotRow
from ecm.evidence.statement import Statement
from ecm.search.query import FUNCTION

_TOKEN = re.compile(r"[^\W_]+")
_KIND_NAMES = {"tag": "tag", "caption": "caption", "classification": "class", "ocr": "lettering"}
_QUOTE_CHARS = 60


@dataclass(frozen=True)
class Asked:
    """What the sentence calls the question: its words, and whether an image or asset was shown."""

    text: str
    shown: bool


def matching(statements: Iterable[Statement], text: str) -> tuple[Statement, ...]:
    """Statements that share a telling word with the query, most shared words first, then surest.

    Stems are cut by a small rule (plural endings): this explains a BM25 match, it makes none.
    """
    wanted = _stems(text)
    found = [(len(wanted & _stems(said.text)), said) for said in statements]
    chosen = [(shared, said) for shared, said in found if shared]
    chosen.sort(key=lambda pair: (-pair[0], -(pair[1].confidence or 0.0), pair[1].evidence_id))
    return tuple(said for _, said in chosen)


def evidence_of(
    row: SnapshotRow, axes: Mapping[Axis, AxisScore], text: str, limit: int
) -> tuple[EvidenceRef, ...]:
    """Rows behind a hit, at most `limit`: statements that match, others, vectors of its axes."""
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
    first = matching(row.statements, text) if text else ()
    rest = sorted(
        (said for said in row.statements if said not in first),
        key=lambda said: (said.kind != "caption", -(said.confidence or 0.0), said.evidence_id),
    )
    said = [_reference(statement) for statement in (*first, *rest)]
    return (*said[: max(limit - len(vectors), 0)], *vectors)[:limit]


def sentence(
    row: SnapshotRow,
    parts: Sequence[Contribution],
    axes: Mapping[Axis, AxisScore],
    asked: Asked,
) -> str:
    """One sentence for a person: what put the hit here, the strongest reason first."""
    order = [Axis(part.feature.removeprefix("rrf.")) for part in parts if _of_axis(part)]
    reasons = [_reason(axis, axes[axis], row, asked) for axis in order if axis in axes]
    if not reasons:
        return ""
    joined = reasons[0] if len(reasons) == 1 else f"{', '.join(reasons[:-1])} and {reasons[-1]}"
    return joined[0].upper() + joined[1:] + "."


def _of_axis(part: Contribution) -> bool:
    return part.feature.startswith("rrf.") and part.value > 0


def _reason(axis: Axis, place: AxisScore, row: SnapshotRow, asked: Asked) -> str:
    rank = f"({ordinal(place.rank)})" if place.rank is not None else ""
    thing = "the image shown" if asked.shown else f"“{_short(asked.text)}”"
    match axis:
        case Axis.VV:
            return f"it looks like {thing} {rank}".strip()
        case Axis.X:
            return f"its layout and colours are close to {thing} {rank}".strip()
        case Axis.MV:
            meant = f"“{_short(asked.text)}”" if asked.text else thing
            return f"what is said of it is close in meaning to {meant} {rank}".strip()
        case Axis.FTS:
            return f"{_words_that_match(row, asked.text)} {rank}".strip()


def _words_that_match(row: SnapshotRow, text: str) -> str:
    for said in matching(row.statements, text):
        sure = f" with {said.confidence:.0%}" if said.confidence is not None else ""
        return f"its {_KIND_NAMES.get(said.kind, said.kind)} says “{_short(said.text)}”{sure}"
    if _stems(text) & _stems(row.name):
        return "its file name has the words"
    return "its words match"


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


def _stems(text: str) -> frozenset[str]:
    words = _TOKEN.findall(text.casefold())
    return frozenset(_stem(word) for word in words if word not in FUNCTION)


def _stem(word: str) -> str:
    for ending, kept in (("ies", "y"), ("sses", "ss"), ("es", "e"), ("s", "")):
        if word.endswith(ending) and len(word) > len(ending) + 2 and not word.endswith("ss"):
            return word[: -len(ending)] + kept
    return word


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _QUOTE_CHARS else line[: _QUOTE_CHARS - 1].rstrip() + "…"
