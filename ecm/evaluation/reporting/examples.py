"""Queries to look at: the largest losses and gains against the baseline, each with its pictures.

Without a baseline: those the engine answers worst. Of each: what was first, what is relevant, which
relevant assets were missed and at which rank they stand, and what the engine says of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ecm.contracts.evaluation import RELEVANT, EvaluationQuery
from ecm.contracts.measured import EngineAnswer, Measure, RankedAsset
from ecm.evaluation.reporting.material import Contender, Material
from ecm.evaluation.reporting.text import (
    MAX_QUERY,
    code,
    counted,
    number,
    plain,
    points,
    table,
    words,
)
from ecm.evaluation.reporting.thumbs import Thumbs

SHOWN: Final = 5
"""Queries of each side, and results of each query."""
TOP: Final = 10
_MISSED: Final = 3
_LEAST: Final = 1e-9


@dataclass(frozen=True)
class Example:
    """A query to look at: what the candidate has, and what it had (None: no baseline)."""

    query: EvaluationQuery
    value: float
    earlier: float | None

    @property
    def change(self) -> float:
        return 0.0 if self.earlier is None else self.value - self.earlier


def examples_section(material: Material, thumbs: Thumbs) -> str:
    """The worst and the best queries."""
    candidate, baseline = material.candidate, material.baseline
    if candidate is None:
        return ""
    found = _examples(material, candidate, baseline)
    if not found:
        return "## Queries to look at\n\nNone: no query has a relevant asset that is known.\n"
    draw = _Drawing(material, thumbs, candidate, baseline)
    if baseline is None:
        lowest = sorted(found, key=lambda one: (one.value, one.query.query_id))[:SHOWN]
        parts = [
            "## Queries to look at",
            f"There is no baseline: these are the queries with the lowest nDCG@10 of "
            f"{code(candidate.name)}.",
            *(draw.example(place, one) for place, one in enumerate(lowest, start=1)),
        ]
        return "\n\n".join(parts) + "\n"
    losses = sorted(
        (one for one in found if one.change < -_LEAST), key=lambda o: (o.change, o.query.query_id)
    )
    gains = sorted(
        (one for one in found if one.change > _LEAST), key=lambda o: (-o.change, o.query.query_id)
    )
    same = len(found) - len(losses) - len(gains)
    parts = [
        "## Queries to look at",
        f"nDCG@10 of {code(candidate.name)} is lower than that of {code(baseline.name)} for "
        f"{counted(len(losses), 'query', 'queries')}, higher for {len(gains):,}, and the same for "
        f"{same:,}.",
    ]
    for title, chosen in (("Largest losses", losses), ("Largest gains", gains)):
        parts.append(f"### {title}" + ("" if chosen else ": none"))
        parts += [draw.example(place, one) for place, one in enumerate(chosen[:SHOWN], start=1)]
    return "\n\n".join(parts) + "\n"


def _examples(
    material: Material, candidate: Contender, baseline: Contender | None
) -> list[Example]:
    found = []
    for query_id in material.asked:
        value = candidate.values.get(query_id, {}).get(Measure.NDCG_10)
        earlier = None
        if baseline is not None:
            earlier = baseline.values.get(query_id, {}).get(Measure.NDCG_10)
        if value is not None and (baseline is None or earlier is not None):
            found.append(Example(material.queries[query_id], value, earlier))
    return found


class _Drawing:
    """Writes down one query after the other."""

    def __init__(
        self,
        material: Material,
        thumbs: Thumbs,
        candidate: Contender,
        baseline: Contender | None,
    ) -> None:
        self._material, self._thumbs = material, thumbs
        self._candidate, self._baseline = candidate, baseline

    def example(self, place: int, one: Example) -> str:
        query = one.query
        relevance = self._material.judgements.relevance(query.query_id)
        relevant = sum(value >= RELEVANT for value in relevance.values())
        score = f"nDCG@10 {number(one.value)}"
        if one.earlier is not None:
            score += f", was {number(one.earlier)} ({points(one.change)})"
        about = [query.query_type.value, query.kind.value.replace("_", " "), query.difficulty.value]
        asks = [
            f"**{place}. {_title(query)}** {score}",
            f"{code(query.query_id)}: {', '.join(about)}; "
            f"{counted(relevant, 'relevant asset')} known.",
        ]
        if query.shown_asset_id is not None:
            asks.append(f"Like this: {self._thumbs.link(query.shown_asset_id, 'the shown asset')}")
        return "\n\n".join([*asks, self._top(query, relevance), self._told(query, relevance)])

    def _sides(self) -> list[tuple[str, Contender]]:
        now = [(self._candidate.name, self._candidate)]
        return now if self._baseline is None else [*now, (self._baseline.name, self._baseline)]

    def _top(self, query: EvaluationQuery, relevance: Mapping[str, int]) -> str:
        """What stands first on either side, as pictures."""
        rows = []
        complete = self._material.judgements.is_complete(query.query_id)
        for name, side in self._sides():
            answer = side.answers.get(query.query_id)
            ranked = () if answer is None else answer.ranked[:SHOWN]
            cells = []
            for one in ranked:
                said = _judged(one.asset_id, relevance, complete)
                cells.append(
                    f"{self._thumbs.link(one.asset_id, f'rank {one.rank}, {said}')} {said}"
                )
            cells += [""] * (SHOWN - len(cells))
            rows.append([code(name), *cells])
        return table(["", *(str(rank) for rank in range(1, SHOWN + 1))], rows, left=SHOWN + 1)

    def _told(self, query: EvaluationQuery, relevance: Mapping[str, int]) -> str:
        """Why: what is missed and where it stands, and what the engine says of its first result."""
        lines = []
        for name, side in self._sides():
            lines += _trouble(name, side.answers.get(query.query_id))
        answer = self._candidate.answers.get(query.query_id)
        for asset_id in _missed(answer, relevance)[:_MISSED]:
            lines.append(self._missed(query, asset_id, relevance[asset_id]))
        if answer is not None and answer.ranked and answer.ranked[0].why:
            first = answer.ranked[0]
            lines.append(f"- First is {code(first.asset_id[:12])}: {words(first.why)}")
        return "\n".join(lines)

    def _missed(self, query: EvaluationQuery, asset_id: str, relevance: int) -> str:
        picture = self._thumbs.link(asset_id, "missed asset")
        others = [one for one in self._material.shown if one is not self._candidate]
        places = [f"{code(self._candidate.name)}: {_place(self._candidate, query, asset_id)}"]
        places += [f"{code(one.name)}: {_place(one, query, asset_id)}" for one in others]
        line = (
            f"- Missed among the first ten: {picture} {code(asset_id[:12])}, relevance "
            f"{relevance}. It stands at {'; '.join(places)}."
        )
        whys = (
            ranked.why
            for side in (self._candidate, *others)
            for ranked in _ranked(side, query.query_id)
            if ranked.asset_id == asset_id and ranked.why
        )
        why = next(whys, "")
        return f"{line} Of it is said: {words(why)}" if why else line


def _title(query: EvaluationQuery) -> str:
    if query.query_text is None:
        return "(a shown asset)"
    said = words(query.query_text, MAX_QUERY)
    return f"“{said}”" + (" and a shown asset" if query.shown_asset_id else "")


def _judged(asset_id: str, relevance: Mapping[str, int], complete: bool) -> str:
    value = relevance.get(asset_id, 0 if complete else None)
    if value is None:
        return "not judged"
    return f"relevance {value}" if value >= RELEVANT else "not relevant"


def _ranked(side: Contender, query_id: str) -> Sequence[RankedAsset]:
    answer = side.answers.get(query_id)
    return () if answer is None else answer.ranked


def _missed(answer: EngineAnswer | None, relevance: Mapping[str, int]) -> list[str]:
    """Relevant assets beyond the first ten, the most relevant and nearest first."""
    ranks = {} if answer is None else {one.asset_id: one.rank for one in answer.ranked}
    beyond = [
        asset_id
        for asset_id, value in relevance.items()
        if value >= RELEVANT and ranks.get(asset_id, TOP + 1) > TOP
    ]
    last = len(ranks) + TOP + 1
    return sorted(beyond, key=lambda name: (-relevance[name], ranks.get(name, last), name))


def _place(side: Contender, query: EvaluationQuery, asset_id: str) -> str:
    ranked = _ranked(side, query.query_id)
    rank = next((one.rank for one in ranked if one.asset_id == asset_id), None)
    if rank is not None:
        return f"rank {rank}"
    return f"not among the {len(ranked)} returned" if ranked else "nothing returned"


def _trouble(name: str, answer: EngineAnswer | None) -> list[str]:
    if answer is None:
        return [f"- {code(name)} was not asked."]
    lines = []
    if answer.error is not None:
        why = words(answer.reason) or "no reason given"
        lines.append(f"- {code(name)} did not answer ({answer.error.value}): {why}")
    elif not answer.ranked:
        lines.append(f"- {code(name)} found nothing.")
    if answer.degraded:
        lost = ", ".join(plain(one, 64) for one in answer.degraded[:_MISSED])
        lines.append(f"- {code(name)} answered without {words(lost)}.")
    return lines
