"""How long does a snapshot take anew and built on the one before, in how much memory; cold open.

    python benchmarks/snapshot.py [ASSETS] [ROUNDS] [FOLDER]

Synthetic envelopes with the dimensions of the packaged models. A round: build anew, add 1 % new
assets, build on; each in a process of its own, whose peak of resident memory is taken. Then the
snapshot is opened in a fresh process, its files dropped from the page cache before: until it is
open, and until the first question in words is answered. Medians over rounds, and their ratios.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from evidence import BATCH_ASSETS, TRANSFORMS, envelopes, peak_bytes

from ecm.contracts.result import Space
from ecm.contracts.search import Axis
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.snapshot_files import files_of
from ecm.evidence.store import EvidenceStore

POLICY = SnapshotPolicy(
    transforms={
        Axis.FTS: (TRANSFORMS["vision"],),
        **{Axis(space.value): (TRANSFORMS[space.value],) for space in Space},
    }
)
NEW_SHARE = 0.01
BATCHES_AT_ONCE = 5


def opened(folder: Path) -> EvidenceStore:
    return EvidenceStore.create(EvidenceConfig(uri=str(folder / "store")), 0.0)


def fill(store: EvidenceStore, first: int, count: int) -> None:
    committer, rng = EvidenceCommitter(store), np.random.default_rng(first)
    size = BATCH_ASSETS * BATCHES_AT_ONCE
    for place in range(first, first + count, size):
        batch = envelopes(place, min(size, first + count - place), rng)
        committer.append(f"b{place}", batch)
    store.index_lookups()


def build(folder: Path, way: str) -> dict[str, object]:
    snapshots = SnapshotStore(opened(folder))
    began = time.perf_counter()
    make = snapshots.build_anew if way == "anew" else snapshots.build
    ref = make(POLICY, time.time())
    return {
        "seconds": time.perf_counter() - began,
        "mib": peak_bytes() / 2**20,
        "id": ref.snapshot_id,
        "base": ref.lineage.base,
        "touched": ref.lineage.touched,
    }


def cold_open(folder: Path, snapshot_id: str) -> dict[str, object]:
    store = opened(folder)
    ref = next(r for r in SnapshotStore(store).list() if r.snapshot_id == snapshot_id)
    os.sync()
    for name in files_of(store, ref):
        with open(store.storage.location(name), "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    began = time.perf_counter()
    reader = SnapshotReader.open(EvidenceStore.open(store.config), ref)
    seconds = time.perf_counter() - began
    found = reader.search_text("bench", "word7 word9", {"caption": 1.0, "tags": 1.0}, 20)
    answered = time.perf_counter() - began
    return {"seconds": seconds, "answered": answered, "found": len(found)}


def alone(*words: str) -> dict[str, object]:
    """The same script in a process of its own."""
    run = subprocess.run(
        [sys.executable, __file__, *words], check=True, capture_output=True, text=True
    )
    told: dict[str, object] = json.loads(run.stdout.splitlines()[-1])
    return told


def main(assets: int, rounds: int, folder: Path) -> None:
    store = opened(folder)
    if not store.tables():
        began = time.perf_counter()
        fill(store, 0, assets)
        print(f"{assets} assets written in {time.perf_counter() - began:.0f} s", flush=True)
    new = max(1, int(assets * NEW_SHARE))
    figures: dict[str, list[float]] = {}
    have = store.counts()["assets"]
    for _ in range(rounds):
        anew = alone("anew", str(folder))
        fill(store, have, new)
        have += new
        step = alone("step", str(folder))
        assert step["base"] == anew["id"], step
        cold = alone("open", str(folder), str(step["id"]))
        row = {
            "anew s": anew["seconds"],
            "step s": step["seconds"],
            "anew MiB": anew["mib"],
            "step MiB": step["mib"],
            "cold open s": cold["seconds"],
            "first answer s": cold["answered"],
        }
        for name, value in row.items():
            figures.setdefault(name, []).append(float(str(value)))
        print(
            ", ".join(f"{name} {float(str(value)):.2f}" for name, value in row.items()), flush=True
        )
    medians = {name: statistics.median(values) for name, values in figures.items()}
    print(f"with {NEW_SHARE:.0%} new of {assets} assets, medians of {rounds}:")
    print(f"built on / anew, time {medians['step s'] / medians['anew s']:.3f} (limit 0.1)")
    print(f"built on / anew, memory {medians['step MiB'] / medians['anew MiB']:.2f}")
    print(
        f"cold open {medians['cold open s']:.3f} s (limit 1), answered after "
        f"{medians['first answer s']:.3f} s"
    )


if __name__ == "__main__":
    words = sys.argv[1:]
    if words and words[0] in ("anew", "step"):
        print(json.dumps(build(Path(words[1]), words[0])))
    elif words and words[0] == "open":
        print(json.dumps(cold_open(Path(words[1]), words[2])))
    else:
        size, times = int(words[0]) if words else 100_000, int(words[1]) if len(words) > 1 else 3
        if len(words) > 2:
            main(size, times, Path(words[2]))
        else:
            with tempfile.TemporaryDirectory() as temporary:
                main(size, times, Path(temporary))
