"""Do query sets never leak, whatever people know of images, and are large stores no trouble?

    python -m benchmarks.query_sets [--worlds 100] [--assets 50000]

In each of many random worlds (things that overlap, captions that are shared, paths that mean
several images, a tagger that errs) a set is built, another beside it, and the first refreshed four
times from a world that has changed. Counts what is about the same thing on both sides, over all
versions together, and queries that changed sides. Then a set is drawn from one large store. Exit
code 1 when anything leaks or moves, when the same sources make another set, or when the large
store takes more than two milliseconds an asset.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ecm.contracts.evaluation import EvaluationQuery, Label, Split
from ecm.evaluation.datasets.building import Built, build_queries
from ecm.evaluation.datasets.files import Described, Written
from ecm.evaluation.datasets.known import KnownAssets, known_asset
from ecm.evaluation.datasets.refreshing import Past, refreshed
from ecm.evaluation.datasets.sources import Drawn, Sources, draw
from ecm.evaluation.shelf import Labels, Queries
from tests.query_sources import leaks_of, looked, named, row

REFRESHMENTS = 4
MOST_MS_AN_ASSET = 2.0


@dataclass
class World:
    """What is known of some images at one time."""

    known: KnownAssets
    described: Written[Described]

    def drawn(self, seed: int) -> Drawn:
        return draw(Sources(self.known, self.described, looked=looked(len(self.known))), seed)


def world(rng: random.Random, assets: int, words: int) -> World:
    """Assets that show one to three things each, some of them described, some the same way."""
    names = [f"thing{n}" for n in range(words)]
    shown = [rng.sample(names, rng.randint(1, 3)) for _ in range(assets)]
    seen = [things[0] if rng.random() < 0.8 else rng.choice(names) for things in shown]
    rows = [
        row(n, classification=seen[n], tags=", ".join([seen[n]] * 3), caption=None)
        for n in range(assets)
    ]
    lines = [
        Described(
            sha256=rows[n]["asset_id"],
            labels=tuple(shown[n]) if rng.random() < 0.9 else (),
            captions=tuple(
                f"A {rng.choice(shown[n])} {rng.choice(('here', 'there', str(n)))}."
                for _ in range(rng.randint(0, 2))
            ),
        )
        for n in range(assets)
    ]
    known = KnownAssets("t", "s-1", 1.0, map(known_asset, rows))
    digest = hashlib.sha256(repr(lines).encode()).hexdigest()
    return World(known, Written("photos.jsonl", digest, tuple(lines)))


def together(versions: Sequence[tuple[Queries, Labels]]) -> tuple[list[str], int]:
    """What leaks over all versions together, and how many queries changed sides."""
    sides: dict[str, Split] = {}
    moved = 0
    queries: dict[str, EvaluationQuery] = {}
    labels: dict[tuple[str, str], Label] = {}
    for asked, said in versions:
        for one in asked.queries:
            moved += sides.setdefault(one.query_id, one.split) is not one.split
            queries[one.query_id] = one
        labels |= {(one.query_id, one.asset_id): one for one in said.labels}
    head, label_head = versions[0][0].head, versions[0][1].head
    every = Queries(head, tuple(queries.values()))
    return leaks_of(every, Labels(label_head, tuple(labels.values()))), moved


def lived_through(seed: int) -> tuple[int, int, int, int]:
    """Leaks, moves, sets that were not the same again, queries: of one world over its time."""
    rng = random.Random(seed)
    assets, words = rng.randint(20, 120), rng.randint(5, 40)
    first = world(rng, assets, words)
    built = build_queries(first.drawn(seed), first.known, named(seed=seed), 60)
    again = build_queries(first.drawn(seed), first.known, named(seed=seed, now=2.0), 60)
    other = again.queries.head.digest != built.queries.head.digest
    versions = [(built.queries, built.labels)]
    for version in range(2, 2 + REFRESHMENTS):
        changed = world(rng, rng.randint(20, 120), words)
        past = Past(*versions[-1], tuple(versions))
        share = rng.choice((0.0, 0.25, 0.6))
        found = refreshed(
            past, changed.drawn(version), changed.known, named(version=version), share
        )
        versions.append((found.built.queries, found.built.labels))
    beside: Built = build_queries(first.drawn(7), first.known, named(seed=7), 40, 0.5, versions)
    leaks, moved = together([*versions, (beside.queries, beside.labels)])
    if leaks:
        print(f"world {seed}: {leaks[:3]}")
    return len(leaks), moved, int(other), sum(len(asked.queries) for asked, _ in versions)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=100)
    parser.add_argument("--assets", type=int, default=50_000)
    options = parser.parse_args(arguments)
    totals = [sum(each) for each in zip(*map(lived_through, range(options.worlds)), strict=True)]
    leaks, moved, other, queries = totals
    print(
        f"{options.worlds} worlds, {queries} queries: {leaks} leaks, {moved} moved, {other} others"
    )
    large = world(random.Random(0), options.assets, options.assets // 20)
    began = time.perf_counter()
    sources = Sources(large.known, large.described)
    made = build_queries(draw(sources, 0), large.known, named(), 500)
    each = 1000 * (time.perf_counter() - began) / options.assets
    print(f"{options.assets} assets: {len(made.queries.queries)} queries, {each:.2f} ms an asset")
    return int(bool(leaks or moved or other) or each > MOST_MS_AN_ASSET)


if __name__ == "__main__":
    sys.exit(main())
