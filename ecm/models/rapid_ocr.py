"""RapidOCR as an image model: PP-OCR finds lines of text, turns them upright and reads them.

Knows the engine's settings and its results. Every file it reads is one of the manifest's that was
verified; it is never left to choose or fetch one. What is kept of the lines, and in which order, is
in recognised.py.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from pydantic import Field
from rapidocr import RapidOCR

from ecm.contracts.identity import Contract
from ecm.contracts.result import TextStatement
from ecm.contracts.task import TaskType
from ecm.errors import ContractError, ManifestError, ResourceExhausted
from ecm.models.base import ImageOutputs, Pixels, check_request
from ecm.models.manifest import ModelManifest, VerifiedFiles
from ecm.models.recognised import Line, ReadingParams, statements

# Of these words in an error of ONNX Runtime: the device had no memory for a tensor.
_NO_MEMORY = ("failed to allocate memory", "bad_alloc", "out of memory")


class RapidParams(Contract):
    """`detector_side`: pixels of the longer side beyond which text is looked for in a smaller copy
    of the picture; it is read in the picture itself.
    """

    detector_side: int = Field(default=2048, ge=64, le=8192)


class RapidOcr:
    """`ImageModel` that provides ocr; sees pictures in their proportions, within its bounds.

    Files of the manifest: `config` (thresholds), `detector`, `classifier` (upside down or not) and
    `recogniser`, which holds its alphabet.
    """

    def __init__(self, manifest: ModelManifest, files: VerifiedFiles, *, threads: int) -> None:
        """Raises ManifestError for a manifest without bounds and for files that are no models."""
        if manifest.bounds is None:
            raise ManifestError(
                f"manifest {manifest.name}: rapidocr needs bounds: it reads pictures in their "
                "proportions, not squares cut out of them"
            )
        self.manifest = manifest
        self._params = manifest.params_as(RapidParams)
        self._reading = manifest.params_as(ReadingParams, TaskType.OCR)
        try:
            _must_have_alphabet(manifest, files["recogniser"])
            self._engine = RapidOCR(
                config_path=str(files["config"]), params=self._settings(files, threads)
            )
        except ManifestError:
            raise
        except Exception as error:
            raise ManifestError(f"manifest {manifest.name}: rapidocr: {error}") from error
        cv2.setNumThreads(threads)

    def analyse(self, pixels: Pixels, wanted: frozenset[TaskType]) -> ImageOutputs:
        """See `ImageModel.analyse`; pixels are (n, h, w, 3) of any size within the bounds."""
        check_request(self.manifest, pixels, wanted)
        return ImageOutputs(ocr=[self._read(picture) for picture in pixels])

    def _read(self, picture: Pixels) -> tuple[TextStatement, ...]:
        height, width = picture.shape[:2]
        try:
            found = self._engine(np.ascontiguousarray(picture[..., ::-1]))  # as OpenCV: B, G, R
        except MemoryError as error:
            raise ResourceExhausted("no memory to read a picture", "resource.memory") from error
        except Exception as error:
            said = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
            if any(words in str(error).lower() for words in _NO_MEMORY):
                raise ResourceExhausted(
                    f"no memory to read a picture: {said}", "resource.memory"
                ) from error
            raise ContractError(f"rapidocr: {said}", "model.failed") from error
        return statements(_lines(found), width, height, self._reading)

    def _settings(self, files: VerifiedFiles, threads: int) -> dict[str, Any]:
        cores = os.cpu_count() or 1
        return {
            "Global.log_level": logging.getLevelName(logging.ERROR).lower(),
            # Nothing is dropped and nothing is scaled by the engine: both are the manifest's.
            "Global.text_score": 0.0,
            "Global.max_side_len": 1 << 16,
            "Global.min_side_len": 1,
            "Det.limit_type": "max",
            "Det.limit_side_len": self._params.detector_side,
            "Det.model_path": str(files["detector"]),
            "Cls.model_path": str(files["classifier"]),
            "Rec.model_path": str(files["recogniser"]),
            # More threads than cores would be ignored, and all cores taken.
            "EngineConfig.onnxruntime.intra_op_num_threads": min(threads, cores),
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }


def _lines(found: Any) -> Iterator[Line]:
    """What the engine found; it has no boxes at all where there is no text."""
    if found.boxes is None or found.txts is None:
        return
    for corners, text, score in zip(found.boxes, found.txts, found.scores, strict=True):
        yield Line(text, float(score), [(float(x), float(y)) for x, y in corners])


def _must_have_alphabet(manifest: ModelManifest, recogniser: Path) -> None:
    """A recogniser without its alphabet would make the engine fetch one from the network."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(recogniser), sess_options=options, providers=["CPUExecutionProvider"]
    )
    if "character" not in session.get_modelmeta().custom_metadata_map:
        raise ManifestError(
            f"manifest {manifest.name}: recogniser {recogniser} does not hold its alphabet",
            hint="take one of the ONNX recognisers that rapidocr is shipped with",
        )
