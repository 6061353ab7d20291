"""Loads transformers' models from verified files: nothing else, from nowhere else, and all of it.

Knows transformers' loaders. A checkpoint lies in one folder; a weight the architecture has and the
checkpoint lacks is refused, as transformers would make one up.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when transformers is imported, never after

import torch
import transformers

from ecm.errors import EcmError, ManifestError, ManifestMismatch
from ecm.models.manifest import ModelManifest, VerifiedFiles
from ecm.models.torch_device import Placement, translated

CONFIG = "config.json"


def checkpoint_folder(manifest: ModelManifest, files: VerifiedFiles) -> Path:
    """The folder of the manifest's config.json, in or below which all its files are.

    Raises ManifestError when there is none or a file is elsewhere.
    """
    configs = sorted((p for p in files.paths.values() if p.name == CONFIG), key=lambda p: p.parts)
    if not configs:
        raise ManifestError(f"manifest {manifest.name}: names no {CONFIG} among its files")
    folder = min(configs, key=lambda path: len(path.parts)).parent
    for name, path in files.paths.items():
        if not path.is_relative_to(folder):
            raise ManifestError(
                f"manifest {manifest.name}: {name} at {path} is not in the folder {folder} of "
                f"its {CONFIG}"
            )
    return folder


def load_config(manifest: ModelManifest, folder: Path, kinds: Collection[str]) -> Any:
    """The configuration of the checkpoint in `folder`, whose model_type is one of `kinds`.

    Raises ManifestError when it cannot be read, ManifestMismatch when it is of another kind.
    """
    # Progress bars and advice on standard error are nobody's here; what matters is refused below.
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    with _refusing(manifest, folder / CONFIG):
        config = transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    if config.model_type not in kinds:
        raise ManifestMismatch(
            f"manifest {manifest.name}: {folder / CONFIG} is of a {config.model_type!r}, the back "
            f"end {manifest.backend} runs {', '.join(sorted(kinds))}"
        )
    return config


def load_model(
    manifest: ModelManifest,
    folder: Path,
    config: Any,
    placement: Placement,
    architectures: Any = transformers.AutoModel,
) -> Any:
    """The model of `folder` in evaluation mode where `placement` says.

    `architectures` is transformers' class that knows which architecture a configuration is of.

    Raises ManifestError when its weights cannot be read, ManifestMismatch when one is missing or of
    another shape, ResourceExhausted when it does not fit.
    """
    with translated(f"loading {manifest.name}"), _refusing(manifest, folder):
        model, found = architectures.from_pretrained(
            folder,
            config=config,
            dtype=placement.dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    for problem in ("missing_keys", "mismatched_keys", "error_msgs"):
        if found.get(problem):
            first = sorted(str(entry) for entry in found[problem])[0]
            raise ManifestMismatch(
                f"manifest {manifest.name}: the weights in {folder} are not those of its "
                f"{CONFIG}: {problem.replace('_', ' ')} {first}"
            )
    with translated(f"loading {manifest.name}"):
        return model.eval().requires_grad_(False).to(placement.device)


def load_tokenizer(manifest: ModelManifest, folder: Path) -> Any:
    """The fast tokenizer of the checkpoint in `folder`. Raises ManifestError."""
    with _refusing(manifest, folder / "tokenizer.json"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise ManifestError(
            f"manifest {manifest.name}: {folder} needs a tokenizer.json with a padding token"
        )
    return tokenizer


def check_width(manifest: ModelManifest, folder: Path, declared: int, found: int) -> None:
    """Raises ManifestMismatch unless the checkpoint's vectors are as long as the manifest says."""
    if declared != found:
        raise ManifestMismatch(
            f"manifest {manifest.name}: declares {declared} dimensions, but {folder / CONFIG} is "
            f"of a model with {found}",
            hint="correct dims in the manifest",
        )


def readable(texts: Collection[str]) -> list[str]:
    """Texts as a tokenizer takes them: what UTF-8 cannot hold (lone surrogates) is replaced."""
    return [text.encode("utf-8", "replace").decode("utf-8") for text in texts]


@contextmanager
def _refusing(manifest: ModelManifest, place: Path) -> Iterator[None]:
    """What transformers cannot read becomes a ManifestError that names the place."""
    try:
        yield
    except (EcmError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # transformers, tokenizers and safetensors raise of every kind
        cause = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise ManifestError(f"manifest {manifest.name}: cannot load {place}: {cause}") from error
