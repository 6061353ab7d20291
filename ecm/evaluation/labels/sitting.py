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
class _Now:
    """The state of the work at one look."""

    batches: tuple[Drawn, ...]
    standing: Mapping[Pair, Standing]
    queries: Mapping[str, EvaluationQuery]
    votes: tuple[Vote, ...]


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
        self._lock = threading.Lock()

    def waiting(self, part: Part, limit: int) -> tuple[Waiting, ...]:
        """The next pairs, at most `limit`."""
        now = self._now()
        if part is Part.SETTLE:
            pairs = list(to_settle(now.batches, now.standing, self.labeler))[:limit]
        else:
            some = to_judge(now.batches, now.standing, self.labeler)
            pairs = [one.pair for one, _ in zip(some, range(limit), strict=False)]
        return tuple(self._pair(now, pair, part) for pair in pairs)

    def earlier(self, part: Part, limit: int) -> tuple[Waiting, ...]:
        """The pairs that the labeler said something of, the last one first."""
        now = self._now()
        last: dict[Pair, Vote] = {}
        for vote in now.votes:
            if (
                vote.labeler == self.labeler
                and vote.part is part
                and self._is_drawn(now, vote.pair)
            ):
                last.pop(vote.pair, None)
                last[vote.pair] = vote
        return tuple(self._pair(now, pair, part) for pair in list(reversed(last))[:limit])

    def progress(self) -> Progress:
        """How far the labeler is."""
        now = self._now()
        drawn = {one.pair for batch in now.batches for one in batch.pairs}
        mine = {(v.pair, v.part) for v in now.votes if v.labeler == self.labeler}
        return Progress(
            judged=sum(part is Part.JUDGE and pair in drawn for pair, part in mine),
            to_judge=sum(1 for _ in to_judge(now.batches, now.standing, self.labeler)),
            settled=sum(part is Part.SETTLE and pair in drawn for pair, part in mine),
            to_settle=len(to_settle(now.batches, now.standing, self.labeler)),
        )

    def assets(self) -> frozenset[str]:
        """Every asset that the labeler may look at: of pairs, and shown by their queries."""
        now = self._now()
        drawn = [one for batch in now.batches for one in batch.pairs]
        shown = {now.queries[one.query_id].shown_asset_id for one in drawn}
        return frozenset({one.asset_id for one in drawn} | {one for one in shown if one})

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
        if not self._is_drawn(now, pair):
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
        with self._lock:
            batches = self._work.batches()
            votes = self._work.votes()
            queries: dict[str, EvaluationQuery] = {}
            for batch in batches:
                queries |= self._of(batch)
        return _Now(batches, standings(votes), queries, votes)

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

    def _is_drawn(self, now: _Now, pair: Pair) -> bool:
        return any(one.pair == pair for batch in now.batches for one in batch.pairs)

    def _pair(self, now: _Now, pair: Pair, part: Part) -> Waiting:
        standing = now.standing.get(pair)
        mine = [v for v in now.votes if (v.pair, v.labeler, v.part) == (pair, self.labeler, part)]
        return Waiting(
            query=now.queries[pair[0]],
            asset_id=pair[1],
            part=part,
            said=mine[-1] if mine else None,
            votes=standing.judged if standing is not None and part is Part.SETTLE else (),
        )
