"""Checkpoints of real vision-language architectures, small and random, made without a network.

They say nothing sensible, but through the real tokenizer, processor, vision tower and decoder: what
they say depends on the picture. For the tests and benchmarks of the real engine.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
]  # fmt: skip
WORDS = ["a photo of a cat on a table", '{"caption": "", "tags": [""]}', "system user assistant"]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HIDDEN = 64


@dataclass(frozen=True)
class Architecture:
    """What the two families differ in: names of classes, sides of patches in pixels, settings."""

    config: str
    model: str
    decoder: str
    processor: str
    videos: str
    patch: int
    text: dict[str, Any]
    rope: dict[str, Any]
    vision: dict[str, Any]


ARCHITECTURES = {
    "qwen3_vl": Architecture(
        config="Qwen3VLConfig",
        model="Qwen3VLForConditionalGeneration",
        decoder="Qwen3ForCausalLM",
        processor="Qwen3VLProcessor",
        videos="Qwen3VLVideoProcessor",
        patch=16,
        text={"head_dim": 32},
        rope={"mrope_interleaved": True},
        vision={"num_position_embeddings": 256, "deepstack_visual_indexes": [0]},
    ),
    "qwen2_5_vl": Architecture(
        config="Qwen2_5_VLConfig",
        model="Qwen2_5_VLForConditionalGeneration",
        decoder="Qwen2ForCausalLM",
        processor="Qwen2_5_VLProcessor",
        videos="Qwen2VLVideoProcessor",
        patch=14,
        text={},
        rope={},
        vision={"window_size": 112, "fullatt_block_indexes": [1], "tokens_per_second": 2},
    ),
}


def make_tiny_vlm(folder: Path, kind: str = "qwen3_vl") -> Path:
    """A checkpoint of half a million parameters in `folder`: weights, tokenizer, processor."""
    import torch
    import transformers

    made = ARCHITECTURES[kind]
    tokenizer = _tokenizer()
    token = tokenizer.convert_tokens_to_ids
    config = getattr(transformers, made.config)(
        text_config={
            "vocab_size": (len(tokenizer) + 63) // 64 * 64,
            "hidden_size": HIDDEN,
            "intermediate_size": 2 * HIDDEN,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 4096,
            "bos_token_id": token("<|endoftext|>"),
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [4, 6, 6],
                **made.rope,
            },
            **made.text,
        },
        vision_config={
            "depth": 2,
            "hidden_size": HIDDEN,
            "intermediate_size": 2 * HIDDEN,
            "num_heads": 2,
            "patch_size": made.patch,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": HIDDEN,
            **made.vision,
        },
        tie_word_embeddings=False,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
    )
    config.text_config.architectures = [made.decoder]
    config.text_config.dtype = "bfloat16"
    torch.manual_seed(0)
    model = getattr(transformers, made.model)(config).to(torch.bfloat16).eval()
    model.generation_config.eos_token_id = token("<|im_end|>")
    model.generation_config.pad_token_id = token("<|endoftext|>")
    model.save_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    images, videos = ("image_processor_type", "Qwen2VLImageProcessor"), made.videos
    _write(folder / "preprocessor_config.json", _processor(made, *images))
    _write(
        folder / "video_preprocessor_config.json", _processor(made, "video_processor_type", videos)
    )
    return folder


def write_manifest(checkpoint: Path, models: Path, prompt: Path, **serving: Any) -> str:
    """A manifest `tiny-vlm` in the folder `models`, with every file of the checkpoint; its name."""
    files = [_file(_name(path), path) for path in sorted(checkpoint.iterdir())]
    manifest = {
        "name": "tiny-vlm",
        "backend": "vllm",
        "model_id": "tiny/qwen3-vl",
        "revision": "1",
        "dtype": "bfloat16",
        "licence": "Apache-2.0 (random weights)",
        "provides": ["vision"],
        "bounds": {"min_pixels": 4096, "max_pixels": 65536},
        "files": [*files, _file("prompt", prompt)],
        "params": {
            "max_model_len": 2048,
            "max_tokens": 300,
            "caption_chars": 24,
            "tags": 3,
            "word_chars": 8,
            "lines": 1,
            "line_chars": 8,
        },
        "serving": {
            "max_num_seqs": 16,
            "enforce_eager": True,
            "block_size": 32,
            "cpu_kv_gib": 1,
            **serving,
        },
    }
    (models / "tiny-vlm.yaml").write_text(yaml.safe_dump(manifest))
    return "tiny-vlm"


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512 - len(SPECIAL),
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    raw.train_from_iterator(WORDS * 20, trainer)
    raw.add_special_tokens(SPECIAL)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=SPECIAL,
        model_max_length=4096,
    )


def _processor(made: Architecture, key: str, name: str) -> dict[str, Any]:
    side = 2 * made.patch  # of a token
    return {
        key: name,
        "processor_class": made.processor,
        "patch_size": made.patch,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "do_convert_rgb": True,
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": 4 * side * side, "longest_edge": 64 * side * side},
    }


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1))


def _name(path: Path) -> str:
    return "config" if path.name == "config.json" else path.name.lower().replace("_", "-")


def _file(name: str, path: Path) -> dict[str, Any]:
    raw = path.read_bytes()
    return {
        "name": name,
        "path": str(path),
        "sha256": hashlib.sha256(raw).hexdigest(),
        "bytes": len(raw),
    }
