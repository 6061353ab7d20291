"""How many sessions does interleaving save, and is nothing said where there is nothing to say?

    python benchmarks/interleaving.py [--worlds N] [--most SESSIONS] [--null N]

Simulated users (position-based and cascade) play experiments through the real assignment, drafts,
sessions and verdicts, which are looked at whenever there are a quarter more of them. Treatment is
somewhat better. The sessions until `better` is said first are counted once with answers of both in
turns and once with a split of half and half, at the same alpha; a split that says nothing by
SESSIONS counts as that many, which favours it. Then each world is played where nobody is better
(every question is there a second time with its rankings changed): how often is something said?
Prints the ratio of medians and the false alarms. Exit code 1 when interleaving needs more than a
tenth of the sessions of the split, when it says `worse` even once, or when more than 5 of 100 runs
without a difference say that there is one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ecm.contracts.experiment import (
    Definition,
    ExperimentTerms,
    OnlineMetric,
    OnlineVerdict,
    RankingOnRecord,
)
from ecm.contracts.feedback import StoredEvent
from ecm.evaluation.online.click_models import Cascade, ClickModel, PositionBased
from ecm.evaluation.online.experiment import stage_reports
from ecm.evaluation.online.played import World, played
from ecm.evidence.experiments import Experiment, ExperimentEvent, ExperimentState

START, LATER = 1_790_000_000.0, 1_890_000_000.0
FIRST, MORE = 100, 1.25
BETTER_NOISE, NOISE = 0.6, 0.9
GOAL, ALARMS = 10.0, 0.05
SAID = (OnlineVerdict.BETTER, OnlineVerdict.WORSE)
DEFINITION = Definition(
    id="benchmark",
    treatment="better",
    interleaved_pct=100,
    stages=(50,),
    metrics=(OnlineMetric.SUCCESS,),
)
METHODS = {0: "in turns", 1: "split"}
MODELS: dict[str, ClickModel] = {"position-based": PositionBased(), "cascade": Cascade()}


def at_stage(stage: int) -> Experiment:
    """The experiment at a stage: 0 interleaves, 1 splits."""
    sides = [RankingOnRecord(version=name, digest=name * 64, body="{}") for name in "ab"]
    terms = ExperimentTerms(definition=DEFINITION, control=sides[0], treatment=sides[1])
    events = [
        ExperimentEvent(
            number=number,
            state=ExperimentState.RUNNING,
            stage=number,
            at=START,
            by="benchmark",
            terms=None if number else terms,
        )
        for number in range(stage + 1)
    ]
    return Experiment("e-0001", terms, tuple(events))


def looks(most: int) -> Iterator[int]:
    """Numbers of sessions at which verdicts are looked at."""
    at = float(FIRST)
    while at < most:
        yield int(at)
        at *= MORE
    yield most


def until_said(
    world: World, model: ClickModel, stage: int, most: int, seed: int
) -> tuple[int, OnlineVerdict]:
    """Sessions until something is said, and what; `most` where nothing is by then."""
    rng = np.random.default_rng(seed)
    events: list[StoredEvent] = []
    before = 0
    for sessions in looks(most):
        coming = played(
            DEFINITION, stage, world, model, range(before, sessions), rng, START + before * 10.0
        )
        events += coming
        before = sessions
        verdict = stage_reports(at_stage(stage), events, (), LATER)[stage].verdict
        if verdict in SAID:
            return sessions, verdict
    return most, OnlineVerdict.GO_ON


def symmetric(world: World) -> World:
    """Each question twice, the second time with its rankings changed: nobody is better."""
    turned = [replace(q, control=q.treatment, treatment=q.control) for q in world.questions]
    return World((*world.questions, *turned))


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    missed = False
    for name, model in MODELS.items():
        needed: dict[int, list[int]] = {0: [], 1: []}
        for seed in range(options.worlds):
            world = World.made(np.random.default_rng(seed), NOISE, BETTER_NOISE)
            for stage, counts in needed.items():
                sessions, verdict = until_said(world, model, stage, options.most, seed)
                counts.append(sessions)
                missed |= verdict is OnlineVerdict.WORSE
                print(f"{name}, world {seed}, {METHODS[stage]}: {verdict.value} after {sessions}")
        medians = {stage: statistics.median(counts) for stage, counts in needed.items()}
        ratio = medians[1] / medians[0]
        missed |= ratio < GOAL
        print(
            f"{name}: a split needs {medians[1]:.0f} sessions, answers in turns {medians[0]:.0f}: "
            f"{ratio:.1f} times as many (goal {GOAL:.0f})"
        )
    missed |= _alarms(options.null) > ALARMS
    return int(missed)


def _alarms(runs: int) -> float:
    """The share of runs that say something though nobody is better; half of them are splits."""
    said = 0
    models = list(MODELS.values())
    for seed in range(runs):
        world = symmetric(World.made(np.random.default_rng(seed), NOISE, BETTER_NOISE, 50))
        _, verdict = until_said(world, models[seed // 2 % 2], seed % 2, 800, 1000 + seed)
        said += verdict in SAID
    share = said / runs if runs else 0.0
    print(f"nobody better: {said} of {runs} runs say that somebody is (goal {ALARMS:.0%} at most)")
    return share


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--worlds", type=int, default=5, help="of each click model")
    parser.add_argument("--most", type=int, default=40_000, help="sessions that are played")
    parser.add_argument("--null", type=int, default=200, help="runs without a difference")
    return parser


if __name__ == "__main__":
    sys.exit(main())
