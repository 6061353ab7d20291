"""How long does it take to serve another model's snapshot, and back, while clients ask?

    python -m benchmarks.switch [--assets 100000] [--dim 64] [--rounds 5] [--folder FOLDER]

Model A and model B have both looked at every asset: captions, tags and a vector each. A snapshot of
either is built; B's is published, rolled back to A's, and so on, while a client asks without a
pause and a searcher follows as in the service (every half second). Prints what publishing and going
back take, how long until an answer comes from the new snapshot, requests that failed, and answers
in which anything is not of the snapshot they name. Then the same with collection going on.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ecm.config import load_profile
from ecm.contracts.identity import digest
from ecm.contracts.result import (
    EnvelopeStatus,
    ImageFacts,
    LabelStatement,
    Outputs,
    ResourceFingerprint,
    ResultEnvelope,
    Space,
    TextStatement,
    VectorStatement,
)
from ecm.contracts.search import Axis, SearchRequest, SearchResponse
from ecm.errors import TransientError
from ecm.evidence.collection import collect
from ecm.evidence.committer import EvidenceCommitter, unquestioned
from ecm.evidence.difference import difference
from ecm.evidence.pins import PinKeeper
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.publication import publish, rollback
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import SnapshotRef, all_refs, published_ref
from ecm.evidence.retention import Retention
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.snapshot_files import check_sizes
from ecm.evidence.store import EvidenceStore
from ecm.opening import search_parts
from ecm.search.encoders import EncodedQuery, EncodingRequest
from ecm.search.engine import SearchEngine
from ecm.search.following import Following
from ecm.search.opening import open_ranking
from ecm.search.warming import warm

MODELS = ("a", "b")
TENANT = "bench"
BATCH_ASSETS = 4000
WORDS = [f"word{n}" for n in range(2000)]
GOALS = {"publish": 1.0, "rollback": 1.0, "answer": 2.0}
"""Seconds."""


def transform(model: str, task: str) -> str:
    return digest([model, task])


def policy(model: str) -> SnapshotPolicy:
    marks = {Axis.FTS: (transform(model, "vision"),), Axis.VV: (transform(model, "vv"),)}
    return SnapshotPolicy(transforms=marks, others="never")


def envelopes(model: str, first: int, vectors: np.ndarray) -> Iterator[ResultEnvelope]:
    """Two for each asset: what the model says, and its vector."""
    for place, vector in enumerate(vectors):
        number = first + place
        words = [WORDS[(number * 7 + step * 13) % len(WORDS)] for step in range(3)]
        said = Outputs(
            caption=TextStatement(text=f"model {model} sees {' '.join(words)}", composed=True),
            tags=tuple(LabelStatement(label=word, confidence=0.5) for word in words),
        )
        yield envelope(model, number, "vision", said)
        said = Outputs(vectors=(VectorStatement.of(Space.VV, vector),))
        yield envelope(model, number, "vv_embed", said)


def envelope(model: str, number: int, task: str, said: Outputs) -> ResultEnvelope:
    uri = f"file:///photos/folder{number % 100}/image_{number}.jpg"
    return ResultEnvelope.seal(
        tenant_id=TENANT,
        task_id=digest([number, task, model]),
        task_type=task,
        transform=transform(model, task.removesuffix("_embed")),
        run_id=f"run-{model}",
        worker_id="bench",
        attempt=1,
        fence=1,
        resource_fingerprint=ResourceFingerprint(
            uri=uri, content_hash=digest(number), size=1, mtime_ns=1
        ),
        image=ImageFacts(width=2000, height=1500, format="JPEG"),
        outputs=said,
        status=EnvelopeStatus.SUCCESS,
        observed_at=float(number),
    )


def fill(store: EvidenceStore, assets: int, dim: int) -> None:
    committer = EvidenceCommitter(store)
    for model in MODELS:
        rng, began = np.random.default_rng(ord(model)), time.perf_counter()
        for first in range(0, assets, BATCH_ASSETS):
            values = rng.normal(size=(min(BATCH_ASSETS, assets - first), dim)).astype(np.float32)
            values /= np.linalg.norm(values, axis=1, keepdims=True)
            committer.append(f"{model}-{first}", list(envelopes(model, first, values)))
        seconds = time.perf_counter() - began
        print(f"model {model}: {assets} assets committed in {seconds:.0f} s", flush=True)


class Unasked:
    """Questions by asset and by words of the full text need no model."""

    def encode(self, requests: Sequence[EncodingRequest]) -> list[EncodedQuery]:
        raise TransientError("nothing is to be encoded")


@dataclass
class Client:
    """What was answered, and what went wrong."""

    answers: int = 0
    newest: str = ""
    slowest: float = 0.0
    errors: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)


class Service:
    """A searcher that follows, as the service's does, and a client that asks without a pause."""

    def __init__(self, store: EvidenceStore, home: Path, refs: dict[str, SnapshotRef]) -> None:
        profile = load_profile(None, home=home, overrides=[], environ={})
        parts = search_parts(profile)
        ranking, self._poll = open_ranking(parts), profile.serve.snapshot_poll_seconds
        self.client = Client()

        def opened(ref: SnapshotRef) -> SearchEngine:
            check_sizes(store, ref)
            reader = SnapshotReader.open(store, ref)
            engine = SearchEngine(reader, Unasked(), ranking, parts.search)
            if not self.client.answers:
                warm(engine, store.config)
            return engine

        keeper = PinKeeper(lambda: store, "bench", 60.0)
        self._following = Following(lambda: published_ref(store), opened, keeper)
        self._model = {ref.snapshot_id: model for model, ref in refs.items()}

    @contextmanager
    def running(self) -> Iterator[None]:
        over = threading.Event()
        self._following.refresh(time.time())
        threads = [
            threading.Thread(target=self._follow, args=(over,)),
            threading.Thread(target=self._ask, args=(over,)),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def warmed(self) -> int:
        """Wait until either kind of question was answered; how many failed until then."""
        while self.client.answers < 2:
            time.sleep(0.01)
        before, self.client = self.client, Client()
        return len(before.errors)

    def seconds_until(self, snapshot_id: str) -> float:
        began = time.perf_counter()
        while self.client.newest != snapshot_id and time.perf_counter() - began < 60:
            time.sleep(0.002)
        return time.perf_counter() - began

    def _follow(self, over: threading.Event) -> None:
        while not over.wait(self._poll):
            self._following.refresh(time.time())

    def _ask(self, over: threading.Event) -> None:
        number = 0
        while not over.is_set():
            number += 1
            shown, text = digest(number % 100), WORDS[number % len(WORDS)]
            asked = {"asset_id": shown} if number % 2 else {"text": text, "axes": (Axis.FTS,)}
            request = SearchRequest(tenant_id=TENANT, limit=10, **asked)
            began = time.perf_counter()
            try:
                answer = self._following.engine_for(request).search(request)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
                self.client.errors.append(repr(error))
                continue
            self.client.slowest = max(self.client.slowest, time.perf_counter() - began)
            self.client.answers += 1
            self._check(answer)
            self.client.newest = answer.snapshot_id

    def _check(self, answer: SearchResponse) -> None:
        """Fingerprints and captions are those of the model whose snapshot is named."""
        model = self._model[answer.snapshot_id]
        expected = {Axis.VV: transform(model, "vv"), Axis.FTS: transform(model, "vision")}
        wrong = [axis for axis, mark in answer.fingerprints.items() if mark != expected.get(axis)]
        strange = [hit for hit in answer.hits if not str(hit.caption).startswith(f"model {model} ")]
        if wrong or strange or not answer.hits:
            self.client.mixed.append(answer.model_dump_json()[:300])


def switches(
    service: Service, store: EvidenceStore, refs: dict[str, SnapshotRef], rounds: int
) -> bool:
    """Publish B and roll back to A so many times; whether every goal was met."""
    spent: dict[str, list[float]] = {"publish": [], "rollback": [], "answer": []}
    for _ in range(rounds):
        for name, act in _acts(store, refs):
            began = time.perf_counter()
            ref = act()
            spent[name].append(time.perf_counter() - began)
            service.seconds_until(ref.snapshot_id)
            spent["answer"].append(time.perf_counter() - began)
    for name, goal in GOALS.items():
        median, worst = statistics.median(spent[name]), max(spent[name])
        print(f"  {name}: median {median:.3f} s, slowest {worst:.3f} s (goal {goal:.0f} s)")
    client = service.client
    print(f"  client: {client.answers} answers, slowest {client.slowest:.2f} s")
    wrong = f"errors {len(client.errors)} {client.errors[:1]}, mixed {len(client.mixed)}"
    print(f"  {wrong}", flush=True)
    swift = all(max(spent[name]) < goal for name, goal in GOALS.items())
    return swift and not client.errors and not client.mixed


def _acts(
    store: EvidenceStore, refs: dict[str, SnapshotRef]
) -> tuple[tuple[str, Callable[[], SnapshotRef]], ...]:
    return (
        ("publish", lambda: publish(store, refs["b"].snapshot_id, time.time())),
        ("rollback", lambda: rollback(store, time.time())),
    )


@contextmanager
def collecting(store: EvidenceStore) -> Iterator[None]:
    """Collections without a pause, with nothing kept but what is in use."""
    over = threading.Event()

    def work() -> None:
        rule = Retention(newest=2, rollbacks=1, grace=0.0)
        while not over.is_set():
            collect(store, rule, time.time(), unquestioned, lambda _: None)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def built(store: EvidenceStore) -> dict[str, SnapshotRef]:
    refs = {}
    for model in MODELS:
        began = time.perf_counter()
        refs[model] = SnapshotStore(store).build(policy(model), time.time())
        print(f"snapshot of {model}: {time.perf_counter() - began:.1f} s", flush=True)
    return refs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="kept, and used again; a temporary one if none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ecm-switch-") as temporary:
        home = options.folder or Path(temporary)
        profile = load_profile(None, home=home, overrides=[], environ={})
        store = EvidenceStore.create(profile.evidence, time.time())
        if not store.tables():
            fill(store, options.assets, options.dim)
        refs = built(store)
        publish(store, refs["a"].snapshot_id, time.time())
        service = Service(store, home, refs)
        with service.running():
            cold = service.warmed()
            print(f"searches after the start until each kind was answered: {cold} refused")
            print(f"{refs['a'].assets} assets, {options.rounds} times there and back:")
            good = switches(service, store, refs, options.rounds)
            print("the same while collection goes on:")
            with collecting(store):
                good &= switches(service, store, refs, options.rounds)
        began = time.perf_counter()
        found = difference(store, refs["a"], refs["b"], TENANT, 5)
        changed = found.tenants[TENANT].changed
        print(f"diff: {changed} assets changed, {time.perf_counter() - began:.1f} s")
        print(f"snapshots left: {len(all_refs(store))}")
    sys.exit(not good)


if __name__ == "__main__":
    main()
