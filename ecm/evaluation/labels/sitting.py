"""One labeler at the work on one label set: what waits, how far it is, and saying what one sees.

The rules that a page and a terminal share. Knows label work and queries; knows no picture, no HTTP
and no clock. Nothing it tells says which engine found a pair, where, or what others think of it;
only who settles a difference sees the votes that differ.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from ecm.contracts.evaluation import EvaluationQuery, Labeler, Relevance
from ecm.contracts.labelling import Part, Vote
from ecm.errors import ConfigError, ContractError
from ecm.evaluation.labels.batches import to_judge, to_settle
from ecm.evaluation.labels.publishing import queries_by_digest
from ecm.evaluation.labels.standing import Pair, Standing, standings
from ecm.evaluation.labels.work import Drawn, LabelWork
from ecm.evaluation.shelf import Shelf


@dataclass(frozen=True)
class Waiting:
    """A query and an asset for the labeler. `said` is what they said of it before, if anything;
    `votes` are those that differ, where it is to be settled.
    """

    query: EvaluationQuery
    asset_id: str
    part: Part
    said: Vote | None = None
    votes: tuple[Vote, ...] = ()


@dataclass(frozen=True)
class Progress:
    """Pairs of the labeler: judged and still to judge, settled and still to settle."""

    judged: int
    to_judge: int
    settled: int
    to_settle: int


@dataclass(frozen=True)
class Look:
    """The work at one look: how far it is, the next pairs, and those before, the last one first."""

    progress: Progress
    waiting: tuple[Waiting, ...]
    earlier: tuple[Waiting, ...]


@dataclass(frozen=True)
class _Now:
    """The state of the work at one look. `mine` are the labeler's votes that count, in order."""

    batches: tuple[Drawn, ...]
    drawn: frozenset[Pair]
    standing: Mapping[Pair, Standing]
    queries: Mapping[str, EvaluationQuery]
    mine: Mapping[tuple[Pair, Part], Vote]


class Sitting:
    """What one labeler does. Thread-safe; others may work on the same set at the same time.

    Raises StoreUnavailable, StoreCorrupt; ConfigError where a batch's queries are not there.
    """

    def __init__(self, shelf: Shelf, work: LabelWork, labeler: Labeler) -> None:
        self.labeler = labeler
        self.name = work.name
        self._shelf = shelf
        self._work = work
        self._queries: dict[str, Mapping[str, EvaluationQuery]] = {}
        self._kept: tuple[tuple[int, int], _Now] | None = None
        self._assets: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    def look(self, part: Part, limit: int) -> Look:
        """Progress, and at most `limit` pairs that wait and that were before."""
        now = self._now()
        if part is Part.SETTLE:
            waiting = list(to_settle(now.batches, now.standing, self.labeler))
            to_do = sum(1 for _ in to_judge(now.batches, now.standing, self.labeler))
            progress = self._progress(now, to_do, len(waiting))
        else:
            waiting = [one.pair for one in to_judge(now.batches, now.standing, self.labeler)]
            to_end = len(to_settle(now.batches, now.standing, self.labeler))
            progress = self._progress(now, len(waiting), to_end)
        before = [pair for pair, of in now.mine if of is part and pair in now.drawn]
        return Look(
            progress=progress,
            waiting=tuple(self._pair(now, pair, part) for pair in waiting[:limit]),
            earlier=tuple(self._pair(now, pair, part) for pair in before[: -limit - 1 : -1]),
        )

    def may_see(self, asset_id: str) -> bool:
        """Whether an asset is of the work: of a pair, or shown by a query of one."""
        if asset_id not in self._assets:
            now = self._now()
            shown = {now.queries[query_id].shown_asset_id for query_id, _ in now.drawn}
            self._assets = frozenset({one for _, one in now.drawn} | {one for one in shown if one})
        return asset_id in self._assets

    def say(
        self,
        pair: Pair,
        relevance: Relevance | None,
        part: Part,
        at: float,
        seconds: float | None = None,
    ) -> Vote:
        """Give a vote, durable when this returns. `at` is in Unix seconds.

        Raises ContractError for a pair of no batch, and for settling what one has judged oneself or
        what is not in dispute.
        """
        now = self._now()
        if pair not in now.drawn:
            raise ContractError(f"no batch of {self.name} has this pair", "labels.vote")
        standing = now.standing.get(pair)
        if part is Part.SETTLE:
            if standing is None or not standing.differs:
                raise ContractError("nobody differs over this pair", "labels.vote")
            if self.labeler in standing.judges():
                said = "who has judged a pair does not settle it"
                raise ContractError(said, "labels.vote", "a third person does")
        vote = Vote(
            tenant_id=self._work.tenant_id,
            query_id=pair[0],
            asset_id=pair[1],
            relevance=relevance,
            labeler=self.labeler,
            part=part,
            at=at,
            seconds=seconds,
        )
        self._work.add_votes([vote])
        return vote

    def _now(self) -> _Now:
        """The work as it is; what is made of it is kept until there is another vote or batch."""
        with self._lock:
            batches, votes = self._work.batches(), self._work.votes()
            mark = (len(batches), len(votes))
            if self._kept is None or self._kept[0] != mark:
                queries: dict[str, EvaluationQuery] = {}
                for batch in batches:
                    queries |= self._of(batch)
                mine: dict[tuple[Pair, Part], Vote] = {}
                for vote in votes:
                    if vote.labeler == self.labeler:
                        mine.pop((vote.pair, vote.part), None)
                        mine[vote.pair, vote.part] = vote
                drawn = frozenset(one.pair for batch in batches for one in batch.pairs)
                self._kept = mark, _Now(batches, drawn, standings(votes), queries, mine)
            return self._kept[1]

    def _progress(self, now: _Now, to_do: int, to_end: int) -> Progress:
        parts = [part for pair, part in now.mine if pair in now.drawn]
        return Progress(
            judged=parts.count(Part.JUDGE),
            to_judge=to_do,
            settled=parts.count(Part.SETTLE),
            to_settle=to_end,
        )

    def _of(self, batch: Drawn) -> Mapping[str, EvaluationQuery]:
        head = batch.head
        if head.query_set_digest not in self._queries:
            found = queries_by_digest(self._shelf, head.query_set, head.query_set_digest)
            by_id = {query.query_id: query for query in found.queries}
            self._queries[head.query_set_digest] = by_id
        known = self._queries[head.query_set_digest]
        missing = {one.query_id for one in batch.pairs} - known.keys()
        if missing:
            raise ConfigError(
                f"batch {head.number} of {head.name} asks {min(missing)}, "
                f"which query set {head.query_set} does not have",
                "labels.queries",
            )
        return known

    def _pair(self, now: _Now, pair: Pair, part: Part) -> Waiting:
        standing = now.standing.get(pair)
        return Waiting(
            query=now.queries[pair[0]],
            asset_id=pair[1],
            part=part,
            said=now.mine.get((pair, part)),
            votes=standing.judged if standing is not None and part is Part.SETTLE else (),
        )
