"""The GPUs of this machine and whether models fit on them, before anything is loaded.

Asks `nvidia-smi`: CUDA would take half a GiB of every GPU for the question. Knows what manifests
need; loads no model and chooses no device for one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ecm.errors import ConfigError
from ecm.models.manifest import ModelManifest

_MIB_PER_GIB = 1024.0
_SECONDS = 20.0
_QUERY = "--query-gpu=index,uuid,name,memory.total,memory.free"
_TENTH = 0.1


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU that this process may use. Memory in GiB; `free` at the moment it was asked."""

    index: int
    uuid: str
    name: str
    total: float
    free: float

    def __str__(self) -> str:
        return f"GPU {self.index} ({self.name}): {self.total:.1f} GiB, {self.free:.1f} free"


def present_gpus(environ: Mapping[str, str] | None = None) -> tuple[Gpu, ...]:
    """The GPUs that are visible here (CUDA_VISIBLE_DEVICES); none where there is no driver.

    `environ` is that of this process by default.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        asked = subprocess.run(
            [program, _QUERY, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ()  # a driver that does not answer has no GPU to offer
    return visible(parsed(asked.stdout), (os.environ if environ is None else environ))


def parsed(answer: str) -> tuple[Gpu, ...]:
    """What nvidia-smi answers, line by line: index, uuid, name, total and free memory in MiB.

    A GPU whose memory it does not know (`[N/A]`: some integrated ones) is left out.
    """
    found = []
    for line in answer.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) < 5 or not (cells[-1].isdigit() and cells[-2].isdigit()):
            continue
        total, free = (int(cell) / _MIB_PER_GIB for cell in cells[-2:])
        found.append(Gpu(int(cells[0]), cells[1], ", ".join(cells[2:-2]), total, free))
    return tuple(found)


def visible(gpus: Sequence[Gpu], environ: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Those that CUDA_VISIBLE_DEVICES names by number or (the start of) a uuid, in its order."""
    told = environ.get("CUDA_VISIBLE_DEVICES")
    if told is None:
        return tuple(gpus)
    chosen = []
    for word in filter(None, map(str.strip, told.split(","))):
        found = [gpu for gpu in gpus if word == str(gpu.index) or gpu.uuid.startswith(word)]
        if not found:
            break  # as CUDA reads it: what comes after an unknown one is not there
        chosen.append(found[0])
    return tuple(chosen)


def check_fit(
    wanted: Sequence[tuple[ModelManifest, int]], gpus: Sequence[Gpu], where: str = "here"
) -> None:
    """Refuse models that do not fit, before anything is loaded.

    Args:
        wanted: manifests, each with how many actors hold its model at once.
        gpus: what there is; models may share one.
        where: in the words of the error.

    Raises:
        ConfigError: `model.gpu_memory`, one line with the model, what it needs and what is there.
            A model that needs no GPU is never refused.
    """
    free = [gpu.free for gpu in gpus]
    most = sorted(wanted, key=lambda each: -each[0].needs.gpu_memory_gib)
    for manifest, actors in most:
        needs = manifest.needs
        for _ in range(actors if needs.gpus else 0):
            places = [n for n, room in enumerate(free) if room + _TENTH >= needs.gpu_memory_gib]
            if len(places) < needs.gpus:
                raise ConfigError(
                    _unfit(manifest, actors, gpus, where),
                    code="model.gpu_memory",
                    hint="take a smaller tier or model (ecm models tiers), fewer actors, or free "
                    "the GPU; needs.gpus: 0 in a manifest is for a model that runs on CPUs",
                )
            for place in sorted(places, key=lambda n: free[n])[: needs.gpus]:
                free[place] -= needs.gpu_memory_gib


def check_here(manifests: Iterable[ModelManifest]) -> None:
    """Refuse models that do not fit together on the GPUs that this process may use now.

    GPUs are asked for only when a model needs one. Raises as `check_fit`.
    """
    wanted = {manifest.name: (manifest, 1) for manifest in manifests if manifest.needs.gpus}
    if wanted:
        check_fit(list(wanted.values()), present_gpus())


def _unfit(manifest: ModelManifest, actors: int, gpus: Sequence[Gpu], where: str) -> str:
    needs = manifest.needs
    many = f"{needs.gpus} GPUs with {needs.gpu_memory_gib:g} GiB each"
    one = f"a GPU with {needs.gpu_memory_gib:g} GiB"
    each = f" for each of {actors} actors" if actors > 1 else ""
    there = "; ".join(map(str, gpus)) or "no GPU"
    return f"model {manifest.name} needs {one if needs.gpus == 1 else many}{each}; {where}: {there}"
