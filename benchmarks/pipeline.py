"""How much of the bare models' speed is left from files to committed evidence?

    python benchmarks/pipeline.py [--photos DIR] [--images 2000] [--rounds 3] [--threads N]

Re-encodes the photos until there are enough distinct images. Then, in turns: a plain loop over the
same reading, decoding, structure descriptor and models with the same threads, in one process; and
`ecm index` into a new home. Prints images per second of both, start-up excluded, their ratio, the
start-up seconds and the peak memory (proportional set size over all processes). Medians over
the rounds; absolute figures of a shared machine mean little, the ratio compares the same minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("ECM_SHARED", ROOT.parent / "shared")) / "data" / "photos"


def prepare(photos: Path, folder: Path, count: int) -> None:
    """`count` distinct JPEGs: each photo again and again, cut by a pixel and at another quality."""
    sources = sorted(p for p in photos.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png"})
    if not sources:
        sys.exit(f"no photos below {photos}")
    folder.mkdir(parents=True)
    seen: set[str] = set()
    number = 0
    while len(seen) < count:
        source, turn = sources[number % len(sources)], number // len(sources)
        number += 1
        image = Image.open(source).convert("RGB")
        image = image.crop((turn, 0, image.width, image.height))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=92 - turn)
        mark = hashlib.sha256(buffer.getvalue()).hexdigest()
        if mark not in seen:
            seen.add(mark)
            (folder / f"{number:06d}.jpg").write_bytes(buffer.getvalue())


def plain_loop(folder: Path, batch_size: int, threads: int) -> dict[str, float]:
    """The bare loop; run in a process of its own."""
    from ecm.config import load_profile
    from ecm.images.cuts import cut
    from ecm.images.decode import decode
    from ecm.images.listing import Found, list_source
    from ecm.images.reading import read_resource
    from ecm.images.structure import structure_descriptor
    from ecm.models.meaning import meaning_text
    from ecm.models.registry import open_image_model, open_text_embedder
    from ecm.opening import plan_of
    from ecm.stages.assembly import cuts_of

    profile = load_profile("L1", environ=os.environ)
    plan = plan_of(profile)
    (manifest, kinds), spec = plan.image_models()[0], next(iter(cuts_of(plan).values()))
    text_manifest = plan.text_model()
    assert text_manifest is not None
    model = open_image_model(manifest, threads=threads)
    embedder = open_text_embedder(text_manifest, threads=threads)
    identities = [f.identity for f in list_source(str(folder)) if isinstance(f, Found)]
    import numpy as np

    began = time.perf_counter()
    for start in range(0, len(identities), batch_size):
        pixels = []
        for identity in identities[start : start + batch_size]:
            image = decode(
                read_resource(identity, profile.images).data, profile.images, spec.resize_shorter
            )
            structure_descriptor(image.pixels, image.width, image.height)
            pixels.append(cut(image.pixels, spec))
        said = model.analyse(np.stack(pixels), kinds)
        texts = [
            meaning_text(caption, tags, classes, ())
            for caption, tags, classes in zip(
                said.captions, said.tags, said.classification, strict=True
            )
        ]
        embedder.embed_texts(texts)
    seconds = time.perf_counter() - began
    return {"images_per_s": len(identities) / seconds}


class PeakMemory(threading.Thread):
    """Peak of the summed proportional set size of a process and all its descendants, in MiB."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._done = threading.Event()
        self.mib = 0.0

    def run(self) -> None:
        while not self._done.wait(2.0):
            total = 0
            try:
                family = [psutil.Process(self._pid)]
                family += family[0].children(recursive=True)
            except psutil.NoSuchProcess:
                return
            for process in family:
                try:
                    total += process.memory_full_info().pss
                except (psutil.NoSuchProcess, psutil.AccessDenied):
                    continue
            self.mib = max(self.mib, total / 2**20)

    def stop(self) -> float:
        self._done.set()
        self.join()
        return self.mib


def measured(arguments: list[str]) -> tuple[dict[str, float], float]:
    """The JSON a command printed, and its peak memory in MiB."""
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, cwd=ROOT, text=True)
    memory = PeakMemory(process.pid)
    memory.start()
    out, _ = process.communicate()
    peak = memory.stop()
    if process.returncode:
        sys.exit(f"{' '.join(arguments)} failed with {process.returncode}")
    value: dict[str, float] = json.loads(out)
    return value, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--photos", type=Path, default=SHARED)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="of the models in both; default: the profile's")
    parser.add_argument("--plain", nargs=3, metavar=("DIR", "BATCH", "THREADS"), default=None)
    options = parser.parse_args()
    if options.plain:
        folder, batch, threads = options.plain
        print(json.dumps(plain_loop(Path(folder), int(batch), int(threads))))
        return
    from ecm.config import load_profile

    config = load_profile("L1", environ=os.environ).pipeline
    with tempfile.TemporaryDirectory(prefix="ecm-bench-") as scratch:
        photos = Path(scratch) / "photos"
        prepare(options.photos, photos, options.images)
        threads = options.threads or config.threads
        plain = [str(photos), str(config.batch_size), str(threads)]
        ratios = []
        for turn in range(options.rounds):
            bare, bare_mib = measured([sys.executable, __file__, "--plain", *plain])
            home = Path(scratch) / "home"
            command = [sys.executable, "-m", "jobs.index", str(photos), "--profile", "L1"]
            command += ["--set", f"pipeline.threads={threads}"]
            run, mib = measured([*command, "--home", str(home), "--json"])
            shutil.rmtree(home)
            rate = run["images_through_models"] / (run["seconds"] - run["startup_seconds"])
            ratios.append(rate / bare["images_per_s"])
            print(
                f"round {turn + 1}: plain loop {bare['images_per_s']:.1f} images/s, peak "
                f"{bare_mib:.0f} MiB; ecm index {rate:.1f} images/s after "
                f"{run['startup_seconds']:.1f} s of start-up, peak {mib:.0f} MiB; "
                f"ratio {ratios[-1]:.3f}",
                flush=True,
            )
    print(f"median ratio {statistics.median(ratios):.3f} over {len(ratios)} rounds")


if __name__ == "__main__":
    main()
