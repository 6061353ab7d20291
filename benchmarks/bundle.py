"""What do an export and an import cost beside a plain copy of the same tables, in time and memory?

    python -m benchmarks.bundle [--assets 100000] [--folder DIR]

Synthetic evidence with the dimensions of the packaged models. Every step runs in a process of its
own, so that its peak memory is its own. The baseline is a Lance copy of every table, unsorted and
unhashed, in the same run. Fails when a step needs more than MEMORY_LIMIT bytes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import lance
import numpy as np

from benchmarks.evidence import envelopes, peak_bytes
from ecm.delivery.committing import CommitSettings
from ecm.delivery.exporting import ExportSettings, export_bundle
from ecm.delivery.importing import check_bundle, import_rows, planned
from ecm.delivery.rebuild import RebuildSettings, rebuild
from ecm.evidence.bundle import BundleFormat
from ecm.evidence.bundle_reading import Bundle
from ecm.evidence.committer import EvidenceCommitter, unquestioned
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger.config import LedgerConfig
from ecm.ledger.ledger import open_ledger
from ecm.stages.plan import TransformPlan

BATCH_ASSETS = 1000
MEMORY_LIMIT = 2 << 30


def store_at(folder: Path) -> EvidenceStore:
    return EvidenceStore.create(EvidenceConfig(uri=str(folder)), 0.0)


def fill(folder: Path, assets: int) -> None:
    committer = EvidenceCommitter(store_at(folder / "store"))
    rng = np.random.default_rng(0)
    for number, first in enumerate(range(0, assets, BATCH_ASSETS)):
        batch = envelopes(first, min(BATCH_ASSETS, assets - first), rng)
        committer.append(f"b{number}", batch)


def copy(folder: Path) -> None:
    store = store_at(folder / "store")
    for name in store.tables():
        reader = store.dataset(name).scanner().to_reader()
        lance.write_dataset(reader, str(folder / "copy" / f"{name}.lance"), schema=reader.schema)


def export(folder: Path, file_format: BundleFormat) -> None:
    settings = ExportSettings(
        tenants=None,
        file_format=file_format,
        tables_left_out=frozenset(),
        snapshot=None,
        models={},
        ecm_version="benchmark",
    )
    dest = folder / file_format.value
    export_bundle(
        store_at(folder / "store"), lambda: (), settings, dest, time.time(), lambda *_: None
    )


def check(folder: Path, file_format: BundleFormat) -> None:
    check_bundle(Bundle.open(folder / file_format.value), lambda *_: None)


def enter(folder: Path, file_format: BundleFormat) -> None:
    plan = planned(Bundle.open(folder / file_format.value), TransformPlan({}), None)
    store = store_at(folder / f"from-{file_format.value}")
    import_rows(plan, store, unquestioned, time.time(), lambda *_: None)


def tell(folder: Path) -> None:
    store = store_at(folder / "from-lance")
    settings = RebuildSettings(CommitSettings("bench", "bench", 1000, 1.0), 600.0, {})
    with open_ledger(LedgerConfig(url=f"sqlite://{folder / 'ledger.sqlite3'}")) as ledger:
        rebuild(ledger, store, Spool(folder / "spool"), settings, lambda _: None)


LANCE, PARQUET = BundleFormat.LANCE, BundleFormat.PARQUET
STEPS: dict[str, Callable[[Path], None]] = {
    "copy": copy,
    "export lance": lambda folder: export(folder, LANCE),
    "export parquet": lambda folder: export(folder, PARQUET),
    "check lance": lambda folder: check(folder, LANCE),
    "check parquet": lambda folder: check(folder, PARQUET),
    "import lance": lambda folder: enter(folder, LANCE),
    "import parquet": lambda folder: enter(folder, PARQUET),
    "tell the ledger": tell,
}


def step(name: str, folder: Path) -> None:
    began = time.perf_counter()
    STEPS[name](folder)
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "peak": peak_bytes()}))


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def main(assets: int, folder: Path) -> bool:
    if not (folder / "store").exists():
        fill(folder, assets)
    rows = sum(store_at(folder / "store").counts().values())
    print(f"{assets:,} assets, {rows:,} rows, {size_of(folder / 'store'):,} bytes", flush=True)
    baseline, good = 0.0, True
    for name in STEPS:
        command = [sys.executable, "-m", "benchmarks.bundle", "--step", name]
        done = subprocess.run(
            [*command, "--folder", str(folder)], capture_output=True, text=True, check=True
        )
        told = json.loads(done.stdout)
        baseline = baseline or told["seconds"]
        good = good and told["peak"] < MEMORY_LIMIT
        print(
            f"{name:16} {told['seconds']:7.1f} s, {told['seconds'] / baseline:5.1f} x copy, "
            f"{told['peak'] >> 20:5} MiB",
            flush=True,
        )
    for kind in BundleFormat:
        print(f"{kind.value} bundle: {size_of(folder / kind.value):,} bytes")
    return good


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=int, default=100_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--step", choices=STEPS)
    options = parser.parse_args()
    if options.step:
        step(options.step, options.folder)
    elif options.folder:
        sys.exit(not main(options.assets, options.folder))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            sys.exit(not main(options.assets, Path(temporary)))
