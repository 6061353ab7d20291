"""An engine that says what it is told to, for tests of whatever asks engines.

Answers, failures and latencies are scripted; time passes on a clock of its own, so that nothing
waits. Knows no network.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ecm.contracts.evaluation import EvaluationQuery
from ecm.contracts.measured import EngineFacts, EngineKind, EngineProblem
from ecm.evaluation.engines.base import EngineTrouble, Reply, Scored


class FakeClock:
    """Seconds that pass when somebody sleeps. Thread-safe."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now
        self._lock = threading.Lock()
        self.slept: list[float] = []

    def __call__(self) -> float:
        with self._lock:
            return self._now

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            self._now += seconds

    def sleep(self, seconds: float) -> None:
        """Like `pass_by`, and remembered."""
        self.pass_by(seconds)
        with self._lock:
            self.slept.append(seconds)


@dataclass(frozen=True)
class Scripted:
    """What comes of one attempt: results or a trouble, after so many seconds."""

    found: tuple[str, ...] = ()
    trouble: EngineTrouble | None = None
    seconds: float = 0.01
    degraded: tuple[str, ...] = ()


@dataclass
class FakeBackend:
    """Says to each query what `script` has for its next attempt; the last goes on for ever.

    A query without a script is answered by `answers`, and without those by `always`. Scores are 1,
    1/2, 1/3, …; a shown asset is unknown unless it is in one of them.
    """

    facts: EngineFacts = field(
        default_factory=lambda: EngineFacts(
            engine_id="fake", kind=EngineKind.INTERNAL, description="scripted answers"
        )
    )
    answers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    always: Sequence[str] = ()
    script: Mapping[str, Sequence[Scripted]] = field(default_factory=dict)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self._asked: dict[str, int] = {}
        self._lock = threading.Lock()
        self.closed = 0

    @property
    def asked(self) -> int:
        """Attempts so far."""
        with self._lock:
            return sum(self._asked.values())

    def ask(self, query: EvaluationQuery, depth: int, seconds: float) -> Reply:
        """What the script says. Raises EngineTrouble where it does."""
        with self._lock:
            place = self._asked.get(query.query_id, 0)
            self._asked[query.query_id] = place + 1
        lines = self.script.get(query.query_id)
        said = (
            lines[min(place, len(lines) - 1)]
            if lines
            else Scripted(tuple(self.answers.get(query.query_id, self.always)))
        )
        self.clock.pass_by(said.seconds)
        if said.trouble is not None:
            raise said.trouble
        shown = query.shown_asset_id
        if shown is not None and shown not in said.found:
            raise EngineTrouble(f"no asset {shown}", EngineProblem.REFUSED)
        found = [Scored(one, 1.0 / rank) for rank, one in enumerate(said.found, start=1)]
        return Reply(tuple(found), said.degraded)

    def close(self) -> None:
        """Counted."""
        self.closed += 1
