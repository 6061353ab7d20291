"""Random questions to random corpora: as a request, and taken apart for the model of searching.

What words mean is known here because the text is put together here; examples are added up as
docs/search.md says. Knows no ranking.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ecm.contracts.search import Axis, SearchRequest, SearchResponse
from ecm.evidence.refs import VECTOR_AXES
from ecm.search.layout import read_layout
from tests.search_corpora import IDS, LABELS, VOCABULARY, Oracle
from tests.search_model_words import STEMS, Asked, Asset

LAYOUTS = ("red on the left", "bright", "symmetrical bright")
WORDS = st.lists(st.sampled_from(VOCABULARY), max_size=4) | st.sampled_from(
    [["house"], ["tigers"], ["lemon"], ["horse"], ["melons"]]
)
PHRASES = st.lists(st.sampled_from(VOCABULARY), min_size=2, max_size=3).map(tuple)
LABEL = st.sampled_from([label.casefold() for label in LABELS])
CONDITIONS = st.one_of(
    st.fixed_dictionaries(
        {"field": st.just("tags"), "any": st.lists(LABEL, min_size=1, max_size=3)},
        optional={"min_confidence": st.sampled_from([0.1, 0.3, 0.9])},
    ),
    st.fixed_dictionaries({"field": st.just("tags"), "all": st.lists(LABEL, min_size=1)}),
    st.sampled_from(
        [
            {"field": "width", "gte": 200},
            {"field": "width", "gte": 101, "lte": 250},
            {"field": "has", "value": "text"},
        ]
    ),
    st.fixed_dictionaries(
        {"field": st.just("asset"), "any": st.lists(st.sampled_from(IDS), min_size=1)}
    ),
)
FILTERS = st.recursive(
    st.fixed_dictionaries({"must": st.lists(CONDITIONS, max_size=2)}),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "must": st.lists(CONDITIONS | inner, max_size=2),
            "should": st.lists(CONDITIONS | inner, max_size=3),
            "must_not": st.lists(CONDITIONS | inner, max_size=2),
        },
    ),
    max_leaves=4,
)


@dataclass(frozen=True)
class Drawn:
    """The parts that a question is put together from; examples are (image or asset, weight)."""

    tenant: str
    words: list[str]
    phrase: tuple[str, ...] | None
    unwanted: list[tuple[str, ...]]
    layout: str | None
    examples: list[tuple[str, float]]
    fields: dict[str, Any]

    @property
    def wanted(self) -> str:
        """The words that are looked for."""
        said = [*([self.layout] if self.layout else []), *self.words, *(self.phrase or ())]
        return " ".join(said)

    @property
    def absent(self) -> list[str]:
        return list(dict.fromkeys(" ".join(words) for words in self.unwanted))

    @property
    def positive(self) -> bool:
        return any(weight > 0 for _, weight in self.examples)

    def request(self, **fields: Any) -> SearchRequest:
        """As somebody would write it."""
        phrase = f'"{" ".join(self.phrase)}"' if self.phrase else ""
        absent = [f'-"{text}"' if " " in text else f"-{text}" for text in self.absent]
        wanted = [self.layout or "", *self.words, phrase, *absent]
        shown = [
            {"asset_id": name, "weight": weight}
            if name in IDS
            else {"image": base64.b64encode(name.encode()), "weight": weight}
            for name, weight in self.examples
        ]
        whole = {"tenant_id": self.tenant, "text": " ".join(w for w in wanted if w) or None}
        return SearchRequest.model_validate({**whole, "examples": shown, **self.fields, **fields})


@st.composite
def drawn_questions(draw: st.DrawFn, assets: Sequence[Asset]) -> Drawn:
    """A question that asks something, to one of the tenants; by example only of its own assets."""
    tenant = draw(st.sampled_from([*sorted({one.tenant for one in assets}), "nobody"]))
    own = sorted({one.asset_id for one in assets if one.tenant == tenant})
    names = st.sampled_from([*own, "image 1", "image 2"] if own else ["image 1", "image 2"])
    weights = st.sampled_from([1.0, 0.5, -0.5])
    examples = draw(st.just([]) | st.lists(st.tuples(names, weights), min_size=1, max_size=3))
    positive = any(weight > 0 for _, weight in examples)
    words = draw(WORDS if positive else WORDS.filter(bool))
    layout = None if positive else draw(st.none() | st.none() | st.sampled_from(LAYOUTS))
    phrase = draw(st.none() | st.none() | PHRASES)
    absent = st.lists(st.sampled_from(VOCABULARY).map(lambda w: (w,)) | PHRASES, max_size=2)
    fields = {
        "filter": draw(st.none() | FILTERS),
        "candidates": draw(st.sampled_from([1, 3, 7, 200])),
        "rerank": draw(st.sampled_from(["auto", "auto", "off"])),
        "min_relevance": draw(st.sampled_from([None, None, "auto", 0.4])),
    }
    if layout is None and draw(st.booleans()):
        fields["axes"] = draw(
            st.lists(st.sampled_from(["vv", "mv", "fts"]), min_size=2, unique=True)
        )
    unwanted = draw(absent) if words or phrase or layout else []
    return Drawn(tenant, words, phrase, unwanted, layout, examples, fields)


def asked_of(drawn: Drawn, assets: Sequence[Asset], encoder: Oracle, told: SearchResponse) -> Asked:
    """The question as the model wants it; its type and confidence are those that were `told`."""
    own = {one.asset_id: one for one in assets if one.tenant == drawn.tenant}
    wanted, fields = drawn.wanted, drawn.fields
    layout = read_layout(wanted) if wanted and not drawn.positive else None
    axes = ["vv", "mv"]
    axes += ["x"] if drawn.positive or layout is not None else []
    axes += ["fts"] if wanted else []
    axes = [axis for axis in axes if axis in fields.get("axes", axes)]
    vectors: dict[str, tuple[np.ndarray, bool]] = {}
    unwanted: dict[str, list[tuple[np.ndarray, bool]]] = {}
    lost: set[str] = set()
    for axis in (one for one in VECTOR_AXES if one.value in axes):
        by_words = bool(wanted) and (axis is Axis.MV or not drawn.positive)
        shown = []
        for name, weight in drawn.examples if axis is not Axis.MV or not by_words else ():
            stored = own[name].vectors.get(axis.value) if name in IDS else None
            if name not in IDS:
                stored = encoder.vectors(None, name.encode())[axis].values
            if stored is None:  # then the axis cannot answer for the whole question
                lost.add(axis)
            else:
                shown.append((weight, stored))
        against = []
        if by_words:
            said = encoder.vectors(wanted, None)[axis]
            vectors[axis] = (said.values, said.centred)
            against = [(vector, False) for weight, vector in shown if weight < 0]
        elif any(weight > 0 for weight, _ in shown):
            total = sum(weight * vector.astype(np.float64) for weight, vector in shown)
            length = np.linalg.norm(total)
            if len(shown) == 1:
                vectors[axis] = (shown[0][1], False)
            elif length > 1e-6:
                vectors[axis] = ((total / length).astype(np.float32), False)
        for text in drawn.absent if axis is not Axis.X else ():
            one = encoder.vectors(text, None)[axis]
            against.append((one.values, one.centred))
        unwanted[axis.value] = against
    fits = None
    if layout is not None:
        drawable = {a: one.vectors["x"] for a, one in own.items() if "x" in one.vectors}
        fits = {a: float(layout.scores(vector[None])[0]) for a, vector in drawable.items()}
        vectors["x"] = (np.ones(1), False)
    answering = tuple(
        a.value for a in Axis if a not in lost and ((a == "fts" and a in axes) or a in vectors)
    )
    return Asked(
        tenant=drawn.tenant,
        axes=answering,
        words=tuple(dict.fromkeys(wanted.split())),
        phrases=(drawn.phrase,) if any(STEMS[word] for word in drawn.phrase or ()) else (),
        absent=tuple(tuple(text.split()) for text in drawn.absent),
        vectors=vectors,
        unwanted=unwanted,
        fits=fits,
        look=layout.strength if layout is not None else 0.0,
        shown=frozenset(name for name, _ in drawn.examples if name in IDS),
        by_example=drawn.positive,
        query_type=told.understood.query_type.value,
        confidence=told.understood.confidence,
        filter=fields["filter"],
        candidates=fields["candidates"],
        rerank=fields["rerank"] == "auto",
        min_relevance=fields["min_relevance"],
        wanted=wanted,
        whole=len(answering) == len(axes),
    )
