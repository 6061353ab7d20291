"""Queries to look at: the largest losses and gains against the baseline, each with its pictures.

Without a baseline: those the engine answers worst. Of each: what was first, what is relevant, which
relevant assets were missed and at which rank they stand, and what the engine says of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ecm.contracts.evaluation import RELEVANT, EvaluationQuery
from ecm.contracts.measured import EngineAnswer, Measure
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
_RELEVANT: Final = "relevance"


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
        relevance = self._material.judgements.answers_to(query)
        relevant = sum(value >= RELEVANT for value in relevance.values())
        score = f"nDCG@10 {number(one.value)}"
        if one.earlier is not None:
            score += f", was {number(one.earlier)} ({points(one.change)})"
        about = [query.query_type.value, query.kind.value.replace("_", " "), query.difficulty.value]
        asks = [
            f"#### {place}. {_title(query)}",
            f"{score}. {code(query.query_id)}: {', '.join(about)}; "
            f"{counted(relevant, 'relevant asset')} known.",
        ]
        if query.shown_asset_id is not None:
            asks.append(f"Like this: {self._thumbs.link(query.shown_asset_id, 'the shown asset')}")
        return "\n\n".join([*asks, self._top(query, relevance), self._told(query, relevance)])

    def _sides(self) -> list[tuple[str, Contender]]:
        now = [(self._candidate.name, self._candidate)]
        return now if self._baseline is None else [*now, (self._baseline.name, self._baseline)]

    def _top(self, query: EvaluationQuery, relevance: Mapping[str, int]) -> str:
        """What stands first on either side, as pictures with what is known of each below."""
        rows = []
        complete = self._material.judgements.is_complete(query.query_id)
        for name, side in self._sides():
            first = ranking(side, query)[:SHOWN]
            said = [_judged(asset_id, relevance, complete) for asset_id in first]
            pictures = [
                self._thumbs.link(asset_id, f"rank {rank}, {what}")
                for rank, (asset_id, what) in enumerate(zip(first, said, strict=True), start=1)
            ]
            more = [""] * (SHOWN - len(first))
            marked = [f"**{what}**" if what.startswith(_RELEVANT) else what for what in said]
            rows += [[code(name), *pictures, *more], ["", *marked, *more]]
        return table(["", *(str(rank) for rank in range(1, SHOWN + 1))], rows, left=SHOWN + 1)

    def _told(self, query: EvaluationQuery, relevance: Mapping[str, int]) -> str:
        """Why: what is missed and where it stands, and what the engine says of its first result."""
        lines = []
        for name, side in self._sides():
            lines += _trouble(name, side.answers.get(query.query_id))
        first = next(iter(ranking(self._candidate, query)), None)
        why = "" if first is None else self._why(query, first)
        if why:
            lines.append(f"- What {code(self._candidate.name)} says of its first: {why}")
        missed = _missed(ranking(self._candidate, query), relevance)
        if not missed:
            return "\n".join(lines)
        more = f", {_MISSED} of {len(missed)}" if len(missed) > _MISSED else ""
        told = f"Relevant, and not among the first ten of {code(self._candidate.name)}{more}:"
        return "\n".join([*lines, "", told, "", self._places(query, missed[:_MISSED], relevance)])

    def _places(
        self, query: EvaluationQuery, missed: Sequence[str], relevance: Mapping[str, int]
    ) -> str:
        """At which rank every engine has what was missed."""
        sides = (self._candidate, *(o for o in self._material.shown if o is not self._candidate))
        rows = []
        for asset_id in missed:
            picture = self._thumbs.link(asset_id, "missed asset")
            places = [_place(side, query, asset_id) for side in sides]
            rows.append([picture, str(relevance[asset_id]), *places, self._why(query, asset_id)])
        columns = ["asset", "relevance", *(f"rank in {code(one.name)}" for one in sides)]
        return table([*columns, "what is said of it"], rows, left=len(columns) + 1).rstrip("\n")

    def _why(self, query: EvaluationQuery, asset_id: str) -> str:
        """What an engine says of an asset, the candidate first; empty: none says anything."""
        others = (one for one in self._material.shown if one is not self._candidate)
        for side in (self._candidate, *others):
            answer = side.answers.get(query.query_id)
            for ranked in () if answer is None else answer.ranked:
                if ranked.asset_id == asset_id and ranked.why:
                    by = "" if side is self._candidate else f"{code(side.name)}: "
                    return by + words(ranked.why)
        return ""


def ranking(side: Contender, query: EvaluationQuery) -> tuple[str, ...]:
    """Ids of what an engine found, in order, as it is measured: without the asset that is shown."""
    answer = side.answers.get(query.query_id)
    ranked = () if answer is None else answer.ranked
    return tuple(one.asset_id for one in ranked if one.asset_id != query.shown_asset_id)


def _title(query: EvaluationQuery) -> str:
    if query.query_text is None:
        return "(a shown asset)"
    said = words(query.query_text, MAX_QUERY)
    return f"“{said}”" + (" and a shown asset" if query.shown_asset_id else "")


def _judged(asset_id: str, relevance: Mapping[str, int], complete: bool) -> str:
    value = relevance.get(asset_id, 0 if complete else None)
    if value is None:
        return "not judged"
    return f"{_RELEVANT} {value}" if value >= RELEVANT else "not relevant"


def _missed(found: Sequence[str], relevance: Mapping[str, int]) -> list[str]:
    """Relevant assets beyond the first ten, the most relevant and nearest first."""
    ranks = {asset_id: rank for rank, asset_id in enumerate(found, start=1)}
    beyond = [
        asset_id
        for asset_id, value in relevance.items()
        if value >= RELEVANT and ranks.get(asset_id, TOP + 1) > TOP
    ]
    last = len(ranks) + TOP + 1
    return sorted(beyond, key=lambda name: (-relevance[name], ranks.get(name, last), name))


def _place(side: Contender, query: EvaluationQuery, asset_id: str) -> str:
    found = ranking(side, query)
    if asset_id in found:
        return str(found.index(asset_id) + 1)
    return f"not in {len(found)}" if found else "nothing found"


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
