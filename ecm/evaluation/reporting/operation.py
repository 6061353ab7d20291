"""How engines behaved, and how much of what they found is judged.

Latency, errors, what did not take part, what it cost; coverage of the labels and what it means.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from ecm.contracts.evaluation import LabelSet
from ecm.contracts.measured import EngineProblem, Measure
from ecm.evaluation.reporting.material import Contender, Material
from ecm.evaluation.reporting.rates import quantile_interval, wilson
from ecm.evaluation.reporting.text import (
    NONE,
    code,
    counted,
    dollars,
    milliseconds,
    number,
    percent,
    ranged,
    table,
    words,
)

UNEVEN: Final = 0.05
"""Difference of unjudged@10 between engines from which their figures compare badly."""
MUCH: Final = 0.2
"""Unjudged share of the top ten from which figures are but lower bounds."""
_REASONS: Final = 3


def coverage_section(material: Material) -> str:
    """How much of the top ten is judged, and what follows for reading the figures."""
    head = material.summary.head
    asked = len(head.queries)
    complete = sum(material.judgements.is_complete(one) for one in head.queries)
    rows = []
    for one in material.shown:
        whole = one.figures.all
        share = percent(whole.values.get(Measure.UNJUDGED_10))
        rows.append([code(one.name), share, f"{whole.judged:,} of {whole.queries:,}"])
    sources = ", ".join(
        f"{count:,} {kind.value}" for kind, count in head.label_set.by_source.items()
    )
    parts = [
        "## How much is judged",
        f"Labels: {counted(head.label_set.labels, 'judgement')}"
        f"{f' ({sources})' if sources else ''}. Of {complete:,} of {asked:,} queries every asset "
        "is judged; of the others only what some engine has found.",
        *_agreement(head.label_set),
        table(["engine", "unjudged@10", "queries with a relevant asset"], rows),
        _what_coverage_means(material),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _agreement(labels: LabelSet) -> list[str]:
    """How far people who judged the same agree; empty where no two did."""
    known = {name: value for name, value in labels.agreement.items() if value is not None}
    said = ", ".join(
        f"{words(name, 64)} {number(value, 0 if value > 1 else 2)}" for name, value in known.items()
    )
    return [f"Agreement of those who judged the same: {said}."] if known else []


def uneven(material: Material) -> bool:
    """Whether engines are judged so differently that the less judged one is at a disadvantage."""
    shares = [one.figures.all.values.get(Measure.UNJUDGED_10) for one in material.shown]
    known = [share for share in shares if share is not None]
    return bool(known) and max(known) - min(known) > UNEVEN


def operation_section(material: Material) -> str:
    """Latency, errors, degradation, retries and cost by engine."""
    head = material.summary.head
    parts = [
        "## Latency, errors and cost",
        f"Milliseconds as the one who asked saw them, at a concurrency of {head.concurrency}, "
        f"{counted(head.rounds, 'round')} after {counted(head.warm_up, 'query', 'queries')} of "
        "warm-up that do not count.",
        table(
            [
                "engine",
                "p50 ms",
                "p95 ms [95 %]",
                "answers",
                "error rate [95 %]",
                "degraded",
                "asked again",
                "US$ per 1,000 queries",
            ],
            [_row(one) for one in material.shown],
        ),
    ]
    notes = [_cost(one) for one in material.shown if one.facts.cost_basis]
    notes += [line for one in material.shown for line in _problems(one)]
    notes += [
        f"- {code(name)} gave equal scores within the first ten in {percent(share)} of its "
        "answers: there its own order decides."
        for name, share in sorted(head.tied.items())
        if share
    ]
    if notes:
        parts.append("\n".join(notes))
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _what_coverage_means(material: Material) -> str:
    shares = {
        one.name: one.figures.all.values.get(Measure.UNJUDGED_10) or 0.0 for one in material.shown
    }
    if uneven(material):
        least = max(shares, key=shares.__getitem__)
        return (
            "**The engines are not judged alike.** What nobody has judged counts as not relevant, "
            f"so {code(least)}, of whose first ten {percent(shares[least])} are not judged, may be "
            "better than it looks here. Judge its results (`ecm evaluate labels`) before "
            "concluding from small differences to it."
        )
    if max(shares.values(), default=0.0) > MUCH:
        return (
            "**Much of the first ten is not judged.** Figures are lower bounds, and where engines "
            "find different assets it is unsure which are better. Have what they found judged: "
            "`ecm evaluate labels`."
        )
    return "What is not judged counts as not relevant; the shares are small enough and alike."


def _row(one: Contender) -> list[str]:
    whole = one.figures.all
    p95 = milliseconds(whole.p95_ms)
    around = quantile_interval(one.latencies, 0.95)
    if around is not None:
        p95 = ranged(p95, milliseconds(around[0]), milliseconds(around[1]))
    errors = percent(whole.error_rate, 2)
    likely = wilson(whole.error_rate, whole.queries)
    if likely is not None:
        errors = ranged(errors, percent(likely[0], 2), percent(likely[1], 2))
    again = sum(answer.attempts > 1 for answer in one.answers.values())
    return [
        code(one.name),
        milliseconds(whole.p50_ms),
        p95,
        f"{len(one.latencies):,}" if one.latencies else NONE,
        errors,
        percent(whole.degraded_rate),
        f"{again:,}" if one.answers else NONE,
        dollars(whole.cost_per_1k_usd),
    ]


def _cost(one: Contender) -> str:
    return f"- Cost of {code(one.name)}: {words(one.facts.cost_basis)}."


def _problems(one: Contender) -> list[str]:
    """Errors by kind with one reason each, and what did not take part, how often."""
    kinds: Counter[EngineProblem] = Counter()
    said: dict[EngineProblem, str] = {}
    lost: Counter[str] = Counter()
    for answer in one.answers.values():
        lost.update(answer.degraded)
        if answer.error is not None:
            kinds[answer.error] += 1
            said.setdefault(answer.error, answer.reason)
    lines = [
        f"- Errors of {code(one.name)} in the round that is judged: {count:,} {kind.value}, such "
        f"as: {words(said[kind])}"
        for kind, count in sorted(kinds.items())
    ]
    lines += [
        f"- {code(one.name)} answered {counted(count, 'query', 'queries')} of that round without "
        f"{words(name)}."
        for name, count in lost.most_common(_REASONS)
    ]
    return lines
