"""Tiny checkpoints of the real architectures with random weights, made offline, with manifests.

Each is a folder as the model hub has it: config.json, model.safetensors, preprocessor_config.json
for those that look at pictures, a real tokenizer for those that read. `write_manifest` pins one.
They understand nothing: what they are good for is that real code loads and runs them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CORPUS = (
    "a photo of a cat sitting on a table",
    "a red car on the left, blue background",
    "describe this image in one sentence and list tags",
    "Instruct: Given a query, retrieve images\nQuery:",
) * 20
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
HALF = ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
RESAMPLE = {"bilinear": 2, "bicubic": 3}
DIM = 64
SIDE = 64
TEXT = {
    "hidden_size": DIM,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
SEES = {**TEXT, "image_size": SIDE, "patch_size": 16}
LOOKS = {
    "hidden_size": DIM,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "mlp_ratio": 2,
    "image_size": 98,
    "patch_size": 14,
}
READS = {
    **TEXT,
    "vocab_size": 512,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 1024,
}
Shape = Mapping[str, Any]
"""What says how large a network is, in the words of its configuration."""


@dataclass(frozen=True)
class TinyModel:
    """A checkpoint to be made, and what its manifest says beside the files."""

    name: str
    make: Callable[[Path], None]
    manifest: dict[str, Any]


def _save(model: Any, folder: Path) -> None:
    model.eval().save_pretrained(folder)


def _seeded() -> Any:
    import torch
    import transformers

    torch.manual_seed(0)
    return transformers


def _bpe(
    specials: list[str], *, lowercase: bool = False, last: bool = False
) -> tuple[Any, dict[str, int]]:
    """A trained byte-level BPE of about 300 tokens, and the ids of the special ones."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=480,
            special_tokens=[] if last else specials,
            show_progress=False,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        ),
    )
    tokenizer.add_special_tokens(specials)
    return tokenizer, {token: tokenizer.token_to_id(token) for token in specials}


def _save_tokenizer(
    tokenizer: Any, folder: Path, template: str, ids: dict[str, int], **said: Any
) -> None:
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    marks = [(token, ids[token]) for token in ids if token in template]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=marks)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **said).save_pretrained(folder)


def _save_processor(folder: Path, kind: str, how: str, look: Any, **size: Any) -> None:
    mean, std = look
    config = {
        "image_processor_type": kind,
        "do_resize": True,
        "resample": RESAMPLE[how],
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "do_convert_rgb": True,
        "image_mean": mean,
        "image_std": std,
        **size,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(config, indent=1))


def _square(side: int) -> dict[str, Any]:
    return {"size": {"height": side, "width": side}}


def _centre(shorter: int, side: int) -> dict[str, Any]:
    crop = {"height": side, "width": side}
    return {"size": {"shortest_edge": shorter}, "do_center_crop": True, "crop_size": crop}


def make_siglip(folder: Path, reads: Shape = TEXT, sees: Shape = SEES) -> None:
    """SiglipModel of the first generation."""
    tokenizer, ids = _bpe(["<pad>", "</s>"])
    _save_tokenizer(tokenizer, folder, "$A </s>", ids, eos_token="</s>", pad_token="<pad>")
    _save_siglip(folder, "bicubic", reads, sees)


def make_siglip2(folder: Path, reads: Shape = TEXT, sees: Shape = SEES) -> None:
    """The second generation, of one resolution: the same network with Gemma's kind of tokenizer,
    which reads lower case.
    """
    tokenizer, ids = _bpe(["<pad>", "<eos>", "<bos>"], lowercase=True)
    _save_tokenizer(tokenizer, folder, "$A <eos>", ids, eos_token="<eos>", pad_token="<pad>")
    _save_siglip(folder, "bilinear", reads, sees)


def _save_siglip(folder: Path, how: str, reads: Shape, sees: Shape) -> None:
    transformers = _seeded()
    text = {"vocab_size": 512, "max_position_embeddings": 64, **reads}
    text |= {"projection_size": sees["hidden_size"]}
    text |= {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}
    config = transformers.SiglipConfig(text_config=text, vision_config=dict(sees))
    _save(transformers.SiglipModel(config), folder)
    _save_processor(folder, "SiglipImageProcessor", how, HALF, **_square(sees["image_size"]))


def make_clip(folder: Path) -> None:
    """CLIPModel. Its special tokens come last, as in the real vocabulary."""
    start, end = "<|startoftext|>", "<|endoftext|>"
    tokenizer, ids = _bpe([start, end], last=True)
    said = {"bos_token": start, "eos_token": end, "pad_token": end, "model_max_length": 77}
    _save_tokenizer(tokenizer, folder, f"{start} $A {end}", ids, **said)
    transformers = _seeded()
    text = {**TEXT, "vocab_size": 512, "max_position_embeddings": 77, "projection_dim": DIM}
    text |= {"bos_token_id": ids[start], "eos_token_id": ids[end], "pad_token_id": ids[end]}
    vision = {**SEES, "projection_dim": DIM}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=DIM)
    _save(transformers.CLIPModel(config), folder)
    _save_processor(folder, "CLIPImageProcessor", "bicubic", HALF, **_centre(SIDE, SIDE))


def make_dinov2(folder: Path, looks: Shape = LOOKS, shorter: int = 80, side: int = 70) -> None:
    """Dinov2Model, of another native resolution than it is used at, as the real ones are."""
    transformers = _seeded()
    _save(transformers.Dinov2Model(transformers.Dinov2Config(**looks)), folder)
    _save_processor(folder, "BitImageProcessor", "bicubic", IMAGENET, **_centre(shorter, side))


def make_dinov3(folder: Path) -> None:
    """DINOv3ViTModel with register tokens."""
    transformers = _seeded()
    config = transformers.DINOv3ViTConfig(**SEES, num_register_tokens=4)
    _save(transformers.DINOv3ViTModel(config), folder)
    kind = "DINOv3ViTImageProcessorFast"
    _save_processor(folder, kind, "bilinear", IMAGENET, **_square(SIDE))


def make_qwen_embedding(folder: Path, reads: Shape = READS) -> None:
    """Qwen3Model with the mark that ends every text, which is no padding to the model: random
    weights would be zero there.
    """
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer, ids = _bpe(specials)
    end = specials[0]
    said = {"eos_token": "<|im_end|>", "pad_token": end, "padding_side": "left"}
    _save_tokenizer(tokenizer, folder, f"$A {end}", ids, **said)
    transformers = _seeded()
    marks = {"bos_token_id": ids[end], "eos_token_id": ids["<|im_end|>"]}
    config = transformers.Qwen3Config(**reads, **marks)
    _save(transformers.Qwen3Model(config), folder)


def make_cross_encoder(folder: Path, outputs: int = 1) -> None:
    """BertForSequenceClassification, which reads two texts and says one number of them, or more."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    tokenizer, ids = _bpe(["[PAD]", "[CLS]", "[SEP]"], lowercase=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(mark, ids[mark]) for mark in ("[CLS]", "[SEP]")],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)
    transformers = _seeded()
    config = transformers.BertConfig(
        **TEXT, vocab_size=512, max_position_embeddings=128, num_labels=outputs
    )
    _save(transformers.BertForSequenceClassification(config), folder)


def looks(side: int, shorter: int, how: str, look: Any, geometry: str) -> dict[str, Any]:
    """The preprocessing of a manifest."""
    mean, std = look
    return {
        "resize_shorter": shorter,
        "crop": side,
        "interpolation": how,
        "geometry": geometry,
        "mean": [round(255.0 * value, 4) for value in mean],
        "std": [round(255.0 * value, 4) for value in std],
    }


def _dual(name: str, how: str, geometry: str) -> dict[str, Any]:
    return {
        "backend": "dual-encoder",
        "provides": ["vv_embed"],
        "dims": {"vv": DIM},
        "query_encoder": name,
        "preprocessing": looks(SIDE, SIDE, how, HALF, geometry),
    }


def _dino(pixels: dict[str, Any], pooling: str, dim: int) -> dict[str, Any]:
    return {
        "backend": "dino",
        "provides": ["x_embed"],
        "dims": {"x": dim},
        "preprocessing": pixels,
        "params": {"pooling": pooling},
    }


TINY = {
    model.name: model
    for model in (
        TinyModel("tiny-siglip", make_siglip, _dual("tiny-siglip", "bicubic", "squash")),
        TinyModel(
            "tiny-siglip2",
            make_siglip2,
            _dual("tiny-siglip2", "bilinear", "squash"),
        ),
        TinyModel("tiny-clip", make_clip, _dual("tiny-clip", "bicubic", "crop")),
        TinyModel(
            "tiny-dinov2",
            make_dinov2,
            _dino(looks(70, 80, "bicubic", IMAGENET, "crop"), "cls", DIM),
        ),
        TinyModel(
            "tiny-dinov3",
            make_dinov3,
            _dino(looks(SIDE, SIDE, "bilinear", IMAGENET, "squash"), "cls_mean", 2 * DIM),
        ),
        TinyModel(
            "tiny-qwen3-embedding",
            make_qwen_embedding,
            {
                "backend": "qwen-embedding",
                "provides": ["mv_embed"],
                "dims": {"mv": 32},
                "params": {
                    "instruction": "Given a query, retrieve images",
                    "max_tokens": 128,
                    "end_token": "<|endoftext|>",
                },
            },
        ),
        TinyModel(
            "tiny-cross-encoder",
            make_cross_encoder,
            {
                "backend": "cross-encoder",
                "provides": [],
                "dims": {},
                "params": {"max_tokens": 64},
            },
        ),
    )
}


def write_manifest(
    name: str, checkpoint: Path, models_folder: Path, *, called: str = "", **changes: Any
) -> Path:
    """Pins the checkpoint folder of a tiny model as `<called or name>.yaml`, with `changes`."""
    tree = {
        "name": called or name,
        "model_id": name,
        "revision": "1",
        "licence": "random weights",
        "files": [pinned(path) for path in sorted(checkpoint.iterdir()) if path.is_file()],
        **TINY[name].manifest,
        **changes,
    }
    models_folder.mkdir(parents=True, exist_ok=True)
    path = models_folder / f"{tree['name']}.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


def pinned(path: Path) -> dict[str, Any]:
    """The entry of one file in a manifest."""
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    name = path.name.lower()
    return {"name": name, "path": str(path), "sha256": digest, "bytes": len(data)}


def make_tiny(root: Path, names: Iterable[str] = tuple(TINY)) -> Path:
    """Makes `root`/checkpoints/NAME each; the folder of their manifests, `root`/models."""
    for name in names:
        folder = root / "checkpoints" / name
        folder.mkdir(parents=True)
        TINY[name].make(folder)
        write_manifest(name, folder, root / "models")
    return root / "models"
