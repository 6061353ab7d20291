"""What do the encoders on transformers bring on this device, and what of it is the device's?

    python -m benchmarks.gpu_encoders [--rounds 5] [--device cuda] [--tiny] [--json]

Real architectures with random weights, made on the spot, opened as a job opens them. For each:
images (texts) per second by batch size in bfloat16; with the prefetch of inner batches against
without, in turns; the encoder against the bare network on tensors that are on the device already;
bfloat16 against float32; memory of the device. Medians over the rounds. Random weights say nothing
of quality. Needs a GPU and exits 2 where there is none; `--device cpu --tiny` runs all of it at toy
size, to prove the code.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests import tiny_checkpoints as tiny

WORDS = ["a photo of", "two people", "a red bench", "a lake", "mountains", "behind", "before"]
WIDE_TEXT = {"vocab_size": 256_000}


def vit(width: int, layers: int, heads: int, wide: int) -> dict[str, int]:
    """The size of a transformer in the words of its configuration."""
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": wide,
    }


def siglip(size: dict[str, int], side: int, patch: int) -> tuple[Callable[[Path], None], Any]:
    sees = {**size, "image_size": side, "patch_size": patch}
    said = {
        "dims": {"vv": size["hidden_size"]},
        "preprocessing": tiny.looks(side, side, "bilinear", tiny.HALF, "squash"),
    }
    return partial(tiny.make_siglip2, reads={**size, **WIDE_TEXT}, sees=sees), said


def dino(width: int, layers: int, heads: int) -> tuple[Callable[[Path], None], Any]:
    shape = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    shape |= {"mlp_ratio": 4, "image_size": 518, "patch_size": 14}
    said = {
        "dims": {"x": width},
        "preprocessing": tiny.looks(224, 256, "bicubic", tiny.IMAGENET, "crop"),
    }
    return partial(tiny.make_dinov2, looks=shape, shorter=256, side=224), said


def qwen(width: int, layers: int, heads: int, wide: int) -> tuple[Callable[[Path], None], Any]:
    shape = {**vit(width, layers, heads, wide), "num_key_value_heads": 8, "head_dim": 128}
    shape |= {"vocab_size": 151_669, "max_position_embeddings": 32_768}
    said = {"dims": {"mv": width}, "params": {"max_tokens": 512}}
    return partial(tiny.make_qwen_embedding, reads=shape), said


SO400M = vit(1152, 27, 16, 4304)
REAL = {
    "siglip2-base-256": ("tiny-siglip2", *siglip(vit(768, 12, 12, 3072), 256, 16)),
    "siglip2-so400m-384": ("tiny-siglip2", *siglip(SO400M, 384, 14)),
    "dinov2-base": ("tiny-dinov2", *dino(768, 12, 12)),
    "dinov2-large": ("tiny-dinov2", *dino(1024, 24, 16)),
    "qwen3-embedding-0.6b": ("tiny-qwen3-embedding", *qwen(1024, 28, 16, 3072)),
}
TINY = {
    name: (kind, tiny.TINY[kind].make, {})
    for name, kind in (
        ("toy-siglip2", "tiny-siglip2"),
        ("toy-dinov2", "tiny-dinov2"),
        ("toy-qwen3-embedding", "tiny-qwen3-embedding"),
    )
}
SIZES = (1, 8, 32, 64, 128, 256)


@dataclass(frozen=True)
class Bench:
    """One machine's settings: how many rounds, which device, how much work a round is."""

    rounds: int
    device: str
    rows: int
    folder: Path

    @property
    def memory(self) -> Path:
        """Where digests of the files are remembered, so that each is hashed once."""
        return self.folder / "cache" / "attested"


def made(name: str, recipe: tuple[str, Callable[[Path], None], Mapping[str, Any]], b: Bench) -> Any:
    """Makes a checkpoint on the device, in bfloat16, and pins it; its manifest."""
    import torch

    from ecm.models.manifest import load_manifest

    kind, make, said = recipe
    folder = b.folder / "checkpoints" / name
    folder.mkdir(parents=True)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(b.device):
            make(folder)
    finally:
        torch.set_default_dtype(before)
    path = tiny.write_manifest(kind, folder, b.folder / "models", called=name, **said)
    return load_manifest(path)


def opened(manifest: Any, b: Bench, dtype: str, **serving: object) -> Any:
    """The model of a manifest, as a job opens it."""
    from ecm.contracts.task import TaskType
    from ecm.models.registry import open_image_model, open_text_embedder

    told = {"dtype": dtype, "serving": {"device": b.device, **serving}}
    start = open_text_embedder if TaskType.MV_EMBED in manifest.provides else open_image_model
    return start(manifest.model_copy(update=told), threads=2, memory=b.memory)


def work_for(model: Any, rows: int) -> Callable[[], object]:
    """One round: `rows` pictures or texts through the model."""
    rng = np.random.default_rng(0)
    manifest = model.manifest
    if manifest.preprocessing is None:
        texts = [" ".join(rng.choice(WORDS, 12)) + f" {n}" for n in range(rows)]
        return lambda: model.embed_texts(texts)
    side = manifest.preprocessing.crop
    pixels = rng.integers(0, 256, (rows, side, side, 3), dtype=np.uint8)
    return lambda: model.analyse(pixels, frozenset(manifest.provides))


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def in_turns(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, measured in turns after one round that is not counted."""
    took: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            spent = seconds(run)
            if turn:
                took[name].append(spent)
    return {name: statistics.median(values) for name, values in took.items()}


def bare(model: Any, rows: int, size: int) -> Callable[[], object] | None:
    """The network alone on tensors of `size` rows that are on the device already; not for texts,
    whose lengths differ.
    """
    import torch

    manifest = model.manifest
    if manifest.preprocessing is None:
        return None
    weights = next(model._model.parameters())
    side = manifest.preprocessing.crop
    batch = torch.zeros((size, 3, side, side), dtype=weights.dtype, device=weights.device)

    def run() -> object:
        with torch.inference_mode():
            for _ in range(rows // size):
                said = model._seen(batch)
        return said.float().cpu()

    return run


def memory_gib(device: str) -> float | None:
    """The most memory of the device since it was last asked, GiB."""
    import torch

    if device != "cuda":
        return None
    peak = torch.cuda.max_memory_allocated() / 2**30
    torch.cuda.reset_peak_memory_stats()
    return round(peak, 2)


def measured(name: str, manifest: Any, b: Bench) -> dict[str, Any]:
    """All figures of one model."""
    from ecm.errors import ResourceExhausted

    rates: dict[int, float] = {}
    memory: dict[int, float | None] = {}
    memory_gib(b.device)
    for size in SIZES:
        if size > b.rows:
            break
        model = opened(manifest, b, "bfloat16", batch_size=size)
        rows = max(size, b.rows if size >= 8 else b.rows // 8)
        work = work_for(model, rows)
        try:
            took = in_turns({"all": work}, b.rounds)["all"]
        except ResourceExhausted:
            break
        rates[size], memory[size] = round(rows / took, 1), memory_gib(b.device)
        del model, work
    best = max(rates, key=lambda size: rates[size])
    ahead = opened(manifest, b, "bfloat16", batch_size=best)
    behind = opened(manifest, b, "bfloat16", batch_size=best, prefetch="off")
    rows = max(b.rows, 4 * best)
    runs = {"on": work_for(ahead, rows), "off": work_for(behind, rows)}
    if (network := bare(ahead, rows, best)) is not None:
        runs["bare"] = network
    turns = in_turns(runs, b.rounds)
    del behind, ahead, runs, network
    exact = opened(manifest, b, "float32", batch_size=best)
    slow = in_turns({"all": work_for(exact, b.rows)}, b.rounds)["all"]
    return {
        "model": name,
        "per_second_by_batch": rates,
        "memory_gib_by_batch": memory,
        "best_batch": best,
        "prefetch_on_over_off": round(turns["off"] / turns["on"], 3),
        "encoder_over_bare": round(turns["bare"] / turns["on"], 3) if "bare" in turns else None,
        "bfloat16_over_float32": round(slow / b.rows * rates[best], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=0, help="rows per round; 0: 512, toy 32")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="toy models, to prove the code")
    parser.add_argument("--only", default="", help="one model by name")
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    import torch
    import transformers

    if told.device == "cuda" and not torch.cuda.is_available():
        print("this benchmark needs a GPU (toy size: --device cpu --tiny)", file=sys.stderr)
        sys.exit(2)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    name = torch.cuda.get_device_name() if told.device == "cuda" else "cpu"
    folder = Path(tempfile.mkdtemp(prefix="ecm-bench-"))
    found = []
    try:
        b = Bench(told.rounds, told.device, told.rows or (32 if told.tiny else 512), folder)
        for model, recipe in (TINY if told.tiny else REAL).items():
            if told.only in ("", model):
                found.append(measured(model, made(model, recipe, b), b))
                shutil.rmtree(folder / "checkpoints" / model)
                if not told.json:
                    print(_line(found[-1]), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if told.json:
        print(json.dumps({"device": name, "torch": torch.__version__, "models": found}))
    else:
        print(f"device {name}, torch {torch.__version__}, medians of {told.rounds} rounds in turns")


def _line(said: dict[str, Any]) -> str:
    rates = ", ".join(f"{size}: {rate}" for size, rate in said["per_second_by_batch"].items())
    return (
        f"{said['model']}: per second by batch {rates}; best {said['best_batch']}, "
        f"{said['memory_gib_by_batch'][said['best_batch']]} GiB; prefetch on/off "
        f"{said['prefetch_on_over_off']}; encoder/bare {said['encoder_over_bare']}; "
        f"bfloat16/float32 {said['bfloat16_over_float32']}"
    )


if __name__ == "__main__":
    main()
