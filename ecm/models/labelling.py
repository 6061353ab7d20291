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
from ecm.models.vocabulary import Vocabulary

CLASS_SCHEME = "imagenet-1k"
CLASS_SYNONYM_SCHEME = "imagenet-1k-synonym"
HYPERNYM_SCHEME = "wordnet-hypernym"
HYPERNYM_SYNONYM_SCHEME = "wordnet-hypernym-synonym"

Probabilities = npt.NDArray[np.float64]


class LabellingParams(Contract):
    """Which probabilities become words.

    temperature: the logits are divided by it before the softmax. A class is stated when it is among
    the `max_classes` best and at least `min_class`; an ancestor when the sum over the classes below
    it is at least `min_hypernym`. Captions assert what has at least `sure`, hedge a class of at
    least `min_caption`, and are absent below.
    """

    temperature: float = Field(default=1.0, gt=0, le=10)
    min_class: float = Field(default=0.02, gt=0, lt=1)
    max_classes: int = Field(default=8, ge=1, le=16)
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
    """Statements for one image from its class probabilities, float64 (1000,).

    Tags come as: each stated class with its synonyms, from the most probable; then ancestors with
    their synonyms in the vocabulary's order of saying. The confidence of an ancestor is the sum of
    the probabilities below it, so it is never less sure than any class it covers.
    """
    best = np.argsort(-probabilities, kind="stable")[: params.max_classes]
    stated = [int(place) for place in best if probabilities[place] >= params.min_class]
    sums = vocabulary.members @ probabilities
    tags = (
        *_class_tags(vocabulary, probabilities, stated),
        *_hypernym_tags(vocabulary, sums, params.min_hypernym),
    )
    return Labels(
        caption=_caption(vocabulary, probabilities, sums, params),
        tags=_unique(tags),
        classification=tuple(
            _statement(vocabulary.classes[place].lemmas[0], probabilities[place], CLASS_SCHEME)
            for place in stated
        ),
    )


def _class_tags(
    vocabulary: Vocabulary, probabilities: Probabilities, stated: list[int]
) -> Iterator[LabelStatement]:
    for place in stated:
        first, *others = vocabulary.classes[place].lemmas
        yield _statement(first, probabilities[place], CLASS_SCHEME)
        for lemma in others:
            yield _statement(lemma, probabilities[place], CLASS_SYNONYM_SCHEME)


def _hypernym_tags(
    vocabulary: Vocabulary, sums: Probabilities, least: float
) -> Iterator[LabelStatement]:
    for place in np.flatnonzero(sums >= least):
        first, *others = vocabulary.ancestors[place].lemmas
        yield _statement(first, sums[place], HYPERNYM_SCHEME)
        for lemma in others:
            yield _statement(lemma, sums[place], HYPERNYM_SYNONYM_SCHEME)


def _unique(statements: tuple[LabelStatement, ...]) -> tuple[LabelStatement, ...]:
    """One statement per word, in the place and scheme of the first, as sure as the surest."""
    kept: dict[str, LabelStatement] = {}
    for statement in statements:
        first = kept.setdefault(statement.label, statement)
        if (statement.confidence or 0.0) > (first.confidence or 0.0):
            surer = {"confidence": statement.confidence}
            kept[statement.label] = first.model_copy(update=surer)
    return tuple(kept.values())


def _caption(
    vocabulary: Vocabulary,
    probabilities: Probabilities,
    sums: Probabilities,
    params: LabellingParams,
) -> TextStatement | None:
    """A sentence no surer than the probabilities; its confidence is that of the best class."""
    top = int(np.argmax(probabilities))
    confidence = float(probabilities[top])
    if confidence < params.min_caption:
        return None
    name = _with_article(vocabulary.classes[top].lemmas[0])
    kinds = np.flatnonzero(vocabulary.members[:, top] & (sums >= params.sure))
    kind = vocabulary.ancestors[kinds[0]].lemmas[0] if len(kinds) else None
    if confidence >= params.sure:
        text = f"a photo of {name}" + (f", a kind of {kind}" if kind is not None else "")
    elif kind is not None:
        text = f"a photo of {_with_article(kind)}, perhaps {name}"
    else:
        text = f"a photo that may show {name}"
    return TextStatement(text=text, confidence=min(confidence, 1.0), composed=True)


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def _statement(text: str, confidence: float, scheme: str) -> LabelStatement:
    return LabelStatement(label=text, confidence=min(float(confidence), 1.0), scheme=scheme)
