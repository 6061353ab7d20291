"""The arms of an experiment on a snapshot: the ranking in force, the one on trial, both in turns.

Knows when a ranking on record may answer at all, and how two rankings of one question become one
answer. Knows no record, no deployment and no HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from pydantic import ValidationError

from ecm.contracts.experiment import Arm, RankingOnRecord
from ecm.contracts.identity import digest
from ecm.contracts.search import Hit, SearchResponse
from ecm.errors import AxisUnavailable, ConfigError, QueryError
from ecm.evaluation.online.interleaving import TREATMENT, Drafted, coins_of, drafted, teams_of
from ecm.evidence.experiments import Experiment
from ecm.search.cursor import Cursor
from ecm.search.engine import SearchEngine
from ecm.search.laps import Laps
from ecm.search.ordered import Ordered
from ecm.search.plan import Plan
from ecm.search.profile import RankingProfile
from serve.experiments import Drawn

RANKING_MARK = 16
"""Hex digits of a ranking's digest in a cursor."""


def ranking_on_record(record: RankingOnRecord) -> RankingProfile:
    """The profile that a record holds. Raises ConfigError where it is not what its digest says."""
    try:
        ranking = RankingProfile.model_validate_json(record.body)
    except ValidationError as error:
        raise ConfigError(
            f"ranking {record.version} on record cannot be read here: "
            f"{error.errors(include_url=False)[0]['msg']}",
            "experiment.ranking",
        ) from error
    if ranking.digest() != record.digest:
        raise ConfigError(
            f"ranking {record.version} on record is not what its digest says", "experiment.ranking"
        )
    return ranking


@dataclass(frozen=True)
class Trial:
    """One snapshot ranked both ways, within one experiment."""

    experiment: Experiment
    control: SearchEngine
    treatment: SearchEngine

    @property
    def shares_axes(self) -> bool:
        """Whether what the axes have found for one ranking is what they would for the other."""
        return self.control.ranking.boosts() == self.treatment.ranking.boosts()

    def mark_of(self, unit: str) -> str:
        """What cursors of interleaved answers of a unit bear in place of a ranking."""
        terms = self.experiment.terms
        said = [terms.definition.id, terms.control.digest, terms.treatment.digest, unit]
        return digest(["interleaved", *said])[:RANKING_MARK]

    def arm_for(self, drawn: Drawn, cursor: Cursor | None) -> Arm:
        """The arm that answers: a later page is of the ranking of the first one."""
        if cursor is None:
            return drawn.arm
        marks = {
            self.experiment.terms.treatment.digest[:RANKING_MARK]: Arm.TREATMENT,
            self.mark_of(drawn.unit): Arm.INTERLEAVED,
        }
        return marks.get(cursor.ranking, Arm.CONTROL)


class Trials:
    """The engines of rankings on trial, beside those of the ranking in force. Thread-safe: two that
    ask at once may both make one.
    """

    def __init__(self) -> None:
        self._held: WeakKeyDictionary[SearchEngine, SearchEngine] = WeakKeyDictionary()

    def on(self, engine: SearchEngine, experiment: Experiment) -> Trial:
        """The trial on the snapshot of an engine.

        Raises ConfigError: the ranking in force is another one than control, or the one on trial
        cannot be used.
        """
        terms = experiment.terms
        if engine.telling.digest != terms.control.digest:
            raise ConfigError(
                f"the ranking in force, {engine.ranking.version}, is not the control of the "
                f"experiment, {terms.control.version}",
                "experiment.control",
            )
        held = self._held.get(engine)
        if held is None or held.telling.digest != terms.treatment.digest:
            held = engine.ranked_by(ranking_on_record(terms.treatment))
            self._held[engine] = held
        return Trial(experiment, engine, held)


@dataclass(frozen=True)
class Side:
    """One of two rankings of a question, whole."""

    engine: SearchEngine
    plan: Plan
    ordered: Ordered


def interleaved(
    trial: Trial, drawn: Drawn, sides: tuple[Side, Side], cursor: Cursor | None, laps: Laps
) -> tuple[SearchResponse, str]:
    """The page that both rankings (control, treatment) draft for a unit, and whose each hit is.

    Every hit has score, summands and reasons of its own ranking; where both have the same, those of
    control, whose is also the rest of the answer. Raises StoreCorrupt, QueryError for a cursor of
    another question or other axes.
    """
    own, other = sides
    definition = trial.experiment.definition
    axes = own.ordered.gathered.found.answering()
    if cursor is not None and cursor.query != own.plan.digest:
        raise QueryError(
            "the cursor belongs to another query", "query.cursor", "ask again without a cursor"
        )
    if cursor is not None and cursor.axes != axes:
        raise QueryError(
            "the cursor was made with other axes",
            "query.cursor_stale",
            "ask again without a cursor",
        )
    coins = coins_of(definition.salt, definition.id, own.plan.digest, drawn.unit)
    ids = [[one.asset_id for one in side.ordered.ranked] for side in sides]
    everything = drafted(ids[0], ids[1], coins)
    offset = cursor.offset if cursor is not None else 0
    page = everything[offset : offset + own.plan.request.limit]
    with laps.lap("hits"):
        hits = _hits(own, other, page, offset)
    end = offset + len(page)
    following = None
    if 0 < end < len(everything):
        following = Cursor(
            snapshot_id=own.engine.reader.ref.snapshot_id,
            query=own.plan.digest,
            ranking=trial.mark_of(drawn.unit),
            axes=axes,
            reranked=own.ordered.reranked,
            offset=end,
        ).seal()
    answer = own.engine.telling.response(own.plan, own.ordered, laps, hits, following)
    return answer.model_copy(update={"matched": len(everything)}), teams_of(page)


def check_whole(failed: str, cursor: Cursor | None) -> None:
    """A later page is not drafted from less than the first one was. Raises AxisUnavailable."""
    if cursor is not None:
        raise AxisUnavailable(
            f"the next page cannot be ranked as the first was: {failed}", "rerank"
        )


def _hits(own: Side, other: Side, page: Sequence[Drafted], offset: int) -> tuple[Hit, ...]:
    found: dict[str, Hit] = {}
    for side, theirs in ((own, False), (other, True)):
        wanted = {one.asset_id for one in page if (one.team == TREATMENT) is theirs}
        rows = [one for one in side.ordered.ranked if one.asset_id in wanted]
        for hit in side.engine.telling.hits(side.plan, side.ordered, rows, 0):
            found[hit.asset_id] = hit
    return tuple(
        found[one.asset_id].model_copy(update={"rank": rank})
        for rank, one in enumerate(page, start=offset + 1)
    )
