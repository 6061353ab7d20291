"""Comparing what two runs or two transforms said about the same assets of a tenant.

Puts together what `paired` reads and what the tallies make of it, and says what to keep in mind.
Changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.evidence.agreement import Distribution, overlap
from ecm.evidence.comparison import Comparison, Example, MeasureShift, Side, SpaceAgreement
from ecm.evidence.neighbours import Nearest
from ecm.evidence.paired import SIDES, MeasurePair, Paired, Told, VectorRows, paired
from ecm.evidence.runs import RunState
from ecm.evidence.schema import ASSET_VERSIONS
from ecm.evidence.speakers import Speaker, speakers
from ecm.evidence.store import EvidenceStore, of_assets
from ecm.evidence.tallies import WordTally

MAX_URIS: Final = 3
_SHORT: Final = 12


@dataclass(frozen=True, slots=True)
class Wishes:
    """How much a comparison shows: examples, changed tags, neighbours of how many sampled assets.

    The sample is drawn by `seed`, so that it is the same each time.
    """

    examples: int = 10
    tags: int = 20
    neighbours: int = 10
    sample: int = 300
    seed: int = 0


def compare(
    store: EvidenceStore,
    tenant_id: str,
    a: str,
    b: str,
    wishes: Wishes | None = None,
    told: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Compare two sides, each a run id, a transform fingerprint or the beginning of one.

    A run stated what it computed itself: what was known already it linked and did not state again.
    `told` hears what is being done. Raises QueryError for a side nobody knows, ContractError,
    StoreCorrupt, StoreUnavailable, ResourceExhausted.
    """
    wanted = wishes or Wishes()
    first, second = speakers(store, tenant_id, a, b)
    told("reading who said something about which assets")
    with paired(store, first, second) as pair:
        sides = [
            _side(who, pair.told(name), pair.common)
            for who, name in zip((first, second), SIDES, strict=True)
        ]
        words = WordTally(wanted.examples)
        for place, (asset_id, one, other) in enumerate(pair.words()):
            if not place % 10_000:
                told(f"comparing words, {place} of {pair.common} assets")
            words.add(asset_id, one, other)
        measures = tuple(_shift(m) for m in pair.measures())
        told("comparing neighbourhoods")
        spaces = tuple(_space(pair, one, other, wanted) for one, other in pair.spaces())
    found = Comparison(
        tenant_id=tenant_id,
        a=sides[0],
        b=sides[1],
        common=pair.common,
        captions=words.captions.result(),
        tags=words.tags.result(wanted.tags),
        classes=words.classes.result(),
        confidences=tuple(filter(None, (tally.result() for tally in words.confidences))),
        ocr=words.readings.result(),
        spaces=spaces,
        measures=measures,
        worst=tuple(_with_places(store, tenant_id, words.examples())),
    )
    return found.model_copy(update={"notes": tuple(_notes(found))})


def _side(who: Speaker, told: Told, common: int) -> Side:
    run = who.record
    seconds = run.finished_at - run.started_at if run and run.finished_at is not None else None
    images = run.counts.get("images_through_models", 0) if run else 0
    return Side(
        kind=who.kind,
        name=who.name,
        transforms=tuple(sorted(told.transforms)),
        assets=told.assets,
        only=told.assets - common,
        state=run.state.value if run else None,
        counts=run.counts if run else {},
        seconds=seconds,
        images_per_second=images / seconds if images and seconds else None,
    )


def _shift(pair: MeasurePair) -> MeasureShift:
    spread = Distribution.of(pair.shifts)
    assert spread is not None  # DuckDB makes no group of no rows
    return MeasureShift(
        name=pair.name,
        assets=spread.count,
        mean_a=pair.mean_a,
        mean_b=pair.mean_b,
        difference=spread,
    )


def _space(pair: Paired, a: VectorRows, b: VectorRows, wishes: Wishes) -> SpaceAgreement:
    """Overlap of the neighbourhoods of a seeded sample; the dimensions may differ."""
    places = pair.places(a, b)
    drawn = np.random.default_rng(wishes.seed).permutation(len(places))[: wishes.sample]
    sample = np.sort(places[drawn])
    k = max(min(wishes.neighbours, len(places) - 1), 0)
    left, right = (neighbourhoods(pair, rows, sample, k) for rows in (a, b))
    return SpaceAgreement(
        space=a.space,
        transform_a=a.transform,
        transform_b=b.transform,
        dim_a=a.dim,
        dim_b=b.dim,
        assets=len(places),
        sample=len(sample),
        k=k,
        overlap=Distribution.of(overlap(left[p], right[p]) for p in left if k),
        by_chance=k / (len(places) - 1) if k else None,
    )


def neighbourhoods(
    pair: Paired, rows: VectorRows, sample: npt.NDArray[np.int64], k: int
) -> dict[int, list[int]]:
    """The k nearest of all common vectors to each of a sample, by place; {} of none."""
    portions = list(pair.vectors(rows, sample))
    if not portions or not k:
        return {}
    places = np.concatenate([part for part, _ in portions])
    sought = Nearest(places, np.concatenate([part for _, part in portions]), k)
    for names, vectors in pair.vectors(rows):
        sought.add(names, vectors)
    return dict(zip(places.tolist(), sought.result(), strict=True))


def _with_places(
    store: EvidenceStore, tenant_id: str, examples: Iterable[Example]
) -> Iterator[Example]:
    """The examples with the newest places their bytes were seen at."""
    shown = list(examples)
    if not shown or not store.has_table(ASSET_VERSIONS):
        yield from shown
        return
    where = of_assets(tenant_id, [example.asset_id for example in shown])
    seen: dict[str, list[str]] = {}
    rows = store.read(ASSET_VERSIONS, ["asset_id", "uri", "observed_at"], where).to_pylist()
    for row in sorted(rows, key=lambda row: (-row["observed_at"], row["uri"])):
        seen.setdefault(row["asset_id"], []).append(row["uri"])
    for example in shown:
        uris = tuple(dict.fromkeys(seen.get(example.asset_id, ())))[:MAX_URIS]
        yield example.model_copy(update={"uris": uris})


def _notes(found: Comparison) -> Iterator[str]:
    """What a reader of the numbers should know."""
    a, b = found.a, found.b
    shared = set(a.transforms) & set(b.transforms)
    if a.name == b.name:
        yield "a side is compared with itself"
    elif shared:
        marks = ", ".join(sorted(mark[:_SHORT] for mark in shared))
        yield (
            f"both sides have statements of transform {marks}: a transform says a thing about an "
            "asset once, so of it they have no asset in common"
        )
    texts = (found.captions, found.tags, found.classes, found.ocr)
    if found.common and not any((*texts, found.spaces, found.measures)):
        yield "what the two say about the same assets is of different kinds: nothing to compare"
    if not found.common:
        yield (
            "the two say nothing about the same assets: a run links what was known before it and "
            "does not state it again; compare transforms instead (ecm runs list shows them)"
        )
    for side in (a, b):
        if side.state not in (None, RunState.FINISHED):
            yield f"run {side.name} is {side.state}: it may have said only part of what it would"
        if side.kind == "run" and side.state is None:
            yield f"run {side.name} is not on record: it is still going, or was killed"
    if found.confidences:
        yield (
            "confidences of two models can be compared as far as both are calibrated; without "
            "labels this tells how they differ, not which is right"
        )
    if found.classes is not None and not found.classes.one_vocabulary:
        yield "the sides classify by different vocabularies: agreement on names alone means little"
