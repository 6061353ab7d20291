"""From class probabilities to statements: classification, tags with synonyms and hypernyms, a
caption.

Pure arithmetic over a vocabulary. Knows no model, no pixels, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ecm.contracts.identity import Contract
from ecm.contracts.result import LabelStatement, TextStatement
from ecm.models.vocabulary import Ancestor, Vocabulary

CLASS_SCHEME = "imagenet-1k"
SYNONYM_SCHEME = "imagenet-1k-synonym"
HYPERNYM_SCHEME = "wordnet-hypernym"

Probabilities = npt.NDArray[np.float64]


class LabellingParams(Contract):
    """Which probabilities become words.

    temperature: the logits are divided by it before the softmax. A class is stated when it is among
    the `max_classes` best and at least `min_class`; an ancestor when the sum over the classes below
    it is at least `min_hypernym`. Captions assert from `sure`, hedge from `min_caption`, and are
    absent below.
    """

    temperature: float = Field(default=1.0, gt=0, le=10)
    min_class: float = Field(default=0.02, gt=0, lt=1)
    max_classes: int = Field(default=8, ge=1, le=64)
    min_hypernym: float = Field(default=0.1, gt=0, lt=1)
    sure: float = Field(default=0.5, gt=0, lt=1)
    min_caption: float = Field(default=0.1, gt=0, lt=1)


@dataclass(frozen=True)
class Labels:
    """The statements about one image."""

    caption: TextStatement | None
    tags: tuple[LabelStatement, ...]
    classification: tuple[LabelStatement, ...]


def softmax(logits: npt.NDArray[np.floating], temperature: float) -> Probabilities:
    """Row-wise softmax of logits / temperature, in float64."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    weights = np.exp(scaled)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def label(vocabulary: Vocabulary, probabilities: Probabilities, params: LabellingParams) -> Labels:
    """Statements for one image from its class probabilities, float64 (1000,)."""
    best = np.argsort(-probabilities, kind="stable")[: params.max_classes]
    stated = [int(c) for c in best if probabilities[c] >= params.min_class]
    sums = vocabulary.members @ probabilities
    general = [
        (ancestor, float(total))
        for ancestor, total in zip(vocabulary.ancestors, sums, strict=True)
        if ancestor.named and total >= params.min_hypernym
    ]
    classification = tuple(
        _statement(vocabulary.classes[c].lemmas[0], probabilities[c], CLASS_SCHEME) for c in stated
    )
    return Labels(
        caption=_caption(vocabulary, probabilities, int(best[0]), params),
        tags=_unique(_tags(vocabulary, probabilities, stated, general)),
        classification=classification,
    )


def _tags(
    vocabulary: Vocabulary,
    probabilities: Probabilities,
    stated: list[int],
    general: list[tuple[Ancestor, float]],
) -> Iterator[LabelStatement]:
    for c in stated:
        yield _statement(vocabulary.classes[c].lemmas[0], probabilities[c], CLASS_SCHEME)
    for c in stated:
        for lemma in vocabulary.classes[c].lemmas[1:]:
            yield _statement(lemma, probabilities[c], SYNONYM_SCHEME)
    for ancestor, total in general:
        for lemma in ancestor.lemmas:
            yield _statement(lemma, total, HYPERNYM_SCHEME)


def _unique(statements: Iterator[LabelStatement]) -> tuple[LabelStatement, ...]:
    """One statement per word and scheme: the surest, in the place of the first."""
    kept: dict[tuple[str, str], LabelStatement] = {}
    for statement in statements:
        key = (statement.label, statement.scheme)
        if key not in kept or (statement.confidence or 0) > (kept[key].confidence or 0):
            kept[key] = statement
    return tuple(kept.values())


def _caption(
    vocabulary: Vocabulary, probabilities: Probabilities, top: int, params: LabellingParams
) -> TextStatement | None:
    confidence = float(probabilities[top])
    if confidence < params.min_caption:
        return None
    name = vocabulary.classes[top].lemmas[0]
    kind = next(
        (
            ancestor.lemmas[0]
            for ancestor, below in zip(vocabulary.ancestors, vocabulary.members, strict=True)
            if ancestor.named and below[top] and below.sum() > 1
        ),
        None,
    )
    text = (
        f"a photo of {_article(name)} {name}"
        if confidence >= params.sure
        else f"a photo that may show {_article(name)} {name}"
    )
    if kind is not None:
        text += f", a kind of {kind}"
    return TextStatement(text=text, confidence=min(confidence, 1.0), composed=True)


def _article(noun: str) -> str:
    return "an" if noun[0].lower() in "aeiou" else "a"


def _statement(text: str, confidence: float, scheme: str) -> LabelStatement:
    return LabelStatement(label=text, confidence=min(float(confidence), 1.0), scheme=scheme)
