"""Texts to meaning vectors with the Qwen3-Embedding class of models.

Zhang et al. 2025, arXiv 2506.05176, and the model card: every text ends with the end mark, the
vector is the last token's state, queries carry an instruction and documents none. Vectors are
trained so that their first components alone are vectors too (Matryoshka, Kusupati et al. 2022,
arXiv 2205.13147): they are cut to the manifest's dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from ecm.contracts.identity import Contract
from ecm.contracts.result import Space
from ecm.errors import ManifestError, ManifestMismatch
from ecm.models.base import Vectors, normalised
from ecm.models.batch_size import best_batch_size, median_seconds, remembered_batch_size
from ecm.models.manifest import ModelManifest, VerifiedFiles
from ecm.models.pretrained import (
    CONFIG,
    checkpoint_folder,
    load_config,
    load_model,
    load_tokenizer,
    readable,
)
from ecm.models.torch_device import CPU_BATCH, EncoderServing, Runner, place

KINDS = ("qwen3",)


class EmbeddingParams(Contract):
    """`instruction` says what queries are for; texts to be found go without. Texts are cut at
    `max_tokens` tokens, the `end_token` included, whose state is the vector.
    """

    instruction: str = Field(
        default="Given a search query, retrieve descriptions of images that match it",
        max_length=1000,
    )
    max_tokens: int = Field(default=512, ge=8, le=32768)
    end_token: str = Field(default="<|endoftext|>", min_length=1, max_length=64)


class QwenEmbedding:
    """`TextEmbedder` of mv."""

    def __init__(
        self,
        manifest: ModelManifest,
        files: VerifiedFiles,
        *,
        threads: int,
        memory: Path | None = None,
    ) -> None:
        self.manifest = manifest
        self._params = manifest.params_as(EmbeddingParams)
        serving = manifest.serving_as(EncoderServing)
        placement = place(manifest, serving, threads)
        folder = checkpoint_folder(manifest, files)
        config = load_config(manifest, folder, KINDS)
        self._width = manifest.space_dim(Space.MV)
        if self._width > config.hidden_size:
            raise ManifestMismatch(
                f"manifest {manifest.name}: declares {self._width} dimensions, but "
                f"{folder / CONFIG} is of a model with {config.hidden_size}"
            )
        self._tokenizer = load_tokenizer(manifest, folder)
        end = self._tokenizer.convert_tokens_to_ids(self._params.end_token)
        if end is None or end == self._tokenizer.unk_token_id:
            raise ManifestError(
                f"manifest {manifest.name}: the tokenizer in {folder} knows no "
                f"{self._params.end_token}"
            )
        self._end: int = end
        self._model = load_model(manifest, folder, config, placement)
        self._runner = Runner(placement, serving.prefetch)
        self._batch_size = serving.batch_size or CPU_BATCH
        if placement.on_gpu and not serving.batch_size:
            self._batch_size = remembered_batch_size(
                memory, manifest, placement.name, lambda: best_batch_size(self._seconds)
            )

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """See `TextEmbedder.embed_texts`."""
        if not texts:
            return np.empty((0, self._width), dtype=np.float32)
        clean = readable(texts)
        # Images that show one thing share their text.
        place_of = {text: row for row, text in enumerate(dict.fromkeys(clean))}
        rows = self._tokens(list(place_of))
        # Texts of similar length share a batch, so that little is spent on padding.
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        size = self._batch_size
        groups = [order[start : start + size] for start in range(0, len(order), size)]
        batches = [_padded([rows[row] for row in group], self._end) for group in groups]
        features = np.empty((len(rows), self._width), dtype=np.float32)
        features[order] = self._runner.run(self._last_state, batches, self._width)
        return normalised(features).vectors[[place_of[text] for text in clean]]

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """See `TextEmbedder.embed_queries`: read with the instruction before them."""
        instruction = self._params.instruction
        if not instruction:
            return self.embed_texts(texts)
        return self.embed_texts([f"Instruct: {instruction}\nQuery:{text}" for text in texts])

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, cut, the end mark last."""
        longest = self._params.max_tokens
        found = self._tokenizer(texts, truncation=True, max_length=longest)["input_ids"]
        return [
            row if row and row[-1] == self._end else [*row[: longest - 1], self._end]
            for row in found
        ]

    def _last_state(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        # Positions count from each text's own start: its vector does not depend on its neighbours.
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        said = self._model(
            input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False
        )
        states: torch.Tensor = said.last_hidden_state
        return states[:, -1, : self._width]

    def _seconds(self, size: int) -> float:
        """Median seconds of a forward pass over `size` texts of the greatest length."""
        batch = _padded([[self._end] * self._params.max_tokens] * size, self._end)
        return median_seconds(lambda: self._runner.run(self._last_state, [batch], self._width))


def _padded(rows: list[list[int]], filler: int) -> list[npt.NDArray[np.int64]]:
    """Ids and mask, int64 (n, longest), padded on the left, where the last token is the text's."""
    longest = max(len(row) for row in rows)
    ids = np.full((len(rows), longest), filler, dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for place_here, row in enumerate(rows):
        ids[place_here, longest - len(row) :] = row
        mask[place_here, longest - len(row) :] = 1
    return [ids, mask]
