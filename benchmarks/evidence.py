"""How long do committing, building a snapshot and searching take for 100,000 assets?

    python benchmarks/evidence.py [ASSETS] [FOLDER]

Synthetic envelopes with the dimensions of the packaged models. Ratios: appending against plain
Lance writes of the same rows, exact search against numpy alone.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path

import lance
import numpy as np

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
from ecm.contracts.search import Axis
from ecm.evidence.codec import tables_of
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.snapshot import SnapshotPolicy, SnapshotStore
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore

DIMS = {Space.VV: 1280, Space.X: 252, Space.MV: 384}
TRANSFORMS = {name: digest(name) for name in ("vision", "vv", "x", "mv")}
WORDS = [f"word{n}" for n in range(2000)]
BATCH_ASSETS = 200
REPEATS = 20


def envelopes(first: int, count: int, rng: np.random.Generator) -> list[ResultEnvelope]:
    made = []
    vectors = {}
    for space, dim in DIMS.items():
        values = rng.normal(size=(count, dim)).astype(np.float32)
        vectors[space] = values / np.linalg.norm(values, axis=1, keepdims=True)
    for place in range(count):
        labels = rng.choice(WORDS, 6)
        said = Outputs(
            caption=TextStatement(text="a photo of " + " ".join(labels[:3]), composed=True),
            tags=tuple(LabelStatement(label=w, confidence=0.5) for w in labels),
            classification=(LabelStatement(label=labels[0], confidence=0.9, scheme="s"),),
        )
        made.append(envelope(first + place, "vision", TRANSFORMS["vision"], said))
        for space in Space:
            said = Outputs(vectors=(VectorStatement.of(space, vectors[space][place]),))
            transform = TRANSFORMS[space.value]
            made.append(envelope(first + place, f"{space.value}_embed", transform, said))
    return made


def envelope(number: int, task_type: str, transform: str, said: Outputs) -> ResultEnvelope:
    uri = f"file:///photos/folder{number % 100}/image_{number}.jpg"
    return ResultEnvelope.seal(
        tenant_id="bench",
        task_id=digest([number, task_type]),
        task_type=task_type,
        transform=transform,
        run_id="bench",
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


def fill(store: EvidenceStore, folder: Path, assets: int) -> None:
    committer, spool = EvidenceCommitter(store), Spool(folder / "spool")
    rng = np.random.default_rng(0)
    spent = {"encode": 0.0, "spool": 0.0, "append": 0.0, "plain": 0.0}
    for number, first in enumerate(range(0, assets, BATCH_ASSETS)):
        batch = envelopes(first, min(BATCH_ASSETS, assets - first), rng)
        marks = [time.perf_counter()]
        tables = tables_of(batch, "plain")
        marks.append(time.perf_counter())
        spool.write(f"b{number}", batch, 0.0)
        marks.append(time.perf_counter())
        committer.append(f"b{number}", batch)
        marks.append(time.perf_counter())
        if number < REPEATS:
            for name, table in tables.items():
                lance.write_dataset(table, folder / "plain" / name, mode="append")
            marks.append(time.perf_counter())
            spent["plain"] += marks[4] - marks[3]
            spent["append"] += marks[3] - marks[2]
        spent["encode"] += marks[1] - marks[0]
        spent["spool"] += marks[2] - marks[1]
        spool.drop(f"b{number}")
        if number % 100 == 0:
            print(f"batch {number}: append {1000 * (marks[3] - marks[2]):.0f} ms", flush=True)
    print(f"encode {spent['encode']:.1f} s, spool {spent['spool']:.1f} s")
    print(f"append / plain Lance append of the same tables: {spent['append'] / spent['plain']:.2f}")


def search(reader: SnapshotReader) -> None:
    matrix = reader.tenant_matrix("bench", Axis.VV)
    query = matrix.vectors[7]
    began = time.perf_counter()
    for _ in range(REPEATS):
        np.argsort(-(matrix.vectors @ query))[:200]
    numpy_seconds = time.perf_counter() - began
    began = time.perf_counter()
    for _ in range(REPEATS):
        reader.search_vectors("bench", Axis.VV, query, 200)
    exact = time.perf_counter() - began
    print(f"exact search {1000 * exact / REPEATS:.1f} ms, / numpy {exact / numpy_seconds:.2f}")
    boosts = {"caption": 1.0, "tags": 1.0, "classification": 1.0, "name": 1.0, "ocr": 1.0}
    for text in ("word7 word9", "photo of word3", "image 1234"):
        began = time.perf_counter()
        found = [reader.search_text("bench", text, boosts, 200) for _ in range(REPEATS)]
        seconds = (time.perf_counter() - began) / REPEATS
        print(f"text {text!r}: {1000 * seconds:.1f} ms, {len(found[0])} found")
    ids = [asset_id for asset_id, _ in found[0]][:50]
    began = time.perf_counter()
    for _ in range(REPEATS):
        reader.rows("bench", ids)
    print(f"50 rows {1000 * (time.perf_counter() - began) / REPEATS:.1f} ms")


def peak_bytes() -> int:
    """Of this program alone: getrusage would count what its parent held when it was forked."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


def main(assets: int, folder: Path) -> None:
    store = EvidenceStore.create(EvidenceConfig(uri=str(folder / "store")), 0.0)
    if not store.tables():
        fill(store, folder, assets)
    snapshots = SnapshotStore(store)
    policy = SnapshotPolicy(
        transforms={
            Axis.FTS: (TRANSFORMS["vision"],),
            **{Axis(space.value): (TRANSFORMS[space.value],) for space in Space},
        }
    )
    began = time.perf_counter()
    ref = snapshots.build(policy, time.time())
    print(f"snapshot of {ref.assets} assets: {time.perf_counter() - began:.1f} s", flush=True)
    print(ref.measurements.model_dump_json())
    began = time.perf_counter()
    snapshots.build(policy, time.time())
    print(f"unchanged: {1000 * (time.perf_counter() - began):.0f} ms")
    search(SnapshotReader.open(store, ref))


if __name__ == "__main__":
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    if len(sys.argv) > 2:
        main(size, Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(size, Path(temporary))
