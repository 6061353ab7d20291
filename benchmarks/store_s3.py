"""What does a store on S3 cost beside one on a disk, and what does the local copy bring?

    python benchmarks/store_s3.py [ASSETS] [FOLDER]

The same rows, in batches of 200 images, to a store on a disk and to one on S3, in turns; then a
snapshot of each anew and with 1 % new; then the snapshot opened and searched: on the disk, from S3
without and with a copy yet, and from afar. With AWS_ENDPOINT_URL and BUCKET set the S3 server is
theirs; without, it is moto in a process of its own on this machine, in memory: then the figures
bound what the protocol and the work around it cost, and say nothing about a network.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

import numpy as np
from evidence import BATCH_ASSETS, DIMS, TRANSFORMS, envelopes

from ecm.contracts.result import Space
from ecm.contracts.search import Axis
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import SnapshotRef
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.snapshot_files import read_files
from ecm.evidence.store import EvidenceStore

POLICY = SnapshotPolicy(
    transforms={
        Axis.FTS: (TRANSFORMS["vision"],),
        **{Axis(space.value): (TRANSFORMS[space.value],) for space in Space},
    }
)
QUESTIONS = 20
NEW_SHARE = 0.01
KEYS = {"access_key_id": "bench", "secret_access_key": "benchbench", "region": "us-east-1"}
Answer = TypeVar("Answer")


class Times:
    """Seconds by what was done and where."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[float]] = defaultdict(list)

    def take(self, what: str, where: str, act: Callable[[], Answer]) -> Answer:
        began = time.perf_counter()
        answer = act()
        self._found[what, where].append(time.perf_counter() - began)
        return answer

    def tell(self, baseline: str) -> None:
        """Medians in ms, each with its ratio to that of the baseline."""
        for (what, where), seconds in self._found.items():
            median = statistics.median(seconds)
            ratio = median / statistics.median(self._found[what, baseline])
            print(f"{what:22} {where:12} {1000 * median:9.1f} ms   x {ratio:5.2f}", flush=True)


def serve(told: Connection) -> None:
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    told.send(server.get_host_and_port())
    told.recv()
    server.stop()


@contextmanager
def object_store() -> Iterator[EvidenceConfig]:
    """Settings of a store on S3: that of the environment, or a server started here."""
    if "BUCKET" in os.environ:
        yield EvidenceConfig(uri=f"s3://{os.environ['BUCKET']}/bench-{uuid.uuid4().hex}")
        return
    import boto3

    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    process = spawning.Process(target=serve, args=(there,))
    process.start()
    host, port = here.recv()
    endpoint = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=KEYS["access_key_id"],
        aws_secret_access_key=KEYS["secret_access_key"],
        region_name=KEYS["region"],
    )
    client.create_bucket(Bucket="bench")
    try:
        options = {**KEYS, "endpoint": endpoint}
        yield EvidenceConfig(uri="s3://bench/store", storage_options=options)
    finally:
        here.send("stop")
        process.join()


def fill(stores: dict[str, EvidenceStore], first: int, count: int, times: Times) -> None:
    committers = {where: EvidenceCommitter(store) for where, store in stores.items()}
    rng = np.random.default_rng(first)
    for place in range(first, first + count, BATCH_ASSETS):
        batch = envelopes(place, min(BATCH_ASSETS, first + count - place), rng)
        turns = list(committers.items())
        for where, committer in turns if place // BATCH_ASSETS % 2 else reversed(turns):
            times.take(
                "append a batch",
                where,
                lambda c=committer, p=place, b=batch: c.append(f"b{p}", b),
            )


def search(reader: SnapshotReader, where: str, times: Times) -> None:
    rng = np.random.default_rng(1)
    times.take("first words", where, lambda: words(reader, "word1 word2"))
    times.take("first vector", where, lambda: nearest(reader, rng))
    for number in range(QUESTIONS):
        times.take("words", where, lambda number=number: words(reader, f"word{number * 7} word9"))
        times.take("vector", where, lambda: nearest(reader, rng))


def words(reader: SnapshotReader, text: str) -> int:
    return len(reader.search_text("bench", text, {"caption": 1.0, "tags": 1.0}, 50))


def nearest(reader: SnapshotReader, rng: np.random.Generator) -> int:
    query = rng.normal(size=DIMS[Space.VV]).astype(np.float32)
    return len(reader.search_vectors("bench", Axis.VV, query, 50))


def opened(config: EvidenceConfig, ref: SnapshotRef) -> SnapshotReader:
    return SnapshotReader.open(EvidenceStore.open(config), ref)


def main(assets: int, folder: Path) -> None:
    times = Times()
    with object_store() as far:
        disk = EvidenceConfig(uri=str(folder / "store"))
        stores = {
            "disk": EvidenceStore.create(disk, 0.0),
            "s3": EvidenceStore.create(far, 0.0),
        }
        fill(stores, 0, assets, times)
        refs: dict[str, SnapshotRef] = {}
        for where, store in stores.items():
            build = SnapshotStore(store).build
            times.take("build anew", where, lambda build=build: build(POLICY, 1.0))
        fill(stores, assets, max(1, int(assets * NEW_SHARE)), Times())
        for where, store in stores.items():
            snapshots = SnapshotStore(store)
            ref = times.take("build with 1 % new", where, lambda s=snapshots: s.build(POLICY, 2.0))
            times.take("publish", where, lambda s=snapshots, r=ref: s.publish(r.snapshot_id, 3.0))
            refs[where] = ref
        listed = read_files(stores["s3"], refs["s3"])
        size = listed.size if listed else 0
        cached = far.model_copy(update={"cache_folder": folder / "cache"})
        places = [
            ("disk", disk, refs["disk"]),
            ("s3, no copy", cached, refs["s3"]),
            ("s3, copied", cached, refs["s3"]),
            ("s3, afar", far, refs["s3"]),
        ]
        for where, config, ref in places:
            reader = times.take("open", where, lambda c=config, r=ref: opened(c, r))
            search(reader, where, times)
        print(f"{assets} assets, a snapshot of {size / 2**20:.0f} MiB; medians, ratio to the disk")
        times.tell("disk")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    if len(sys.argv) > 2:
        main(count, Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(count, Path(temporary))
