"""Captions from a vision-language model through vLLM's asynchronous engine: the only user of vllm.

Requests of any number of blocks are in the engine at once, so that its continuous batching stays
full; what comes before the picture is the same for all of them, so that it is computed once
(prefix caching). Knows vLLM's settings, prompts and failures. Knows no schema and no ladder.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, Literal

from PIL import Image
from pydantic import Field

from ecm.contracts.identity import Contract
from ecm.errors import ContractError, EngineDied, ManifestError, ResourceExhausted
from ecm.models.caption_ladder import CaptionParams, LadderCaptioner
from ecm.models.engine import Ask, Output, Prompt, read_prompt
from ecm.models.manifest import ModelManifest, VerifiedFiles
from ecm.models.orphans import Warden

_OFFLINE: Final = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}
_QUANTIZATIONS: Final = {"none": None, "fp8": "fp8", "awq": "awq", "gptq": "gptq"}
_ONLY_THE_FIRST_AND_THE_LAST: Final = 1_000_000
"""Tokens between two partial outputs: the first is always sent at once, and so is the end."""


class VllmParams(CaptionParams):
    """What of vLLM's settings can change an answer; tokens."""

    max_model_len: int = Field(default=8192, ge=64, le=1_048_576)
    kv_cache_dtype: Literal["auto", "fp8", "fp8_e4m3", "fp8_e5m2"] = "auto"


class VllmServing(Contract):
    """How vLLM is run: none of it is meant to change an answer.

    `prefill_window`: requests that may be in the engine without having begun to answer, of which
    one may be about to kill it; 0: no limit. `cpu_kv_gib` is memory for the cache on a machine
    without a GPU, in GiB.
    """

    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    max_num_seqs: int = Field(default=64, ge=1, le=4096)
    max_num_batched_tokens: int | None = Field(default=None, ge=64)
    tensor_parallel_size: int = Field(default=1, ge=1, le=64)
    enforce_eager: bool = False
    block_size: int | None = Field(default=None, ge=8, le=512)
    prefill_window: int = Field(default=1, ge=0, le=4096)
    cpu_kv_gib: int = Field(default=4, ge=1, le=1024)


class VllmEngine:
    """`Engine` over `vllm.v1.engine.async_llm.AsyncLLM`.

    The engine is started on first use, in the event loop that uses it, and again by `restart`.
    Raises ManifestError when the checkpoint cannot be served with these settings.
    """

    def __init__(
        self, manifest: ModelManifest, folder: Path, params: VllmParams, serving: VllmServing
    ) -> None:
        self._manifest = manifest
        self._folder = folder
        self._params = params
        self._serving = serving
        self._prompts: dict[Prompt, str] = {}
        self._engine: Any = None
        self._warden: Warden | None = None
        self._starting: asyncio.Lock | None = None

    async def generate(self, ask: Ask, request_id: str) -> AsyncIterator[Output]:
        """See `Engine.generate`."""
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        engine = await self._running()
        prompt = {
            "prompt": self._prompt(ask.prompt),
            "multi_modal_data": {"image": Image.fromarray(ask.pixels)},
        }
        try:
            async for said in engine.generate(prompt, self._sampling(ask), request_id):
                answer = said.outputs[0]
                yield Output(
                    text=answer.text,
                    finish_reason=answer.finish_reason or "",
                    prompt_tokens=len(said.prompt_token_ids or ()),
                    cached_tokens=said.num_cached_tokens or 0,
                    output_tokens=len(answer.token_ids),
                )
        except EngineDeadError as error:
            raise EngineDied(f"vLLM's engine died: {_line(error)}") from error
        except EngineGenerateError as error:
            if engine.errored:
                raise EngineDied(f"vLLM's engine died: {_line(error)}") from error
            raise ContractError(f"vLLM gave no answer: {_line(error)}", "caption.engine") from error
        except (ValueError, TypeError, IndexError) as error:
            raise ContractError(
                f"vLLM refuses the picture: {_line(error)}", "caption.refused"
            ) from error
        except RuntimeError as error:
            if "out of memory" in str(error).lower():
                raise ResourceExhausted(_line(error), "model.out_of_memory") from error
            raise

    async def restart(self) -> None:
        """See `Engine.restart`."""
        engine = self._engine
        if engine is not None and engine.errored:
            engine.shutdown()
            self._engine = None
        await self._running()

    def close(self) -> None:
        """See `Engine.close`."""
        if self._engine is not None:
            self._engine.shutdown()
            self._engine = None
        if self._warden is not None:
            self._warden.close()
            self._warden = None

    async def _running(self) -> Any:
        if self._starting is None:
            self._starting = asyncio.Lock()
        async with self._starting:
            if self._engine is None:
                self._warden = self._warden or Warden()
                with self._warden.starting():
                    self._engine = self._started()
            return self._engine

    def _started(self) -> Any:
        for name, value in _OFFLINE.items():
            os.environ[name] = value
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(self._serving.cpu_kv_gib))
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        told, run = self._params, self._serving
        given: dict[str, Any] = {
            "max_num_batched_tokens": run.max_num_batched_tokens,
            "block_size": run.block_size,
        }
        try:
            args = AsyncEngineArgs(
                model=str(self._folder),
                dtype=self._manifest.dtype,
                quantization=_quantization(self._manifest),
                trust_remote_code=False,
                load_format="safetensors",
                max_model_len=told.max_model_len,
                kv_cache_dtype=told.kv_cache_dtype,
                gpu_memory_utilization=run.gpu_memory_utilization,
                max_num_seqs=run.max_num_seqs,
                tensor_parallel_size=run.tensor_parallel_size,
                enforce_eager=run.enforce_eager,
                enable_prefix_caching=True,
                limit_mm_per_prompt={"image": 1, "video": 0},
                mm_processor_cache_gb=0,
                seed=told.seed,
                disable_log_stats=True,
                structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
                **{name: value for name, value in given.items() if value is not None},
            )
            return AsyncLLM.from_engine_args(args)
        except (ValueError, OSError, RuntimeError) as error:
            if "memory" in str(error).lower():
                raise ResourceExhausted(
                    f"vLLM has no memory for {self._manifest.name}: {_line(error)}",
                    "model.out_of_memory",
                ) from error
            raise ManifestError(
                f"vLLM cannot serve {self._manifest.name}: {_line(error)}"
            ) from error

    def _sampling(self, ask: Ask) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        return SamplingParams(
            temperature=ask.temperature,
            top_p=ask.top_p,
            seed=ask.seed,
            max_tokens=ask.max_tokens,
            output_kind=RequestOutputKind.CUMULATIVE,
            stream_interval=_ONLY_THE_FIRST_AND_THE_LAST,
            structured_outputs=StructuredOutputsParams(json=ask.schema) if ask.schema else None,
        )

    def _prompt(self, prompt: Prompt) -> str:
        """The prompt in the words of the checkpoint's own chat template, the picture in its place.

        Raises ManifestError when the checkpoint has no template.
        """
        if prompt not in self._prompts:
            from transformers import AutoProcessor

            processor = AutoProcessor.from_pretrained(
                self._folder, local_files_only=True, trust_remote_code=False
            )
            asked = [{"type": "image"}, {"type": "text", "text": prompt.after}]
            messages = [
                {"role": "system", "content": [{"type": "text", "text": prompt.before}]},
                {"role": "user", "content": asked},
            ]
            try:
                self._prompts[prompt] = processor.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=True
                )
            except (ValueError, TypeError) as error:
                raise ManifestError(
                    f"manifest {self._manifest.name}: no chat template: {_line(error)}"
                ) from error
        return self._prompts[prompt]


def vllm_captioner(
    manifest: ModelManifest, files: VerifiedFiles, *, threads: int
) -> LadderCaptioner:
    """The captioner of a manifest whose back end is `vllm`: files `prompt` and `config` are named.

    Raises ManifestError when the settings are wrong; the engine starts with the first picture.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    _quantization(manifest)
    params = manifest.params_as(VllmParams)
    engine = VllmEngine(manifest, files["config"].parent, params, manifest.serving_as(VllmServing))
    prompt = read_prompt(files["prompt"].read_text("utf-8"))
    return LadderCaptioner(manifest, engine, prompt, params)


def _quantization(manifest: ModelManifest) -> str | None:
    """The manifest's quantization in vLLM's words. Raises ManifestError when it knows none."""
    if manifest.quantization not in _QUANTIZATIONS:
        raise ManifestError(
            f"manifest {manifest.name}: quantization {manifest.quantization!r} is unknown",
            hint="one of " + ", ".join(_QUANTIZATIONS),
        )
    return _QUANTIZATIONS[manifest.quantization]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
