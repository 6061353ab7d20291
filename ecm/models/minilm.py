"""all-MiniLM-L6-v2 on CPU: texts to 384-d vectors by mean pooling over the tokens and L2 norm.

Knows the BERT encoder it needs (6 layers, 12 heads, GELU, post-norm; Devlin et al. 2018, arXiv
1810.04805) and reads its weights straight from safetensors: importing transformers for the same
numbers costs seconds at every start. Loads nothing from any network.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Encoding, Tokenizer
from torch.nn import functional as F  # noqa: N812

from ecm.contracts.identity import Contract
from ecm.contracts.result import Space
from ecm.errors import ManifestError, ResourceExhausted
from ecm.models.base import Vectors, normalised
from ecm.models.manifest import ModelManifest, VerifiedFiles

GROUP = 32
_FILES: Final = ("config", "tokenizer", "text-weights")
_OPEN: WeakValueDictionary[tuple[object, ...], SentenceEncoder] = WeakValueDictionary()
_OPENING = threading.Lock()


class TextParams(Contract):
    """Texts are cut at `max_tokens` tokens, the two marks at their ends included."""

    max_tokens: int = Field(default=256, ge=8, le=512)


class BertShape(Contract):
    """The part of BERT's config.json that the forward pass depends on."""

    hidden_size: int
    num_attention_heads: int
    num_hidden_layers: int
    layer_norm_eps: float
    hidden_act: str
    max_position_embeddings: int


@dataclass(frozen=True)
class Layer:
    """Weights of one encoder layer; query, key and value are one matrix (3 h, h)."""

    attention: tuple[torch.Tensor, torch.Tensor]
    attention_out: tuple[torch.Tensor, torch.Tensor]
    attention_norm: tuple[torch.Tensor, torch.Tensor]
    widen: tuple[torch.Tensor, torch.Tensor]
    narrow: tuple[torch.Tensor, torch.Tensor]
    norm: tuple[torch.Tensor, torch.Tensor]


class MiniLM:
    """`TextEmbedder` over the packaged weights; texts are cut at `max_tokens` tokens."""

    def __init__(self, manifest: ModelManifest, files: VerifiedFiles, *, threads: int) -> None:
        self.manifest = manifest
        params = manifest.params_as(TextParams)
        self._encoder = open_sentences(manifest, files, params.max_tokens, threads=threads)
        if manifest.space_dim(Space.MV) != self._encoder.dim:
            raise ManifestError(f"manifest {manifest.name}: mv is not {self._encoder.dim}-d")

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """See `TextEmbedder.embed_texts`; float32 (n, 384)."""
        return self._encoder.encode(texts)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """See `TextEmbedder.embed_queries`: this model knows no instructions."""
        return self._encoder.encode_asked(texts, by=self)


def open_sentences(
    manifest: ModelManifest, files: VerifiedFiles, max_tokens: int, *, threads: int
) -> SentenceEncoder:
    """The encoder of a manifest's files; the one that is open in this process, where there is one.

    Two models of a profile stand on these weights: what one of them has just read of a question the
    other need not read again.
    """
    marks = {file.name: file.sha256 for file in manifest.files}
    key = (*(marks[name] for name in _FILES if name in marks), max_tokens)
    with _OPENING:
        encoder = _OPEN.get(key)
        if encoder is None:
            encoder = _OPEN[key] = SentenceEncoder(files, max_tokens, threads=threads)
    return encoder


class SentenceEncoder:
    """The encoder itself, from the files `config`, `tokenizer` and `text-weights` of a manifest.

    Thread-safe. What is indexed is read every time, and so are probes; of questions see
    `encode_asked`.
    """

    def __init__(self, files: VerifiedFiles, max_tokens: int, *, threads: int) -> None:
        self._shape = _shape(files["config"])
        self._tokenizer = _tokenizer(files["tokenizer"], max_tokens)
        weights = _weights(files["text-weights"])
        try:
            self._embed = _embeddings(weights)
            self._layers = [_layer(weights, n) for n in range(self._shape.num_hidden_layers)]
        except KeyError as error:
            raise ManifestError(f"{files['text-weights']} lacks the weight {error}") from error
        self.dim = self._shape.hidden_size
        self._last: tuple[object, tuple[str, ...], Vectors] | None = None
        torch.set_num_threads(threads)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """float32 (n, dim), L2-normalised. Raises ResourceExhausted when memory runs out."""
        # The tokenizer takes only what UTF-8 can hold; file names may bring lone surrogates.
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        # Images that show one thing share their text: in a mixed collection every fourth did.
        place = {text: row for row, text in enumerate(dict.fromkeys(clean))}
        try:
            with torch.inference_mode():
                pooled = self._pooled(self._tokenizer.encode_batch(list(place)))
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise ResourceExhausted(
                f"no memory to embed texts: {error}", "resource.memory"
            ) from error
        return normalised(pooled).vectors[[place[text] for text in clean]]

    def encode_asked(self, texts: Sequence[str], by: object) -> Vectors:
        """The same of questions. What one model has just asked is there for one other model, once:
        who asks a question twice has it read twice, and pays for it.
        """
        asked, last = tuple(texts), self._last
        if last is not None and last[0] is not by and last[1] == asked:
            self._last = None
            return last[2].copy()
        vectors = self.encode(asked)
        self._last = by, asked, vectors
        return vectors.copy()

    def _pooled(self, encoded: list[Encoding]) -> npt.NDArray[np.float32]:
        """Mean hidden state over the tokens of each text, float32 (n, dim)."""
        # Texts of similar length share a group, so that little is spent on padding.
        order = sorted(range(len(encoded)), key=lambda row: len(encoded[row].ids))
        pooled = np.empty((len(encoded), self.dim), dtype=np.float32)
        for start in range(0, len(order), GROUP):
            rows = order[start : start + GROUP]
            pooled[rows] = self._pooled_group([encoded[row].ids for row in rows]).numpy()
        return pooled

    def _pooled_group(self, ids: list[list[int]]) -> torch.Tensor:
        length = max(len(row) for row in ids)
        tokens = torch.zeros((len(ids), length), dtype=torch.int64)
        mask = torch.zeros((len(ids), length), dtype=torch.bool)
        for place, row in enumerate(ids):
            tokens[place, : len(row)] = torch.tensor(row)
            mask[place, : len(row)] = True
        hidden = self._encode(tokens, mask)
        weight = mask.unsqueeze(-1).float()
        return (hidden * weight).sum(1) / weight.sum(1)

    def _encode(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        words, positions, norm = self._embed
        hidden = self._norm(words[tokens] + positions[: tokens.shape[1]], norm)
        # Where every text has the same length no mask is needed, and attention is faster without.
        visible = None if bool(mask.all()) else mask[:, None, None, :]
        for layer in self._layers:
            hidden = self._norm(hidden + self._attend(layer, hidden, visible), layer.attention_norm)
            wide = F.gelu(F.linear(hidden, *layer.widen))
            hidden = self._norm(hidden + F.linear(wide, *layer.narrow), layer.norm)
        return hidden

    def _attend(
        self, layer: Layer, hidden: torch.Tensor, visible: torch.Tensor | None
    ) -> torch.Tensor:
        count, length, size = hidden.shape
        heads = self._shape.num_attention_heads
        parts = F.linear(hidden, *layer.attention).view(count, length, 3, heads, size // heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        return F.linear(mixed.transpose(1, 2).reshape(count, length, size), *layer.attention_out)

    def _norm(
        self, hidden: torch.Tensor, weights: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        return F.layer_norm(hidden, hidden.shape[-1:], *weights, eps=self._shape.layer_norm_eps)


def _shape(path: Path) -> BertShape:
    config = json.loads(path.read_text("utf-8"))
    known = {name: config[name] for name in BertShape.model_fields if name in config}
    try:
        shape = BertShape.model_validate(known)
    except ValidationError as error:
        raise ManifestError(f"{path} is not the configuration of a BERT encoder") from error
    if shape.hidden_act != "gelu":
        raise ManifestError(f"{path}: activation {shape.hidden_act!r} is not gelu")
    return shape


def _tokenizer(path: Path, max_tokens: int) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=max_tokens)
    return tokenizer


def _weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        return dict(load_file(path, device="cpu"))
    except (OSError, SafetensorError) as error:
        raise ManifestError(f"{path} is not a safetensors file: {error}") from error


def _embeddings(
    weights: dict[str, torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    """Word table, positions with the one segment every token is in, and their layer norm."""
    segment = weights["embeddings.token_type_embeddings.weight"][0]
    return (
        weights["embeddings.word_embeddings.weight"],
        weights["embeddings.position_embeddings.weight"] + segment,
        _pair(weights, "embeddings.LayerNorm"),
    )


def _layer(weights: dict[str, torch.Tensor], number: int) -> Layer:
    at = f"encoder.layer.{number}"
    parts = [_pair(weights, f"{at}.attention.self.{name}") for name in ("query", "key", "value")]
    return Layer(
        attention=(torch.cat([w for w, _ in parts]), torch.cat([b for _, b in parts])),
        attention_out=_pair(weights, f"{at}.attention.output.dense"),
        attention_norm=_pair(weights, f"{at}.attention.output.LayerNorm"),
        widen=_pair(weights, f"{at}.intermediate.dense"),
        narrow=_pair(weights, f"{at}.output.dense"),
        norm=_pair(weights, f"{at}.output.LayerNorm"),
    )


def _pair(weights: dict[str, torch.Tensor], name: str) -> tuple[torch.Tensor, torch.Tensor]:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]
