"""Sums over what two sides said about the same assets, pair by pair.

Memory does not grow with assets but for a number or two each, and the words that were said. No I/O,
no clock, no store.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, assert_never

from ecm.evidence.agreement import (
    Distribution,
    LabelAgreement,
    edit_distance,
    jaccard,
    similarity,
    words,
)
from ecm.evidence.comparison import (
    CaptionAgreement,
    CaptionSide,
    ClassAgreement,
    ConfidenceShift,
    Example,
    OcrAgreement,
    Sayings,
    TagAgreement,
    TagCount,
)
from ecm.evidence.schema import TextKind

BINS: Final = 10
MAX_OCR_CHARS: Final = 4_000
"""Characters of recognised text compared per asset; edit distance takes their square."""

_KINDS: Final = (TextKind.CAPTION, TextKind.TAG, TextKind.CLASSIFICATION, TextKind.OCR)
_SPARE: Final = 8


@dataclass(frozen=True, slots=True)
class Said:
    """All that one side said in words about one asset.

    `looked`: it was asked what the image shows, `read`: which text is in it. Labels are (label,
    confidence), best first; `classes` are of one vocabulary each, named by `scheme`.
    """

    looked: bool = False
    read: bool = False
    caption: str = ""
    caption_confidence: float | None = None
    composed: bool = False
    tags: tuple[tuple[str, float | None], ...] = ()
    classes: tuple[tuple[str, float | None], ...] = ()
    scheme: str = ""
    ocr: tuple[tuple[str, float | None], ...] = ()


@dataclass(slots=True)
class _CaptionSums:
    empty: int = 0
    composed: int = 0
    characters: int = 0
    words: int = 0
    said: Counter[str] = field(default_factory=Counter)

    def add(self, said: Said, distinct: int) -> None:
        if not said.caption:
            self.empty += 1
            return
        self.composed += said.composed
        self.characters += len(said.caption)
        self.words += distinct
        self.said[said.caption] += 1

    def result(self) -> CaptionSide:
        captions = self.said.total()
        return CaptionSide(
            empty=self.empty,
            repeated=sum(count for count in self.said.values() if count > 1),
            composed=self.composed,
            characters=self.characters / captions if captions else None,
            words=self.words / captions if captions else None,
        )


@dataclass(slots=True)
class Captions:
    """Captions of assets that both sides looked at."""

    exact: int = 0
    shares: array[float] = field(default_factory=lambda: array("d"))
    a: _CaptionSums = field(default_factory=_CaptionSums)
    b: _CaptionSums = field(default_factory=_CaptionSums)

    def add(self, a: Said, b: Said) -> float:
        """Add a pair; its agreement."""
        left, right = words(a.caption), words(b.caption)
        self.a.add(a, len(left))
        self.b.add(b, len(right))
        same = a.caption == b.caption
        share = 1.0 if same else jaccard(left, right)
        self.exact += same
        self.shares.append(share)
        return share

    def result(self) -> CaptionAgreement | None:
        spread = Distribution.of(self.shares)
        if spread is None or not (self.a.said or self.b.said):
            return None
        return CaptionAgreement(
            assets=spread.count,
            exact=self.exact / spread.count,
            jaccard=spread,
            a=self.a.result(),
            b=self.b.result(),
        )


@dataclass(slots=True)
class Tags:
    """Tags of assets that both sides looked at; case does not matter."""

    shares: array[float] = field(default_factory=lambda: array("d"))
    said_a: int = 0
    said_b: int = 0
    gained: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)

    def add(self, a: Said, b: Said) -> float:
        """Add a pair; its agreement."""
        left, right = _labels(a.tags), _labels(b.tags)
        self.said_a += len(left)
        self.said_b += len(right)
        self.gained.update(right - left)
        self.lost.update(left - right)
        share = jaccard(left, right)
        self.shares.append(share)
        return share

    def result(self, most: int) -> TagAgreement | None:
        spread = Distribution.of(self.shares)
        if spread is None or not (self.said_a or self.said_b):
            return None
        return TagAgreement(
            assets=spread.count,
            jaccard=spread,
            exact=sum(share == 1.0 for share in self.shares) / spread.count,
            per_asset_a=self.said_a / spread.count,
            per_asset_b=self.said_b / spread.count,
            gained=_most(self.gained, most),
            lost=_most(self.lost, most),
        )


@dataclass(slots=True)
class Classes:
    """First classes of assets that both sides classified."""

    raters: LabelAgreement = field(default_factory=LabelAgreement)
    schemes: set[str] = field(default_factory=set)

    def add(self, a: Said, b: Said) -> float:
        """Add a pair; its agreement."""
        left, right = _folded(a.classes[0][0]), _folded(b.classes[0][0])
        self.raters.add(left, right)
        self.schemes.update((a.scheme, b.scheme))
        return float(left == right)

    def result(self) -> ClassAgreement | None:
        share, ac1, pabak = self.raters.share(), self.raters.ac1(), self.raters.pabak()
        if share is None or ac1 is None or pabak is None:
            return None
        return ClassAgreement(
            assets=self.raters.items,
            agreement=share,
            kappa=self.raters.kappa(),
            ac1=ac1,
            pabak=pabak,
            categories=self.raters.categories,
            one_vocabulary=len(self.schemes) == 1,
        )


@dataclass(slots=True)
class Confidences:
    """Confidences of one kind of statement."""

    kind: TextKind
    differences: array[float] = field(default_factory=lambda: array("d"))
    bins_a: list[int] = field(default_factory=lambda: [0] * BINS)
    bins_b: list[int] = field(default_factory=lambda: [0] * BINS)
    absent_a: int = 0
    absent_b: int = 0

    def add(
        self, a: Iterable[tuple[str, float | None]], b: Iterable[tuple[str, float | None]]
    ) -> None:
        """Add what both sides said about one asset; statements are alike when their words are."""
        left = {_folded(text): confidence for text, confidence in a}
        right = {_folded(text): confidence for text, confidence in b}
        self.absent_a += _count(left.values(), self.bins_a)
        self.absent_b += _count(right.values(), self.bins_b)
        for text, confidence in left.items():
            other = right.get(text)
            if confidence is not None and other is not None:
                self.differences.append(other - confidence)

    def result(self) -> ConfidenceShift | None:
        if not (sum(self.bins_a) + sum(self.bins_b) + self.absent_a + self.absent_b):
            return None
        pairs = len(self.differences)
        return ConfidenceShift(
            kind=self.kind.value,
            pairs=pairs,
            difference=Distribution.of(self.differences),
            absolute=math.fsum(map(abs, self.differences)) / pairs if pairs else None,
            histogram_a=tuple(self.bins_a),
            histogram_b=tuple(self.bins_b),
            absent_a=self.absent_a,
            absent_b=self.absent_b,
        )


@dataclass(slots=True)
class Readings:
    """Recognised text of assets that both sides read."""

    exact: int = 0
    edits: int = 0
    characters: int = 0
    empty_a: int = 0
    empty_b: int = 0
    shares: array[float] = field(default_factory=lambda: array("d"))

    def add(self, a: Said, b: Said) -> float:
        """Add a pair; its agreement."""
        left, right = text_of(a), text_of(b)
        self.exact += left == right
        self.empty_a += not left
        self.empty_b += not right
        edits = edit_distance(left, right)
        self.edits += edits
        self.characters += len(left)
        share = similarity(left, right, edits)
        self.shares.append(share)
        return share

    def result(self) -> OcrAgreement | None:
        spread = Distribution.of(self.shares)
        if spread is None:
            return None
        return OcrAgreement(
            assets=spread.count,
            exact=self.exact / spread.count,
            cer=self.edits / self.characters if self.characters else None,
            similarity=spread,
            empty_a=self.empty_a,
            empty_b=self.empty_b,
        )


@dataclass(slots=True)
class WordTally:
    """Everything two sides said in words, and the assets on which they agree least."""

    worst: int
    captions: Captions = field(default_factory=Captions)
    tags: Tags = field(default_factory=Tags)
    classes: Classes = field(default_factory=Classes)
    readings: Readings = field(default_factory=Readings)
    confidences: tuple[Confidences, ...] = field(
        default_factory=lambda: tuple(map(Confidences, _KINDS))
    )
    _least: list[tuple[float, str, Said, Said]] = field(default_factory=list)

    def add(self, asset_id: str, a: Said, b: Said) -> None:
        """Add what both sides said about one asset. What only one of them was asked is left out."""
        shares = []
        if a.looked and b.looked:
            share = self.captions.add(a, b)
            if a.caption or b.caption:
                shares.append(share)
            if a.tags or b.tags:
                shares.append(self.tags.add(a, b))
            if a.classes and b.classes:
                shares.append(self.classes.add(a, b))
        if a.read and b.read:
            shares.append(self.readings.add(a, b))
        for tally in self.confidences:
            tally.add(_statements(tally.kind, a), _statements(tally.kind, b))
        if shares:
            self._remember(math.fsum(shares) / len(shares), asset_id, a, b)

    def examples(self) -> tuple[Example, ...]:
        """The assets with the least agreement, least first, ties by asset id."""
        self._forget()
        return tuple(
            Example(asset_id=asset_id, agreement=share, a=_sayings(a), b=_sayings(b))
            for share, asset_id, a, b in self._least
        )

    def _remember(self, share: float, asset_id: str, a: Said, b: Said) -> None:
        if share < 1.0:
            self._least.append((share, asset_id, a, b))
        if len(self._least) > _SPARE * (self.worst + 1):
            self._forget()

    def _forget(self) -> None:
        self._least.sort(key=lambda entry: entry[:2])
        del self._least[self.worst :]


def text_of(said: Said) -> str:
    """All recognised text of an asset, a line each, as far as it is compared."""
    return "\n".join(line for line, _ in said.ocr)[:MAX_OCR_CHARS]


def _statements(kind: TextKind, said: Said) -> tuple[tuple[str, float | None], ...]:
    match kind:
        case TextKind.CAPTION:
            return ((said.caption, said.caption_confidence),) if said.caption else ()
        case TextKind.TAG:
            return said.tags
        case TextKind.CLASSIFICATION:
            return said.classes
        case TextKind.OCR:
            return said.ocr
        case TextKind.NOTHING:
            return ()
        case _:
            assert_never(kind)


def _sayings(said: Said) -> Sayings:
    return Sayings(
        caption=said.caption,
        tags=tuple(tag for tag, _ in said.tags),
        top_class=said.classes[0][0] if said.classes else "",
        ocr=text_of(said),
    )


def _folded(label: str) -> str:
    return label.casefold()


def _labels(tags: Iterable[tuple[str, float | None]]) -> frozenset[str]:
    return frozenset(_folded(tag) for tag, _ in tags)


def _count(confidences: Iterable[float | None], bins: list[int]) -> int:
    """Put confidences into bins; how many there were not."""
    absent = 0
    for confidence in confidences:
        if confidence is None:
            absent += 1
        else:
            bins[min(int(confidence * BINS), BINS - 1)] += 1
    return absent


def _most(counts: Counter[str], most: int) -> tuple[TagCount, ...]:
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(TagCount(tag=tag, assets=count) for tag, count in ordered[:most])
