"""Batches: which pairs of a pool people judge next, in which order each of them sees these, and
what waits for whom.

Pure and deterministic: what is drawn follows from the pairs and a seed. Knows no store, no clock.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Final

from ecm.contracts.evaluation import EvaluationQuery, Label, LabelSource, Relevance
from ecm.contracts.identity import digest
from ecm.contracts.labelling import BatchPair, PooledPair
from ecm.contracts.search import QueryType
from ecm.evaluation.labels.standing import Pair, Standing, State
from ecm.evaluation.labels.work import Drawn

GOOD: Final[Relevance] = 2
BAD: Final[Relevance] = 0
_URGENCY: Final = {LabelSource.WEAK: 1, LabelSource.HUMAN: 2}
"""What has no label at all comes first, then what no person has judged, then what one has."""


@dataclass(frozen=True)
class Draw:
    """How much is drawn: `pairs` to be judged, and `checks` of which the answer is known."""

    pairs: int
    checks: int
    seed: int


@dataclass(frozen=True)
class Known:
    """What is judged: labels by pair, and queries of which every asset is."""

    labels: Mapping[Pair, Label]
    complete: frozenset[str]


def draw(
    pool: Sequence[PooledPair],
    queries: Sequence[EvaluationQuery],
    known: Known,
    taken: Collection[Pair],
    size: Draw,
) -> tuple[BatchPair, ...]:
    """Pairs of a pool for a batch, sorted by query and asset; fewer where there are no more.

    Query types get pairs in proportion to their queries that have any left. Within a type what has
    no label comes first, then what is labelled weakly, then what one labeler has judged; the
    queries take turns, since few judgements of many queries tell more than many of few (Carterette
    et al., "Evaluation over thousands of queries", SIGIR 2008), and of each what some engine ranks
    higher comes first. `taken` is not drawn again, nor is what is settled. Checks are pairs of
    which the answer is known, good and bad in turn: adjudicated, or of a complete query.
    """
    types = {query.query_id: query.query_type for query in queries}
    waiting: defaultdict[QueryType, list[PooledPair]] = defaultdict(list)
    for one in pool:
        if one.query_id in types and one.pair not in taken and not is_settled(one, known):
            waiting[types[one.query_id]].append(one)
    sizes = {kind: len({one.query_id for one in some}) for kind, some in waiting.items()}
    lists = {kind: _in_turn(some, known, size.seed) for kind, some in waiting.items()}
    chosen = [
        pair for kind, count in _shares(sizes, lists, size.pairs) for pair in lists[kind][:count]
    ]
    checks = _checks(pool, known, types, {*taken, *(one.pair for one in chosen)}, size)
    drawn = [BatchPair(query_id=one.query_id, asset_id=one.asset_id) for one in chosen]
    return tuple(sorted((*drawn, *checks), key=lambda one: one.pair))


def order_for(batch: Drawn, labeler: str, pairs: Iterable[BatchPair]) -> tuple[BatchPair, ...]:
    """Pairs of a batch as one labeler sees them: shuffled by the seed of the batch and the labeler,
    with the pairs of a query together, so that each is judged by one measure.
    """
    seed = batch.head.seed

    def place(one: BatchPair) -> tuple[str, str]:
        return _hash(seed, labeler, one.query_id), _hash(seed, labeler, *one.pair)

    return tuple(sorted(pairs, key=place))


def to_judge(
    batches: Iterable[Drawn], standing: Mapping[Pair, Standing], labeler: str
) -> Iterator[BatchPair]:
    """What waits for a labeler, oldest batch first: pairs that they have not judged and of which
    fewer than `overlap` others could say; checks wait for everybody. Each pair once.
    """
    seen: set[Pair] = set()

    def waits(one: BatchPair, overlap: int) -> bool:
        now = standing.get(one.pair)
        said = len(now.said) if now else 0
        mine = now is not None and labeler in now.judges()
        return not mine and one.pair not in seen and (one.check is not None or said < overlap)

    for batch in batches:
        some = [one for one in batch.pairs if waits(one, batch.head.overlap)]
        seen |= {one.pair for one in some}
        yield from order_for(batch, labeler, some)


def to_settle(
    batches: Iterable[Drawn], standing: Mapping[Pair, Standing], labeler: str
) -> tuple[Pair, ...]:
    """The pairs of which labelers differ, and that this person, not being one of them, may settle.

    Of checks the answer is known: nobody settles them.
    """
    checks = checks_of(batches)
    return tuple(
        pair
        for pair, now in standing.items()
        if now.state is State.DISPUTED and labeler not in now.judges() and pair not in checks
    )


def checks_of(batches: Iterable[Drawn]) -> dict[Pair, int]:
    """The relevance of the pairs of which it is known, that were mixed in."""
    return {one.pair: one.check for b in batches for one in b.pairs if one.check is not None}


def states_of(batch: Drawn, standing: Mapping[Pair, Standing]) -> dict[State, int]:
    """How many pairs of a batch, checks aside, are in each state."""
    pairs = [one.pair for one in batch.pairs if one.check is None]
    found = Counter(standing[p].state if p in standing else State.UNSAID for p in pairs)
    return {state: found[state] for state in State}


def is_settled(one: PooledPair, known: Known) -> bool:
    """Whether it is known what holds of a pair, so that nobody needs to judge it."""
    label = known.labels.get(one.pair)
    if label is None:
        return one.query_id in known.complete
    return label.label_source is LabelSource.ADJUDICATED


def _in_turn(pairs: Iterable[PooledPair], known: Known, seed: int) -> list[PooledPair]:
    """Pairs of one query type in the order in which they are drawn."""

    def urgency(one: PooledPair) -> int:
        label = known.labels.get(one.pair)
        return _URGENCY[label.label_source] if label else 0

    of_query: defaultdict[tuple[int, str], list[PooledPair]] = defaultdict(list)
    for one in pairs:
        of_query[urgency(one), one.query_id].append(one)
    placed = [
        (need, turn, _hash(seed, query_id), one)
        for (need, query_id), some in of_query.items()
        for turn, one in enumerate(
            sorted(some, key=lambda one: (one.best_rank, _hash(seed, *one.pair)))
        )
    ]
    return [one for *_, one in sorted(placed, key=lambda each: each[:3])]


def _shares(
    sizes: Mapping[QueryType, int], lists: Mapping[QueryType, Sequence[object]], pairs: int
) -> list[tuple[QueryType, int]]:
    """How many pairs of each type: by largest remainders, and what one does not have goes to
    those that do, one at a time.
    """
    total = sum(sizes.values())
    kinds = sorted(sizes)
    wanted = {kind: pairs * sizes[kind] / total for kind in kinds}
    counts = Counter({kind: min(int(wanted[kind]), len(lists[kind])) for kind in kinds})
    while counts.total() < pairs:
        able = [kind for kind in kinds if counts[kind] < len(lists[kind])]
        if not able:
            break
        counts[max(able, key=lambda kind: wanted[kind] - counts[kind])] += 1
    return [(kind, counts[kind]) for kind in kinds]


def _checks(
    pool: Sequence[PooledPair],
    known: Known,
    types: Mapping[str, QueryType],
    taken: Collection[Pair],
    size: Draw,
) -> list[BatchPair]:
    relevances = {
        pair: label.relevance
        for pair, label in known.labels.items()
        if label.label_source is LabelSource.ADJUDICATED or label.query_id in known.complete
    }
    for one in pool:
        if one.query_id in known.complete:
            relevances.setdefault(one.pair, BAD)
    able = [pair for pair in relevances if pair[0] in types and pair not in taken]
    ordered = sorted(able, key=lambda pair: _hash(size.seed, *pair))
    good = [pair for pair in ordered if relevances[pair] == GOOD]
    bad = [pair for pair in ordered if relevances[pair] == BAD]
    in_turn = [pair for pair in chain(*zip_longest(good, bad)) if pair is not None]
    return [
        BatchPair(query_id=pair[0], asset_id=pair[1], check=relevances[pair])
        for pair in in_turn[: size.checks]
    ]


def _hash(*parts: object) -> str:
    return digest([str(part) for part in parts])
