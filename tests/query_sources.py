"""A small world to draw queries from: pets, fruit and places, seen by a tagger that errs."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from ecm.contracts.evaluation import QueryKind, Split
from ecm.contracts.filters import Orientation
from ecm.evaluation.datasets.building import Built, Named, build_queries
from ecm.evaluation.datasets.files import Asked, Described, Written
from ecm.evaluation.datasets.known import KnownAsset, KnownAssets, known_asset
from ecm.evaluation.datasets.layouts import Looked
from ecm.evaluation.datasets.log_words import LogWords
from ecm.evaluation.datasets.looks import CELLS, Looks, PictureLook
from ecm.evaluation.datasets.settled import made_with
from ecm.evaluation.datasets.sources import Drawn, Sources, draw
from ecm.evaluation.datasets.words import normalised
from ecm.evaluation.shelf import Labels, Queries

AT = 1_790_000_000.0
COLOURS = 12
THINGS = {
    "cat": ("cat", "Felis catus"),
    "dog": ("dog", "Canis familiaris"),
    "lemon": ("lemon", "Citrus limon"),
    "beach": ("beach",),
    "castle": ("castle", "stronghold"),
    "red fox": ("red fox", "Vulpes vulpes"),
}


def asset_of(number: int) -> str:
    return hashlib.sha256(f"photo {number}".encode()).hexdigest()


def thing_of(number: int) -> str:
    return list(THINGS)[number % len(THINGS)]


def row(number: int, **other: Any) -> dict[str, Any]:
    """What a snapshot says of a photo; every fifth is taken for something else."""
    seen = thing_of(number + (number % 5 == 0))
    return {
        "asset_id": asset_of(number),
        "uris": [f"file:///photos/{thing_of(number)}/photo-{number:03}.jpg"],
        "width": 640,
        "height": 480,
        "caption": f"a photo of a {seen}",
        "caption_composed": True,
        "tags": ", ".join([seen] * 3),
        "classification": seen,
        **other,
    }


@cache
def known(count: int = 60, **other: Any) -> KnownAssets:
    return known_of([known_asset(row(number, **other)) for number in range(count)])


def known_of(assets: Sequence[KnownAsset]) -> KnownAssets:
    return KnownAssets("t", "s-20260101T000000Z-00000000", AT, assets)


@cache
def described(count: int = 60) -> Written[Described]:
    lines = [
        Described(
            path=f"{thing_of(number)}/photo-{number:03}.jpg",
            labels=THINGS[thing_of(number)],
            captions=(
                f"A {thing_of(number)} number {number} seen at noon.",
                f"Somebody shows picture {number}, which has a {thing_of(number)}.",
            ),
        )
        for number in range(count)
    ]
    return Written("photos.jsonl", "0" * 64, tuple(lines))


def asked_file(*lines: Mapping[str, Any]) -> Written[Asked]:
    return Written("queries.jsonl", "1" * 64, tuple(Asked.model_validate(line) for line in lines))


@cache
def looked(count: int = 60) -> Looked:
    """Looks told apart by number: each of one colour, on a side, in the middle or all over."""
    looks = {}
    for number in range(count):
        shares = np.zeros((CELLS, CELLS, COLOURS), np.float32)
        rows = (slice(None), slice(None), slice(None), slice(1, 3))[number % 4]
        columns = (slice(None), slice(0, 2), slice(2, None), slice(1, 3))[number % 4]
        shares[rows, columns, number % 7] = 1
        looks[asset_of(number)] = PictureLook(shares, 0.5, 0.5, list(Orientation)[number % 2])
    return Looked(Looks(looks), every=True)


def sources(count: int = 60, log: LogWords | None = None, **other: Any) -> Sources:
    fields: dict[str, Any] = {
        "known": known(count),
        "described": described(count),
        "looked": looked(count),
        "log": log,
        **other,
    }
    return Sources(**fields)


@cache
def drawn(count: int = 60, seed: int = 0) -> Drawn:
    return draw(sources(count), seed)


def named(version: int = 1, seed: int = 0, now: float = AT) -> Named:
    return Named(
        tenant_id="t", name="gold", version=version, label_version=version, now=now, seed=seed
    )


@cache
def built(count: int = 80, seed: int = 0, now: float = AT, assets: int = 60) -> Built:
    return build_queries(drawn(assets, seed), known(assets), named(seed=seed, now=now), count)


def leaks_of(queries: Queries, labels: Labels) -> list[str]:
    """Groups, words and assets that queries of both sides are about: there should be none."""
    answers = made_with(labels.labels)
    about: dict[str, set[Split]] = defaultdict(set)
    for one in queries.queries:
        names = [f"group {one.group}"]
        if one.query_text is not None and one.shown_asset_id is None:
            names.append(f"words {normalised(one.query_text)}")
        if one.shown_asset_id is not None:
            names.append(one.shown_asset_id)
        if one.kind in (QueryKind.CAPTION, QueryKind.KNOWN_ITEM):
            names += answers[one.query_id]
        for name in names:
            about[name].add(one.split)
    return sorted(name for name, sides in about.items() if len(sides) > 1)
