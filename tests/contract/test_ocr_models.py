"""What every OCR back end promises, over the fake and RapidOCR with its packaged models."""

from __future__ import annotations

import socket
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw, ImageFont

from ecm.contracts.result import TextStatement
from ecm.contracts.task import TaskType
from ecm.errors import ContractError, ManifestError, ManifestMismatch
from ecm.models.base import ImageModel
from ecm.models.manifest import ModelManifest, load_manifest
from ecm.models.registry import open_image_model

CONF = Path(__file__).parents[2] / "conf" / "models"
OCR = frozenset({TaskType.OCR})
REAL = pytest.param("rapidocr", marks=pytest.mark.needs("rapidocr"))
MODELS = ["fake-ocr", REAL]

Picture = npt.NDArray[np.uint8]


def manifest(name: str) -> ModelManifest:
    return load_manifest(name, [CONF])


@cache
def model(name: str) -> ImageModel:
    return open_image_model(manifest(name), threads=1)


def read(name: str, picture: Picture) -> tuple[TextStatement, ...]:
    (lines,) = model(name).analyse(picture[None], OCR).ocr
    return lines


def page(*lines: tuple[int, int, str], size: tuple[int, int] = (640, 400)) -> Picture:
    """Black letters, 48 pixels high, on white; each line at (left, top)."""
    image = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=48)
    for left, top, text in lines:
        draw.text((left, top), text, fill="black", font=font)
    return np.array(image)


INVOICE = page((40, 60, "INVOICE 2026-0042"), (40, 180, "Total due"), (400, 184, "17.50"))
BLANK = np.full((64, 48, 3), 255, dtype=np.uint8)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """No connection can be opened; what was tried."""
    tried: list[object] = []

    def refuse(_: socket.socket, address: object) -> None:
        tried.append(address)
        raise OSError("there is no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *where, **_: refuse(None, where))  # type: ignore[arg-type]
    return tried


@pytest.mark.parametrize("name", MODELS)
def test_a_picture_without_words_says_nothing(name: str) -> None:
    assert read(name, BLANK) == ()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (30, 480), (33, 65)])
def test_pictures_of_any_size_are_looked_at(name: str, shape: tuple[int, int]) -> None:
    for line in read(name, np.full((*shape, 3), 255, dtype=np.uint8)):
        assert line.box is not None


@pytest.mark.parametrize("name", MODELS)
def test_every_line_has_words_a_confidence_and_a_place(name: str) -> None:
    lines = read(name, INVOICE if name == "rapidocr" else np.full((8, 8, 3), 20, dtype=np.uint8))
    assert lines
    for line in lines:
        assert line.text
        assert line.confidence is not None
        assert line.confidence > 0.3
        assert line.box is not None


@pytest.mark.parametrize("name", MODELS)
def test_the_same_picture_is_read_the_same(name: str) -> None:
    both = model(name).analyse(np.stack([INVOICE, INVOICE]), OCR).ocr
    assert both[0] == both[1] == read(name, INVOICE)


@pytest.mark.parametrize("name", MODELS)
def test_what_it_cannot_do_is_refused(name: str) -> None:
    with pytest.raises(ContractError, match="cannot provide"):
        model(name).analyse(BLANK[None], frozenset({TaskType.VISION}))
    with pytest.raises(ContractError, match="uint8 pixels"):
        model(name).analyse(BLANK[None].astype(np.float32), OCR)  # type: ignore[arg-type]


@pytest.mark.needs("rapidocr")
def test_rapidocr_reads_lines_in_order_where_they_stand() -> None:
    first, second, third = read("rapidocr", INVOICE)
    assert [first.text, second.text, third.text] == ["INVOICE 2026-0042", "Total due", "17.50"]
    assert first.box is not None
    assert third.box is not None
    assert first.box.left == pytest.approx(40 / 640, abs=0.03)
    assert first.box.top == pytest.approx(64 / 400, abs=0.05)
    assert first.box.right == pytest.approx(480 / 640, abs=0.03)
    assert third.box.left == pytest.approx(400 / 640, abs=0.03)


@pytest.mark.needs("rapidocr")
def test_a_line_upside_down_is_turned_before_it_is_read() -> None:
    (line,) = read("rapidocr", np.ascontiguousarray(page((40, 150, "NO PARKING"))[::-1, ::-1]))
    assert line.text == "NO PARKING"


@pytest.mark.needs("rapidocr")
def test_rapidocr_opens_and_reads_without_a_network(offline: list[object]) -> None:
    reader = open_image_model(manifest("rapidocr"), threads=2)
    assert reader.analyse(INVOICE[None], OCR).ocr[0]
    assert offline == []


@pytest.mark.needs("rapidocr")
def test_another_file_is_refused_before_it_is_used(tmp_path: Path) -> None:
    declared = manifest("rapidocr")
    other = tmp_path / "recogniser.onnx"
    other.write_bytes(b"other weights")
    files = tuple(
        file.model_copy(update={"package": None, "resource": None, "path": str(other)})
        if file.name == "recogniser"
        else file
        for file in declared.files
    )
    with pytest.raises(ManifestMismatch, match="recogniser"):
        open_image_model(declared.model_copy(update={"files": files}), threads=1)


@pytest.mark.needs("rapidocr")
def test_a_recogniser_without_its_alphabet_is_refused_and_none_is_fetched(
    offline: list[object],
) -> None:
    declared = {file.name: file for file in manifest("rapidocr").files}
    swapped = declared["detector"].model_copy(update={"name": "recogniser"})
    files = (declared["config"], declared["detector"], declared["classifier"], swapped)
    wrong = manifest("rapidocr").model_copy(update={"files": files})
    with pytest.raises(ManifestError, match="alphabet"):
        open_image_model(wrong, threads=1)
    assert offline == []


@pytest.mark.needs("rapidocr")
def test_squares_cut_out_of_pictures_are_refused() -> None:
    with pytest.raises(ManifestError, match="bounds"):
        open_image_model(manifest("rapidocr").model_copy(update={"bounds": None}), threads=1)
