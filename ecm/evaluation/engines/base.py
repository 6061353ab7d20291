"""What an engine is to a benchmark, and what a back end has to do to become one.

An `Engine` answers and never raises for what an engine can do wrong. A `Backend` is asked once at a
time: it answers or raises EngineTrouble; waiting, asking again and paying is `patient`'s. Knows no
product, no clock and no network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pydantic import TypeAdapter, ValidationError

from ecm.contracts.evaluation import EvaluationQuery
from ecm.contracts.identity import Digest
from ecm.contracts.measured import (
    MAX_RESULTS,
    EngineAnswer,
    EngineFacts,
    EngineProblem,
    RankedAsset,
)
from ecm.errors import ContractError, EcmError

MOST_SAID: Final = 1024
"""Characters of a reason that an answer keeps."""
_ASSET_ID: Final = TypeAdapter(Digest)


class EngineTrouble(EcmError):
    """Why one attempt brought no answer. `retry_after` is in seconds, where the engine says so."""

    default_code = "engine"

    def __init__(
        self,
        message: str,
        problem: EngineProblem = EngineProblem.FAILED,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, f"engine.{problem.value}")
        self.problem = problem
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.problem, self.retry_after)


@dataclass(frozen=True)
class Scored:
    """One result in the engine's own order; `why` is what the engine says of it."""

    asset_id: str
    score: float
    why: str = ""


@dataclass(frozen=True)
class Reply:
    """What one attempt brought: results, best first, and what did not take part."""

    found: tuple[Scored, ...] = ()
    degraded: tuple[str, ...] = ()


class Backend(Protocol):
    """Something that can be asked, by several threads at once."""

    @property
    def facts(self) -> EngineFacts: ...

    def ask(self, query: EvaluationQuery, depth: int, seconds: float) -> Reply:
        """Up to `depth` results, best first; more are cut off, the shown asset is left out.

        Gives up after about so many seconds where it can. Raises EngineTrouble.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds. May be called again."""
        ...


class Engine(Protocol):
    """What a benchmark asks. Safe to share among threads."""

    @property
    def facts(self) -> EngineFacts: ...

    def answer(self, query: EvaluationQuery, depth: int) -> EngineAnswer:
        """The answer, or why there is none; never raises for what an engine can do wrong."""
        ...

    def close(self) -> None:
        """Let go of what it holds. May be called again."""
        ...


class NeverOpened:
    """A back end that could not be opened though it is wanted: every attempt says why."""

    def __init__(self, facts: EngineFacts, trouble: EngineTrouble) -> None:
        self.facts = facts
        self.trouble = trouble

    def ask(self, query: EvaluationQuery, depth: int, seconds: float) -> Reply:
        """Raises EngineTrouble."""
        raise self.trouble

    def close(self) -> None:
        """Nothing is held."""


def ranked(found: Sequence[Scored], query: EvaluationQuery, depth: int) -> tuple[RankedAsset, ...]:
    """The results with their ranks: without the asset that the query shows, cut at `depth`.

    Raises EngineTrouble `garbled` for an asset that comes twice, a score that is no finite number,
    or a name that is none of an asset.
    """
    kept: list[RankedAsset] = []
    seen: set[str] = set()
    for one in found:
        _check(one, seen)
        if one.asset_id != query.shown_asset_id and len(kept) < depth:
            kept.append(
                RankedAsset(asset_id=one.asset_id, rank=len(kept) + 1, score=one.score, why=one.why)
            )
    return tuple(kept)


def check_depth(depth: int) -> None:
    """Raises ContractError for a depth out of bounds."""
    if not 1 <= depth <= MAX_RESULTS:
        raise ContractError(f"a depth is between 1 and {MAX_RESULTS}, not {depth}")


def _check(one: Scored, seen: set[str]) -> None:
    try:
        _ASSET_ID.validate_python(one.asset_id)
    except ValidationError as error:
        raise EngineTrouble(
            f"{one.asset_id[:80]!r} is no asset id", EngineProblem.GARBLED
        ) from error
    if one.asset_id in seen:
        raise EngineTrouble(f"asset {one.asset_id} is found twice", EngineProblem.GARBLED)
    if not math.isfinite(one.score):
        raise EngineTrouble(f"asset {one.asset_id} has no finite score", EngineProblem.GARBLED)
    seen.add(one.asset_id)
