"""A stand-in for an OCR engine: it reads the names of colours that fill bands of a picture.

Deterministic, without weights; what it says has boxes and confidences as a real one's has, so that
pipelines and searches can be tried in milliseconds.
"""

from __future__ import annotations

import itertools

import numpy as np

from ecm.contracts.result import TextStatement
from ecm.contracts.task import TaskType
from ecm.models.base import ImageOutputs, Pixels, check_request
from ecm.models.fakes import COLOURS, closeness
from ecm.models.manifest import ModelManifest, VerifiedFiles
from ecm.models.recognised import Line, ReadingParams, statements

BANDS = 4
PAPER = "white"


class FakeOcr:
    """`ImageModel` that provides ocr: "SIGN RED" for each quarter of the height that is mostly red.

    Quarters of one colour that follow each other are one line; white is paper and says nothing.
    """

    def __init__(self, manifest: ModelManifest, files: VerifiedFiles, *, threads: int) -> None:
        self.manifest = manifest
        self._reading = manifest.params_as(ReadingParams, TaskType.OCR)

    def analyse(self, pixels: Pixels, wanted: frozenset[TaskType]) -> ImageOutputs:
        """See `ImageModel.analyse`; pixels are (n, h, w, 3) of any size within the bounds."""
        check_request(self.manifest, pixels, wanted)
        return ImageOutputs(ocr=[self._read(picture) for picture in pixels])

    def _read(self, picture: Pixels) -> tuple[TextStatement, ...]:
        height, width = picture.shape[:2]
        edges = [round(height * band / BANDS) for band in range(BANDS + 1)]
        lines: list[tuple[str, float, int, int]] = []
        for top, bottom in itertools.pairwise(edges):
            if top == bottom:
                continue
            near = closeness(picture[top:bottom].mean(axis=(0, 1), dtype=np.float64)[None, :])[0]
            place = int(np.argmax(near))
            name, sure = list(COLOURS)[place], float(near[place])
            if lines and lines[-1][0] == name:
                lines[-1] = (name, min(sure, lines[-1][1]), lines[-1][2], bottom)
            else:
                lines.append((name, sure, top, bottom))
        return statements(
            (
                Line(
                    f"SIGN {name.upper()}",
                    sure,
                    [(0, top), (width, top), (width, bottom), (0, bottom)],
                )
                for name, sure, top, bottom in lines
                if name != PAPER
            ),
            width,
            height,
            self._reading,
        )
