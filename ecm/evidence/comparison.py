"""The values of a comparison: what two sides said about the same assets, as numbers.

A side is a run or a transform. Knows nothing of how the numbers are found: `tallies` sums them,
`comparing` reads the store. No I/O, no clock.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ecm.contracts.identity import Contract, Digest
from ecm.contracts.result import Space
from ecm.evidence.agreement import Distribution

Share = float


class CaptionSide(Contract):
    """Captions of one side over the assets compared; counts are of assets."""

    empty: int
    repeated: int = Field(description="assets whose caption was said about another asset too")
    composed: int = Field(description="captions put together from other statements")
    characters: float | None = Field(description="mean length of those that are not empty")
    words: float | None = Field(description="mean number of distinct words of those")


class CaptionAgreement(Contract):
    assets: int
    exact: Share
    jaccard: Distribution = Field(description="of the words of both captions, per asset")
    a: CaptionSide
    b: CaptionSide


class TagCount(Contract):
    tag: str
    assets: int


class TagAgreement(Contract):
    """`gained`: tags that b said and a did not, by how many assets; `lost` the reverse."""

    assets: int
    jaccard: Distribution
    exact: Share
    per_asset_a: float
    per_asset_b: float
    gained: tuple[TagCount, ...]
    lost: tuple[TagCount, ...]


class ClassAgreement(Contract):
    """The first class of both sides. kappa: Cohen 1960; ac1: Gwet 2008; pabak: Byrt et al. 1993."""

    assets: int
    agreement: Share
    kappa: float | None = Field(description="null where chance alone is sure")
    ac1: float
    pabak: float
    categories: int
    one_vocabulary: bool


class ConfidenceShift(Contract):
    """Confidences of what both sides said alike; differences are b - a.

    Histograms are counts in ten equal parts of [0, 1] over all confidences of a kind.
    """

    kind: str
    pairs: int
    difference: Distribution | None
    absolute: float | None = Field(description="mean of |b - a|")
    histogram_a: tuple[int, ...]
    histogram_b: tuple[int, ...]
    absent_a: int = Field(description="statements without a confidence")
    absent_b: int


class OcrAgreement(Contract):
    """`cer`: edits that make b's text of a's, per character of a's (null when a read none)."""

    assets: int
    exact: Share
    cer: float | None
    similarity: Distribution
    empty_a: int
    empty_b: int


class SpaceAgreement(Contract):
    """Nearest neighbours by both sides' vectors, of a seeded sample among the assets in common."""

    space: Space
    transform_a: Digest
    transform_b: Digest
    dim_a: int
    dim_b: int
    assets: int
    sample: int
    k: int
    overlap: Distribution | None
    by_chance: float | None = Field(description="overlap that unrelated neighbourhoods would have")


class MeasureShift(Contract):
    name: str
    assets: int
    mean_a: float
    mean_b: float
    difference: Distribution = Field(description="b - a, per asset")


class Sayings(Contract):
    """What one side said about an asset, in short, for a person."""

    caption: str
    tags: tuple[str, ...]
    top_class: str
    ocr: str


class Example(Contract):
    """An asset on which the sides agree little; `agreement` is the mean of what was compared."""

    asset_id: Digest
    uris: tuple[str, ...] = ()
    agreement: Share
    a: Sayings
    b: Sayings


class Side(Contract):
    """One side: a run, or a transform, with what is on record about the run."""

    kind: Literal["run", "transform"]
    name: str
    transforms: tuple[Digest, ...]
    assets: int = Field(description="assets that it said something about")
    only: int = Field(description="those that the other side said nothing about")
    state: str | None = None
    counts: dict[str, int] = Field(default_factory=dict)
    seconds: float | None = None
    images_per_second: float | None = None


class Comparison(Contract):
    """Two sides compared over the assets they have in common; what either did not say is null."""

    tenant_id: str
    a: Side
    b: Side
    common: int
    captions: CaptionAgreement | None
    tags: TagAgreement | None
    classes: ClassAgreement | None
    confidences: tuple[ConfidenceShift, ...]
    ocr: OcrAgreement | None
    spaces: tuple[SpaceAgreement, ...]
    measures: tuple[MeasureShift, ...]
    worst: tuple[Example, ...]
    notes: tuple[str, ...] = ()
