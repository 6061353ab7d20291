"""What do experiments cost a search: while they are off, while none runs, and in each arm?

    python benchmarks/experiment_overhead.py --home HOME [--tenant T] [--root DIR] [--queries 40]
        [--rounds 5] [--ways NAME…]

HOME has been indexed. Ingress and the holder of the snapshot run in this process, joined by plain
calls, so that nothing but their own code is timed. Queries of ROOT/queries.jsonl are searched in
turns, ROUNDS times: as the service did before it knew experiments, with them off, on while none
runs, and as control, treatment and interleaved. Nothing but query vectors is remembered. Prints p50
over queries of the least of all rounds, and the median over queries and rounds of the ratio of
processor time to the first way in the same round: all that experiments could add is code, and
what else runs on the machine takes time but no time of this process. Exit code 1 when off costs
more than 1 %.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import math
import os
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Awaitable, Callable, Generator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry

from ecm.config import Profile, load_profile
from ecm.contracts.experiment import Arm, Definition, ExperimentTerms, RankingOnRecord
from ecm.contracts.search import SearchRequest
from ecm.evaluation.online.assignment import arm_of
from ecm.evidence.experiments import ExperimentEvent, ExperimentState, append, begin
from ecm.evidence.feedback import FeedbackStore
from ecm.evidence.storage import open_storage
from ecm.opening import search_parts
from ecm.search.opening import open_encoder
from ecm.search.profile import RankingProfile, load_ranking_profile
from ecm.search.rerank import FeatureReranker

with warnings.catch_warnings():  # Ray Serve's own schemas use what pydantic has given up
    warnings.simplefilter("ignore", DeprecationWarning)
    from serve.access import Caller
    from serve.api import SearchBody
    from serve.calls import Calls
    from serve.candidates import ENCODE_SHARE, LEAST_MS, Candidates, _begun
    from serve.counting import Counting
    from serve.experimenting import SESSION_HEADER, Experimenting
    from serve.feedback_writing import FeedbackWriter
    from serve.request_id import _current
    from serve.search_api import Searching

ROOT = Path(os.environ.get("ECM_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data"
MOST = 1.01
SECONDS = 30.0
HOLDER: Any = Candidates.func_or_class
FIRST = "before"


class Here:
    """A deployment of this process as a handle has it."""

    def __init__(self, served: object) -> None:
        self._served = served

    def __getattr__(self, name: str) -> object:
        return SimpleNamespace(remote=lambda *given: Now(getattr(self._served, name)(*given)))


class Now:
    """An answer of such a deployment."""

    def __init__(self, coming: Awaitable[object]) -> None:
        self._coming = coming

    def __await__(self) -> Generator[Any, None, object]:
        return self._coming.__await__()

    def cancel(self) -> None:
        """Nobody cancels here."""


class Models:
    """Encoder and reranker: both as their deployments, without a hop."""

    def __init__(self, profile: Profile, ranking: RankingProfile) -> None:
        self._encoder = open_encoder(search_parts(profile))
        self._ranking = ranking

    async def encode(self, request: Any) -> Any:
        return self._encoder.encode([request])[0]

    async def rerank(self, question: Any, ranking: RankingProfile | None = None) -> Any:
        return FeatureReranker(ranking or self._ranking).rerank(question)


class Both(HOLDER):  # type: ignore[misc]
    """The holder of the snapshot, which also searches as it did before it knew experiments: the
    same engine, threads and models, so that nothing else differs.
    """

    async def before(self, request: SearchRequest, asked_at: float, request_id: str) -> bytes:
        self._followed.follow()
        waited = max(0.0, time.time() - asked_at)
        engine = self._followed.engines.engine_for(request)
        left_ms = (request.timeout_ms or self._seconds * 1000.0) - waited * 1000.0
        bounded = request.model_copy(update={"timeout_ms": max(LEAST_MS, left_ms)})
        plan, begun = await self.in_thread(_begun, engine, bounded)
        encoded = []
        if plan.encodings:
            seconds = (plan.deadline - time.perf_counter()) * ENCODE_SHARE
            reached = engine.reader.ref.transforms
            encoded = await self._encoder.encode(plan.encodings, reached, seconds)
        gathered = await self.in_thread(engine.gather, plan, encoded, begun)
        reranked = None
        if gathered.rerank is not None:
            with gathered.laps.lap("rerank"):
                seconds = gathered.budget_ms / 1000.0
                reranked = await self._reranker.rerank(gathered.rerank, seconds)
        body: bytes = await self.in_thread(
            self._answer, engine, plan, gathered, reranked, request_id
        )
        return body


def on_record(ranking: RankingProfile) -> RankingOnRecord:
    return RankingOnRecord(
        version=ranking.version, digest=ranking.digest(), body=ranking.model_dump_json()
    )


class Bench:
    """All ways to search, and the questions."""

    def __init__(self, profile: Profile, texts: Sequence[str]) -> None:
        self._texts = texts
        self._caller = Caller(profile.tenant, profile.tenant)
        self._storage = open_storage(profile.evidence)
        ranking = load_ranking_profile(profile.search.ranking, profile.ranking_folder)
        models = Here(Models(profile, ranking))
        on = profile.model_copy(
            update={"serve": profile.serve.model_copy(update={"experiments": True})}
        )
        self._holders = [Both(profile, models, models), HOLDER(on, models, models)]
        earlier = SimpleNamespace(search=self._holders[0].before)
        self._plain = [self._searching(holder) for holder in (earlier, *self._holders)]
        writer = FeedbackWriter(lambda: FeedbackStore(self._storage), 30)
        self._counting = Counting("here", lambda: self._storage, 3600.0, CollectorRegistry())
        holder = Here(self._holders[1])
        self._tried = Experimenting(
            SimpleNamespace(), Calls(holder, SECONDS), holder, 1, self._plain[2], self._counting,
            writer, False,
        )  # fmt: skip
        weights = ranking.weights.visual.model_copy(update={"x": 6.0})
        weights = ranking.weights.model_copy(update={"visual": weights})
        self._other = ranking.model_copy(update={"version": "other", "weights": weights})
        self._ranking = ranking
        self._request: Any = SimpleNamespace(headers={}, scope={"state": {}})

    def _searching(self, holder: object) -> Searching:
        handle: Any = Here(holder)
        door: Any = SimpleNamespace()
        return Searching(door, Calls(handle, SECONDS), handle, 1)

    def ways(self) -> dict[str, Callable[[SearchBody], Awaitable[bytes]]]:
        """What is compared."""
        before, off, _ = self._plain
        caller, request, tried = self._caller, self._request, self._tried
        names = ("none runs", *(arm.value for arm in Arm))
        return {
            FIRST: lambda body: before.answer(caller, body),
            "off": lambda body: off.heard(request).answer(caller, body),
            **dict.fromkeys(names, lambda body: tried.heard(request).answer(caller, body)),
        }

    def prepare(self, way: str) -> None:
        """Bring about what a way needs: an experiment at a stage, a session of an arm."""
        self._storage.remove("experiments")
        definition = Definition(id="overhead", treatment="other", interleaved_pct=50, stages=(50,))
        if way in {arm.value for arm in Arm}:
            terms = ExperimentTerms(
                definition=definition,
                control=on_record(self._ranking),
                treatment=on_record(self._other),
            )
            now = begin(self._storage, terms, time.time(), "benchmark")
            if way == Arm.TREATMENT.value:
                event = ExperimentEvent(
                    number=0, state=ExperimentState.RUNNING, stage=1, at=time.time(), by="benchmark"
                )
                now = append(self._storage, now, event)
            session = next(
                name
                for name in map(str, range(100))
                if arm_of(definition, now.stage, self._mark(name)).value == way
            )
            self._request.headers[SESSION_HEADER] = session
        for followed in (self._counting.experiments, self._holders[1]._experiments):
            followed._records = None
            followed.refresh()

    def _mark(self, session: str) -> str:
        return self._counting.feedback.mark(self._caller.tenant, "session", session)

    def forget(self) -> None:
        """No ranking is remembered from one search to the next."""
        for holder in self._holders:
            engine = holder._followed.engines.current()
            engine._recent._held.clear()
            for other in holder._trying._trials._held.values():
                other._recent._held.clear()

    async def run(
        self, rounds: int, chosen: Sequence[str]
    ) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
        """By way: milliseconds, the least of each query, and seconds of the processor of each
        search. `chosen` are the ways besides the first, none: all.
        """
        ways = {n: way for n, way in self.ways().items() if not chosen or n in (FIRST, *chosen)}
        spent = {name: [math.inf] * len(self._texts) for name in ways}
        computed: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(rounds + 1):
            names = list(ways)
            shift = turn % len(names)
            for number, text in enumerate(self._texts):
                body = SearchBody(text=text, limit=20)
                for name in names[shift:] + names[:shift]:
                    self.prepare(name)
                    self.forget()
                    _current.set(f"{turn}-{number}-{name.replace(' ', '-')}")
                    started, before = time.perf_counter(), time.process_time()
                    await ways[name](body)
                    cpu = time.process_time() - before
                    took = (time.perf_counter() - started) * 1000.0
                    if turn:  # the first round warms up
                        computed[name].append(cpu)
                        spent[name][number] = min(spent[name][number], took)
        return spent, computed


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    with (options.root / "queries.jsonl").open(encoding="utf-8") as lines:
        texts = [json.loads(line).get("text") for line in lines]
    texts = list(dict.fromkeys(filter(None, texts)))[: options.queries]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        shutil.copytree(options.home, home)
        profile = load_profile("L1", home=home, overrides=[], environ=os.environ)
        if options.tenant:
            profile = profile.model_copy(update={"tenant": options.tenant})
        bench = Bench(profile, texts)
        spent, computed = asyncio.run(bench.run(options.rounds, options.ways))
    cost = 1.0
    for name, seconds in computed.items():
        ratio = statistics.median(a / b for a, b in zip(seconds, computed[FIRST], strict=True))
        p50 = statistics.median(spent[name])
        print(f"{name:12} p50 {p50:7.2f} ms, {ratio:.4f} of the processor ({len(seconds)} pairs)")
        cost = ratio if name == "off" else cost
    print(f"off: {cost:.4f} (goal {MOST} at most)")
    return int(cost > MOST)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--home", required=True, type=Path)
    parser.add_argument("--tenant", default=None)
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ways", nargs="*", default=[], help="only these: off, control, …")
    return parser


if __name__ == "__main__":
    sys.exit(main())
