"""Downloads the files of a recipe from the model hub, ahead of jobs: the only user of its client.

A branch is resolved to its commit first, and the commit is what is downloaded: the folder is called
after it. Only what a manifest can pin comes along: weights in .safetensors, configurations,
tokenizers and templates; no pickles and no code. Knows no manifest format.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from ecm.errors import BackendMissing, ManifestError, NetworkError
from ecm.models.manifest import ModelManifest

PATTERNS: Final = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")
NEVER: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.py", "onnx/*", "openvino/*")


def download(recipe: ModelManifest, below: Path, say: Callable[[str], None]) -> Path:
    """The folder `below`/COMMIT with the files of the recipe's checkpoint at its revision.

    What is there already is not downloaded again; what an interrupted call left is gone on with.
    `say` gets one line per step. Raises ManifestError when the recipe names no checkpoint or the
    hub has no such repository or revision, NetworkError when the hub cannot be reached.
    """
    if recipe.checkpoint is None:
        raise ManifestError(
            f"manifest {recipe.name} is no recipe: it names no checkpoint",
            hint="`ecm models verify` checks a manifest that has its files",
        )
    try:
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    except ModuleNotFoundError as error:
        raise BackendMissing(
            "downloading models needs huggingface_hub, which is not installed",
            hint="pip install huggingface_hub",
        ) from error
    hub, revision = recipe.checkpoint.hub, recipe.checkpoint.revision
    try:
        commit = HfApi().model_info(hub, revision=revision).sha
        if commit is None:
            raise ManifestError(f"the hub does not say which commit {revision} of {hub} is")
        say(f"{recipe.name}: {hub} {revision} is commit {commit}")
        place = below / commit
        snapshot_download(
            hub,
            revision=commit,
            local_dir=place,
            allow_patterns=list(PATTERNS),
            ignore_patterns=list(NEVER),
        )
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if 400 <= status < 500:
            raise ManifestError(
                f"the hub has no {hub} at {revision} for you: {_line(error)}",
                "manifest.not_on_hub",
                "correct checkpoint in the recipe, or set HF_TOKEN",
            ) from error
        raise NetworkError(f"the hub failed on {hub}: {_line(error)}", "hub.failed") from error
    except OfflineModeIsEnabled as error:
        raise ManifestError(
            f"{hub} cannot be fetched offline", "manifest.offline", "unset HF_HUB_OFFLINE"
        ) from error
    except OSError as error:
        raise NetworkError(
            f"cannot fetch {hub}: {_line(error)}", "hub.unreachable", "try again; it goes on"
        ) from error
    return place


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
