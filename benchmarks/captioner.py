"""How much of a bare engine's rate is left when a captioner asks it the way the pipeline does?

    .venv-vllm/bin/python -m benchmarks.captioner [--pictures 192] [--rounds 5] [--requests 16]

A tiny random Qwen3-VL on vLLM. The baseline is the same engine, fed by as many clients at once with
inputs that were tokenised and preprocessed before the clock started. Against it, in turns:

    captioner   the stage of the pipeline over three blocks at once: pixels out of Arrow, prompt and
                preprocessing, gate, ladder, parsing and columns included
    ungated     the same without the gate that finds what kills an engine (prefill_window: 0)
    chat        `LLM.chat` over one block after the other, an engine of its own

Rates are medians over rounds; ratios are of rounds that lie next to each other. Rounds are long,
since a pipeline fills its engine once for a whole run and not once for each block.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ecm.models.caption_answer import answer_schema
from ecm.models.engine import Ask, read_prompt
from ecm.models.manifest import ModelManifest, load_manifest
from ecm.models.registry import open_captioner
from ecm.models.vllm_captioner import VllmParams
from ecm.stages.caption import CaptionSettings, CaptionStage
from ecm.stages.columns import ERROR, PICTURE, TASK, pixels_column
from tests.tiny_vlm import make_tiny_vlm, write_manifest

Pixels = npt.NDArray[np.uint8]
REPO = Path(__file__).resolve().parents[1]
BLOCK = 32
AT_ONCE = 3


def pictures(count: int, seed: int) -> list[Pixels]:
    """Random blotches, 192 x 256, no two alike."""
    drawn = np.random.default_rng(seed)
    small = drawn.integers(0, 256, (count, 6, 8, 3), dtype=np.uint8)
    return [np.kron(each, np.ones((32, 32, 1), dtype=np.uint8)) for each in small]


def blocks_of(manifest: ModelManifest, shown: Sequence[Pixels]) -> list[pa.Table]:
    """Blocks as the stage before hands them on."""
    schema = pa.schema(
        [
            ("resource_key", pa.string()),
            ("tasks", pa.list_(TASK)),
            ("linked", pa.list_(pa.string())),
            ("known_text", pa.string()),
            ("error", ERROR),
            (pixels_column(manifest.name), PICTURE),
        ]
    )
    task = {"task_id": "t", "task_type": "vision", "transform": "x", "attempt": 1, "fence": 1}
    rows = [
        {
            "resource_key": f"{number}-{picture[0, 0].tolist()}",
            "tasks": [task],
            "linked": [],
            pixels_column(manifest.name): {
                "rgb": picture.tobytes(),
                "width": picture.shape[1],
                "height": picture.shape[0],
            },
        }
        for number, picture in enumerate(shown)
    ]
    return [
        pa.Table.from_pylist(rows[start : start + BLOCK], schema=schema)
        for start in range(0, len(rows), BLOCK)
    ]


class Contest:
    """The contenders over one engine, and one with an engine of its own."""

    def __init__(self, manifest: ModelManifest, requests: int) -> None:
        self.manifest = manifest
        self.requests = requests
        self.params = manifest.params_as(VllmParams)
        self.captioner: Any = open_captioner(manifest, threads=1)
        self.engine: Any = self.captioner._engine
        settings = CaptionSettings.of(manifest, None)
        self.gated = CaptionStage(self.captioner, replace(settings, window=1))
        self.ungated = CaptionStage(self.captioner, replace(settings, window=0))

    def ask(self, picture: Pixels) -> Ask:
        told = self.params
        path = next(file.path for file in self.manifest.files if file.name == "prompt")
        prompt = read_prompt(Path(str(path)))
        return Ask(
            pixels=picture,
            prompt=prompt,
            schema=answer_schema(told),
            temperature=told.temperature,
            top_p=told.top_p,
            seed=told.seed,
            max_tokens=told.max_tokens,
        )

    async def bare(self, shown: Sequence[Pixels], mark: str) -> float:
        """Pictures per second of the engine alone, `requests` clients, inputs ready."""
        from PIL import Image
        from vllm.renderers.inputs.preprocess import parse_model_prompt
        from vllm.sampling_params import RequestOutputKind

        engine = await self.engine._running()
        ready = []
        for picture in shown:
            ask = self.ask(picture)
            prompt = {
                "prompt": self.engine._prompt(ask.prompt),
                "multi_modal_data": {"image": Image.fromarray(picture)},
            }
            parsed = parse_model_prompt(engine.model_config, prompt)
            given = engine.renderer.default_cmpl_tok_params
            (rendered,) = engine.renderer.render_cmpl([parsed], given)
            sampling = self.engine._sampling(ask)
            sampling.output_kind = RequestOutputKind.FINAL_ONLY
            ready.append((rendered, sampling))
        waiting = list(enumerate(ready))

        async def client() -> None:
            while waiting:
                number, (rendered, sampling) = waiting.pop()
                async for _ in engine.generate(rendered, sampling, f"{mark}-{number}"):
                    pass

        began = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(self.requests)))
        return len(shown) / (time.perf_counter() - began)

    async def staged(self, stage: CaptionStage, shown: Sequence[Pixels]) -> float:
        """Pictures per second of a stage, several blocks at once."""
        waiting = blocks_of(self.manifest, shown)
        done: list[pa.Table] = []

        async def worker() -> None:
            while waiting:
                done.append(await stage.run(waiting.pop()))

        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        seconds = time.perf_counter() - began
        described = sum(t.num_rows - t.column("caption").null_count for t in done)
        if described != len(shown):
            raise SystemExit(f"only {described} of {len(shown)} pictures were described")
        return len(shown) / seconds


class Chat:
    """`LLM.chat` over one block after the other."""

    def __init__(self, manifest: ModelManifest, folder: Path) -> None:
        from vllm import LLM

        self.llm = LLM(
            model=str(folder),
            dtype=manifest.dtype,
            max_model_len=int(manifest.params["max_model_len"]),
            max_num_seqs=int(manifest.serving["max_num_seqs"]),
            block_size=int(manifest.serving["block_size"]),
            enforce_eager=True,
            limit_mm_per_prompt={"image": 1, "video": 0},
            structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
        )

    def close(self) -> None:
        """Ends its engine, for which Python would wait at its own end."""
        self.llm.llm_engine.engine_core.shutdown()

    def rate(self, shown: Sequence[Pixels], contest: Contest) -> float:
        """Pictures per second."""
        from PIL import Image
        from vllm.sampling_params import RequestOutputKind

        began = time.perf_counter()
        for start in range(0, len(shown), BLOCK):
            asks = [contest.ask(picture) for picture in shown[start : start + BLOCK]]
            sampling = contest.engine._sampling(asks[0])
            sampling.output_kind = RequestOutputKind.FINAL_ONLY
            messages = [
                [
                    {"role": "system", "content": ask.prompt.before},
                    {
                        "role": "user",
                        "content": [
                            {"type": "image_pil", "image_pil": Image.fromarray(ask.pixels)},
                            {"type": "text", "text": ask.prompt.after},
                        ],
                    },
                ]
                for ask in asks
            ]
            self.llm.chat(messages, sampling, use_tqdm=False)
        return len(shown) / (time.perf_counter() - began)


async def rounds(contest: Contest, chat: Chat, count: int, pictures_each: int) -> None:
    """Every contender in each round, in an order that turns."""
    rates: dict[str, list[float]] = {name: [] for name in ("bare", "captioner", "ungated", "chat")}
    await contest.staged(contest.gated, pictures(BLOCK, 10_000))
    chat.rate(pictures(BLOCK, 10_001), contest)
    for number in range(count):
        names = list(rates)
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            shown = pictures(pictures_each, 100 * number + names.index(name))
            if name == "bare":
                rate = await contest.bare(shown, f"bare{number}")
            elif name == "chat":
                rate = chat.rate(shown, contest)
            else:
                stage = contest.gated if name == "captioner" else contest.ungated
                rate = await contest.staged(stage, shown)
            rates[name].append(rate)
        print(f"round {number}: " + ", ".join(f"{n} {r[-1]:.1f}/s" for n, r in rates.items()))
    for name, base in (("captioner", "bare"), ("ungated", "bare"), ("captioner", "chat")):
        ratios = [a / b for a, b in zip(rates[name], rates[base], strict=True)]
        print(
            f"{name} / {base}: {statistics.median(ratios):.2f} "
            f"(from {min(ratios):.2f} to {max(ratios):.2f} in {count} rounds)"
        )
    contest.gated.__exit__()


def main(argv: Sequence[str]) -> int:
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("--pictures", type=int, default=192, help="per contender and round")
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--requests", type=int, default=16, help="in the engine at once")
    told = asked.parse_args(argv)
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = folder / "models"
        shutil.copytree(REPO / "conf" / "prompts", folder / "prompts")
        models.mkdir()
        checkpoint = folder / "checkpoint"
        checkpoint.mkdir()
        make_tiny_vlm(checkpoint)
        prompt = folder / "prompts" / "caption-1.txt"
        called = write_manifest(checkpoint, models, prompt, max_num_seqs=told.requests)
        manifest = load_manifest(called, [models])
        contest = Contest(manifest, told.requests)
        chat = Chat(manifest, checkpoint)
        try:
            asyncio.run(rounds(contest, chat, told.rounds, told.pictures))
        finally:
            chat.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
