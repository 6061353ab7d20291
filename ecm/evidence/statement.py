"""What runs said about assets, as typed values read back from the store. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ecm.contracts.result import LabelStatement, TextStatement
from ecm.evidence.schema import TextKind


@dataclass(frozen=True, slots=True)
class Statement:
    """One row of evidence in words: `kind` is a TextKind, `confidence` in [0, 1], if any."""

    evidence_id: str
    kind: str
    ordinal: int
    run_id: str
    transform: str
    confidence: float | None
    text: str
    scheme: str
    composed: bool

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Statement:
        """From a row that has these columns, and perhaps more."""
        return cls(**{name: row[name] for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class AssetTexts:
    """All that one transform said in words about one asset, as it was in the envelope."""

    caption: TextStatement | None
    tags: tuple[LabelStatement, ...]
    classification: tuple[LabelStatement, ...]
    ocr: tuple[TextStatement, ...]

    @classmethod
    def of(cls, statements: Iterable[Statement]) -> AssetTexts:
        """From the statements of one asset in any order; empty texts count as nothing said."""
        said = sorted((s for s in statements if s.text), key=lambda s: s.ordinal)
        captions = [_text(s) for s in said if s.kind == TextKind.CAPTION]
        return cls(
            caption=captions[0] if captions else None,
            tags=tuple(_label(s) for s in said if s.kind == TextKind.TAG),
            classification=tuple(_label(s) for s in said if s.kind == TextKind.CLASSIFICATION),
            ocr=tuple(_text(s) for s in said if s.kind == TextKind.OCR),
        )


def _text(said: Statement) -> TextStatement:
    return TextStatement(text=said.text, confidence=said.confidence, composed=said.composed)


def _label(said: Statement) -> LabelStatement:
    return LabelStatement(label=said.text, confidence=said.confidence, scheme=said.scheme)
