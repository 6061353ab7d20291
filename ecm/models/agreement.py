"""What the configuration of a checkpoint says, in the words of a manifest, and whether both agree.

A back end reads part of what it does from the manifest and part from the checkpoint: where the two
speak of the same thing they must say the same. Knows which back end asks what of a checkpoint.
Loads no model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ecm.contracts.result import Space
from ecm.contracts.task import TaskType
from ecm.errors import ManifestError, ManifestMismatch
from ecm.models.checkpoint import CONFIG, checkpoint_folders, read_json
from ecm.models.manifest import ModelManifest
from ecm.models.processor_config import check_preprocessing, declared_preprocessing

Config = Mapping[str, Any]
Tree = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """What a back end asks of a manifest: `names` of files that it calls otherwise than their own,
    `types` of configurations it knows (empty: any), what it reads from a
    checkpoint, and whether fewer dimensions than the model has are of use.
    """

    provides: tuple[TaskType, ...]
    says: Callable[[Path, Config, Tree], Tree]
    names: Mapping[str, str] = field(default_factory=dict)
    types: frozenset[str] = frozenset()
    shortens: bool = False


def check_agreement(manifest: ModelManifest) -> None:
    """Raises ManifestMismatch when the manifest and the configuration of its checkpoint do not
    agree on architecture, dimensions or preprocessing; names the key and the file.
    """
    kind = KINDS.get(manifest.backend)
    folders = checkpoint_folders(manifest)
    if kind is None or not folders:
        return
    folder = min(folders, key=lambda place: len(place.parts))
    config = read_json(folder / CONFIG)
    if kind.types and config.get("model_type") not in kind.types:
        raise ManifestMismatch(
            f"manifest {manifest.name}: backend is {manifest.backend}, but {folder / CONFIG} is of "
            f"a {config.get('model_type')!r}",
            hint=f"it knows {', '.join(sorted(kind.types))}",
        )
    told = kind.says(folder, config, {"name": manifest.name, "params": manifest.params})
    for space, width in told.get("dims", {}).items():
        ours = manifest.dims.get(Space(space))
        # Texts may be embedded in fewer dimensions than the model has, in the order it learnt them.
        if ours != width and not (kind.shortens and ours is not None and ours < width):
            raise ManifestMismatch(
                f"manifest {manifest.name}: dims.{space} is {ours}, but {folder / CONFIG} says "
                f"{width}",
                hint="correct the manifest, or pin the checkpoint again",
            )
    if "preprocessing" in told:
        check_preprocessing(manifest, folder)


def _pick(folder: Path, config: Config, *keys: str) -> int:
    """The first of the dotted keys that the configuration has. Raises ManifestError."""
    for key in keys:
        value: Any = config
        for name in key.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, int):
            return value
    raise ManifestError(f"{folder / CONFIG} says none of {', '.join(keys)}")


def _says_dual(folder: Path, config: Config, tree: Tree) -> Tree:
    # SigLIP's own configurations leave out what is as in the class, whose width is 768.
    usual = {"siglip_width": 768} if config.get("model_type") == "siglip" else {}
    keys = ("projection_dim", "vision_config.hidden_size", "siglip_width")
    width = _pick(folder, {**config, **usual}, *keys)
    looks = declared_preprocessing(folder).model_dump(mode="json")
    return {"dims": {"vv": width}, "preprocessing": looks, "query_encoder": tree["name"]}


def _says_dino(folder: Path, config: Config, tree: Tree) -> Tree:
    width = _pick(folder, config, "hidden_size")
    both = dict(tree.get("params") or {}).get("pooling") == "cls_mean"
    looks = declared_preprocessing(folder).model_dump(mode="json")
    return {"dims": {"x": 2 * width if both else width}, "preprocessing": looks}


def _says_text(folder: Path, config: Config, tree: Tree) -> Tree:
    return {"dims": {"mv": _pick(folder, config, "hidden_size")}}


def _says_captioner(folder: Path, config: Config, tree: Tree) -> Tree:
    """The bounds of pictures as the processor declares them, in one of two generations' words."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return {}
    said = read_json(path)
    size = said.get("size")
    sides: Mapping[str, Any] = size if isinstance(size, Mapping) else {}
    least = said.get("min_pixels") or sides.get("shortest_edge")
    most = said.get("max_pixels") or sides.get("longest_edge")
    return {"bounds": {"min_pixels": least, "max_pixels": most}} if least and most else {}


KINDS: Final[Mapping[str, Kind]] = {
    "dual-encoder": Kind(
        (TaskType.VV_EMBED,), _says_dual, types=frozenset({"siglip", "siglip2", "clip"})
    ),
    "dino": Kind(
        (TaskType.X_EMBED,),
        _says_dino,
        types=frozenset({"dinov2", "dinov2_with_registers", "dinov3_vit"}),
    ),
    "qwen-embedding": Kind(
        (TaskType.MV_EMBED,), _says_text, types=frozenset({"qwen3"}), shortens=True
    ),
    "minilm": Kind(
        (TaskType.MV_EMBED,),
        _says_text,
        names={
            CONFIG: "config",
            "tokenizer.json": "tokenizer",
            "model.safetensors": "text-weights",
        },
        types=frozenset({"bert"}),
    ),
    "cross-encoder": Kind(
        (),
        lambda folder, config, tree: {},
        types=frozenset(
            {"bert", "roberta", "xlm-roberta", "electra", "mpnet", "distilbert", "modernbert"}
        ),
    ),
    "vllm": Kind((TaskType.VISION,), _says_captioner, names={CONFIG: "config"}),
}
"""Back ends whose models come as checkpoint folders."""
