"""The measures of a report by name, and what each says, in one line."""

from __future__ import annotations

from typing import Final

from ecm.contracts.measured import Measure

LABELS: Final = {
    Measure.NDCG_10: "nDCG@10",
    Measure.RECALL_50: "Recall@50",
    Measure.RECALL_20: "Recall@20",
    Measure.MRR_10: "MRR@10",
    Measure.PRECISION_5: "P@5",
    Measure.ZERO_RESULTS: "zero results",
    Measure.UNJUDGED_10: "unjudged@10",
}

MEANINGS: Final = (
    (
        "nDCG@10",
        "how much of the relevance that could be among the first ten results is there, with early "
        "ranks counting more. Gain is linear (the relevance itself, 0, 1 or 2), discount "
        "log2(rank + 1); 1 is the best possible order. Figures with exponential gain are lower and "
        "not comparable.",
    ),
    ("Recall@50, Recall@20", "share of the relevant assets that are among the first 50 (20)."),
    ("MRR@10", "1 divided by the rank of the first relevant result; 0 beyond rank ten."),
    ("P@5", "share of the first five places that hold a relevant result."),
    ("zero results", "share of all queries to which nothing was found."),
    (
        "unjudged@10",
        "share of the first ten results that nobody has judged. They count as not relevant, so "
        "that what an engine finds beyond the judged assets is not to its credit.",
    ),
    (
        "kappa, AC1, PABAK",
        "agreement of people beyond chance, 1 at best. Kappa falls where nearly all get the same "
        "judgement, the others do not: read them together.",
    ),
    ("p50, p95", "half (95 %) of the answers came within this time, as the one who asked saw it."),
    ("error rate", "share of queries without an answer after all attempts; each counts as 0."),
    ("degraded", "share of answers in which a part of the engine did not take part."),
    (
        "interval",
        "where the true value lies with 95 % confidence: bootstrap over queries, 10,000 resamples, "
        "paired for changes. Tables and gates draw their own, so that last digits may differ; a "
        "gate leaves out queries that the baseline failed. p95: order statistics; rates: Wilson.",
    ),
    ("pp", "percentage points: 0.7000 to 0.6900 is −1.00 pp."),
    (
        "detectable",
        "the smallest true change for the worse that a gate finds four times in five (a power of "
        "80 %) with so many queries. Smaller damage can go unseen.",
    ),
    (
        "Wilcoxon p",
        "signed-rank test of the same pairs: how often chance alone would give as clear a shift. "
        "Beside the interval, which decides.",
    ),
    (
        "inconclusive",
        "neither is enough damage shown nor is it excluded: these queries cannot tell.",
    ),
    (
        "relevance",
        "0: does not answer; 1: answers in part; 2: answers. From 1 on an asset is relevant.",
    ),
)


def glossary() -> str:
    """The last section of a report."""
    lines = [f"- **{name}**: {meaning}" for name, meaning in MEANINGS]
    return "## Words and measures\n\n" + "\n".join(lines) + "\n"
