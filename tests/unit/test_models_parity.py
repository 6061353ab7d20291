"""Our own forward passes against references: the textbook graph, and transformers' BERT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ecm.models.attestation import verify_files
from ecm.models.lite0 import OneDnnNetwork, PlainNetwork, load_weights
from ecm.models.manifest import load_manifest
from ecm.models.registry import open_text_embedder

CONF = Path(__file__).parents[2] / "conf" / "models"


@pytest.fixture(scope="module")
def weights_path() -> Path:
    return verify_files(load_manifest("efficientnet-lite0", [CONF]))["weights"]


def textbook(state: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """Logits by names, with unfolded batch norms and padding written out as TensorFlow does."""

    def block(x: torch.Tensor, conv: str, norm: str, stride: int = 1) -> torch.Tensor:
        weight = state[f"{conv}.weight"]
        side, kernel = x.shape[-1], weight.shape[-1]
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        x = nn.functional.pad(x, (total // 2, total - total // 2) * 2)
        x = nn.functional.conv2d(x, weight, None, stride, groups=x.shape[1] // weight.shape[1])
        mean, variance = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
        scale, shift = state[f"{norm}.weight"], state[f"{norm}.bias"]
        return nn.functional.batch_norm(x, mean, variance, scale, shift, eps=1e-3)

    relu6 = nn.functional.relu6
    x = relu6(block(images, "_conv_stem", "_bn0", 2))
    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
    for number, stride in enumerate(strides):
        at, start = f"_blocks.{number}", x
        if number:
            x = relu6(block(x, f"{at}._expand_conv", f"{at}._bn0"))
        x = relu6(block(x, f"{at}._depthwise_conv", f"{at}._bn1", stride))
        x = block(x, f"{at}._project_conv", f"{at}._bn2")
        x = x + start if stride == 1 and x.shape == start.shape else x
    features = relu6(block(x, "_conv_head", "_bn1")).mean((2, 3))
    return features @ state["_fc.weight"].T + state["_fc.bias"]


def test_both_networks_are_the_textbook_graph(weights_path: Path) -> None:
    state = torch.load(weights_path, weights_only=True)
    images = torch.rand((5, 3, 224, 224), generator=torch.Generator().manual_seed(1)) * 2 - 1
    weights = load_weights(weights_path)
    with torch.inference_mode():
        expected = textbook(state, images)
        for network in (PlainNetwork(weights), OneDnnNetwork(weights, 4)):
            features, logits = network(images)
            assert features.shape == (5, 1280)
            assert float((logits - expected).abs().max()) < 1e-4


def test_sentence_vectors_are_those_of_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from transformers import AutoModel, AutoTokenizer

    manifest = load_manifest("all-minilm-l6-v2", [CONF])
    folder = verify_files(manifest)["config"].parent
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    texts = ["a cat", "", "Two dogs run on a beach.", "café NAÏVE 日本 ☕", "word " * 400]
    texts += [f"{'long ' * place} text" for place in range(30)]
    asked = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**asked).last_hidden_state
    mask = asked["attention_mask"].unsqueeze(-1)
    expected = nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1).numpy()
    found = open_text_embedder(manifest, threads=1).embed_texts(texts)
    assert np.abs(found - expected).max() < 1e-5
