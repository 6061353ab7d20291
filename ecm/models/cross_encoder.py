"""Reads a query and a text together and says how well they fit: sequence classifiers as rerankers.

Nogueira and Cho, "Passage Re-ranking with BERT", arXiv 1901.04085. Knows transformers' sequence
classifiers with one output (its sigmoid is the relevance) or two (the share of the second). Loads
nothing from any network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import transformers
from pydantic import Field

from ecm.contracts.identity import Contract
from ecm.errors import ManifestMismatch
from ecm.models.agreement import KINDS
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

BACKEND = "cross-encoder"
GPU_BATCH = 64
_OUTPUTS = (1, 2)


class PairParams(Contract):
    """Query and text together are cut at `max_tokens` tokens; the text gives way, not the query."""

    max_tokens: int = Field(default=256, ge=16, le=8192)


class CrossEncoder:
    """`PairScorer` over a sequence classifier."""

    def __init__(self, manifest: ModelManifest, files: VerifiedFiles, *, threads: int) -> None:
        self.manifest = manifest
        self._params = manifest.params_as(PairParams)
        serving = manifest.serving_as(EncoderServing)
        placement = place(manifest, serving, threads)
        folder = checkpoint_folder(manifest, files)
        config = load_config(manifest, folder, KINDS[BACKEND].types)
        if config.num_labels not in _OUTPUTS:
            raise ManifestMismatch(
                f"manifest {manifest.name}: {folder / CONFIG} is of a classifier with "
                f"{config.num_labels} outputs; relevance has one, or two"
            )
        longest = getattr(config, "max_position_embeddings", self._params.max_tokens)
        if self._params.max_tokens > longest:
            raise ManifestMismatch(
                f"manifest {manifest.name}: max_tokens is {self._params.max_tokens}, but "
                f"{folder / CONFIG} is of a model that reads {longest}"
            )
        self._tokenizer = load_tokenizer(manifest, folder)
        self._model = load_model(
            manifest, folder, config, placement, transformers.AutoModelForSequenceClassification
        )
        self._runner = Runner(placement, serving.prefetch)
        self._batch_size = serving.batch_size or (GPU_BATCH if placement.on_gpu else CPU_BATCH)

    def score_pairs(self, query: str, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """See `PairScorer.score_pairs`."""
        if not texts:
            return np.zeros(0)
        asked, clean = readable([query])[0], readable(texts)
        place_of = {text: row for row, text in enumerate(dict.fromkeys(clean))}
        rows = self._tokens(asked, list(place_of))
        # Texts of similar length share a batch, so that little is spent on padding.
        order = sorted(range(len(place_of)), key=lambda row: len(rows["input_ids"][row]))
        size = self._batch_size
        groups = [order[start : start + size] for start in range(0, len(order), size)]
        batches = [self._padded(rows, group) for group in groups]
        found = np.empty((len(order), 1), dtype=np.float32)
        found[order] = self._runner.run(self._relevance, batches, 1)
        scores: npt.NDArray[np.float64] = found[[place_of[text] for text in clean], 0].astype(
            np.float64
        )
        return scores

    def _tokens(self, query: str, texts: list[str]) -> dict[str, list[list[int]]]:
        """Inputs of the model by name, ragged. A query that leaves texts no room is cut first."""
        longest = self._params.max_tokens
        own = self._tokenizer(query, add_special_tokens=False, truncation=True)["input_ids"]
        if len(own) > longest // 2:
            query = self._tokenizer.decode(own[: longest // 2])
        found = self._tokenizer(
            [query] * len(texts), texts, truncation="only_second", max_length=longest
        )
        return {name: found[name] for name in self._tokenizer.model_input_names}

    def _padded(
        self, rows: dict[str, list[list[int]]], group: list[int]
    ) -> list[npt.NDArray[np.int64]]:
        """The rows of a group, int64 (n, longest) each, filled on the right."""
        filler = {"input_ids": self._tokenizer.pad_token_id}
        longest = max(len(rows["input_ids"][row]) for row in group)
        batch = []
        for name, values in rows.items():
            filled = np.full((len(group), longest), filler.get(name, 0), dtype=np.int64)
            for place_here, row in enumerate(group):
                filled[place_here, : len(values[row])] = values[row]
            batch.append(filled)
        return batch

    def _relevance(self, *inputs: torch.Tensor) -> torch.Tensor:
        named = dict(zip(self._tokenizer.model_input_names, inputs, strict=True))
        said = self._model(**named).logits.float()
        if said.shape[1] == 1:
            return torch.sigmoid(said)
        shares: torch.Tensor = torch.softmax(said, dim=1)[:, 1:]
        return shares
