"""Captions from a vision-language model through vLLM's asynchronous engine: the only user of vllm.

Requests of any number of blocks are in the engine at once, so that its continuous batching stays
full; what comes before the picture is the same for all of them, so that it is computed once
(prefix caching). Knows vLLM's settings, prompts and failures. Knows no schema and no ladder.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from PIL import Image

from ecm.errors import ContractError, EngineDied, ManifestError, ResourceExhausted
from ecm.models.caption_ladder import LadderCaptioner
from ecm.models.engine import Ask, Output, Prompt, read_prompt
from ecm.models.manifest import ModelManifest, VerifiedFiles
from ecm.models.orphans import Warden
from ecm.models.vllm_settings import VllmParams, VllmServing, engine_arguments

_OFFLINE: Final = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}
_ONLY_THE_FIRST_AND_THE_LAST: Final = 1_000_000
"""Tokens between two parts of an answer. vLLM sends the first at once, and the end; of answers
given as parts, that is: with whole answers so far it sends every token, whatever is asked."""


class VllmEngine:
    """`Engine` over `vllm.v1.engine.async_llm.AsyncLLM`.

    The engine is started on first use, in the event loop that uses it, and again by `restart`,
    which raise ManifestError when it does not start. Raises ManifestError when the settings cannot
    be, before any engine is started.
    """

    def __init__(self, manifest: ModelManifest, config: Path) -> None:
        self._manifest = manifest
        self._folder = config.parent
        self._arguments = engine_arguments(manifest, config)
        self._cpu_kv_gib = manifest.serving_as(VllmServing).cpu_kv_gib
        self._prompts: dict[Prompt, str] = {}
        self._engine: Any = None
        self._starting: asyncio.Lock | None = None
        self._warden: Warden | None = None

    async def generate(self, ask: Ask, request_id: str) -> AsyncIterator[Output]:
        """See `Engine.generate`."""
        engine = await self._running()
        from vllm.exceptions import VLLMError
        from vllm.v1.engine.exceptions import EngineDeadError

        prompt = {
            "prompt": self._prompt(ask.prompt),
            "multi_modal_data": {"image": Image.fromarray(ask.pixels)},
        }
        text, tokens = "", 0
        try:
            async for said in engine.generate(prompt, self._sampling(ask), request_id):
                part = said.outputs[0]
                text += part.text
                tokens += len(part.token_ids)
                yield Output(
                    text=text,
                    finish_reason=part.finish_reason or "",
                    prompt_tokens=len(said.prompt_token_ids or ()),
                    cached_tokens=said.num_cached_tokens or 0,
                    output_tokens=tokens,
                )
        except VLLMError as error:
            if isinstance(error, EngineDeadError) or engine.errored:
                raise EngineDied(f"vLLM's engine died: {_line(error)}") from error
            cause = _first_cause(error)
            if isinstance(cause, MemoryError) or "out of memory" in str(cause).lower():
                raise ResourceExhausted(_line(cause), "model.out_of_memory") from error
            raise ContractError(
                f"vLLM refuses the picture: {_line(cause)}", "caption.refused"
            ) from error

    async def restart(self) -> None:
        """See `Engine.restart`. Raises ManifestError when no engine starts any more."""
        engine = self._engine
        if engine is not None and engine.errored:
            engine.shutdown()
            self._engine = None
        try:
            await self._running()
        except ManifestError:
            # What the dead one held, a device's memory above all, may not have been free yet.
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
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(self._cpu_kv_gib))
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.exceptions import VLLMError
        from vllm.v1.engine.async_llm import AsyncLLM

        try:
            return AsyncLLM.from_engine_args(AsyncEngineArgs(**self._arguments))
        except (VLLMError, ValueError, OSError, RuntimeError) as error:
            raise ManifestError(
                f"vLLM cannot serve {self._manifest.name}: {_line(error)}",
                hint="what its own process wrote says more: memory is what is most often missing",
            ) from error

    def _sampling(self, ask: Ask) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        return SamplingParams(
            temperature=ask.temperature,
            top_p=ask.top_p,
            seed=ask.seed,
            max_tokens=ask.max_tokens,
            output_kind=RequestOutputKind.DELTA,
            stream_interval=_ONLY_THE_FIRST_AND_THE_LAST,
            structured_outputs=StructuredOutputsParams(json=ask.schema) if ask.schema else None,
        )

    def _prompt(self, prompt: Prompt) -> str:
        """The prompt in the words of the checkpoint's own chat template, the picture in its place.

        Raises ManifestError when the checkpoint has no template, or one without room for pictures.
        """
        if prompt not in self._prompts:
            shown, blind = self._rendered(prompt, [{"type": "image"}]), self._rendered(prompt, [])
            if shown == blind:
                raise ManifestError(
                    f"manifest {self._manifest.name}: the chat template leaves pictures out"
                )
            self._prompts[prompt] = shown
        return self._prompts[prompt]

    @cached_property
    def _processor(self) -> Any:
        from transformers import AutoProcessor

        return AutoProcessor.from_pretrained(
            self._folder, local_files_only=True, trust_remote_code=False
        )

    def _rendered(self, prompt: Prompt, pictures: list[dict[str, str]]) -> str:
        from jinja2 import TemplateError

        messages = [
            {"role": "system", "content": [{"type": "text", "text": prompt.before}]},
            {"role": "user", "content": [*pictures, {"type": "text", "text": prompt.after}]},
        ]
        try:
            rendered = self._processor.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
        except (ValueError, TypeError, OSError, TemplateError) as error:
            raise ManifestError(
                f"manifest {self._manifest.name}: no prompt by the checkpoint's chat template: "
                f"{_line(error)}"
            ) from error
        return str(rendered)


def vllm_captioner(
    manifest: ModelManifest, files: VerifiedFiles, *, threads: int
) -> LadderCaptioner:
    """The captioner of a manifest whose back end is `vllm`: files `prompt` and `config` are named.

    Raises ManifestError when the settings are wrong; the engine starts with the first picture.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    engine = VllmEngine(manifest, files["config"])
    prompt = read_prompt(files["prompt"])
    return LadderCaptioner(manifest, engine, prompt, manifest.params_as(VllmParams))


def _first_cause(error: BaseException) -> BaseException:
    """What came first: vLLM wraps what goes wrong with a request in errors that say little."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
