"""What a manifest's model sees of a picture: in the words of `ecm.images`. Opens no model."""

from __future__ import annotations

from ecm.images.cuts import Bounded, Cut, bounded, cut
from ecm.models.base import Pixels
from ecm.models.manifest import ModelManifest
from ecm.models.probes import Look


def cut_of(manifest: ModelManifest) -> Cut | None:
    """The cut of equal size that the model takes, None when it takes none."""
    told = manifest.preprocessing
    if told is None:
        return None
    return Cut(
        name=manifest.name,
        resize_shorter=told.resize_shorter,
        crop=told.crop,
        interpolation=told.interpolation,
        geometry=told.geometry,
    )


def bounds_of(manifest: ModelManifest) -> Bounded | None:
    """The bounds of pictures that the model sees in their proportions, None when it has none."""
    told = manifest.bounds
    if told is None:
        return None
    return Bounded(name=manifest.name, min_pixels=told.min_pixels, max_pixels=told.max_pixels)


def look_of(manifest: ModelManifest) -> Look:
    """How pixels uint8 (h, w, 3) become what the manifest's model sees."""
    if (within := bounds_of(manifest)) is not None:
        return lambda picture: bounded(picture, within)
    if (spec := cut_of(manifest)) is not None:
        return lambda picture: cut(picture, spec)
    return _as_it_is


def _as_it_is(picture: Pixels) -> Pixels:
    return picture
