"""How long does a whole search take beside its slowest axis alone, in process and over HTTP?

    python -m benchmarks.bulk --home HOME --tenant t=50000
    python -m benchmarks.search --home HOME [--tenant t] [--rounds 5] [--queries 40] [--no-http]

Every round asks the same questions in an order of its own: whole (all axes, 200 candidates each,
reranked, 50 hits, explained), without explanation, and on each axis alone. Prints medians over the
rounds of p50 and p95, and ratios of what was asked in the same round: the whole against the slowest
axis (goal 1.5), explained against not (goal 1.05). Then a service is started on the store, and
asked by 1, 4 and 16 clients. Exit code 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import numpy as np

from ecm.config import load_profile
from ecm.contracts.search import Axis, SearchRequest
from ecm.opening import open_engine

THINGS = (
    "brown bear", "tabby cat", "golden retriever", "sports car", "lighthouse", "coffee mug",
    "umbrella", "snowmobile", "acoustic guitar", "church", "seashore", "tiger", "school bus",
    "grand piano", "strawberry", "volcano", "pirate ship", "space shuttle", "jellyfish", "castle",
)  # fmt: skip
WAYS = (
    "{}", "a photo of a {}", "{} on the left", "a {} beside the water without people",
    "two {} in a street at night", "\"{}\"", "red {} in the centre",
)  # fmt: skip
CLIENTS = (1, 4, 16)
GOALS = {"whole": 1.5, "explained": 1.05, "http_p95_ms": 100.0}


def questions(count: int, seed: int) -> list[str]:
    """Distinct questions of every kind."""
    chooser = random.Random(seed)
    return [
        f"{chooser.choice(WAYS).format(chooser.choice(THINGS))} {number}" for number in range(count)
    ]


def timed(ask: Callable[[], object]) -> float:
    started = time.perf_counter()
    ask()
    return (time.perf_counter() - started) * 1000.0


def tails(samples: Sequence[float]) -> tuple[float, float]:
    return float(np.percentile(samples, 50)), float(np.percentile(samples, 95))


def in_process(options: argparse.Namespace) -> bool:
    """Print times of the engine and whether its goals are met."""
    overrides = [f"tenant={options.tenant}", "search.remembered_rankings=1", *options.set]
    profile = load_profile(options.profile, home=options.home, overrides=overrides, environ={})
    ways: dict[str, dict[str, object]] = {
        "whole": {"explain": True},
        "bare": {"explain": False},
        **{f"only {a.value}": {"axes": (a,), "rerank": "off", "explain": False} for a in Axis},
    }
    tables: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    with open_engine(profile) as engine:
        engine.warm(profile.tenant)
        assets = engine.reader.ref.tenants[profile.tenant]
        unanswered: dict[str, int] = {}

        def ask(name: str, text: str) -> None:
            own = ways[name]
            if name == f"only {Axis.X.value}":
                text = f"red on the left {text}"
            request = SearchRequest(tenant_id=profile.tenant, text=text, limit=50, **own)  # type: ignore[arg-type]
            answer = engine.search(request)
            lost = len(answer.degraded)
            unanswered[name] = unanswered.get(name, 0) + (lost > 0)

        for name in ways:
            ask(name, "warm")
        for number in range(options.rounds):
            asked = [(n, q) for q in questions(options.queries, number) for n in ways]
            random.Random(number).shuffle(asked)
            samples: dict[str, list[float]] = {name: [] for name in ways}
            for name, text in asked:
                samples[name].append(timed(lambda n=name, t=text: ask(n, t)))  # type: ignore[misc]
            for name, own in samples.items():
                tables[name].append(tails(own))
    print(f"{assets} assets, {options.rounds} rounds of {options.queries} questions each way")
    print(f"{'':<10}{'p50 ms':>10}{'p95 ms':>10}{'degraded':>10}")
    for name, rows in tables.items():
        p50, p95 = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{name:<10}{p50:>10.1f}{p95:>10.1f}{unanswered[name]:>10}")
    alone = [name for name in ways if name.startswith("only")]
    whole = statistics.median(
        tables["bare"][i][1] / max(tables[name][i][1] for name in alone)
        for i in range(options.rounds)
    )
    explained = statistics.median(
        tables["whole"][i][0] / tables["bare"][i][0] for i in range(options.rounds)
    )
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"whole / slowest axis, p95: {whole:.2f} (goal {GOALS['whole']})")
    print(f"explained / not, p50: {explained:.3f} (goal {GOALS['explained']})")
    print(f"memory at most: {held:.0f} MiB")
    return whole <= GOALS["whole"] and explained <= GOALS["explained"]


@contextmanager
def service(options: argparse.Namespace) -> Iterator[str]:
    """A service on the store, of its own processes; its address."""
    command = [sys.executable, "-m", "serve.app", "--home", options.home, "--port", "0"]
    command += ["--profile", options.profile, "--tenant", options.tenant]
    for setting in options.set:
        command += ["--set", setting]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert running.stderr is not None
        for line in running.stderr:
            found = re.search(r"ready at (\S+)/ ", line)
            if found:
                yield found.group(1)
                return
        raise SystemExit("the service did not start")
    finally:
        running.terminate()
        running.wait(60)


def asked_by(address: str, texts: Sequence[str]) -> list[tuple[float, int]]:
    """One client's questions, one after the other: milliseconds and status of each."""
    answers = []
    with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
        for text in texts:
            started = time.perf_counter()
            answer = client.post("/v1/search", json={"text": text, "limit": 50})
            answers.append(((time.perf_counter() - started) * 1000.0, answer.status_code))
    return answers


def over_http(options: argparse.Namespace) -> bool:
    """Print times and throughput of a service, and whether its goal is met."""
    good = True
    with service(options) as address:
        asked_by(address, questions(options.queries, 99))
        for clients in CLIENTS:
            texts = [
                f"{text} {number} {clients}"
                for number in range(options.rounds)
                for text in questions(options.queries, 100 + number)
            ]
            began = time.perf_counter()
            with ThreadPoolExecutor(clients) as pool:
                shares = [texts[first::clients] for first in range(clients)]
                answers = [
                    a for own in pool.map(asked_by, [address] * clients, shares) for a in own
                ]
            took = time.perf_counter() - began
            p50, p95 = tails([milliseconds for milliseconds, _ in answers])
            print(
                f"HTTP, {clients:>2} clients: p50 {p50:.1f} ms, p95 {p95:.1f} ms, "
                f"{len(answers) / took:.1f} searches/s, "
                f"statuses {dict(Counter(status for _, status in answers))}"
            )
            if clients == 1:
                good = p95 <= GOALS["http_p95_ms"]
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", required=True)
    parser.add_argument("--profile", default="L1")
    parser.add_argument("--tenant", default="t")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--no-http", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    options = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    good = in_process(options)
    if not options.no_http:
        good = over_http(options) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
