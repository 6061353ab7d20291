"""Putting work before people: pools from the answers of runs, batches from pools.

Knows the Shelf and label work; what is pooled is `pooling`'s, what is drawn `batches`'. Of several
who prepare at once each gets a number of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ecm.contracts.labelling import Batch, BatchPair, Pool
from ecm.contracts.measured import Answered
from ecm.errors import ConfigError, StoreUnavailable
from ecm.evaluation.labels.batches import Draw, draw, is_settled
from ecm.evaluation.labels.pooling import PoolResult, joined, pooled
from ecm.evaluation.labels.publishing import known_of
from ecm.evaluation.labels.standing import Pair, State, standings
from ecm.evaluation.labels.work import LabelWork
from ecm.evaluation.shelf import Queries, Shelf, digest_of

_TRIES: Final = 20


@dataclass(frozen=True)
class MadePool:
    """A pool that was kept; `unjudged` of its pairs have no label yet."""

    head: Pool
    result: PoolResult
    unjudged: int


@dataclass(frozen=True)
class MadeBatch:
    """A batch that was kept; `left` pairs of the pools wait for another one."""

    head: Batch
    pairs: tuple[BatchPair, ...]
    left: int


def make_pool(
    shelf: Shelf,
    work: LabelWork,
    queries: Queries,
    answers: Iterable[Answered],
    runs: Sequence[str],
    depth: int,
    now: float,
) -> MadePool:
    """Pool the answers of runs and keep that. Raises ConfigError where nothing was found."""
    result = pooled(answers, queries.queries, depth)
    if not result.pairs:
        raise ConfigError(
            f"no result of {', '.join(runs)} is for query set {queries.head.name}",
            "labels.pool",
            "name the query set of those runs: --queries NAME@V",
        )
    known = known_of(shelf, work.name)
    unjudged = sum(
        one.pair not in known.labels and one.query_id not in known.complete for one in result.pairs
    )
    for _ in range(_TRIES):
        head = Pool(
            tenant_id=work.tenant_id,
            name=work.name,
            number=work.next_number("pools"),
            created_at=now,
            digest=digest_of(result.pairs),
            pairs=len(result.pairs),
            query_set=queries.head.name,
            query_set_digest=queries.head.digest,
            runs=tuple(runs),
            depth=depth,
        )
        if work.add_pool(head, result.pairs):
            return MadePool(head, result, unjudged)
    raise StoreUnavailable(f"others keep making pools for {work.name}", hint="try again")


def make_batch(
    shelf: Shelf, work: LabelWork, queries: Queries, size: Draw, overlap: int, now: float
) -> MadeBatch:
    """Draw pairs of all pools that are in no batch yet, and keep them as one.

    Raises ConfigError where there is no pool, or nothing is left of them.
    """
    pool = joined(one.pairs for one in work.pools())
    if not pool:
        raise ConfigError(
            f"there is no pool for {work.name}", "labels.pool", "ecm evaluate labels pool NAME …"
        )
    known = known_of(shelf, work.name)
    for _ in range(_TRIES):
        taken = {one.pair for batch in work.batches() for one in batch.pairs} | _settled(work)
        pairs = draw(pool, queries.queries, known, taken, size)
        if not pairs:
            raise ConfigError(
                f"no pair of the pools of {work.name} is left to judge",
                "labels.pool",
                "pool newer runs, or more deeply",
            )
        head = Batch(
            tenant_id=work.tenant_id,
            name=work.name,
            number=work.next_number("batches"),
            created_at=now,
            digest=digest_of(pairs),
            pairs=len(pairs),
            query_set=queries.head.name,
            query_set_digest=queries.head.digest,
            overlap=overlap,
            seed=size.seed,
        )
        if work.add_batch(head, pairs):
            taken |= {one.pair for one in pairs}
            left = [one for one in pool if one.pair not in taken and not is_settled(one, known)]
            return MadeBatch(head, pairs, len(left))
    raise StoreUnavailable(f"others keep drawing batches for {work.name}", hint="try again")


def _settled(work: LabelWork) -> set[Pair]:
    """Pairs that people have agreed on or settled, whether that is published or not."""
    done = (State.AGREED, State.SETTLED, State.UNDECIDABLE)
    return {pair for pair, now in standings(work.votes()).items() if now.state in done}
