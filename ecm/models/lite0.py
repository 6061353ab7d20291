"""The graph and weights of EfficientNet-Lite0 in torch: images in, features and logits out.

Knows the graph of timm's `tf_efficientnet_lite0` (TensorFlow SAME padding, ReLU6, batch norm with
eps 1e-3) and how its weights are stored. Knows no labels, manifests or statements. Architecture:
Tan and Le 2019, arXiv 1905.11946, in the Lite variant of github.com/tensorflow/tpu: no
squeeze-and-excite, fixed stem and head. Batch norms are folded into the convolutions in float64.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional as F  # noqa: N812

from ecm.errors import ManifestError

FEATURES = 1280
SIDE = 224
_EPS = 1e-3
# kernel, stride of the first block, expansion, channels in, channels out, blocks
_STAGES = (
    (3, 1, 1, 32, 16, 1),
    (3, 2, 6, 16, 24, 2),
    (5, 2, 6, 24, 40, 2),
    (3, 2, 6, 40, 80, 3),
    (5, 1, 6, 80, 112, 3),
    (5, 2, 6, 112, 192, 4),
    (3, 1, 6, 192, 320, 1),
)


@dataclass(frozen=True)
class Conv:
    """One convolution with its folded batch norm.

    `opens` marks the first of an inverted residual block; `adds` that the block's input is added
    after.
    """

    kernel: int
    stride: int
    groups: int
    channels_in: int
    channels_out: int
    activated: bool
    opens: bool = False
    adds: bool = False

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (self.channels_out, self.channels_in // self.groups, self.kernel, self.kernel)


def graph() -> Iterator[Conv]:
    """The 49 convolutions of Lite0 in the order in which the weights are stored."""
    yield Conv(3, 2, 1, 3, 32, activated=True)
    for kernel, first_stride, expansion, channels_in, channels_out, blocks in _STAGES:
        for block in range(blocks):
            source = channels_in if block == 0 else channels_out
            stride = first_stride if block == 0 else 1
            middle = source * expansion
            if expansion != 1:
                yield Conv(1, 1, 1, source, middle, activated=True, opens=True)
            yield Conv(kernel, stride, middle, middle, middle, activated=True, opens=expansion == 1)
            adds = stride == 1 and source == channels_out
            yield Conv(1, 1, 1, middle, channels_out, activated=False, adds=adds)
    yield Conv(1, 1, 1, 320, FEATURES, activated=True)


@dataclass(frozen=True)
class Weights:
    """Folded weights and biases of `graph()`, and the classifier: rows (1000, 1280) and bias
    (1000,).
    """

    convs: tuple[tuple[Conv, torch.Tensor, torch.Tensor], ...]
    rows: torch.Tensor
    bias: torch.Tensor


def load_weights(path: Path) -> Weights:
    """Reads a state dict by position, checking every shape; names do not matter.

    Raises ManifestError when the file is not a state dict of this graph.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ManifestError(f"{path} is not a file of torch weights: {error}") from error
    tensors = [value for name, value in state.items() if not name.endswith("num_batches_tracked")]
    convs = list(graph())
    shapes: list[tuple[int, ...]] = []
    for conv in convs:
        shapes += [conv.shape, *[(conv.channels_out,)] * 4]
    shapes += [(1000, FEATURES), (1000,)]
    if [tuple(tensor.shape) for tensor in tensors] != shapes:
        raise ManifestError(f"{path} does not hold the weights of EfficientNet-Lite0")
    folded = tuple(
        (conv, *_fold(*tensors[5 * place : 5 * place + 5])) for place, conv in enumerate(convs)
    )
    return Weights(folded, tensors[-2], tensors[-1])


def _fold(
    weight: torch.Tensor,
    gamma: torch.Tensor,
    beta: torch.Tensor,
    mean: torch.Tensor,
    variance: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    scale = gamma.double() / torch.sqrt(variance.double() + _EPS)
    folded = weight.double() * scale[:, None, None, None]
    return folded.float(), (beta.double() - mean.double() * scale).float()


class PlainNetwork:
    """The network as plain convolutions, channels last; any device torch has."""

    def __init__(self, weights: Weights) -> None:
        self._convs = tuple(
            (conv, weight.contiguous(memory_format=torch.channels_last), bias)
            for conv, weight, bias in weights.convs
        )
        self._rows, self._bias = weights.rows, weights.bias

    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (n, 1280) and logits (n, 1000) of normalised images (n, 3, 224, 224)."""
        x = images.contiguous(memory_format=torch.channels_last)
        start = x
        for conv, weight, bias in self._convs:
            if conv.opens:
                start = x
            x = self._apply(conv, weight, bias, x)
            if conv.adds:
                x = x + start
        features = x.mean((2, 3))
        return features, F.linear(features, self._rows, self._bias)

    def _apply(
        self, conv: Conv, weight: torch.Tensor, bias: torch.Tensor, x: torch.Tensor
    ) -> torch.Tensor:
        padding = conv.kernel // 2
        if conv.stride == 2:
            before = (conv.kernel - 2) // 2
            after = conv.kernel - 2 - before
            x, padding = F.pad(x, (before, after, before, after)), 0
        y = F.conv2d(x, weight, bias, conv.stride, padding, 1, conv.groups)
        return y.clamp_(0.0, 6.0) if conv.activated else y


class OneDnnNetwork:
    """The same network through oneDNN's fused operators: convolution, bias, ReLU6 or sum in one
    pass.

    These are the operators torch's own compiler emits for CPUs. Weights are packed once for groups
    of `group` images; other sizes work too. SAME padding at stride 2 pads more on the far side;
    here the image is padded evenly by two more and the first row and column of the smaller result
    are dropped, which moves less memory than padding the input.
    """

    def __init__(self, weights: Weights, group: int) -> None:
        self._rows, self._bias = weights.rows, weights.bias
        self._steps = []
        side = SIDE
        for conv, weight, bias in weights.convs:
            padding = conv.kernel // 2 if conv.stride == 1 else (conv.kernel - 2) // 2 + 2
            packed = torch.ops.mkldnn._reorder_convolution_weight(
                weight.contiguous(memory_format=torch.channels_last),
                [padding] * 2,
                [conv.stride] * 2,
                [1, 1],
                conv.groups,
                [group, conv.channels_in, side, side],
            )
            self._steps.append((conv, packed, bias, padding))
            side //= conv.stride

    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (n, 1280) and logits (n, 1000) of normalised images (n, 3, 224, 224)."""
        operators = torch.ops.mkldnn
        x = images.contiguous(memory_format=torch.channels_last)
        start = x
        for conv, weight, bias, padding in self._steps:
            if conv.opens:
                start = x
            geometry = ([padding] * 2, [conv.stride] * 2, [1, 1], conv.groups)
            if conv.adds:
                x = operators._convolution_pointwise_(
                    start, x, weight, bias, *geometry, "add", 1.0, None, [], None
                )
                continue
            after = ("hardtanh", [0.0, 6.0]) if conv.activated else ("none", [])
            x = operators._convolution_pointwise(x, weight, bias, *geometry, *after, "")
            if conv.stride == 2:
                x = x[:, :, 1:, 1:]
        features = x.mean((2, 3))
        return features, F.linear(features, self._rows, self._bias)


Network = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def fastest_network(weights: Weights, group: int) -> Network:
    """OneDNN where this build of torch has its fused operators, else plain convolutions."""
    fused = ("_convolution_pointwise", "_convolution_pointwise_", "_reorder_convolution_weight")
    if torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.mkldnn, name) for name in fused
    ):
        return OneDnnNetwork(weights, group)
    return PlainNetwork(weights)
