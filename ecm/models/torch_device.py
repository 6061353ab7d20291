"""Where and how torch computes for an encoder: device, number format, inner batches.

Inner batches of pixels or tokens are copied to a GPU by a second stream, from pinned memory, while
the one before is computed; on a CPU the same loop runs without the copy. Knows torch and no model.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from ecm.contracts.identity import Contract
from ecm.errors import ConfigError, ManifestError, ResourceExhausted
from ecm.models.manifest import ModelManifest

Array = npt.NDArray[np.generic]
Batch = Sequence[Array]
"""The inputs of one forward pass, with as many rows each."""

Forward = Callable[..., torch.Tensor]
"""One inner batch of each input, on the device, to float features (n, d), on the device."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CPU_BATCH = 8
"""Rows at a time on a CPU: more do not make it faster, and fill its caches."""

AHEAD = 2
"""Inner batches that are on the device at once: one is computed, one is copied."""


class EncoderServing(Contract):
    """How an encoder is run; changes no output beyond the last bits.

    device: `auto` takes the GPU where there is one. batch_size: rows per forward pass; 0: as
    measured once on a GPU, a fixed number on a CPU. prefetch: `off` copies when computed.
    """

    device: Literal["auto", "cuda", "cpu"] = "auto"
    batch_size: int = Field(default=0, ge=0, le=65536)
    prefetch: Literal["on", "off"] = "on"


@dataclass(frozen=True)
class Placement:
    """A device and the number format a model has there; `name` is that of the hardware."""

    device: torch.device
    dtype: torch.dtype
    name: str

    @property
    def on_gpu(self) -> bool:
        return bool(self.device.type == "cuda")


def place(manifest: ModelManifest, serving: EncoderServing, threads: int) -> Placement:
    """The placement of a manifest's model here, with torch set to repeat itself exactly.

    Raises ConfigError when the device it names is not there, ManifestError for a number format that
    is unknown or that the device cannot compute in.
    """
    if manifest.dtype not in DTYPES or manifest.quantization != "none":
        raise ManifestError(
            f"manifest {manifest.name}: cannot compute in {manifest.dtype} quantised to "
            f"{manifest.quantization}",
            hint="encoders know " + ", ".join(DTYPES) + ", not quantised",
        )
    present = torch.cuda.is_available()
    if serving.device == "cuda" and not present:
        raise ConfigError(f"manifest {manifest.name}: there is no GPU", "model.no_gpu")
    gpu = present and serving.device != "cpu"
    dtype = DTYPES[manifest.dtype]
    if not _computes(gpu, dtype):
        raise ManifestError(
            f"manifest {manifest.name}: this {'GPU' if gpu else 'CPU'} cannot compute in "
            f"{manifest.dtype}",
            hint="pin the model in float32, or run it elsewhere: other formats give other vectors",
        )
    _settle(threads)
    if gpu:
        return Placement(torch.device("cuda"), dtype, torch.cuda.get_device_name())
    return Placement(torch.device("cpu"), dtype, "cpu")


def _computes(gpu: bool, dtype: torch.dtype) -> bool:
    if gpu:
        return dtype is not torch.bfloat16 or bool(torch.cuda.is_bf16_supported())
    return dtype is not torch.float16


def _settle(threads: int) -> None:
    """The same bits each time, whatever was computed before: no trial of algorithms, no TF32."""
    torch.set_num_threads(threads)
    # Read when CUDA's linear algebra is first used; without it results depend on the stream.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Memory that ran out, on the device or here, becomes ResourceExhausted."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        cause = str(error).partition("\n")[0]
        raise ResourceExhausted(f"out of memory in {what}: {cause}", "resource.memory") from error


class Runner:
    """Runs a forward pass over inner batches on one device."""

    def __init__(self, placement: Placement, prefetch: Literal["on", "off"]) -> None:
        self._device = placement.device
        ahead = placement.on_gpu and prefetch == "on"
        self._copier = torch.cuda.Stream() if ahead else None

    def run(
        self, forward: Forward, batches: Sequence[Batch], width: int
    ) -> npt.NDArray[np.float32]:
        """What `forward` gives for the rows of all batches: float32 (n, width), n may be 0.

        Raises ResourceExhausted when memory runs out.
        """
        found = np.empty((sum(len(batch[0]) for batch in batches), width), dtype=np.float32)
        with translated("the forward pass"), torch.inference_mode():
            # Results stay on the device until all is asked for: to fetch one waits for it.
            parts = [forward(*inputs).float() for inputs in self._on_device(batches)]
            start = 0
            for part in parts:
                found[start : start + len(part)] = part.cpu().numpy()
                start += len(part)
        return found

    def _on_device(self, batches: Sequence[Batch]) -> Iterator[list[torch.Tensor]]:
        if self._copier is None:
            for batch in batches:
                yield [_tensor(part).to(self._device) for part in batch]
            return
        under_way = [_copied(batch, self._copier) for batch in batches[:AHEAD]]
        for place_next in range(AHEAD, AHEAD + len(batches)):
            inputs, there = under_way.pop(0)
            torch.cuda.current_stream().wait_event(there)
            for tensor in inputs:
                # else its memory could be given away while the computing stream still reads it
                tensor.record_stream(torch.cuda.current_stream())
            yield inputs
            if place_next < len(batches):
                under_way.append(_copied(batches[place_next], self._copier))


def sliced(inputs: Batch, size: int) -> list[Batch]:
    """Batches of `size` rows of equally long inputs, as views."""
    return [[part[at : at + size] for part in inputs] for at in range(0, len(inputs[0]), size)]


def _copied(batch: Batch, stream: torch.cuda.Stream) -> tuple[list[torch.Tensor], torch.cuda.Event]:
    """A batch on its way to the GPU, and the event after which it is there."""
    there = torch.cuda.Event()
    # Torch's allocator of pinned memory keeps a block until the copy out of it is over.
    pinned = [_tensor(part).pin_memory() for part in batch]
    with torch.cuda.stream(stream):
        inputs = [tensor.to("cuda", non_blocking=True) for tensor in pinned]
        there.record(stream)
    return inputs, there


def _tensor(part: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(part))
