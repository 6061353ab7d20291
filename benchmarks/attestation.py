"""What attesting a model's files costs beside loading it, and whether 100 starts are ever refused.

    python benchmarks/attestation.py [--rounds 9] [--starts 100] [--gib 1.0]

For each model: the median time to load it, to attest it at first sight (every file hashed) and at
any later start (digests remembered), and the share of the latter in the load; in one process, one
after the other, so that they are compared under the same conditions. Then starts of real processes
that attest the packaged models from one memory, and openings of these models in one process with
their golden probes: how many of them were refused.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from ecm.config import conf_folder
from ecm.errors import EcmError
from ecm.models.attestation import SETTLED_NS, attest, hash_file
from ecm.models.checkpoint import content_revision
from ecm.models.manifest import ModelFile, ModelManifest, load_manifest
from ecm.models.registry import open_image_model, open_text_embedder
from ecm.stages.probing import image_probing, text_probing

START = """
import sys
from pathlib import Path
from ecm.errors import EcmError
from ecm.models.attestation import attest
from ecm.models.manifest import load_manifest
try:
    for name in ("efficientnet-lite0", "all-minilm-l6-v2", "class-bridge"):
        attest(load_manifest(name, [Path(sys.argv[1])]), Path(sys.argv[2]))
except EcmError as error:
    sys.exit(str(error))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--starts", type=int, default=100)
    parser.add_argument("--gib", type=float, default=1.0, help="size of the synthetic checkpoint")
    options = parser.parse_args()
    models = conf_folder({}) / "models"
    print(f"{'model':<22}{'MiB':>8}{'load ms':>10}{'first ms':>10}{'later ms':>10}{'share':>8}")
    with tempfile.TemporaryDirectory(prefix="ecm-attestation-") as scratch:
        image = load_manifest("efficientnet-lite0", [models])
        text = load_manifest("all-minilm-l6-v2", [models])
        large = synthetic(Path(scratch) / "large", options.gib)
        time.sleep(SETTLED_NS / 1e9 + 0.5)  # what has just changed is not remembered
        loads: list[tuple[ModelManifest, Callable[[], object]]] = [
            (image, lambda: open_image_model(image, threads=1, memory=Path(scratch) / "m")),
            (text, lambda: open_text_embedder(text, threads=1, memory=Path(scratch) / "m")),
            (large, lambda: copied(Path(str(large.files[-1].path)))),
        ]
        for manifest, load in loads:
            measure(manifest, load, Path(scratch), options.rounds)
        refused = starts(options.starts, models, Path(scratch) / "starts")
        print(f"{options.starts} starts of processes, {refused} refused")
        refused = openings(options.starts, (image, text), Path(scratch) / "m")
        print(f"{options.starts} openings of both packaged models with probes, {refused} refused")


def measure(
    manifest: ModelManifest, load: Callable[[], object], scratch: Path, rounds: int
) -> None:
    attest(manifest, scratch / "m")
    load()
    loading, first, later = [], [], []
    for number in range(rounds):
        first.append(timed(lambda number=number: attest(manifest, scratch / f"{number}")))
        later.append(timed(lambda: attest(manifest, scratch / "m")))
        loading.append(timed(load))
    took = statistics.median(loading)
    again = statistics.median(later)
    size = sum(file.bytes for file in manifest.files) / 2**20
    print(
        f"{manifest.name:<22}{size:>8.0f}{took:>10.1f}{statistics.median(first):>10.1f}"
        f"{again:>10.2f}{again / took:>8.2%}"
    )


def timed(run: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) * 1000.0


def copied(path: Path) -> int:
    """The weights as a loader has them: read into memory of their own."""
    return sum(part.nbytes for part in load_file(path).values())


def synthetic(folder: Path, gib: float) -> ModelManifest:
    """A checkpoint of one weight file of this size."""
    folder.mkdir()
    rows = max(1, int(gib * 2**30 / 4 / 1024 / 16))
    rng = np.random.default_rng(0)
    parts = {f"w{i}": rng.standard_normal((rows, 1024), dtype=np.float32) for i in range(16)}
    save_file(parts, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    files = []
    for name in ("config.json", "model.safetensors"):
        sha256, size = hash_file(folder / name)
        files.append(ModelFile(name=name, path=str(folder / name), sha256=sha256, bytes=size))
    return ModelManifest(
        name="synthetic",
        backend="none",
        model_id="synthetic",
        revision=content_revision(files),
        licence="none",
        files=tuple(files),
    )


def starts(count: int, models: Path, memory: Path) -> int:
    """How many of `count` processes that attest the packaged models were refused."""
    refused = 0
    for _ in range(count):
        command = [sys.executable, "-c", START, str(models), str(memory)]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        if told.returncode:
            print(told.stderr.strip().splitlines()[-1])
            refused += 1
    return refused


def openings(count: int, manifests: tuple[ModelManifest, ModelManifest], memory: Path) -> int:
    """How many of `count` openings of both packaged models were refused, their probes included."""
    refused = 0
    image, text = manifests
    for _ in range(count):
        try:
            seen = image_probing(open_image_model(image, threads=1, memory=memory), memory)
            read = text_probing(open_text_embedder(text, threads=1, memory=memory), memory)
            drifts = [probing() for probing in (seen, read) if probing is not None]
        except EcmError as error:
            print(error)
            drifts = [None]
            refused += 1
        refused += any(drift is not None for drift in drifts)
    return refused


if __name__ == "__main__":
    main()
