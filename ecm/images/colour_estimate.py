"""From the soft colour histogram of a picture to the share of each named colour.

A histogram of 64 soft bins blurs the borders between names: a pixel is spread over eight bins. How
often two neighbouring bins are filled together tells much of what was blurred, so the estimate is a
quadratic form over the square roots r of the bins (which is what descriptors hold): r' B r, with B
zero but for bins and their neighbours. B is fitted by least squares on synthetic pictures. Knows
colours and bins; knows no descriptor.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.images.colours import COLOURS, colour_codes
from ecm.images.structure import YCBCR, soft_shares

Floats = npt.NDArray[np.float64]

_PICTURES, _PATCHES, _GRAINS = 2000, 6, 10
_AT_ONCE: Final = 250
_RIDGE: Final = 1e-4
_SEED: Final = 1


@functools.cache
def share_forms() -> npt.NDArray[np.float32]:
    """B of each colour of `COLOURS`, (12, 64, 64), symmetric: its share is about r' B r.

    Made on first use, in less than half a second; always the same.
    """
    pairs = _pairs()
    gram = np.zeros((len(pairs), len(pairs)))
    aims = np.zeros((len(pairs), len(COLOURS)))
    rng = np.random.default_rng(_SEED)
    lattice, frequency = _frequencies()
    for _ in range(_PICTURES // _AT_ONCE):
        bins, shares = _pictures(rng, lattice, frequency)
        roots = np.sqrt(bins)
        products = roots[:, pairs[:, 0]] * roots[:, pairs[:, 1]]
        gram += products.T @ products
        aims += products.T @ shares
    gram += np.eye(len(gram)) * _RIDGE * np.trace(gram) / len(gram)
    fitted = np.linalg.solve(gram, aims)
    forms = np.zeros((len(COLOURS), 64, 64))
    forms[:, pairs[:, 0], pairs[:, 1]] += fitted.T / 2
    forms[:, pairs[:, 1], pairs[:, 0]] += fitted.T / 2
    return forms.astype(np.float32)


def _pairs() -> npt.NDArray[np.intp]:
    """Each bin with itself, and with its next neighbour in Y, Cb and Cr: (208, 2)."""
    bins = np.arange(64).reshape(4, 4, 4)
    found = [np.stack([bins.ravel(), bins.ravel()], axis=1)]
    for axis in range(3):
        near, far = np.take(bins, range(3), axis), np.take(bins, range(1, 4), axis)
        found.append(np.stack([near.ravel(), far.ravel()], axis=1))
    return np.concatenate(found)


def _frequencies() -> tuple[Floats, Floats]:
    """A lattice of sRGB colours, (32768, 3), and how frequent each is.

    In photographs the frequency falls about exponentially with the spread of the channels, and
    cold hues are fewer; a fifth is given to all colours alike, so that vivid ones are told too.
    """
    levels = np.linspace(0, 255, 32).round()
    lattice = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    spread = (lattice.max(axis=1) - lattice.min(axis=1)) / 255
    warm = lattice @ YCBCR[1].astype(np.float64) < 0
    frequency = np.exp(-spread / 0.12) / (spread + 0.03) * np.where(warm, 1.0, 0.4)
    return lattice, 0.8 * frequency / frequency.sum() + 0.2 / len(lattice)


def _pictures(
    rng: np.random.Generator, lattice: Floats, frequency: Floats
) -> tuple[Floats, Floats]:
    """Histograms (n, 64) and true shares by name (n, 12) of some pictures of a few colours.

    Each colour has grain, and light and shade, as surfaces in photographs have.
    """
    shares = rng.dirichlet(np.full(_PATCHES, 0.6), _AT_ONCE)
    patches = lattice[rng.choice(len(lattice), (_AT_ONCE, _PATCHES), p=frequency)]
    size = (_AT_ONCE, _PATCHES, _GRAINS)
    grain = rng.normal(size=(*size, 3)) * rng.choice([3, 10, 25], (_AT_ONCE, 1, 1, 1))
    light = rng.normal(size=(*size, 1)) * rng.choice([3, 15, 40], (_AT_ONCE, 1, 1, 1))
    pixels = np.clip(patches[:, :, None] + grain + light, 0, 255).astype(np.uint8)
    planes = pixels.reshape(-1, 3).astype(np.float32) @ (YCBCR.T / np.float32(255))
    bins = soft_shares(planes).astype(np.float64).reshape(*size, 64).mean(axis=2)
    names = np.eye(len(COLOURS))[colour_codes(pixels)].mean(axis=2)
    weights = shares[:, :, None]
    return (bins * weights).sum(axis=1), (names * weights).sum(axis=1)
