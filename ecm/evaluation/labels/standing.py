"""What the votes on a pair come to: nobody said, one says, all say alike, they differ, it is
settled. Pure: knows votes, no store and no clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ecm.contracts.evaluation import Label, LabelSource, Relevance
from ecm.contracts.labelling import Part, Vote

Pair = tuple[str, str]
"""Query id and asset id."""


class State(StrEnum):
    """Where a pair stands."""

    UNSAID = "unsaid"
    """Nobody could say yet."""
    SINGLE = "single"
    """One labeler says."""
    AGREED = "agreed"
    """Two or more say, all alike."""
    DISPUTED = "disputed"
    """Labelers differ, and nobody has settled it."""
    SETTLED = "settled"
    """Labelers differed, and a third person has said what holds."""
    UNDECIDABLE = "undecidable"
    """Labelers differed, and the third person could not say either."""


@dataclass(frozen=True)
class Standing:
    """The votes that count on a pair: the last of each labeler, sorted by labeler, and the last
    that settles, of somebody who has not judged the pair.
    """

    judged: tuple[Vote, ...]
    settling: Vote | None

    @property
    def said(self) -> tuple[Vote, ...]:
        """Votes of those who could say."""
        return tuple(vote for vote in self.judged if vote.relevance is not None)

    @property
    def differs(self) -> bool:
        """Whether labelers say different things."""
        return len({vote.relevance for vote in self.said}) > 1

    @property
    def state(self) -> State:
        """Where the pair stands."""
        said = self.said
        if not self.differs:
            return (State.UNSAID, State.SINGLE, State.AGREED)[min(len(said), 2)]
        if self.settling is None:
            return State.DISPUTED
        return State.UNDECIDABLE if self.settling.relevance is None else State.SETTLED

    def judges(self) -> frozenset[str]:
        """Everybody who has judged the pair, whether they could say or not."""
        return frozenset(vote.labeler for vote in self.judged)

    def label(self) -> Label | None:
        """The label that people give; None while nobody says, or they differ.

        `human`: what one labeler says. `adjudicated`: what two or more say alike, without a
        labeler, or what the third person says where they differ, with that person as labeler.
        """
        state, said = self.state, self.said
        if state is State.SINGLE:
            return _label(said[0], LabelSource.HUMAN, said[0].labeler)
        if state is State.AGREED:
            return _label(said[0], LabelSource.ADJUDICATED, None)
        if state is State.SETTLED and self.settling is not None:
            return _label(self.settling, LabelSource.ADJUDICATED, self.settling.labeler)
        return None


def standings(votes: Iterable[Vote]) -> dict[Pair, Standing]:
    """Where every pair with a vote stands. `votes` are in the order in which they were given."""
    judging: defaultdict[Pair, dict[str, Vote]] = defaultdict(dict)
    settling: defaultdict[Pair, dict[str, Vote]] = defaultdict(dict)
    for vote in votes:
        by_labeler = (judging if vote.part is Part.JUDGE else settling)[vote.pair]
        by_labeler.pop(vote.labeler, None)  # what is said last stands last
        by_labeler[vote.labeler] = vote
    return {
        pair: _standing(judging.get(pair, {}), settling.get(pair, {}))
        for pair in sorted(judging.keys() | settling.keys())
    }


def _standing(judging: Mapping[str, Vote], settling: Mapping[str, Vote]) -> Standing:
    third = [vote for labeler, vote in settling.items() if labeler not in judging]
    judged = tuple(judging[labeler] for labeler in sorted(judging))
    return Standing(judged, third[-1] if third else None)


def _label(vote: Vote, source: LabelSource, labeler: str | None) -> Label:
    relevance: Relevance | None = vote.relevance
    assert relevance is not None  # only those who could say get here
    return Label(
        query_id=vote.query_id,
        asset_id=vote.asset_id,
        relevance=relevance,
        label_source=source,
        labeler=labeler,
    )
