"""Does a cut-off by relevance return nothing for nonsense, and all that matters for the rest?

    python benchmarks/cutoff.py --home HOME [--tenant T] [--profile L1] [--root DIR] [--every N]

HOME has been indexed from ROOT/photos. Strings that mean nothing, made from a fixed seed, and words
of things that no photo shows are searched with `min_relevance: auto`, and so is every N-th query of
ROOT/queries.jsonl, with and without. Prints the share of the former that return nothing, and of the
latter Recall@50 and the precision of what is returned among queries with fewer than 50 answers.
Exit code 1 when nonsense returns something in more than 10 of 100 cases, recall falls by more than
2 points, or precision rises by less than 20.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from ecm.config import load_profile
from ecm.contracts.search import SearchRequest
from ecm.opening import open_engine
from ecm.search.engine import SearchEngine

ROOT = Path(os.environ.get("ECM_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data"
DEPTH = 50
SEED = 20261125
TYPED = ("qwxz blorf", "asdfghjkl", "lorem ipsum dolor", "xxxxxxxx", "fnord wibble", "zzzz qqq")
ABSENT = (
    "quantum chromodynamics", "income tax return form", "parliamentary democracy", "kubernetes",
    "philosophy of kant", "blockchain", "grammar of latin verbs", "monetary policy",
    "theorem of pythagoras", "existential dread", "inflation rate", "syntax error",
    "mitochondrial dna", "the french revolution", "x-ray crystallography", "plate tectonics",
)  # fmt: skip
NONSENSE, LOST, GAINED = 0.90, 2.0, 20.0


def nonsense(count: int) -> list[str]:
    """Strings of one to four random words, after some that people type."""
    dice = random.Random(SEED)
    letters = "bcdfghjklmnpqrstvwxz" * 2 + "aeiou"

    def word() -> str:
        return "".join(dice.choice(letters) for _ in range(dice.randint(3, 9)))

    made = [" ".join(word() for _ in range(dice.randint(1, 4))) for _ in range(count - len(TYPED))]
    return [*TYPED, *made]


def ask(engine: SearchEngine, tenant: str, text: str, cut: str | None) -> list[str]:
    request = SearchRequest(
        tenant_id=tenant, text=text, limit=DEPTH, min_relevance=cut, explain=False
    )
    return [hit.asset_id for hit in engine.search(request).hits]


def silent(engine: SearchEngine, tenant: str, texts: Sequence[str]) -> float:
    """Share of texts that return nothing."""
    return fmean(not ask(engine, tenant, text, "auto") for text in texts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", required=True)
    parser.add_argument("--tenant", default=None)
    parser.add_argument("--profile", default="L1")
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    overrides = ["search.time_ceiling_ms=60000", "search.rerank_ceiling_ms=60000"]
    profile = load_profile(
        options.profile, home=options.home, overrides=overrides, environ=os.environ
    )
    tenant = options.tenant or profile.tenant
    photos = [json.loads(line) for line in (options.root / "photos.jsonl").open()]
    asset_of = {photo["path"]: photo["sha256"] for photo in photos}
    rows = [json.loads(line) for line in (options.root / "queries.jsonl").open()]
    figures: dict[str, list[tuple[float, float, float, float, float]]] = defaultdict(list)
    with open_engine(profile) as engine:
        quiet = silent(engine, tenant, nonsense(100))
        absent = silent(engine, tenant, ABSENT)
        for row in rows[:: options.every]:
            relevant = {asset_of[path] for path in row["relevant"]}
            whole, cut = (ask(engine, tenant, row["text"], how) for how in (None, "auto"))
            right, kept = len(relevant & set(whole)), len(relevant & set(cut))
            figures[row["kind"]].append(
                (
                    right / len(relevant),
                    kept / len(relevant),
                    right / max(len(whole), 1),
                    kept / max(len(cut), 1),
                    len(cut),
                )
            )
    print(f"nothing is returned for nonsense: {quiet:.0%} of 100; for absent things: {absent:.0%}")
    print(f"{'kind':<15}{'queries':>8}{'R@50':>8}{'cut':>8}{'precision':>11}{'cut':>8}{'hits':>7}")
    every = [figure for kind in figures.values() for figure in kind]
    for kind, found in {**figures, "all": every}.items():
        means = [fmean(column) for column in zip(*found, strict=True)]
        cells = "{:>8.3f}{:>8.3f}{:>11.3f}{:>8.3f}{:>7.1f}".format(*means)
        print(f"{kind:<15}{len(found):>8}{cells}")
    lost, gained = 100 * (means[0] - means[1]), 100 * (means[3] - means[2])
    print(f"Recall@50 lost: {lost:.2f} points; precision gained: {gained:.1f} points")
    return 0 if quiet >= NONSENSE and lost <= LOST and gained >= GAINED else 1


if __name__ == "__main__":
    sys.exit(main())
