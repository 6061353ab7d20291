"""Kills victims one after the other on one store, and knows what should be left in the end.

A chain is a home with a ledger and a store. Every strike adds photos, starts a victim that first
recovers from the one before, and ends it at a crash point. The oracle is a victim that is left
alone on the same photos.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from PIL import Image

from ecm.contracts.identity import evidence_key
from ecm.crashpoints import POINTS, STORE_POINTS
from ecm.errors import StoreCorrupt
from ecm.evidence.building import MOST_STEPS
from ecm.evidence.refs import all_refs
from ecm.evidence.schema import ANALYSIS_RUNS, is_evidence_table, key_column
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger import Ledger, open_ledger
from tests.fault_victim import TENANT, Order, fields_of

REPO = Path(__file__).resolve().parents[1]
PATIENCE = 60.0
AT_ONCE = ("pipeline.commit_envelopes=1000", "pipeline.block_images=100")
"""How a run that nobody disturbs gets done sooner, with the same evidence."""
STRUCK, FINISHED = "killed", "finished"


@dataclass(frozen=True)
class Fault:
    """A crash point, at which passage, and what happens there."""

    point: str
    passage: int = 1
    action: str = "kill"

    def __str__(self) -> str:
        return f"{self.point}:{self.passage}:{self.action}"


NEEDS_A_DEAD_COMMITTER = frozenset(
    {"recover.batch", "ledger.expire_right.uncommitted", "ledger.expire_right.committed"}
    | {"ledger.rescue.uncommitted", "ledger.rescue.committed"}
)
NEEDS_A_LOST_SPOOL = frozenset(
    {"recover.rows_deleted", "ledger.requeue_batch.uncommitted", "ledger.requeue_batch.committed"}
)
NEEDS_A_SNAPSHOT = frozenset({"snapshot.reduced", "snapshot.extended"})
NEEDS_A_BAD_PHOTO = frozenset(
    {"commit.facts", "commit.failed", "ledger.fail.uncommitted", "ledger.fail.committed"}
)
ACTS = {
    "ledger.cancel_job": "cancel",
    "ledger.mark_mismatch": "mismatch",
    "ledger.redrive": "mismatch",
    "ledger.fold_evidence": "fold",
}
ELSEWHERE = frozenset(
    {"ledger.restore.uncommitted", "ledger.restore.committed"}
    | {"ledger.reopen.uncommitted", "ledger.reopen.committed"}
    | STORE_POINTS.keys()
)
"""Points that no run of an index passes; they have tests of their own."""


def indexing_points() -> list[str]:
    """Every crash point that an indexing victim can be made to pass."""
    return [point for point in POINTS if point not in ELSEWHERE]


class Server:
    """The process that forks victims."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fault_victim"],
            cwd=REPO,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, order: Order) -> int:
        return int(self._ask({"start": fields_of(order)})["pid"])

    def wait(self, pid: int) -> int:
        """The exit code, negative for a signal. A victim that hangs ends itself."""
        return int(self._ask({"wait": pid})["code"])

    def run(self, order: Order) -> int:
        return self.wait(self.start(order))

    def close(self) -> None:
        _pipe(self._process.stdin).close()
        self._process.wait()
        _pipe(self._process.stdout).close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        _pipe(self._process.stdin).write(json.dumps(request) + "\n")
        _pipe(self._process.stdin).flush()
        answer: dict[str, Any] = json.loads(_pipe(self._process.stdout).readline())
        return answer


@contextmanager
def server() -> Iterator[Server]:
    started = Server()
    try:
        yield started
    finally:
        started.close()


@dataclass
class Verdict:
    """What a chain lost, doubled or did twice, in rows and keys. All empty is what is asked for."""

    lost: set[str] = field(default_factory=set)
    foreign: set[str] = field(default_factory=set)
    doubled: list[str] = field(default_factory=list)
    recomputed: list[str] = field(default_factory=list)
    unbalanced: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return self == Verdict()


class Chain:
    """One home, struck again and again.

    Args:
        folder: where homes and photos lie.
        url: the ledger's URL for the home of a given name; a new one each.
    """

    def __init__(
        self, folder: Path, server: Server, url: Callable[[str], str], settings: Sequence[str] = ()
    ) -> None:
        self._server = server
        self._folder = folder
        self._url = url
        self._number = 0
        self._ledgers = 0
        self._read = 0
        self._safe: set[str] = set()
        self.recomputed: list[str] = []
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.photos = folder / "photos"
        self.photos.mkdir()
        self.order = self.order_in("chain", settings)
        self.spool = Spool(self.order.profile().spool)

    def order_in(self, home: str, settings: Sequence[str] = ()) -> Order:
        """An order for a victim of these photos in a home of its own."""
        (self._folder / home).mkdir()
        ledger = f"ledger.url={self._url(home)}"
        return Order(str(self._folder / home), str(self.photos), settings=(ledger, *settings))

    @property
    def over_postgres(self) -> bool:
        return self.order.profile().ledger.url.startswith("postgresql")

    def grow(self, torn: int = 0) -> None:
        """New photos: three of new content, a copy of one of them under another name, torn ones.

        Sizes and colours make every content another; those torn become dead letters. There is one
        at every fourth time, or as many as are asked for.
        """
        self._number += 1
        new = [png(self._number * 8 + place) for place in range(3)]
        named = {"a": new[0], "b": new[1], "c": new[2], "copy": new[0]}
        for place in range(torn or self._number % 4 == 1):
            named[f"torn-{place}"] = png(self._number * 8 + 3 + place)[:-20]
        for name, data in named.items():
            (self.photos / f"{self._number:04d}-{name}.png").write_bytes(data)

    def strike(self, fault: Fault, *acts: str) -> str:
        """Grow, run a victim into the fault, and note what must never be computed again."""
        self.prepare(fault.point)
        self.grow(torn=int(fault.point in NEEDS_A_BAD_PHOTO))
        mine = ACTS.get(fault.point.rpartition(".")[0])
        order = replace(self.order, crash=str(fault), acts=(*acts, *([mine] if mine else [])))
        outcome = self.run(order)
        self.outcomes[fault.point, outcome] += 1
        return outcome

    def prepare(self, point: str) -> None:
        """Make the state in which a victim passes the point."""
        if point in NEEDS_A_DEAD_COMMITTER | NEEDS_A_LOST_SPOOL:
            assert self.strike(Fault("commit.reported")) == STRUCK
        if point in NEEDS_A_LOST_SPOOL:
            self.lose_spool()
        while point in NEEDS_A_SNAPSHOT and not self.is_built_on():
            assert self.strike(Fault("snapshot.described")) == STRUCK

    def is_built_on(self) -> bool:
        """Whether the next snapshot will be built on the newest one there is."""
        config = self.order.profile().evidence
        there = Path(config.uri, "store.json").exists()
        refs = all_refs(EvidenceStore.open(config)) if there else ()
        return bool(refs) and refs[0].lineage.steps < MOST_STEPS

    def lose_spool(self) -> None:
        """The disk of the committer's machine is gone, with the fresh results on it."""
        shutil.rmtree(self.order.profile().spool)
        self.forget_spool()

    def forget_spool(self) -> None:
        """What lay in the spool was taken from it: only what is committed is safe now."""
        with self.ledger() as ledger:
            self._safe = set(ledger.done_evidence(self._safe))

    def lose_ledger(self) -> None:
        """Another, empty ledger stands where the old one was."""
        self._ledgers += 1
        old = f"ledger.url={self._url('chain')}"
        new = f"ledger.url={self._url(f'chain-{self._ledgers}')}"
        settings = [new if setting == old else setting for setting in self.order.settings]
        self.order = replace(self.order, settings=tuple(settings))

    def outcome_of(self, code: int) -> str:
        """After a victim has ended: what became of it, and the books of what it computed."""
        self.account()
        self._safe |= self._spooled()
        match code:
            case 0:
                return FINISHED
            case killed if killed == -signal.SIGKILL:
                return STRUCK
            case _:
                told = json.loads(self.order.result.read_text())
                return str(told["error"]) if code > 0 else f"signal {-code}: {told}"

    def run(self, order: Order | None = None) -> str:
        """Run a victim; how it ended."""
        return self.outcome_of(self._server.run(order or self.order))

    def stop(self, order: Order) -> int:
        """Start a victim that stops itself somewhere; returns its process id when it has."""
        pid = self._server.start(order)
        wait_until(lambda: state_of(pid) in "TZ", f"stop at {order.crash}")
        assert state_of(pid) == "T", (order.crash, self.outcome_of(self._server.wait(pid)))
        return pid

    def wake(self, pid: int) -> str:
        """Let a stopped victim go on; how it ended."""
        os.kill(pid, signal.SIGCONT)
        return self.outcome_of(self._server.wait(pid))

    def account(self) -> None:
        """Whatever the models have done since the last time must not have been safe before."""
        journal = self.order.journal
        lines = journal.read_bytes().splitlines() if journal.exists() else []
        for line in lines[self._read :]:
            self.recomputed += sorted(self._safe.intersection(json.loads(line)["keys"]))
        self._read = len(lines)

    def images_modelled(self) -> int:
        lines = self.order.journal.read_bytes().splitlines()
        return sum(json.loads(line)["images"] for line in lines)

    def finish(self, order: Order | None = None) -> dict[str, Any]:
        """Let one run to its end; what it says."""
        order = order or self.order
        code = self._server.run(order)
        told: dict[str, Any] = json.loads(order.result.read_text())
        assert code == 0, told
        self.account()
        return told

    def verdict(self) -> Verdict:
        """Finish, and compare with a run that nobody disturbed."""
        told = self.finish()
        clean = self.order_in(f"clean-{self._number}", AT_ONCE)
        wanted = self.finish(clean)
        mine, theirs = rows_of(self.order), rows_of(clean)
        verdict = Verdict(recomputed=self.recomputed)
        for table in sorted(mine.keys() | theirs.keys()):
            counted, expected = mine.get(table, Counter()), theirs.get(table, Counter())
            verdict.lost |= {f"{table} {key}" for key in expected.keys() - counted.keys()}
            verdict.foreign |= {f"{table} {key}" for key in counted.keys() - expected.keys()}
            verdict.doubled += [f"{table} {key}" for key, n in counted.items() if n > 1]
        for name in ("key_digest", "listed", "dead", "assets"):
            if told[name] != wanted[name]:
                verdict.unbalanced.append(f"{name}: {told[name]} instead of {wanted[name]}")
        if not told["balanced"]:
            verdict.unbalanced += told["problems"]
        with self.ledger() as ledger, open_ledger(clean.profile().ledger) as oracle:
            states, should = ledger.status(ledger.now()).states, oracle.status(oracle.now()).states
        if states != should:
            other = {s.value: (n, should[s]) for s, n in states.items() if n != should[s]}
            verdict.unbalanced.append(f"tasks by state, and as they should be: {other}")
        return verdict

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        with open_ledger(self.order.profile().ledger) as ledger:
            yield ledger

    def _spooled(self) -> set[str]:
        """Evidence keys of the results that lie in the spool."""
        found: set[str] = set()
        for batch_id in self.spool.list():
            try:
                batch = self.spool.read(batch_id)
            except StoreCorrupt:
                continue
            for envelope in batch.envelopes if batch else ():
                content = envelope.resource_fingerprint.content_hash
                if content and not envelope.linked:
                    kind, transform = envelope.task_type, envelope.transform
                    found.add(evidence_key(TENANT, content, kind, transform))
        return found


def rows_of(order: Order) -> dict[str, Counter[str]]:
    """How often each row stands in each table, by id; the rows of runs differ by design."""
    store = EvidenceStore.open(order.profile().evidence)
    ids = {
        name: "evidence_id" if is_evidence_table(name) else key_column(name)
        for name in store.tables()
        if name != ANALYSIS_RUNS
    }
    return {
        name: Counter(store.read(name, [column])[column].to_pylist())
        for name, column in ids.items()
    }


def png(number: int) -> bytes:
    """A small PNG; every number is another content."""
    image = Image.new("RGB", (16 + number % 7, 16), (number % 251, number // 251 % 251, 90))
    image.putpixel((0, 0), (number % 256, number // 256 % 256, number // 65536 % 256))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def wait_until(happened: Callable[[], bool], what: str) -> None:
    """Poll a condition of another process; fails after PATIENCE seconds."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.005)


def state_of(pid: int) -> str:
    """The state of a process in one letter: T has stopped, Z is dead and not yet waited for."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def table_of(outcomes: Counter[tuple[str, str]]) -> str:
    """Point × outcome, with counts, for people."""
    columns = sorted({outcome for _, outcome in outcomes})
    points = list(dict.fromkeys(point for point, _ in outcomes))
    width = max(len(point) for point in points)
    lines = [f"{'point':<{width}}  " + "  ".join(columns)]
    for point in sorted(points, key=lambda p: list(POINTS).index(p) if p in POINTS else 999):
        cells = (f"{outcomes[point, c] or '':>{len(c)}}" for c in columns)
        lines.append(f"{point:<{width}}  " + "  ".join(cells))
    return "\n".join(lines)


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
