"""What vLLM is told for a manifest, and what it is never told: that is refused before it starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ecm.errors import ManifestError
from ecm.models.manifest import ModelManifest
from ecm.models.vllm_settings import engine_arguments

BOUNDS = {"min_pixels": 4096, "max_pixels": 65536}


def manifest(**given: Any) -> ModelManifest:
    told = {
        "name": "captioner",
        "backend": "vllm",
        "model_id": "a/b",
        "revision": "1",
        "dtype": "bfloat16",
        "licence": "none",
        "provides": ["vision"],
        "bounds": BOUNDS,
        **given,
    }
    return ModelManifest.model_validate(told)


def config(folder: Path, **said: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({"model_type": "qwen3_vl", **said}))
    return path


def quantized(method: str) -> dict[str, object]:
    return {"quantization_config": {"quant_method": method}}


def test_settings_of_the_manifest_reach_the_engine(tmp_path: Path) -> None:
    told = engine_arguments(
        manifest(
            params={"max_model_len": 2048, "kv_cache_dtype": "fp8"},
            serving={
                "gpu_memory_utilization": 0.5,
                "max_num_seqs": 7,
                "tensor_parallel_size": 2,
                "block_size": 32,
                "max_num_batched_tokens": 4096,
            },
        ),
        config(tmp_path),
    )
    expected = {
        "model": str(tmp_path),
        "dtype": "bfloat16",
        "max_model_len": 2048,
        "kv_cache_dtype": "fp8",
        "gpu_memory_utilization": 0.5,
        "max_num_seqs": 7,
        "tensor_parallel_size": 2,
        "block_size": 32,
        "max_num_batched_tokens": 4096,
        "trust_remote_code": False,
        "load_format": "safetensors",
        "enable_prefix_caching": True,
        "mm_processor_kwargs": BOUNDS,
    }
    assert expected.items() <= told.items()
    assert told["structured_outputs_config"]["disable_any_whitespace"]
    assert "quantization" not in told


def test_processors_that_know_no_bounds_are_told_none(tmp_path: Path) -> None:
    assert "mm_processor_kwargs" not in engine_arguments(
        manifest(), config(tmp_path, model_type="llava")
    )


@pytest.mark.parametrize(
    ("word", "said", "told"),
    [
        ("none", {}, None),
        ("fp8", {}, "fp8"),
        ("fp8", quantized("fp8"), None),
        ("fp8", quantized("compressed-tensors"), None),
        ("awq", quantized("awq"), None),
        ("gptq", quantized("gptq"), None),
    ],
)
def test_quantizations_that_can_be(
    tmp_path: Path, word: str, said: dict[str, object], told: str | None
) -> None:
    arguments = engine_arguments(manifest(quantization=word), config(tmp_path, **said))
    assert arguments.get("quantization") == told


@pytest.mark.parametrize(
    ("given", "said", "cause"),
    [
        ({"quantization": "int3"}, {}, "int3"),
        ({"quantization": "awq"}, {}, "checkpoint's is none"),
        ({"quantization": "gptq"}, quantized("awq"), "checkpoint's is awq"),
        ({"quantization": "none"}, quantized("fp8"), "checkpoint's is fp8"),
        ({"quantization": "fp8", "dtype": "float32"}, {}, "float32"),
        ({"dtype": "int8"}, {}, "int8"),
        ({"bounds": None}, {}, "bounds"),
        ({"params": {"max_model_len": 128, "max_tokens": 128}}, {}, "max_model_len"),
        ({"params": {"max_modellen": 128}}, {}, "max_modellen"),
        ({"serving": {"gpu_memory_utilization": 1.5}}, {}, "gpu_memory_utilization"),
        ({"params": {"kv_cache_dtype": "int2"}}, {}, "kv_cache_dtype"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    tmp_path: Path, given: dict[str, Any], said: dict[str, object], cause: str
) -> None:
    with pytest.raises(ManifestError, match=cause) as refused:
        engine_arguments(manifest(**given), config(tmp_path, **said))
    assert "captioner" in refused.value.message
