"""What two labelers and a third person make of a batch, held against what is true.

    python benchmarks/labelling.py [--pairs 100] [--batches 400] [--seed 1]

Simulated labelers err in a share of pairs, mostly by one step (0 for 1), independently. Printed for
several shares: kappa of a batch (mean, and the true one of such labelers), how many of its 95 %
intervals hold the true one, how many batches reach the target of 0.6, and which share of labels is
right: of one labeler alone, of what both say alike, and of what a third person of the same kind has
settled. The exit code is 1 when intervals hold the true kappa in less than 90 % or more than 98 %
of batches, or when labels that two agree on or a third settles are worse than those of one.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter

import numpy as np
import numpy.typing as npt

from ecm.contracts.labelling import Part, Vote
from ecm.evaluation.agreement import TARGET_KAPPA
from ecm.evaluation.labels.consensus import Enough, consensus
from ecm.evaluation.labels.standing import State, standings

SHARES = np.array([0.5, 0.3, 0.2])
"""Of relevances 0, 1, 2 in a batch."""
ERRORS = (0.05, 0.1, 0.2, 0.3)
LEAST_COVERED, MOST_COVERED = 0.9, 0.98


def confusion(error: float) -> npt.NDArray[np.float64]:
    """(true, said): chance of each vote; an error goes one step off where there is one to go."""
    return np.array(
        [
            [1 - error, error * 0.8, error * 0.2],
            [error * 0.5, 1 - error, error * 0.5],
            [error * 0.2, error * 0.8, 1 - error],
        ]
    )


def true_kappa(error: float) -> float:
    """Kappa of two such labelers over endless pairs."""
    table = confusion(error)
    joint = np.einsum("t,ti,tj->ij", SHARES, table, table)
    chance = float(joint.sum(axis=1) @ joint.sum(axis=0))
    return (float(np.trace(joint)) - chance) / (1 - chance)


def batch_of(error: float, pairs: int, rng: np.random.Generator) -> tuple[list[int], list[Vote]]:
    """The truth of a batch, and votes on it: a third person settles what two differ over."""
    table = confusion(error)
    truth = rng.choice(3, pairs, p=SHARES)
    said = {who: [int(rng.choice(3, p=table[t])) for t in truth] for who in ("ann", "bob", "carl")}
    votes = []
    for n in range(pairs):
        votes += [_vote(n, who, said[who][n], Part.JUDGE) for who in ("ann", "bob")]
        if said["ann"][n] != said["bob"][n]:
            votes.append(_vote(n, "carl", said["carl"][n], Part.SETTLE))
    return truth.tolist(), votes


def _vote(number: int, labeler: str, relevance: int, part: Part) -> Vote:
    said = {"query_id": "q", "asset_id": f"{number:064x}", "relevance": relevance, "at": 1.79e9}
    return Vote.model_validate({"tenant_id": "t", "labeler": labeler, "part": part, **said})


def measured(error: float, pairs: int, batches: int, seed: int) -> dict[str, float]:
    """The figures of labelers who err in a share of pairs."""
    rng = np.random.default_rng(seed)
    real = true_kappa(error)
    kappas, covered, met = [], 0, 0
    right: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for _ in range(batches):
        truth, votes = batch_of(error, pairs, rng)
        standing = standings(votes)
        found = consensus(standing, {})
        if found.kappa is None or found.lower is None or found.upper is None:
            continue
        kappas.append(found.kappa)
        covered += found.lower <= real <= found.upper
        met += found.enough is Enough.MET
        for (_, asset_id), now in standing.items():
            true = truth[int(asset_id, 16)]
            label = now.label()
            count["one"] += 1
            right["one"] += now.judged[0].relevance == true
            if label is not None:
                name = "agreed" if now.state is State.AGREED else "settled"
                for each in (name, "published"):
                    count[each] += 1
                    right[each] += label.relevance == true
    return {
        "true kappa": real,
        "kappa": float(np.mean(kappas)),
        "intervals that hold it": covered / len(kappas),
        f"reach {TARGET_KAPPA}": met / len(kappas),
        **{f"right of {each}": right[each] / count[each] for each in sorted(count)},
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--batches", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    missed = []
    for error in ERRORS:
        found = measured(error, options.pairs, options.batches, options.seed)
        said = "  ".join(f"{name} {value:.3f}" for name, value in found.items())
        print(f"errors {error:.0%}  {said}", flush=True)
        if not LEAST_COVERED <= found["intervals that hold it"] <= MOST_COVERED:
            missed.append(f"errors {error:.0%}: {found['intervals that hold it']:.3f} covered")
        if found["right of published"] < found["right of one"]:
            missed.append(f"errors {error:.0%}: labels that are published are worse than one's")
    for one in missed:
        print(f"missed: {one}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
