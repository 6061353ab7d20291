"""What learned weights are worth on queries they were not learned from, and whether they replay.

    python benchmarks/learned_weights.py --home HOME [--profile L1] [--queries NAME] [--labels NAME]
                                         [--root DIR] [--seed N] [--folds N] [--least PERCENT]

With --queries and --labels, sets of HOME: learns from the split `learn` as `ecm evaluate learn
--per-query` does, ranks the held-out queries with the engine, then learns again from the same and
compares bytes and digests. Exit code 1 when they differ, or when the improvement over the best
global weights is below --least percent (7).

With --root, where HOME was indexed from ROOT/photos: the queries of ROOT/queries.jsonl, by nested
cross-validation. Of every fold nothing, not the strength of learning either, is chosen with its own
queries; queries about one photo are in one fold, and so are a class and its synonyms. nDCG@10 is
of the candidates that were gathered, which are ranked by weights alone: no depth, no ceiling. Exit
code 1 when the weights in force are worse than their fusion without features.

Prints nDCG@10 (linear gain) by kind and by type: single axes, their fusion, the weights in force,
and the best global, per-type and per-query weights; and the improvement over the best global ones
with its 95 % interval (paired bootstrap over queries). The same data give the same figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ecm.config import Profile, load_profile
from ecm.contracts.evaluation import (
    Difficulty,
    EvaluationQuery,
    Label,
    LabelSet,
    LabelSource,
    QueryKind,
    QuerySet,
    QuerySource,
    Split,
)
from ecm.contracts.search import QueryType
from ecm.evaluation.shelf import Labels, Queries, Shelf, digest_of
from ecm.evidence.storage import open_storage
from ecm.opening import open_engine
from ecm.search.engine import SearchEngine
from ecm.tuning.examples import AXES, ROWS, WEIGHTS, Example, Floats
from ecm.tuning.gathering import gathered
from ecm.tuning.judging import improvement
from ecm.tuning.learning import nested
from ecm.tuning.making import Outcome, Terms, made
from ecm.tuning.objective import Batch
from ecm.tuning.rows import absolute, mixed
from ecm.tuning.tables import rows_of
from ecm.tuning.training import TrainingSet
from ecm.tuning.writing import RANKING, code_version, yaml_of

KINDS = {
    "class": QueryKind.CLASS,
    "class-synonym": QueryKind.CLASS,
    "hypernym": QueryKind.CLASS,
    "caption": QueryKind.CAPTION,
    "object": QueryKind.CLASS,
}
Scores = Mapping[str, Floats]


class Told:
    """Progress on stderr, a line per step."""

    def step(self, name: str, total: int | None) -> None:
        said(f"{name}{f': {total}' if total is not None else ''}")

    def done(self) -> None:
        """Nothing: steps are enough."""


def said(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def table(title: str, strata: Sequence[str], scores: Scores) -> None:
    """Means by stratum and over all, a column per kind of weights."""
    print(f"{title:<26}", *(f"{name:>10}" for name in scores), sep="")
    for stratum in (*sorted(set(strata)), "all"):
        chosen = np.array([stratum in (one, "all") for one in strata])
        row = (f"{own[chosen].mean():>10.4f}" for own in scores.values())
        print(f"{f'{stratum} ({chosen.sum()})':<26}", *row, sep="")


def improvements(scores: Scores, seed: int) -> float:
    """Prints what each is better by; the relative one of the last over the best global."""
    relative = 0.0
    for candidate in ("in_force", "per_type", "per_query"):
        if candidate not in scores:
            continue
        told = improvement(scores["global"], scores[candidate], "global", seed)
        mean = float(scores["global"].mean())
        relative = told.relative
        print(
            f"{candidate} over best global: {told.change:+.4f} [{told.lower:+.4f}, "
            f"{told.upper:+.4f}], {100 * relative:+.1f} % [{100 * told.lower / mean:+.1f}, "
            f"{100 * told.upper / mean:+.1f}]"
        )
    return relative


def without_learning(examples: Sequence[Example], rows: Floats) -> dict[str, Floats]:
    """Single axes, and what fusion says by the weights in force without any feature."""
    batch, found = Batch(examples), {}
    for name in AXES:
        one = np.zeros((len(examples), len(WEIGHTS)))
        one[:, WEIGHTS.index(name)] = 1.0
        found[name] = batch.ndcg(one)
    bare = mixed(batch.mixture, rows)
    bare[:, len(AXES) :] = 0.0
    found["fused"] = batch.ndcg(absolute(bare, batch.answering))
    return found


def of_files(root: Path, tenant: str) -> tuple[Queries, Labels, dict[str, str]]:
    """ROOT/queries.jsonl as sets to learn from, all of it; and the kind of each query there."""
    photos = [json.loads(line) for line in (root / "photos.jsonl").open()]
    asset_of = {photo["path"]: photo["sha256"] for photo in photos}
    queries, labels, kinds = [], [], {}
    for number, row in enumerate(map(json.loads, (root / "queries.jsonl").open())):
        relevant = sorted({asset_of[path] for path in row["relevant"]})
        group = row["text"] if row["kind"] in ("hypernym", "object") else relevant[0]
        query_id = f"q{number:05d}"
        kinds[query_id] = row["kind"]
        queries.append(
            EvaluationQuery(
                query_id=query_id,
                query_text=row["text"],
                query_type=QueryType.SEMANTIC if row["kind"] == "caption" else QueryType.KEYWORD,
                kind=KINDS[row["kind"]],
                source=QuerySource.LABELS,
                created_at=0,
                difficulty=Difficulty.MEDIUM,
                split=Split.LEARN,
                group=group,
            )
        )
        labels += [
            Label(query_id=query_id, asset_id=a, relevance=2, label_source=LabelSource.ADJUDICATED)
            for a in relevant
        ]
    head = QuerySet(
        tenant_id=tenant, name="files", version=1, created_at=0, digest=digest_of(queries),
        queries=len(queries), seed=0,
    )  # fmt: skip
    told = LabelSet(
        tenant_id=tenant, name="files", label_version=1, created_at=0, digest=digest_of(labels),
        labels=len(labels), query_set="files", query_set_digest=head.digest,
    )  # fmt: skip
    return Queries(head, tuple(queries)), Labels(told, tuple(labels)), kinds


def by_files(
    engine: SearchEngine, root: Path, folder: Path, profile: Profile, seed: int, folds: int
) -> bool:
    """Prints what nested folds say of the queries of ROOT; whether features help those in force."""
    queries, labels, kinds = of_files(root, profile.tenant)
    training = TrainingSet.of(queries, labels)
    examples = list(gathered(engine, training, folder, code_version(RANKING)))
    said(f"{len(examples)} of {len(queries.queries)} queries have a relevant candidate")
    scores = without_learning(examples, rows_of(engine.ranking))
    scores |= nested(examples, engine.ranking, seed=seed, folds=folds, said=said)
    table("nDCG@10, nested folds", [kinds[one.query_id] for one in examples], scores)
    types = [ROWS[int(one.mixture.argmax())] for one in examples]
    table("by type", types, scores)
    improvements(scores, seed)
    return bool(scores["in_force"].mean() >= scores["fused"].mean())


def by_sets(
    engine: SearchEngine, queries: Queries, labels: Labels, folder: Path, terms: Terms
) -> tuple[float, bool]:
    """The relative improvement over the best global weights, and whether all of it replays."""

    def once(kept: Path) -> Outcome:
        return made(engine, queries, labels, terms, kept, Told())

    first = once(folder)
    assert first.held_out is not None, "the set holds nothing out"
    held = first.held_out
    for title, strata in (
        ("held out, by kind", [one.kind.value for one in held.queries]),
        ("by type", [one.query_type.value for one in held.queries]),
        ("by difficulty", [one.difficulty.value for one in held.queries]),
    ):
        table(title, strata, held.scores)
    relative = improvements(held.scores, terms.seed)
    print("regularisers", first.learnt.regularisers, "kind", first.kind)
    again = once(folder)
    if first.profile is None or again.profile is None:
        print("nothing was learned that shows")
        return relative, first.profile is again.profile
    same = yaml_of(first.profile) == yaml_of(again.profile)
    print("digest", first.profile.digest(), "replays" if same else "DOES NOT REPLAY")
    return relative, same


def main(arguments: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", required=True)
    parser.add_argument("--profile", default="L1")
    parser.add_argument("--queries")
    parser.add_argument("--labels")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--least", type=float, default=7.0)
    options = parser.parse_args(None if arguments is None else list(arguments))
    profile = load_profile(
        options.profile, home=options.home, overrides=["search.time_ceiling_ms=600000"],
        environ=os.environ,
    )  # fmt: skip
    good = True
    with open_engine(profile) as engine, tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if options.root is not None:
            good = by_files(engine, options.root, folder, profile, options.seed, options.folds)
        if options.queries is not None:
            shelf = Shelf(open_storage(profile.evidence), profile.tenant)
            terms = Terms("learned", "per_query", options.seed, options.folds, code_version(), "-")
            relative, same = by_sets(
                engine, shelf.queries(options.queries),
                shelf.labels(options.labels or options.queries), folder, terms,
            )  # fmt: skip
            good = good and same and 100 * relative >= options.least
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
