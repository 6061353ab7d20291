"""How vLLM is told to serve a manifest, in types, and which combinations cannot be.

Knows manifests, vLLM's words, and what the configuration of a checkpoint says of its quantization.
Imports no vLLM: what is wrong is told before an engine is started.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from ecm.contracts.identity import Contract
from ecm.errors import ManifestError
from ecm.models.caption_ladder import CaptionParams
from ecm.models.checkpoint import read_json
from ecm.models.manifest import ModelManifest, PixelBounds

DTYPES: Final = ("bfloat16", "float16", "float32")
_PACKED: Final = "compressed-tensors"
_METHODS: Final = {
    "none": frozenset({""}),
    "fp8": frozenset({"", "fp8", _PACKED}),
    "awq": frozenset({"awq", _PACKED}),
    "gptq": frozenset({"gptq", _PACKED}),
}
"""What a checkpoint may say of itself under each word of a manifest; "" nothing. Weights that are
not quantized are brought to fp8 by vLLM; to 4 bits they are not."""

_SIZED_BY_PIXELS: Final = frozenset({"qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe"})
"""Types of checkpoints whose processors take the least and the most pixels of a picture."""


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


def engine_arguments(manifest: ModelManifest, config: Path) -> dict[str, Any]:
    """Arguments of `vllm.AsyncEngineArgs` for a manifest and the `config.json` of its checkpoint.

    Raises ManifestError that names the setting which is wrong, or the two that cannot go together.
    """
    told, run = manifest.params_as(VllmParams), manifest.serving_as(VllmServing)
    if manifest.bounds is None:
        raise ManifestError(f"manifest {manifest.name}: a captioner needs bounds of pixels")
    if told.max_tokens >= told.max_model_len:
        raise ManifestError(
            f"manifest {manifest.name}: max_tokens {told.max_tokens} leaves no room for a prompt "
            f"in max_model_len {told.max_model_len}"
        )
    checkpoint = read_json(config)
    arguments: dict[str, Any] = {
        "model": str(config.parent),
        "dtype": _dtype(manifest),
        "quantization": _quantization(manifest, checkpoint),
        "trust_remote_code": False,
        "load_format": "safetensors",
        "max_model_len": told.max_model_len,
        "kv_cache_dtype": told.kv_cache_dtype,
        "gpu_memory_utilization": run.gpu_memory_utilization,
        "max_num_seqs": run.max_num_seqs,
        "tensor_parallel_size": run.tensor_parallel_size,
        "enforce_eager": run.enforce_eager,
        "enable_prefix_caching": True,
        "limit_mm_per_prompt": {"image": 1, "video": 0},
        "mm_processor_kwargs": _pixels(manifest.bounds, checkpoint),
        "mm_processor_cache_gb": 0,
        "seed": told.seed,
        "disable_log_stats": True,
        "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
        "max_num_batched_tokens": run.max_num_batched_tokens,
        "block_size": run.block_size,
    }
    return {name: value for name, value in arguments.items() if value is not None}


def _dtype(manifest: ModelManifest) -> str:
    if manifest.dtype not in DTYPES:
        raise ManifestError(
            f"manifest {manifest.name}: vLLM has no dtype {manifest.dtype!r}",
            hint="one of " + ", ".join(DTYPES),
        )
    if manifest.quantization != "none" and manifest.dtype == "float32":
        raise ManifestError(
            f"manifest {manifest.name}: dtype float32 does not go with quantization "
            f"{manifest.quantization}",
            hint="dtype: bfloat16",
        )
    return manifest.dtype


def _quantization(manifest: ModelManifest, checkpoint: dict[str, object]) -> str | None:
    """What vLLM is told; None where it reads it from the checkpoint and picks the best kernel."""
    word = manifest.quantization
    if word not in _METHODS:
        raise ManifestError(
            f"manifest {manifest.name}: quantization {word!r} is unknown",
            hint="one of " + ", ".join(_METHODS),
        )
    said = checkpoint.get("quantization_config")
    method = str(said.get("quant_method", "")) if isinstance(said, dict) else ""
    if method not in _METHODS[word]:
        raise ManifestError(
            f"manifest {manifest.name}: quantization {word}, but the checkpoint's is "
            f"{method or 'none'}"
        )
    return "fp8" if word == "fp8" and not method else None


def _pixels(bounds: PixelBounds, checkpoint: dict[str, object]) -> dict[str, int] | None:
    """The bounds for the checkpoint's own processor, which else would take far larger pictures for
    possible, and have memory set aside for them.
    """
    if checkpoint.get("model_type") not in _SIZED_BY_PIXELS:
        return None
    return bounds.model_dump()
